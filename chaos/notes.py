"""What the clients of a run were told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from chaos.waiting_kinds import Ending

Loss = Literal["hung up", "silence", "broken off"]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request of a client that waits.

    Attributes:
        began: when the request was made, in seconds since the epoch.
        status: of the answer; None: no whole answer came.
        request_id: the job that the answer, or its head, names.
        joined: whether the answer says that it is about the job of an earlier submit.
        ending: how the job ended, if the answer says so.
        lost: why no whole answer came: the client hung up, nothing came for too long, or it broke off.
    """

    began: float
    status: int | None = None
    request_id: str | None = None
    joined: bool = False
    ending: Ending | None = None
    lost: Loss | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll of a job: its beginning, in seconds since the epoch, and the seconds until its answer."""

    began: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Outage:
    """An answer with 503: when it came, in seconds since the epoch, and what it said."""

    at: float
    text: str


@dataclass(slots=True)
class Notes:
    """What the clients were told. The threads share it; every entry is written once.

    Attributes:
        acknowledged: the request id, by `Idempotency-Key`.
        answers: answers that were no outage.
        repeats: requests that were made again after an outage.
        cancels: the status code of each cancel, by request id.
        polls: those that were answered with a status, and those that were given up.
        outages: the answers with 503.
        waits: the replies to each client that waits, oldest first, by `Idempotency-Key`.
        wrong: answers that the contract does not allow.
    """

    acknowledged: dict[str, str] = field(default_factory=dict[str, str])
    answers: int = 0
    repeats: int = 0
    cancels: dict[str, int] = field(default_factory=dict[str, int])
    waits: dict[str, list[Reply]] = field(default_factory=dict[str, list[Reply]])
    polls: list[Poll] = field(default_factory=list[Poll])
    outages: list[Outage] = field(default_factory=list[Outage])
    wrong: list[str] = field(default_factory=list[str])
