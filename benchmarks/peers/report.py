"""What a run measured, and how it is shown."""

from __future__ import annotations

import statistics

import attrs

from benchmarks.peers.phases import Profile
from benchmarks.peers.startup import AIM_S, ColdStart


@attrs.frozen(kw_only=True)
class Measured:
    """A contender's wall times for a job, in the order of turns, and those of the plain loop in the same turns."""

    workload: str
    contender: str
    seconds: list[float]
    baseline_s: list[float]
    unit: str
    aim: float | None
    shares: int

    @property
    def figures(self) -> list[float]:
        """The figures of the table, one for each turn: a ratio, or a time in the workload's unit."""
        if self.unit:
            return [seconds / self.shares * 1e3 for seconds in self.seconds]
        return [seconds / base for seconds, base in zip(self.seconds, self.baseline_s, strict=True)]


@attrs.frozen(kw_only=True)
class Report:
    """Everything that a run measured."""

    columns: list[str]
    titles: dict[str, str]
    measured: list[Measured]
    starts: list[ColdStart]
    profiles: list[Profile]
    wrong: list[str]


def show_starts(starts: list[ColdStart]) -> None:
    """Print how long a first command takes."""
    for command in dict.fromkeys(start.command for start in starts):
        first, whole = (
            [getattr(start, field) for start in starts if start.command == command]
            for field in ("first_result_s", "whole_s")
        )
        print(
            f"cold start, {command}: first result after {_range(first)} s (aim {AIM_S} s), end after {_range(whole)} s",
            flush=True,
        )


def show_table(report: Report) -> None:
    """Print the table."""
    rows = [["workload", *report.columns]]
    for name, title in report.titles.items():
        cells = {each.contender: _cell(each) for each in report.measured if each.workload == name}
        unit = next(each.unit for each in report.measured if each.workload == name)
        rows.append([f"{title} [{unit or 'x'}]", *(cells[column] for column in report.columns)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print("\nMedian (range); [x]: wall time relative to the plain loop; *: misses the aim after <=")
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(measured: Measured) -> str:
    aim = "" if measured.aim is None else f" <= {measured.aim:g}"
    missed = "*" if measured.aim is not None and statistics.median(measured.figures) > measured.aim else ""
    return f"{_range(measured.figures)}{missed}{aim}"


def _range(figures: list[float]) -> str:
    return f"{statistics.median(figures):.3g} ({min(figures):.3g}-{max(figures):.3g})"
