"""Billing: how many images of an admitted call the upstream charges for."""

from simulator.call import POLICY_WORD
from simulator.faults import Fault, FaultKind
from simulator.providers.provider import Ask

_UNSERVED: frozenset[FaultKind] = frozenset(
    {"status", "html", "redirect", "no_data", "job_failed", "job_error", "job_stuck"}
)
"""Faults in place of images; so are a hang and a reset before the answer has begun."""


def billed_images(ask: Ask | None, fault: Fault | None) -> int:
    """Images that are made, also if the answer is spoiled or breaks off; 0 for a call that is refused."""
    if ask is None or (ask.queued and POLICY_WORD in ask.prompt):
        return 0
    if fault is None:
        return ask.count
    if fault.kind in _UNSERVED or (fault.kind in {"hang", "reset"} and fault.stage != "mid_response"):
        return 0
    return ask.count - (fault.kind == "fewer_images")
