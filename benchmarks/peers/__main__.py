"""ec262 compared with its peers, all in one run.

    python -m benchmarks.peers [--quick] [--repetitions N] [--json FILE] [--plot FILE] [--only NAME ...]

Run it from the project's root. Dask and the plot need `pip install 'ec262[bench]'`, and are left out without it.
Contenders take turns at each job, so that a slow moment of the machine affects all of them. Ratios are relative to the
plain loop of the same turn, shown as median and range. The exit status is 1 if any answer differs from the plain
loop's.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers.contenders import RULES, Contender, Dask, Ec262, Embedded, MincemeatFloor, PlainLoop, ProcessPool
from benchmarks.peers.phases import profile
from benchmarks.peers.report import Measured, Report, show_starts, show_table
from benchmarks.peers.startup import cold_starts
from benchmarks.peers.workloads import Workload, workloads

NAMES = ("cpu", "words", "pairs", "tiny", "single")


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = _parser()
    arguments = parser.parse_args()
    # Reported before a quarter of an hour's work, not after it.
    for path in filter(None, (arguments.json, arguments.plot)):
        if path.is_dir() or not path.resolve().parent.is_dir():
            parser.error(f"cannot write {path}")
    jobs = [job for job in workloads(quick=arguments.quick) if not arguments.only or job.name in arguments.only]
    repetitions = arguments.repetitions or (2 if arguments.quick else 5)
    starts = cold_starts(repetitions)
    show_starts(starts)
    measured, columns, wrong = _measure(jobs, repetitions)
    titles = {job.name: job.title for job in jobs}
    profiles = [profile(job) for job in jobs] if arguments.profile else []
    report = Report(
        columns=columns, titles=titles, measured=measured, starts=starts, profiles=profiles, wrong=sorted(set(wrong))
    )
    show_table(report)
    for each in profiles:
        print(each.text)
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if arguments.plot:
        from benchmarks.peers.plot import draw

        draw(report, arguments.plot)
    for line in report.wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


def _measure(jobs: list[Workload], repetitions: int) -> tuple[list[Measured], list[str], list[str]]:
    system = Embedded()
    contenders: list[Contender] = [PlainLoop(), ProcessPool(), MincemeatFloor()]
    if find_spec("distributed") is not None:
        contenders.insert(2, Dask())
    contenders += [Ec262(name, system) for name in RULES]
    wrong: list[str] = []
    measured = []
    try:
        for job in jobs:
            expected = job.baseline(job.rows)
            taken: dict[str, list[float]] = {each.name: [] for each in contenders}
            baseline_s: list[float] = []
            for turn in range(repetitions + 1):  # the first is a warm-up
                print(f"\r{job.title}: turn {turn} of {repetitions}", end="", file=sys.stderr, flush=True)
                base, _ = _timed(job.baseline, job.rows)
                for each in contenders:
                    seconds, result = _timed(each.run, job)
                    if turn:
                        taken[each.name].append(seconds)
                    if result != expected:
                        wrong.append(f"{job.title}: {each.name}")
                if turn:
                    baseline_s.append(base)
            print(file=sys.stderr)
            measured += [
                Measured(
                    workload=job.name,
                    contender=name,
                    seconds=seconds,
                    baseline_s=baseline_s,
                    unit=job.unit,
                    aim=job.aims.get(name),
                    shares=job.shares,
                )
                for name, seconds in taken.items()
            ]
    finally:
        for each in contenders:
            each.close()
        system.close()
    return measured, [each.name for each in contenders], wrong


def _timed(run: Callable[..., dict[Any, Any]], given: object) -> tuple[float, dict[Any, Any]]:
    gc.collect()
    began = time.perf_counter()
    result = run(given)
    return time.perf_counter() - began, result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="ec262 compared with its peers.")
    add = parser.add_argument
    add("--quick", action="store_true", help="small jobs, two turns")
    add("--repetitions", type=int, metavar="N", help="number of turns (default: 5; 2 with --quick)")
    add("--only", nargs="+", metavar="NAME", choices=NAMES, help=f"workloads to run: {', '.join(NAMES)} (default: all)")
    add("--no-profile", dest="profile", action="store_false", help="do not measure where the time goes")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--plot", type=Path, metavar="FILE", help="plot the figures (PNG, SVG, PDF)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
