"""Leave the machine's namespaces for new ones with nothing in them, as far as the machine allows that.

Depth behind the filter: a call that slipped through would find no file, no network, nobody else's process.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from ec262.adapters.sandbox.linux.child import kernel

PID = "pid"

_FLAGS = {
    "user": 0x1000_0000,
    "mount": 0x0002_0000,
    "net": 0x4000_0000,
    "ipc": 0x0800_0000,
    "uts": 0x0400_0000,
    PID: 0x2000_0000,
}
"""Kinds, in the order in which they are left: a user namespace of its own entitles a process to the others."""

_EMPTY = kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC


class Namespaces:
    """Which kinds this process has left, and why not the others."""

    def __init__(self, *, denied: bool = False) -> None:
        """``denied`` has it leave none."""
        self.left: list[str] = []
        self._missing = {} if denied else dict.fromkeys(_FLAGS, "")
        self._denied = denied

    def leave(self, *, as_root: bool = False) -> None:
        """Leave those that it can and has not yet. ``as_root`` without a user namespace, which would not help root.

        Never raises. For the pid namespace it holds for the processes that are forked from now on.
        """
        for kind in [kind for kind in self._missing if not (as_root and kind == "user")]:
            try:
                kernel.unshare(_FLAGS[kind])
                _FURNISH.get(kind, _nothing)()
            except OSError as error:
                self._missing[kind] = str(error.strerror)
            else:
                self.left.append(kind)
                del self._missing[kind]

    @property
    def detail(self) -> str:
        """Say which are left, and why not the others: "user mount pid; no net: Operation not permitted"."""
        if self._denied:
            return "not wanted"
        told = [" ".join(kind for kind in _FLAGS if kind in self.left)] if self.left else []
        for reason in dict.fromkeys(self._missing.values()):
            kinds = " ".join(kind for kind, why in self._missing.items() if why == reason)
            told.append(f"no {kinds}: {reason}")
        return "; ".join(told)


def _empty_root() -> None:
    """Put an empty, read-only file system in place of all files."""
    kernel.mount(b"none", b"/", b"", kernel.MS_REC | kernel.MS_PRIVATE)  # what is mounted from here stays here
    kernel.mount(
        b"none", b"/proc", b"tmpfs", _EMPTY, b"size=4k,nr_inodes=2,mode=0555"
    )  # a folder that each machine has
    os.chdir("/proc")
    kernel.make_root()
    os.chdir("/")


def _nothing() -> None:
    """Nothing to furnish: other new namespaces are empty by themselves."""


_FURNISH: dict[str, Callable[[], None]] = {"mount": _empty_root}
