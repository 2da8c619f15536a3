"""Who uses this machine, as told by folders that look like Linux's."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ec262.adapters.machine import local_surroundings
from ec262.adapters.machine.local_surroundings import LocalSurroundings
from ec262.domain.errors import ConfigurationError

TICKS_A_S = os.sysconf("SC_CLK_TCK")


class Machine:
    """A machine of two processors whose files a test writes."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.devices = folder / "proc", folder / "dev"
        (self.devices / "pts").mkdir(parents=True)
        self.proc.mkdir()
        self.busy(0)

    def busy(self, seconds: float) -> None:
        """Have all processors together have worked for so long since the machine's start."""
        share = int(seconds * TICKS_A_S) // 5
        fields = [share, share, share, 10**6, 10**6, share, share, 10**6, 0, 0]
        lines = ["cpu  " + " ".join(map(str, fields)), "cpu0 1 2 3", "cpu1 1 2 3", "intr 1 2 3", "ctxt 1"]
        (self.proc / "stat").write_text("\n".join(lines))

    def process(self, pid: int, parent: int, seconds: float, name: str = "a (b) c") -> None:
        """Have a process, with its ended children, have used so much time."""
        ticks = int(seconds * TICKS_A_S) // 4
        numbers = ["S", str(parent), *["0"] * 9, *[str(ticks)] * 4, "20", "0"]
        (self.proc / str(pid)).mkdir(exist_ok=True)
        (self.proc / str(pid) / "stat").write_text(f"{pid} ({name}) {' '.join(numbers)}")

    def touched(self, terminal: str, seconds_ago: float) -> None:
        """Have somebody have typed at a terminal."""
        (self.devices / terminal).touch()
        os.utime(self.devices / terminal, (time.time() - seconds_ago, time.time()))

    def watched(self, window_s: float = 60.0) -> LocalSurroundings:
        return LocalSurroundings(idleness=True, proc=self.proc, devices=self.devices, window_s=window_s)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    return Machine(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


async def test_the_load_is_what_others_used_of_all_processors(machine: Machine, clock: list[float]) -> None:
    watched = machine.watched()
    machine.process(os.getpid(), 1, 2.0)
    assert (await watched.observe()).others_load is None
    clock[0] += 10
    machine.busy(10.0)  # of 20
    machine.process(os.getpid(), 1, 4.0)
    machine.process(7, os.getpid(), 1.0)
    machine.process(8, 7, 2.0)
    machine.process(9, 1, 100.0)  # a stranger's
    assert (await watched.observe()).others_load == pytest.approx((10 - 2 - 1 - 2) / 20, abs=0.01)


async def test_a_child_that_ends_changes_nothing(machine: Machine, clock: list[float]) -> None:
    watched = machine.watched()
    machine.process(os.getpid(), 1, 0.0)
    machine.process(7, os.getpid(), 0.0)
    await watched.observe()
    clock[0] += 10
    machine.busy(8.0)
    machine.process(7, os.getpid(), 8.0)
    assert (await watched.observe()).others_load == pytest.approx(0, abs=0.01)
    (machine.proc / "7" / "stat").unlink()  # as it is between the listing and the look
    machine.process(os.getpid(), 1, 8.0)
    clock[0] += 10
    assert (await watched.observe()).others_load == pytest.approx(0, abs=0.01)


async def test_the_load_is_that_of_the_window(machine: Machine, clock: list[float]) -> None:
    watched = machine.watched(window_s=30.0)
    loads = []
    for busy_s in (0, 20, 40, 40, 40, 40, 40, 40):
        machine.busy(busy_s)
        loads.append((await watched.observe()).others_load)
        clock[0] += 10
    assert loads[0] is None
    assert loads[1:] == pytest.approx([1, 1, 2 / 3, 1 / 3, 0, 0, 0], abs=0.01)


async def test_input_is_the_last_at_any_terminal(machine: Machine) -> None:
    watched = machine.watched()
    assert (await watched.observe()).input_idle_s == math.inf
    machine.touched("tty1", 500)
    machine.touched("pts/3", 200)
    machine.touched("ttyless", 1)
    machine.touched("pts/ptmx", 1)
    assert (await watched.observe()).input_idle_s == pytest.approx(200, abs=5)
    machine.touched("tty2", -50)  # the clock was set back
    assert (await watched.observe()).input_idle_s == 0


@pytest.mark.parametrize(
    ("told", "idle_s"),
    [
        ("IdleHint=no\nIdleSinceHint=1\n", 0),
        ("IdleHint=yes\nIdleSinceHint=NOW-300\n", 300),
        ("IdleSinceHint=NOW-300\nIdleHint=yes", 300),
        ("IdleHint=yes\nIdleSinceHint=Sun 2012-05-06\n", math.inf),
        ("", math.inf),
        ("Failed to get seat: No such seat", math.inf),
    ],
)
async def test_a_desktop_session_tells_by_itself(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, told: str, idle_s: float
) -> None:
    since = str(int((time.time() - 300) * 1e6))
    loginctl = tmp_path / "loginctl"
    loginctl.write_text(f"#!/bin/sh\ncat <<'END'\n{told.replace('NOW-300', since)}\nEND\n")
    loginctl.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(loginctl))
    machine.touched("tty1", 1000)
    assert (await machine.watched().observe()).input_idle_s == pytest.approx(min(idle_s, 1000), abs=5)


@pytest.mark.parametrize("script", ["exit 1", "sleep 60"])
async def test_a_desktop_session_that_does_not_answer_is_ignored(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    loginctl = tmp_path / "loginctl"
    loginctl.write_text(f"#!/bin/sh\nexec {script}\n")
    loginctl.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _name: str(loginctl))
    monkeypatch.setattr(local_surroundings, "_LOGIND_S", 0.1)
    assert (await machine.watched().observe()).input_idle_s == math.inf


@pytest.mark.parametrize("content", [None, "", "cpu one two", "nonsense"])
async def test_a_machine_that_does_not_tell_is_for_the_owner_to_solve(machine: Machine, content: str | None) -> None:
    (machine.proc / "stat").unlink()
    if content is not None:
        (machine.proc / "stat").write_text(content)
    with pytest.raises(ConfigurationError, match=r"--when-idle.* cannot be read here"):
        await machine.watched().observe()


async def test_without_idleness_nothing_is_read(tmp_path: Path) -> None:
    moment = await LocalSurroundings(idleness=False, proc=tmp_path / "none", devices=tmp_path / "none").observe()
    assert (moment.others_load, moment.input_idle_s) == (None, math.inf)


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own /proc")
def test_a_real_child_counts_while_it_runs_and_after_it_has_ended() -> None:
    def used() -> float:
        return local_surroundings._family_busy_s(Path("/proc"), os.getpid())

    before = used()
    burn = "import time\nwhile time.process_time() < 0.4: pass\nprint('done', flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        running = used()
        child.communicate(b"\n")
    assert running - before >= 0.38
    assert used() - before >= 0.38
