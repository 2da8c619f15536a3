"""What ``worker --check`` makes of sandboxes that are not as they should be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ec262.adapters.machine.capacity import NO_LIMIT, GroupLimits, Machine
from ec262.adapters.machine.local_surroundings import LocalSurroundings
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.adapters.sandbox.tier import AttemptedAct, Layer
from ec262.domain.errors import SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.work.outcome import Failure, Pairs, encode_outcome
from ec262.domain.work.work import Computed, Limits, Work
from ec262.entrypoints.shared.settings import WorkerSettings
from ec262.entrypoints.worker import worker_check
from ec262.entrypoints.worker.worker_check import check_worker


class Box(UnconfinedSandbox):
    """A sandbox with one thing wrong; confines nothing."""

    start_trouble: Exception | None = None
    run_trouble: Exception | None = None
    outcome: bytes = b""
    closed = False

    async def start(self) -> None:
        if self.start_trouble is not None:
            raise self.start_trouble

    async def run(self, work: Work, limits: Limits) -> Computed:
        if self.run_trouble is not None:
            raise self.run_trouble
        if self.outcome:
            return Computed(outcome=self.outcome, log=b"Traceback ...\nMemoryError")
        return await super().run(work, limits)

    async def close(self) -> None:
        self.closed = True


class Told(Box):
    """One that tells of itself."""

    @property
    def layers(self) -> Sequence[Layer]:
        return [
            Layer(name="seccomp", in_force=True),
            Layer(name="landlock", in_force=False, detail="this kernel has none"),
            Layer(name="namespaces", in_force=False),
        ]

    async def witness(self) -> Sequence[AttemptedAct]:
        return [AttemptedAct(act="fork a process", refused=True, told="refused")]


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Box:
    box = Told()
    monkeypatch.setattr(worker_check, "build_sandbox", lambda _settings: box)
    return box


async def test_the_tier_is_reported(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    assert await check_worker(WorkerSettings(allow=("json",))) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "sandbox: linux, without landlock and namespaces\n  seccomp     in force\n" in out
    assert "  landlock    NOT in force: this kernel has none\n  namespaces  NOT in force\n" in out
    assert "a job that tries to\n  fork a process  refused\n" in out
    assert "json              can be imported, version 2.0.9" in out
    assert box.closed


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"start_trouble": SandboxUnavailable("no seccomp: get a kernel")}, "no seccomp: get a kernel\n"),
        (
            {"run_trouble": SandboxLimitExceeded("memory", "16 MiB")},
            "the sandbox cannot compute with these limits: memory limit exceeded: 16 MiB\n",
        ),
        (
            {"outcome": encode_outcome(Pairs(pairs=()))},
            "the sandbox returns wrong results: it counted six words as []\n",
        ),
        (
            {"outcome": encode_outcome(Failure(function="job", exception="MemoryError", row=None, frames=()))},
            "a job that any sandbox can compute failed in this one:\nTraceback ...\nMemoryError\n",
        ),
    ],
)
async def test_problems_are_reported(
    box: Box, capsys: pytest.CaptureFixture[str], wrong: dict[str, Any], told: str
) -> None:
    for name, value in wrong.items():
        setattr(box, name, value)
    assert await check_worker(WorkerSettings()) == 2
    out, err = capsys.readouterr()
    assert err == ""
    assert out.endswith(f"problems\n  {told}this machine cannot serve\n")
    assert box.closed


async def test_a_package_that_cannot_be_imported_inside_is_reported(
    box: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_check, "find_spec", lambda _name: object())
    assert await check_worker(WorkerSettings(allow=("json", "no_such_262"))) == 2
    assert "jobs cannot import packages that are allowed: no_such_262 (cannot be imported:" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["", ".", "..x", "no.such_262"])
def test_odd_names_are_not_packages(name: str) -> None:
    assert worker_check._find(name) is None


async def test_a_machine_that_cannot_be_watched_is_reported(
    box: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blind = partial(LocalSurroundings, proc=tmp_path)
    monkeypatch.setattr(worker_check, "LocalSurroundings", blind)
    assert await check_worker(WorkerSettings(when_idle=True)) == 2
    assert "(--when-idle) is known from Linux's" in capsys.readouterr().out
    assert await check_worker(WorkerSettings()) == 0


async def test_the_results_folder_is_shown_and_an_unwritable_one_is_a_problem(
    box: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert await check_worker(WorkerSettings(results_limit_mib=1 << 40)) == 0
    told = capsys.readouterr().out
    assert re.search(
        rf"folder for waiting results\n  {tmp_path}  \d+ MiB are free, less than the \d+ MiB that they may", told
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    assert await check_worker(WorkerSettings()) == 2
    assert f"cannot write large temporary files in {tmp_path}/nowhere (No such file" in capsys.readouterr().out


async def test_more_memory_than_the_machine_has_is_reported(
    box: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(processors=0.25, memory_bytes=float(400 << 20))
    monkeypatch.setattr(worker_check, "local_machine", lambda: machine)
    assert await check_worker(WorkerSettings(slots=2, memory_limit_mib=1024)) == 0
    told = capsys.readouterr().out
    assert "2 tasks at a time, on 0.25 processors\n" in told
    assert "1024 MiB per task, at most 2048 of the 400 MiB available, WHICH IS NOT ENOUGH:" in told


@pytest.mark.parametrize(
    ("group", "told"),
    [
        (
            GroupLimits(memory_bytes=NO_LIMIT, processes=NO_LIMIT),
            "no memory limit for the worker and all its tasks (",
        ),
        (
            GroupLimits(memory_bytes=float(1 << 30), processes=NO_LIMIT),
            "at most 1024 MiB for the worker and all its tasks\n",
        ),
        (
            GroupLimits(memory_bytes=float(1 << 30), processes=50),
            "at most 1024 MiB for the worker and all its tasks, and 50 processes and threads\n",
        ),
    ],
)
async def test_the_limit_on_all_tasks_together_is_reported(
    box: Box, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, group: GroupLimits, told: str
) -> None:
    monkeypatch.setattr(worker_check, "group_limits", lambda: group)
    assert await check_worker(WorkerSettings()) == 0
    assert told in capsys.readouterr().out
