"""Plots the figures of a run as bars."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers.report import Report


def draw(report: Report, path: Path) -> None:
    """Draw a panel for each workload: medians as bars with their ranges, aims as marks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 3.2 * len(report.titles)), layout="constrained")
    panels = figure.subplots(len(report.titles), 1, squeeze=False)[:, 0]
    for axes, (name, title) in zip(panels, report.titles.items(), strict=True):
        measured = [each for each in report.measured if each.workload == name]
        medians = [statistics.median(each.figures) for each in measured]
        below = [median - min(each.figures) for median, each in zip(medians, measured, strict=True)]
        above = [max(each.figures) - median for median, each in zip(medians, measured, strict=True)]
        axes.bar([each.contender for each in measured], medians, yerr=[below, above], capsize=4, color="#5b8db8")
        aims = [(each.contender, each.aim) for each in measured if each.aim is not None]
        if aims:
            axes.plot(*zip(*aims, strict=True), "_", color="#c44", markersize=40, markeredgewidth=2, label="aim")
            axes.legend()
        axes.set_yscale("log")
        axes.set_title(title)
        axes.set_ylabel(measured[0].unit or "times the plain loop")
    figure.savefig(path)
