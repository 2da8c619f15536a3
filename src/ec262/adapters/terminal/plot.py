"""Drawings of what the simulator found, with matplotlib, which is in the extra ``simulate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from ec262.domain.simulation.statistics import Estimate

Point = tuple[str, str, Estimate, Estimate]
"""Which panel, which series, executions a task, error."""

_COLUMNS, _PANEL_INCHES = 3, (4.6, 3.6)


def draw_plot(file: Path, points: Sequence[Point]) -> None:
    """Draw error against executions a task, with their 95 % intervals, a panel for each scenario; the file's suffix
    says in what format. Raises ValueError if it is none that is known."""
    panels = list(dict.fromkeys(point[0] for point in points))
    series = list(dict.fromkeys(point[1] for point in points))
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _PANEL_INCHES[0], rows * _PANEL_INCHES[1]), layout="constrained")
    legend: dict[str, Artist] = {}
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(rows, _COLUMNS, number + 1)
        for _, label, cost, error in (point for point in points if point[0] == panel):
            place = series.index(label)
            legend[label] = axes.errorbar(
                [cost.value],
                [error.value],
                xerr=[[cost.value - cost.low], [cost.high - cost.value]],
                yerr=[[error.value - error.low], [error.high - error.value]],
                fmt="osD^vP*X"[place % 8],
                color=f"C{place % 10}",
                label=label,
                capsize=2,
            ).lines[0]
        axes.set_title(panel, fontsize=9)
        axes.set_yscale("symlog", linthresh=1e-6)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("executions a task")
        axes.set_ylabel("error")
    figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=min(len(legend), 4))
    figure.savefig(file)
