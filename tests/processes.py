"""Processes and their descendants, as the kernel tells of them."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

GONE_S = 10.0
"""For processes that were told to end, on a busy machine."""


def children(pid: int) -> list[int]:
    """The children of a process, whichever of its threads started them."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended before its threads could be listed
        for thread in list(Path(f"/proc/{pid}/task").glob("*")):
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, (thread / "children").read_text().split())
    return found


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for member in found:
        found += children(member)
    return found


def busy_child(pid: int, cpu_s: float) -> int | None:
    """The descendant of a process that has no children and has taken that much processor time, if there is one."""
    for member in family(pid)[1:]:
        if not children(member) and _cpu_s(member) >= cpu_s:
            return member
    return None


def peak_mib(pid: int) -> float:
    """The most memory that a process has had resident so far; 0 if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def alive(pids: Iterable[int]) -> list[int]:
    """Those that still run; a zombie whose new parent has not looked after it yet does not."""
    return [pid for pid in pids if _state(pid) not in {"Z", "X", ""}]


def still_alive(pids: Collection[int], within_s: float = GONE_S) -> list[int]:
    """Those that still run after a while."""
    deadline = time.monotonic() + within_s
    while alive(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive(pids)


def orphans(known: Collection[int], within_s: float = GONE_S) -> list[str]:
    """What still runs after a while of the descendants of processes that have ended.

    This process must be their subreaper, so that they are its children; ``known`` are those it started itself.
    """
    strangers = [pid for pid in children(os.getpid()) if pid not in known]
    return [f"{pid}: {_command(pid)}" for pid in unburied(strangers, within_s)]


def unburied(pids: Collection[int], within_s: float = GONE_S) -> list[int]:
    """Those that still run after a while, in which this process reaps what has become its child.

    The first process of a pid namespace ends when all others in it are reaped. Not for what ``subprocess`` waits for.
    """
    deadline = time.monotonic() + within_s
    while True:
        for pid in pids:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        left = alive(pids)
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _cpu_s(pid: int) -> float:
    with suppress(FileNotFoundError, ProcessLookupError):
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _command(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""
