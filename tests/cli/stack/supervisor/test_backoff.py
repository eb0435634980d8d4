"""How long a child that ended is let lie before it is started again."""

from cli.stack.supervisor.backoff import Backoff


def test_backoff_restarts_at_once_then_ever_later_up_to_five_seconds() -> None:
    backoff = Backoff()
    assert [backoff.after(0.5) for _ in range(9)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_backoff_forgets_after_a_steady_life() -> None:
    backoff = Backoff()
    backoff.after(0.5)
    backoff.after(0.5)
    assert backoff.after(10.0) == 0.0
    assert backoff.failures == 1
