"""What the clients of a run were told."""

from __future__ import annotations

from dataclasses import dataclass, field

from chaos.waiting_kinds import Ending


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request of a client that waits.

    Attributes:
        began: when the request was made, in seconds since the epoch.
        status: of the answer; None: no whole answer came, because the connection broke or the client hung up.
        request_id: the job that the answer, or its head, names.
        joined: whether the answer says that it is about the job of an earlier submit.
        ending: how the job ended, if the answer says so.
        hung_up: whether the client hung up before the answer.
    """

    began: float
    status: int | None = None
    request_id: str | None = None
    joined: bool = False
    ending: Ending | None = None
    hung_up: bool = False


@dataclass(slots=True)
class Notes:
    """What the clients were told. The threads share it; every entry is written once.

    Attributes:
        acknowledged: the request id, by `Idempotency-Key`.
        answers: answers that were no outage.
        repeats: requests that were made again after an outage.
        cancels: the status code of each cancel, by request id.
        waits: the replies to each client that waits, oldest first, by `Idempotency-Key`.
        wrong: answers that the contract does not allow.
    """

    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    answers: int = 0
    repeats: int = 0
    cancels: dict[str, int] = field(default_factory=dict[str, int])
    waits: dict[str, list[Reply]] = field(default_factory=dict[str, list[Reply]])
    polls: int = 0
    wrong: list[str] = field(default_factory=list[str])
