"""The process that children are forked from: everything is imported in it, and no secret ever was.

It does what the worker says over its control socket, and dies when that closes. It never sees a job: a child's stream
passes through its hands unread.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from ec262.adapters.sandbox.linux.child import frames, kernel, lockdown
from ec262.adapters.sandbox.linux.child.lockdown import Confinement
from ec262.adapters.sandbox.linux.child.namespaces import PID
from ec262.adapters.sandbox.linux.child.preload import preload
from ec262.adapters.sandbox.linux.child.task import Child
from ec262.adapters.sandbox.linux.seccomp import policy

GARBAGE_THRESHOLD = 20_000
"""Objects between two looks for garbage in a task: it makes pairs by the million, of which none is garbage."""


class _Init(NamedTuple):
    """The first process of the tasks' pid namespace: when its stream closes it ends, and all there with it."""

    pid: int
    stream: socket.socket


class Zygote:
    """Lives as long as its worker."""

    def __init__(self, *, control: int) -> None:
        """``control`` is the descriptor of the socket to the worker."""
        self._control = socket.socket(fileno=os.dup(control))  # a low number, which the child's closing gets to
        os.close(control)
        self._mould = Confinement(
            stream=-1, log=-1, parent=os.getpid(), address_space=0, cpu_s=0, landlock=0, program=b""
        )
        self._child = Child()
        self._init: _Init | None = None
        self._children: dict[int, tuple[int, int]] = {}  # pidfd -> number, process id

    def live(self, order: dict[str, Any]) -> None:
        """Get ready, then fork children as told until the worker is gone. The order is used up: jobs could find it."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            layers = self._get_ready(order.pop("packages"), order.pop("without"), worker=order.pop("worker"))
            self._control.send(frames.READY + json.dumps(layers).encode())
            self._serve()
        except (BrokenPipeError, ConnectionResetError):  # the worker is gone
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker has to know
            self._control.send(frames.UNFIT + (str(error) or repr(error)).encode(errors="replace"))
        finally:
            self._end_children()

    def _get_ready(
        self, packages: Sequence[str], without: Sequence[str], *, worker: int
    ) -> list[tuple[str, bool, str]]:
        """Return the layers: name, whether it is in force, detail."""
        preload(packages)
        space = lockdown.address_space()  # no file can be read any more once this process has settled
        null = os.open(os.devnull, os.O_RDWR)
        lockdown.volunteer_for_oom()
        depth = lockdown.settle(worker, without=without)
        program = self._control.recv(frames.MAX_MESSAGE_BYTES)
        if not kernel.can_filter():
            raise OSError(policy.NO_SECCOMP)
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError as error:
            raise OSError(f"pidfd_open(2), which Linux has since 5.3, is missing or forbidden ({error})") from error
        os.dup2(null, 2)  # until now, whoever started this wanted to know what went wrong
        os.close(null)
        gc.freeze()  # a child's collector shall not touch, and so copy, what all share
        gc.set_threshold(GARBAGE_THRESHOLD, 10, 10)
        gc.enable()
        self._mould = self._mould._replace(address_space=space, landlock=depth.landlock, program=program)
        if PID in depth.namespaces.left:
            self._mould = self._mould._replace(parent=0)  # as seen from there
            self._start_init()
        return [
            ("seccomp", True, f"{os.uname().machine}, an allowlist of {policy.COUNT} calls"),
            ("rlimits", True, "memory, processor time, files, descriptors, processes"),
            ("landlock", bool(depth.landlock), depth.landlock_detail),
            ("namespaces", bool(depth.namespaces.left), depth.namespaces.detail),
        ]

    def _start_init(self) -> None:
        """Fork the first process of the new pid namespace. All others there end with it, and it with this one."""
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError as error:
            raise OSError(f"the first process of the tasks' pid namespace cannot be started: {error}") from error
        if pid == 0:
            try:
                lockdown.lock_down(self._mould._replace(stream=theirs.fileno(), cpu_s=1))
                os.read(lockdown.STREAM, 1)  # nothing comes but the end
            finally:
                os._exit(0)
        theirs.close()
        self._init = _Init(pid, ours)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        if self._init is not None:
            poll.register(self._init.stream, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if self._init is not None and descriptor == self._init.stream.fileno():
                    raise OSError("the first process of the tasks' pid namespace ended, and all others with it")
                if descriptor != self._control.fileno():
                    poll.unregister(descriptor)
                    self._tell_exit(descriptor)
                    continue
                message, descriptors, _, _ = socket.recv_fds(self._control, frames.MAX_MESSAGE_BYTES, 2)
                if not message:
                    return
                number, memory_bytes, cpu_s = frames.FORK_FIELDS.unpack(message)
                try:
                    stream, log = descriptors
                    pidfd = self._fork(number, stream=stream, log=log, memory_bytes=memory_bytes, cpu_s=cpu_s)
                except (ValueError, OSError) as error:  # no descriptor or no process left
                    self._control.send(frames.NOT_FORKED + frames.NUMBER.pack(number) + str(error).encode())
                else:
                    poll.register(pidfd, select.POLLIN)
                finally:
                    for received in descriptors:
                        os.close(received)

    def _fork(self, number: int, *, stream: int, log: int, memory_bytes: int, cpu_s: float) -> int:
        space = self._mould.address_space + memory_bytes
        confinement = self._mould._replace(stream=stream, log=log, address_space=space, cpu_s=cpu_s)
        pid = os.fork()
        if pid == 0:
            self._children.clear()  # other tasks are none of its business
            try:
                self._child.serve(confinement)
            finally:  # whatever happened, a child never goes on as a zygote
                os._exit(1)
        try:
            pidfd = self._tell_fork(number, pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)  # nobody has waited for it: the id is still its own
            os.waitpid(pid, 0)
            raise
        self._children[pidfd] = (number, pid)
        return pidfd

    def _tell_fork(self, number: int, pid: int) -> int:
        pidfd = os.pidfd_open(pid)
        try:
            socket.send_fds(self._control, [frames.FORKED + frames.NUMBER.pack(number)], [pidfd])
        except OSError:
            os.close(pidfd)
            raise
        return pidfd

    def _tell_exit(self, pidfd: int) -> None:
        number, pid = self._children.pop(pidfd)
        before = _children_cpu_s()
        _, status = os.waitpid(pid, 0)
        os.close(pidfd)
        code = os.waitstatus_to_exitcode(status)
        self._control.send(frames.EXITED + frames.EXITED_FIELDS.pack(number, code, _children_cpu_s() - before))

    def _end_children(self) -> None:
        for pidfd, (_, pid) in self._children.items():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.waitpid(pid, 0)
        if self._init is not None:
            self._init.stream.close()
            os.waitpid(self._init.pid, 0)


def _children_cpu_s() -> float:
    """Return what all children that were waited for have used (wait4 would import a module, too late for that)."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
