"""Measures in turn what shall be compared, so that a slow minute of the machine slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.table import Line


def alternate(measures: Mapping[str, Callable[[], float]], runs: int) -> Mapping[str, Sequence[float]]:
    """Measure each once in a run, so many runs; the first is a warm-up and is dropped."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(runs + 1):
        for name, measure in measures.items():
            found[name].append(measure())
    return {name: values[1:] for name, values in found.items()}


@dataclass(frozen=True, slots=True)
class Compared:
    """What was measured in the same runs of ours and of what stands beside it, in `unit`."""

    ours: Sequence[float]
    theirs: Sequence[float]
    unit: str

    def line(self, row: str, what: str, *, least: float | None = None, most: float | None = None) -> Line:
        """The medians, the ratio ours : theirs in the median of the runs, and its spread.

        The target is a ratio of at least `least`, or at most `most`, if there is one.
        """
        ratios = [mine / its for mine, its in zip(self.ours, self.theirs, strict=True)]
        ratio = median(ratios)
        value = (
            f"{median(self.ours):.4g} beside {median(self.theirs):.4g} {self.unit}: {ratio:.2f}"
            f" ({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} runs)"
        )
        if most is not None:
            return Line(row, what, value, f"<= {most}", ratio <= most)
        if least is None:
            return Line(row, what, value)
        return Line(row, what, value, f">= {least}", ratio >= least)


def spread(values: Sequence[float], unit: str) -> str:
    """The median of some runs and its spread, as text."""
    return f"{median(values):.4g} {unit} ({min(values):.4g} to {max(values):.4g} in {len(values)} runs)"
