"""Clients: during every fault the API answered as its contract says."""

from __future__ import annotations

from chaos.evidence import Evidence, Finding


def every_answer_was_an_answer(evidence: Evidence) -> Finding:
    """Every answer was a 202, a 409 to a late cancel, or a 503 while the database was away.

    To a client that waits it was how its job ended, or a 504 that names the job.
    """
    wrong = [note for note in evidence.notes.wrong if "moved backwards" not in note]
    wrong += [
        f"cancel of {id_}: {status}"
        for id_, status in evidence.notes.cancels.items()
        if status not in (202, 409)
    ]
    counts = {"answers": evidence.notes.answers, "cancels": len(evidence.notes.cancels)}
    return Finding("the API answers as its contract says", counts, wrong)
