"""The foreman of the growth benchmark: a process that runs one job and reports what it cost."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.growth.work import KEYS
from benchmarks.peers.contenders import one_row_a_task
from ec262.adapters.jobs.local_runtime import local_python
from ec262.adapters.jobs.pickling import pickle_functions
from ec262.domain.foreman.data.partition import encode_row, rows_payload
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.ports.progress import JobStatus
from ec262.domain.protocol.requirement import Requirement
from ec262.entrypoints.foreman.bootstrap_foreman import build_foreman, build_foreman_discovery
from ec262.entrypoints.shared.settings import ForemanSettings


class Numbers:
    """Rows, each of them for one task, generated when they are sent: they take no memory."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.sizes: Sequence[int] = [len(encode_row(count, count).data)] * count

    def payload(self, pieces: range) -> bytes:
        """Return serialized rows."""
        return rows_payload(encode_row(number, number) for number in pieces)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class Watch:
    """A Progress that reads the clocks when the first task starts, at the longest silence, and at the end."""

    def __init__(self) -> None:
        self.silence_s = self.silent_cpu_s = 0.0
        self.tasks_alive = self.threads = self.workers = 0
        self.began: tuple[float, float] | None = None
        self._last = self._now()

    def show(self, status: JobStatus) -> None:
        """Read the clocks."""
        last, self._last = self._last, self._now()
        if self.began is None:
            self.began = self._last
        elif self._last[0] - last[0] > self.silence_s:
            self.silence_s, self.silent_cpu_s = self._last[0] - last[0], self._last[1] - last[1]
            self.tasks_alive, self.threads = len(asyncio.all_tasks()), threading.active_count()
        self.workers = max(self.workers, status.workers)

    def close(self) -> None:
        """Read the clocks for the last time."""
        self._last = self._now()

    @property
    def took(self) -> tuple[float, float]:
        """Seconds of wall time and of this process's processor time, from the first task to the last."""
        began = self.began or self._last
        return self._last[0] - began[0], self._last[1] - began[1]

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


@attrs.frozen(kw_only=True)
class JobCost:
    """What a job cost its foreman. The ``quiet`` fields describe the longest time in which nothing happened: one task
    was being computed, and all workers were connected."""

    wall_s: float
    cpu_s: float
    plain_mib: float
    peak_mib: float
    workers: int
    quiet_s: float
    quiet_cpu_s: float
    quiet_tasks: int
    threads: int


def spread(key: int, value: int) -> Iterable[tuple[int, int]]:
    """Map a row. The stand-in sandboxes do not call this: they know its result."""
    yield key % KEYS, value


def add_up(key: int, values: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Reduce a key. The stand-ins do not call this either."""
    yield key, sum(values)


async def run(url: str, tasks: int, rule: str) -> JobCost:
    """Run a job of ``tasks`` map tasks."""
    settings = ForemanSettings(discovery=url, verify=rule)
    functions = pickle_functions({"mapper": spread, "reducer": add_up})
    job = Job(functions=functions.data, rows=Numbers(tasks), requirement=Requirement(python=local_python()))
    watch = Watch()
    discovery = build_foreman_discovery(settings, token="f" * 43)
    gc.collect()
    plain_mib = resident_mib("VmRSS")
    try:
        with one_row_a_task():
            result: dict[Any, Any] = await build_foreman(settings, discovery=discovery, progress=watch).run(job)
    finally:
        await discovery.close()
    if sum(result.values()) != tasks * (tasks - 1) // 2:
        raise SystemExit(f"wrong result: {result}")
    wall_s, cpu_s = watch.took
    return JobCost(
        wall_s=wall_s - watch.silence_s,
        cpu_s=cpu_s - watch.silent_cpu_s,
        plain_mib=plain_mib,
        peak_mib=resident_mib("VmHWM"),
        workers=watch.workers,
        quiet_s=watch.silence_s,
        quiet_cpu_s=watch.silent_cpu_s,
        quiet_tasks=watch.tasks_alive,
        threads=watch.threads,
    )


def resident_mib(what: str) -> float:
    """Return this process's resident set, now (``VmRSS``) or at its largest (``VmHWM``), in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(f"{what}:"))


def main() -> None:
    """Run the job given on the command line; print its cost as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("tasks", type=int)
    parser.add_argument("rule")
    arguments = parser.parse_args()
    print(json.dumps(attrs.asdict(asyncio.run(run(arguments.url, arguments.tasks, arguments.rule)))), flush=True)


if __name__ == "__main__":
    main()
