"""What an operating system adds to the engine, so that a way out of the engine would not lead far.

On Linux: no privileges, no files (Landlock), death with the worker, and the system call filter of the Linux sandbox. On
other kinds of Unix: hard limits. Nothing elsewhere: the engine is what keeps jobs in.
"""

from __future__ import annotations

import os
import sys

try:
    import resource
except ImportError:  # not Unix
    resource = None  # type: ignore[assignment]  # stands for a module that this system lacks
if sys.platform == "linux":
    from ec262.adapters.sandbox.linux.child.kernel import install_filter
    from ec262.adapters.sandbox.linux.child.lockdown import settle


def confine(worker: int, *, nice: int) -> None:
    """Give up what this process will not need, before it has threads. Raises OSError where that is not possible.

    ``worker`` is its parent's process id. Nothing can be imported from files afterwards.
    """
    if nice and hasattr(os, "nice"):
        os.nice(nice)
    if sys.platform == "linux":
        settle(worker, without={"namespaces"})  # a process that has gone to other namespaces can start no threads


def limit() -> None:
    """Have this process open no files, write none and start nothing, once it has its threads."""
    if resource is not None:
        for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC):
            resource.setrlimit(kind, (0, 0))


def filter_system_calls(program: bytes) -> None:
    """Let this thread make only the calls that a seccomp program allows, if there is one. Raises OSError."""
    if program and sys.platform == "linux":
        install_filter(program)
