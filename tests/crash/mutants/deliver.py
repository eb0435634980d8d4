"""What keeps a webhook from being lost by a crash, and lets its receiver recognise a repeat."""

from __future__ import annotations

from tests.crash.mutants.mutant import CRASH, LIFECYCLE, Mutant

MUTANTS = (
    Mutant(
        "a webhook is recorded before it is sent",
        (
            (
                f"{LIFECYCLE}/deliver/deliver.py",
                'failpoint("deliver.sent")',
                'self.recording.record([ended]); failpoint("deliver.sent")',
            ),
        ),
        (f"{CRASH}/test_deliver.py",),
    ),
    Mutant(
        "every POST has an id of its own",
        (
            (
                f"{LIFECYCLE}/deliver/attempt.py",
                "WebhookMessage(task.webhook_id,",
                'WebhookMessage(f"msg_{time.time_ns()}",',
            ),
        ),
        (f"{CRASH}/test_deliver.py",),
    ),
)
