"""What a task costs, depending on how many tasks and workers there are.

    python -m benchmarks.growth [--quick] [--full] [--verify RULE] [--json FILE]

Run it from the project's root, on Linux. One foreman, one discovery service (SQLite, over HTTP) and the workers (see
``workers``) each run in a process of their own, started anew for every line. Each map task is one row. Times are
measured from the first task to the last, without the few seconds at the end in which a single task is computed and
nothing else happens; these are shown separately. The exit status is 1 if a result is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs
import msgspec

from benchmarks.discovery_speed import discovery
from benchmarks.growth.foreman import JobCost

TICKS_S = 1 / os.sysconf("SC_CLK_TCK")


@attrs.frozen(kw_only=True)
class Line:
    """One job. ``foreman`` is its foreman's report; the processor times of the others exclude their start."""

    tasks: int
    workers: int
    foreman: JobCost
    discovery_cpu_s: float
    workers_cpu_s: float


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth", description="What a task costs when there are many."
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the tasks")
    parser.add_argument("--full", action="store_true", help="also ten times as many tasks")
    parser.add_argument("--verify", default="quorum:2", help="verification rule (default: quorum:2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    arguments = parser.parse_args()
    many = 1000 if arguments.quick else 10_000
    by_tasks = [many // 100, many // 10, many, *([many * 10] if arguments.full else [])]
    few, middle, crowd = 2, 20, 200
    lines = [_measured(tasks, middle, arguments.verify) for tasks in by_tasks]
    _show(f"by tasks, {middle} workers", lines)
    by_workers = [_measured(many, few, arguments.verify), lines[2], _measured(many, crowd, arguments.verify)]
    _show(f"by workers, {many:,} tasks", by_workers)
    if arguments.json:
        report = {"verify": arguments.verify, "lines": [*lines, by_workers[0], by_workers[-1]]}
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return 0


def _measured(tasks: int, workers: int, rule: str) -> Line:
    print(f"\r{tasks:,} tasks, {workers} workers ...", end="", file=sys.stderr, flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="ec262-benchmark-") as folder,
        discovery(f"sqlite:///{folder}/discovery.sqlite") as (service, url),
    ):
        staff = _start("workers", url, str(workers))
        assert staff.stdout is not None
        try:
            if staff.stdout.readline() != "ready\n":
                raise SystemExit("the workers could not start")
            before = [_cpu_s(service.pid), _cpu_s(staff.pid)]
            output, _ = _start("foreman", url, str(tasks), rule).communicate()
            took = [_cpu_s(each.pid) - was for each, was in zip((service, staff), before, strict=True)]
        finally:
            staff.communicate()  # its standard input closes
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
    if not output:
        raise SystemExit(1)  # the foreman has printed why
    foreman = JobCost(**json.loads(output))
    return Line(tasks=tasks, workers=workers, foreman=foreman, discovery_cpu_s=took[0], workers_cpu_s=took[1])


def _start(part: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"benchmarks.growth.{part}", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _cpu_s(pid: int) -> float:
    """Return the processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICKS_S


def _show(title: str, lines: list[Line]) -> None:
    print(f"\n{title}; ratios to the first line in brackets")
    print(
        f"{'tasks':>8} {'workers':>8} {'wall per task':>18} {'foreman CPU':>18} {'discovery CPU':>18} "
        f"{'workers CPU':>12} {'memory at start':>17} {'peak':>8}   "
        "while idle: connected workers, CPU per second, threads, asyncio tasks"
    )
    for line in lines:
        cost = line.foreman
        print(
            f"{line.tasks:8,} {line.workers:8} {_cell(line, lines[0], 'wall')} {_cell(line, lines[0], 'foreman')} "
            f"{_cell(line, lines[0], 'discovery')} {1e3 * line.workers_cpu_s / line.tasks:9.2f} ms "
            f"{cost.plain_mib:13.0f} MiB {cost.peak_mib:4.0f} MiB   {cost.workers:3}, "
            f"{1e3 * cost.quiet_cpu_s / cost.quiet_s:.1f} ms, {cost.threads}, {cost.quiet_tasks}",
            flush=True,
        )


def _cell(line: Line, first: Line, what: str) -> str:
    share, base = (_ms_a_task(each, what) for each in (line, first))
    return f"{share:7.2f} ms ({share / base:5.2f})"


def _ms_a_task(line: Line, what: str) -> float:
    seconds = {"wall": line.foreman.wall_s, "foreman": line.foreman.cpu_s, "discovery": line.discovery_cpu_s}
    return 1e3 * seconds[what] / line.tasks


if __name__ == "__main__":
    sys.exit(main())
