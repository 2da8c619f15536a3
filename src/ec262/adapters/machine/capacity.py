"""How much of this machine this process may use: processors and memory, as the kernel, its control groups (cgroups(7),
versions 1 and 2) and the affinity of processes limit them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

NO_LIMIT = float("inf")

_HARD_LIMITS = "memory.max", "memory.limit_in_bytes"
"""On memory, in version 2 and version 1."""


@attrs.frozen(kw_only=True)
class Machine:
    """``processors`` need not be whole: a quota may be a quarter of one. ``memory_bytes`` is infinite if unknown."""

    processors: float
    memory_bytes: float

    @property
    def whole_processors(self) -> int:
        """Return how many tasks can be computed at a time, at least one."""
        return max(1, int(self.processors))


@attrs.frozen(kw_only=True)
class GroupLimits:
    """What control groups leave to this process together with all that it starts; infinite where there is no limit."""

    memory_bytes: float
    processes: float


def group_limits(proc: Path = Path("/proc")) -> GroupLimits:
    """Return the hard limits of the control groups around this process. What cannot be read limits nothing."""
    folders = list(_groups(proc))
    memory = min((limit for folder in folders for limit in _numbers(folder, *_HARD_LIMITS)), default=NO_LIMIT)
    return GroupLimits(
        memory_bytes=memory if memory < _physical_bytes() else NO_LIMIT,  # version 1 has a huge number for none
        processes=min((limit for folder in folders for limit in _numbers(folder, "pids.max")), default=NO_LIMIT),
    )


def local_machine(proc: Path = Path("/proc")) -> Machine:
    """Return what this process may use now. What cannot be read limits nothing."""
    quotas, limits = [float(_processors())], [_physical_bytes()]
    for folder in _groups(proc):
        quotas += _quotas(folder)
        limits += _numbers(folder, *_HARD_LIMITS, "memory.high")
    return Machine(processors=min(quotas), memory_bytes=min(limits))


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _physical_bytes() -> float:
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):  # another system
        return NO_LIMIT


def _groups(proc: Path) -> Iterator[Path]:
    """Yield the folders of the control groups that this process is in, and of those around them: each may limit it."""
    with suppress(OSError, ValueError, IndexError):
        paths: dict[str, str] = {}
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path)  # that of version 2 has no name
        for line in (proc / "self/mountinfo").read_text().splitlines():
            mount, _, kind = line.partition(" - ")
            root, point = mount.split()[3:5]
            system, _, options = kind.split(" ", 2)
            names = [""] if system == "cgroup2" else options.split(",") if system == "cgroup" else []
            for name in paths.keys() & names:
                yield from _folders(Path(point), root, paths[name])


def _folders(point: Path, root: str, path: str) -> Iterator[Path]:
    """Yield a group's folder and those around it, below a mount point that shows the groups from ``root`` on."""
    below = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path()
    for folder in (below, *below.parents):
        yield point / folder


def _quotas(folder: Path) -> Iterator[float]:
    """Yield how many processors a group may use, if that is limited."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()  # version 2
        yield float(quota) / float(period)
    with suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))  # version 1
        if float(quota) > 0:
            yield float(quota) / float(period)


def _numbers(folder: Path, *names: str) -> Iterator[float]:
    """Yield the limits that files of a group contain, without those that are "max", for none."""
    for name in names:
        with suppress(OSError, ValueError):
            yield float((folder / name).read_text())
