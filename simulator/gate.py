"""The gate decides what happens to a call, at one instant.

`decide` has no await, so nothing happens between its steps: credentials and model; faults before admission;
the quota; the rules of the request; faults after admission. It writes the decision into the log, and only
then does the simulator wait, paint and answer. So the log is exact about what a real upstream would have
counted: a throttled call takes no place of the quota, a call that is refused or fails later does.
"""

import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from simulator.billing import billed_images
from simulator.call import Call
from simulator.config import RetryAfterForm, quota_name
from simulator.faults import Fault
from simulator.log import PROMPT_CHARACTERS, Outcome
from simulator.providers.provider import Refusal
from simulator.quota import NANOSECONDS
from simulator.state import Simulator
from simulator.wire import Answer

MILLISECOND = 1_000_000  # in nanoseconds


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done: send `answer`, or apply `fault`, or, with neither, serve the call."""

    call: Call
    answer: Answer | None = None
    fault: Fault | None = None


@dataclass(slots=True)
class _Record:
    """Writes the log entry of one call."""

    simulator: Simulator
    call: Call
    quota: str | None = None

    def write(
        self, outcome: Outcome, status: int | None, fault: Fault | None = None, moment: int | None = None
    ) -> None:
        """Write it; `moment` is when the call was admitted, if it was."""
        call = self.call
        self.simulator.log.append(
            upstream=call.upstream.name,
            provider=call.upstream.config.provider,
            model=call.model,
            quota=self.quota,
            operation=call.route.operation,
            monotonic_ns=time.monotonic_ns() if moment is None else moment,
            wall_time=datetime.now(UTC).isoformat(),
            outcome=outcome,
            status=status,
            fault=fault.kind if fault else None,
            fault_stage=fault.stage if fault else None,
            prompt=call.prompt and call.prompt[:PROMPT_CHARACTERS],
            image_count=call.ask.count if call.ask else None,
            reference=call.reference,
            billed_images=billed_images(call.ask, fault) if outcome == "admitted" else 0,
        )


def decide(simulator: Simulator, call: Call) -> Decision:
    """Decide what happens to a call, in the order of the module's docstring, and log it."""
    record = _Record(simulator, call)
    if call.model is None:
        return _turned_away(record)
    record.quota = quota_name(call.upstream.name, call.model, call.upstream.config.models[call.model])
    fault = simulator.faults.take_now(call.target)
    if fault is not None:
        record.write("refused", fault_status(fault, None), fault)
        return Decision(call, fault=fault)
    moment = simulator.quotas[record.quota].admit()
    if moment is None:
        return _throttled(record, simulator.quotas[record.quota].wait_ns())
    return _admitted(record, moment)


def decide_unread(simulator: Simulator, call: Call) -> Fault | None:
    """The fault that hits the call before its body is read. If it ends the call, that is logged here."""
    fault = simulator.faults.take(call.target, "before_body")
    if fault is not None and fault.kind != "delay":
        _Record(simulator, call).write("refused", fault_status(fault, None), fault)
    return fault


def fault_status(fault: Fault, otherwise: int | None) -> int | None:
    """The status of the answer to a call that this fault hits; None if there is no answer.

    `otherwise` is the status without the fault.
    """
    match fault.kind:
        case "status":
            return fault.status or 500
        case "html":
            return fault.status or 200
        case "redirect":
            return fault.status or 307
        case "hang" | "reset":
            return otherwise if fault.stage == "mid_response" else None
        case _:
            return otherwise


def _turned_away(record: _Record) -> Decision:
    refusal = record.call.refusal or Refusal("invalid", "no model")
    answer = record.call.upstream.provider.refuse(refusal)
    record.write("unauthorized" if refusal.reason == "unauthorized" else "refused", answer.status)
    return Decision(record.call, answer=answer)


def _throttled(record: _Record, wait_ns: int) -> Decision:
    hint = retry_after(record.call.upstream.config.retry_after, wait_ns)
    refusal = Refusal("throttled", "the rate limit of calls per window is exceeded")
    answer = record.call.upstream.provider.refuse(refusal, hint)
    record.write("throttled", answer.status)
    return Decision(record.call, answer=answer)


def _admitted(record: _Record, moment: int) -> Decision:
    call, simulator = record.call, record.simulator
    fault = simulator.faults.take(call.target, "after_admission", "mid_response")
    answer = call.upstream.provider.refuse(call.refusal) if call.refusal else None
    usual = answer.status if answer else (202 if call.ask and call.ask.queued else 200)
    record.write("admitted", fault_status(fault, usual) if fault else usual, fault, moment)
    return Decision(call, answer, fault)


def retry_after(form: RetryAfterForm, wait_ns: int) -> dict[str, str]:
    """The headers by which an answer 429 says how long to wait; never less than the true wait."""
    seconds = math.ceil(wait_ns / NANOSECONDS)
    milliseconds = str(math.ceil(wait_ns / MILLISECOND))
    match form:
        case "seconds":
            return {"retry-after": str(seconds)}
        case "date":
            moment = datetime.now(UTC) + timedelta(seconds=seconds + 1)
            return {"retry-after": format_datetime(moment, usegmt=True)}
        case "milliseconds":
            return {"retry-after-ms": milliseconds}
        case "x-ms-milliseconds":
            return {"x-ms-retry-after-ms": milliseconds}
        case "none":
            return {}
