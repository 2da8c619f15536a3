"""Where the time goes: the processor time of one job, by activity.

All of ec262 runs in this process, over real sockets and with real bytes. The functions that do the work of a phase are
timed by the clock of their thread; a nested function counts only for itself. A second run with sandboxes shows what
their processes take beyond the work in them.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import threading
import time
from asyncio import sslproto
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any
from unittest import mock

import attrs

from benchmarks.peers.contenders import one_row_a_task
from benchmarks.peers.workloads import Workload
from ec262.adapters.ciphers import aes_siv
from ec262.adapters.discovery_client import http_discovery
from ec262.adapters.sandbox import runner
from ec262.adapters.sandbox.grouping import Grouping
from ec262.adapters.sandbox.linux.child.zygote import GARBAGE_THRESHOLD
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.foreman.data import portions as domain_portions
from ec262.domain.foreman.data.row_spool import RowSpool
from ec262.domain.foreman.data.shuffle import Shuffle
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.foreman.run.run_policy import RunPolicy
from ec262.domain.protocol import wire
from ec262.domain.verification.rules import Majority
from ec262.domain.work.work import Limits
from ec262.entrypoints.foreman import job_reading
from ec262.entrypoints.shared.settings import ForemanSettings
from ec262.services.discovery import for_foremen, for_workers
from ec262.services.foreman import job_workers
from ec262.services.foreman.data import job_data
from ec262.services.foreman.foreman_policy import ForemanPolicy
from ec262.services.foreman.workers.worker_link import LinkPolicy
from tests.tcp_system import tcp_system

WORKERS = 4

TIMED: Sequence[tuple[str, Any, Sequence[str]]] = (
    ("encode rows", job_reading, ["encode_row"]),
    ("encode rows", RowSpool, ["payload"]),
    ("read rows", runner, ["_read_rows"]),
    ("compute", runner.Run, ["_call"]),
    ("group", Grouping, ["add", "rows"]),
    ("encode results", runner, ["encode_outcome"]),
    ("encrypt", aes_siv.AesSivCipher, ["encrypt"]),
    ("wire", wire.Decoder, ["feed", "next_message"]),
    ("wire", sslproto.SSLProtocol, ["buffer_updated", "_do_write", "_do_read"]),
    ("discovery, clients", http_discovery.HttpDiscovery, ["_attempt"]),
    ("discovery, service", for_foremen.ForemanDesk, ["buy", "verdicts", "pool"]),
    ("discovery, service", for_workers.WorkerDesk, ["assignments", "commit", "give_up"]),
    ("compare and decrypt", job_workers.JobWorkers, ["_open"]),
    ("decode results", domain_portions, ["_pairs_of"]),
    ("shuffle", Shuffle, ["add", "rows"]),
    ("merge", job_data, ["merge_results"]),
    ("state machine", JobRun, ["handle"]),
)


@attrs.frozen(kw_only=True)
class Profile:
    """Processor seconds of a job under majority:3, by phase; ``children_s`` are those of the sandbox's processes."""

    workload: str
    title: str
    phases_s: dict[str, float]
    rest_s: float
    children_s: float

    @property
    def text(self) -> str:
        """The profile as text for people."""
        total_s = sum(self.phases_s.values()) + self.rest_s
        lines = [f"\n{self.title}, majority:3: {total_s:.3f} s of processor time in one process"]
        rows = [
            *sorted(self.phases_s.items(), key=lambda item: -item[1]),
            ("event loop, HTTP and the rest", self.rest_s),
        ]
        lines += [f"  {name:32} {seconds:8.3f} s {seconds / total_s:6.1%}" for name, seconds in rows]
        inside = sum(self.phases_s.get(name, 0.0) for name in ("read rows", "compute", "group", "encode results"))
        lines.append(
            f"  {'sandboxes, beyond the work':32} {self.children_s - inside:8.3f} s  (zygotes' start included)"
        )
        return "\n".join(lines)


class _Clock:
    """Adds up, by phase, the thread time of timed functions; a nested call is subtracted from the outer one."""

    def __init__(self) -> None:
        self.phases_s: defaultdict[str, float] = defaultdict(float)
        self._local = threading.local()

    def timed(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """Wrap a function so that its calls are timed."""

        @wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            inner: list[float] = self._local.__dict__.setdefault("inner", [])
            inner.append(0.0)
            began = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                took_s = time.thread_time() - began
                self.phases_s[phase] += took_s - inner.pop()
                if inner:
                    inner[-1] += took_s

        return call


def profile(workload: Workload) -> Profile:
    """Run a job twice: once entirely in this process, and once with sandboxes."""
    clock = _Clock()
    with _patched(clock):
        job = job_reading.build_job(workload.rows, workload.functions, ForemanSettings())
        usual = gc.get_threshold()
        gc.set_threshold(GARBAGE_THRESHOLD, *usual[1:])  # tasks make most of the garbage: as in their processes
        try:
            in_process_s = asyncio.run(_processor_s(job, workload, sandboxed=False)) + clock.phases_s["encode rows"]
        finally:
            gc.set_threshold(*usual)
    before = _children_s()
    job = job_reading.build_job(workload.rows, workload.functions, ForemanSettings())  # a job can run only once
    asyncio.run(_processor_s(job, workload, sandboxed=True))
    phases_s = dict(clock.phases_s)
    return Profile(
        workload=workload.name,
        title=workload.title,
        phases_s=phases_s,
        rest_s=max(0.0, in_process_s - sum(phases_s.values())),
        children_s=_children_s() - before,
    )


@contextmanager
def _patched(clock: _Clock) -> Iterator[None]:
    with ExitStack() as stack:
        for phase, owner, names in TIMED:
            for name in names:
                stack.enter_context(mock.patch.object(owner, name, clock.timed(getattr(owner, name), phase)))
        yield


async def _processor_s(job: Job, workload: Workload, *, sandboxed: bool) -> float:
    policy = ForemanPolicy(run=RunPolicy(rule=Majority()), link=LinkPolicy(release="benchmark"), limits=Limits())
    makers = [(lambda: {"sandbox": LinuxSandbox()}) if sandboxed else dict] * WORKERS
    name = LinuxSandbox.name if sandboxed else "unconfined"
    async with tcp_system(*makers, credits=1_000_000, slots=16, sandbox=name) as system:
        began = time.process_time()
        with one_row_a_task() if workload.row_a_task else nullcontext():
            await system.run(job, policy)
        return time.process_time() - began


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
