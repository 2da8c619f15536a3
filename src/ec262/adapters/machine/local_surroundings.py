"""The clock on the wall, and whether somebody uses this machine, as Linux tells it (proc(5), loginctl(1))."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ec262.domain.errors import ConfigurationError
from ec262.domain.worker.availability import Moment

WINDOW_S = 60.0
"""What others use of the processors is averaged over so long: a start of a program is not yet somebody at work."""

_TICKS_A_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_LOGIND_S = 2.0


class LocalSurroundings:
    """Looks at this machine. Others are all processes but this one and its descendants."""

    def __init__(
        self, *, idleness: bool, proc: Path = Path("/proc"), devices: Path = Path("/dev"), window_s: float = WINDOW_S
    ) -> None:
        """Without ``idleness`` only the time of day is looked at, which every system can tell."""
        self._idleness = idleness
        self._proc = proc
        self._devices = devices
        self._window_s = window_s
        self._samples: deque[tuple[float, float]] = deque()

    async def observe(self) -> Moment:
        """Return what is known now. Raises ConfigurationError where idleness cannot be told."""
        return await asyncio.to_thread(self._observe)

    def _observe(self) -> Moment:
        local = time.localtime()
        minute = local.tm_hour * 60 + local.tm_min
        if not self._idleness:
            return Moment(minute=minute, others_load=None, input_idle_s=math.inf)
        try:
            load = self._others_load()
        except (OSError, ValueError, IndexError) as error:
            raise ConfigurationError(
                f"whether this machine is idle (--when-idle) is known from Linux's {self._proc}, "
                f"which cannot be read here: {error}"
            ) from error
        input_idle_s = min(_terminals_idle_s(self._devices), _desktop_idle_s())
        return Moment(minute=minute, others_load=load, input_idle_s=input_idle_s)

    def _others_load(self) -> float | None:
        """Return the share of all processors that others used within the window, None when first asked."""
        now = time.monotonic()
        busy_s, processors = _machine_busy_s(self._proc)
        self._samples.append((now, busy_s - _family_busy_s(self._proc, os.getpid())))
        while len(self._samples) > 2 and self._samples[1][0] <= now - self._window_s:  # noqa: PLR2004 - both ends
            self._samples.popleft()
        (began, before_s), (ended, after_s) = self._samples[0], self._samples[-1]
        if ended == began:
            return None
        return min(1.0, max(0.0, (after_s - before_s) / (ended - began) / processors))


def _machine_busy_s(proc: Path) -> tuple[float, int]:
    """Return the seconds that all processors were busy since the machine's start, and how many processors it has."""
    total, *lines = (proc / "stat").read_text().splitlines()
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts = map(int, total.split()[1:8])
    busy = user + nice + system + interrupts + soft_interrupts
    return busy / _TICKS_A_S, sum(line.startswith("cpu") for line in lines)


def _family_busy_s(proc: Path, root: int) -> float:
    """Return the seconds of processor time that a process and its descendants have used, those that ended included."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    used: dict[int, int] = {}
    for pid, parent, ticks in _processes(proc):
        children[parent].append(pid)
        used[pid] = ticks
    family = [root]
    for member in family:
        family += children[member]
    return sum(used.get(member, 0) for member in family) / _TICKS_A_S


def _processes(proc: Path) -> Iterator[tuple[int, int, int]]:
    """Yield id, parent's id, and ticks of processor time of each process, with those of its children that ended."""
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
                yield int(folder.name), int(fields[1]), sum(map(int, fields[11:15]))


def _terminals_idle_s(devices: Path) -> float:
    """Return how long nobody has typed at a terminal or console: the kernel notes that as the device's last access."""
    now, last = time.time(), -math.inf
    for terminal in (*devices.glob("tty[0-9]*"), *devices.glob("pts/[0-9]*")):
        with suppress(OSError):
            last = max(last, terminal.stat().st_atime)
    return max(0.0, now - last)


def _desktop_idle_s() -> float:
    """Return how long the desktop session at this machine's own screen says to be idle; infinite if there is none."""
    loginctl = shutil.which("loginctl")
    if loginctl is None:
        return math.inf
    question = [loginctl, "show-seat", "seat0", "--property=IdleHint", "--property=IdleSinceHint"]
    try:
        told = subprocess.run(question, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LOGIND_S, check=True)  # noqa: S603 - no word of it is a stranger's
    except (OSError, subprocess.SubprocessError):
        return math.inf
    return _since_hint(dict(line.split("=", 1) for line in told.stdout.decode(errors="replace").split() if "=" in line))


def _since_hint(told: Mapping[str, str]) -> float:
    """Return the seconds of idleness that logind tells: it counts microseconds since the epoch, 0 for no session."""
    if "IdleHint" not in told:
        return math.inf
    if told["IdleHint"] != "yes":
        return 0.0
    since = told.get("IdleSinceHint", "0")
    return max(0.0, time.time() - int(since) / 1e6) if since.isdecimal() else math.inf
