"""The lines of the backfill: which are refused, and what is read of the folder afterwards."""

from __future__ import annotations

import csv
from hashlib import sha256
from pathlib import Path

from chaos.backfill_lines import (
    FAILURE,
    REFUSAL,
    REFUSED,
    prompts,
    read_folder,
    read_manifest,
    write_csv,
)
from simulator.faults import Fault, Target


def test_the_same_seed_has_the_same_lines_and_no_prompt_twice() -> None:
    lines = prompts(7, 400)
    assert lines == prompts(7, 400)
    assert len(set(lines.values())) == 400
    assert not set(lines.values()) & set(prompts(8, 400).values())


def test_one_line_in_twenty_is_refused_and_one_call_in_twenty_fails() -> None:
    refused = [prompt for prompt in prompts(7, 400).values() if REFUSED in prompt]
    refusal, failure = Fault.model_validate(REFUSAL), Fault.model_validate(FAILURE)
    assert len(refused) == 20
    assert (refusal.probability, failure.probability) == (1, 0.05)
    hit = Target("bulk-1", "generate", "gpt-image-2", refused[0])
    assert refusal.match.fits(hit)
    assert failure.match.fits(hit)
    assert not refusal.match.fits(Target("bulk-1", "generate", "gpt-image-2", "a fox"))
    assert not failure.match.fits(Target("east", "generate", "mai-image-2-5", refused[0]))


def test_the_file_has_a_column_for_the_id_and_one_for_the_prompt(tmp_path: Path) -> None:
    write_csv(tmp_path / "prompts.csv", {"line 0": "a fox, red", "line 1": "a hen"})
    with (tmp_path / "prompts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"custom_id": "line 0", "prompt": "a fox, red"},
        {"custom_id": "line 1", "prompt": "a hen"},
    ]


def test_every_file_of_the_folder_is_found_also_a_hidden_one_and_one_in_a_folder(tmp_path: Path) -> None:
    for name in (".imagequeue.part-1", "1.png", "more/2.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    digests = {
        name: sha256(name.encode()).hexdigest() for name in (".imagequeue.part-1", "1.png", "more/2.png")
    }
    assert read_folder(tmp_path) == digests


def test_the_rows_of_a_manifest_are_read_by_their_columns(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("custom_id,file\nline 0,a.png\n")
    assert read_manifest(tmp_path / "manifest.csv") == [{"custom_id": "line 0", "file": "a.png"}]
