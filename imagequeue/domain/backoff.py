"""The retry table: how long this program waits before it tries again what has failed.

A wait grows by `factor` with every failure, from `first_seconds` to `longest_seconds`. Chance takes away at
most the share `jitter` of it, so that those who failed together do not all come back together.

Waits that are not in this table:

- The schedule of webhooks is a setting (`imagequeue/domain/webhooks.py`).
- A wait that an upstream asked for counts as it is (`imagequeue/domain/upstream_throttling.py`).
- A doorbell is rung again after its lease, and a loop that made its pass waits for its interval: nothing
  failed there.
- The supervisor of `imagequeue up`, the simulator and the chaos run's clients know nothing of this package
  (`cli/stack/supervisor/backoff.py`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random
from typing import Final

ENDLESS: Final = sys.maxsize
"""Tries that no number bounds; what ends them instead stands in the row of the table."""

_MOST_GROWTH: Final = 64
"""Failures that count for the growth of a wait: far beyond every longest wait, and no float overflows."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait between two tries of one kind of thing; `tries` is how many there are in all."""

    first_seconds: float
    longest_seconds: float
    factor: float = 2.0
    jitter: float = 0.5
    tries: int = ENDLESS

    def wait_seconds(self, failures: int, random: Random) -> float:
        """Seconds to wait after so many failures in a row, with jitter."""
        return self.full_seconds(failures) * (1.0 - self.jitter * (1.0 - random.random()))

    def full_seconds(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row, before chance takes its share."""
        growth = max(0, min(failures - 1, _MOST_GROWTH))
        return min(self.longest_seconds, self.first_seconds * self.factor**growth)


def _constant(seconds: float, *, tries: int = ENDLESS) -> RetryPolicy:
    """The same wait every time."""
    return RetryPolicy(seconds, seconds, jitter=0.0, tries=tries)


# Upstreams, and the addresses that clients choose

FAILED_CALL: Final = RetryPolicy(2.0, 60.0, factor=4.0, jitter=0.25)
"""A job at a deployment that failed it. Until `max_attempts` failures there; others may serve it at once.

The five waits of the default of six come to 162 s, and to 121 s at the least: so long a job outlives an
outage of all deployments. A failure that passes costs 2 s where there is only one deployment.
"""

OPEN_BREAKER: Final = RetryPolicy(30.0, 900.0)
"""One call that tries a deployment whose breaker is open. Until a call succeeds.

Each of these calls may cost a job a failure, so they become rarer while the outage lasts.
"""

MISCONFIGURED_DEPLOYMENT: Final = RetryPolicy(60.0, 900.0)
"""One call that tries a deployment whose key, model or endpoint is wrong. Until a call succeeds.

A person has to mend it, which takes longer than most outages.
"""

THROTTLED_GROUP: Final = RetryPolicy(1.0, float("inf"), jitter=0.0)
"""A quota group after a 429 without a hint. Until a call succeeds; one window of its quota at most.

After a window every token is free again. No jitter: all dispatchers share the one pause of the group.
"""

EXHAUSTED_GROUP: Final = _constant(900.0)
"""One call that tries a quota group whose upstream says that the quota is used up. Until a call succeeds.

Such a quota comes back after hours, or when somebody pays.
"""

IMAGE_DOWNLOAD: Final = RetryPolicy(0.5, 10.0)
"""A result that an upstream put behind a link. Until it comes, or the deadline of the call.

It is paid for, and another call would pay for it again.
"""

POLLED_DOWNLOAD: Final = RetryPolicy(0.5, 10.0, tries=3)
"""The same where the upstream can be polled for a fresh link. Three tries, then the next poll."""

FORGOTTEN_REQUEST: Final = _constant(10.0)
"""A poll whose answer says that the upstream does not know the request. Until the deadline of the call.

The request was taken, and is paid for: behind a load balancer a server may not know yet what another took.
"""

FAILED_POLL: Final = RetryPolicy(2.0, 30.0)
"""A poll that got no answer, or one that says nothing about the request. Until the deadline of the call.

The request is paid for, so it is never submitted again meanwhile.
"""

INPUT_FETCH: Final = RetryPolicy(2.0, 60.0, tries=5)
"""The input images of a job, from the URLs that its client named. After the last try the job is FAILED.

The four waits come to half a minute at most: enough for a server that restarts.
"""

# Servers of our own

FAILED_PASS: Final = RetryPolicy(0.2, 5.0)
"""A pass of a loop. Until the process stops.

At most 5 s, so that a server that comes back is noticed soon.
"""

PROCESS_START: Final = RetryPolicy(0.2, 2.0)
"""What a process begins with, while its database is away. Until it works, or the process stops.

At most 2 s, because nothing else happens in this process meanwhile.
"""

OUTCOME_SETTLING: Final = _constant(1.0, tries=8)
"""An outcome that the database does not take. Until it does; a process that stops makes eight tries more.

The supervisor ends a process 15 s after it asked it to stop. What is not settled then is rescued.
"""

ANSWER_READING: Final = RetryPolicy(0.5, 5.0, jitter=0.0, tries=4)
"""An answer that could not be read or checked for a reason of ours. Four tries in 3.5 s.

Memory that was short, or a file that could not be opened, may be there again. A fault of the program is not
cured by waiting, and the answer is left on the local disk.
"""

IMAGE_STORING: Final = RetryPolicy(0.5, 10.0)
"""An image that the storage does not take. Until it does, because the image is paid for.

A process that stops leaves to the sweep what lies on the local disk.
"""

PUT_CONFLICT: Final = RetryPolicy(0.1, 0.4, jitter=0.0, tries=4)
"""A put of an object that another put is under way for, as the storage says. Four tries in 0.7 s.

The other put is over soon. Whoever wanted to store the object waits by the row above.
"""

INPUT_STORING: Final = _constant(5.0)
"""Fetched input images that the storage does not take. Until it does, or the job's deadline.

The fault is ours, so it counts as no try of `INPUT_FETCH`.
"""

FETCH_RECORDING: Final = RetryPolicy(0.5, 10.0)
"""The result of a fetch that the database does not take. Until it does, or the process stops.

A result that is not recorded would count as the death of its process.
"""

INPUT_READING: Final = _constant(5.0)
"""A worker slot whose call was given back, because the storage did not give an input image. Until it does.

Longer than two heartbeats: by then the process has said that it takes no calls.
"""

OPEN_TARGET: Final = RetryPolicy(30.0, 900.0)
"""One webhook that tries a target whose breaker is open. Until one is answered well.

The deliveries that wait for it are parked meanwhile and use up no attempts of their schedule.
"""

WEBHOOK_SIGNING: Final = _constant(10.0)
"""A webhook whose secret this process cannot decrypt. Until one can: it is no attempt of its schedule."""

WAKEUP_PUBLISHING: Final = _constant(1.0)
"""Wake-ups, after Redis did not take one. Until it does; those that come meanwhile are gathered.

Finding out that Redis is away takes up to 2 s, and nobody relies on a wake-up.
"""

REQUEST_COUNTING: Final = _constant(1.0)
"""The counts of clients' requests, after Redis did not take one. Until it does; nobody is limited meanwhile.

So few submits wait until Redis is found to be away.
"""

BULK_CALLING: Final = _constant(1.0)
"""A bulk call of the API, after the database was slow to be found away. Until it answers; callers get 503.

Nobody else is made to wait to find out the same.
"""

# At a terminal

JOB_WATCHING: Final = RetryPolicy(0.2, 5.0, factor=1.3, jitter=0.0)
"""`imagequeue watch` asks again for the jobs that are not final yet. Until they are.

Jobs that take seconds are shown at once, jobs that take an hour are asked for twelve times a minute.
"""

BATCH_WATCHING: Final = RetryPolicy(1.0, 10.0, jitter=0.0)
"""`imagequeue backfill run` asks again after the server was away. Until it has been away for ten minutes.

A restart of the server takes seconds, and a batch takes hours.
"""
