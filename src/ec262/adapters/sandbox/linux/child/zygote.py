"""The process that children are forked from: everything is imported in it, and no secret ever was.

It does what the worker says over its control socket, and dies when that closes. It never sees a job: a child's stream
passes through its hands unread.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import socket
from collections.abc import Sequence

from ec262.adapters.sandbox.linux import frames, policy
from ec262.adapters.sandbox.linux.child import kernel, lockdown
from ec262.adapters.sandbox.linux.child.preload import preload
from ec262.adapters.sandbox.linux.child.task import RESERVE_BYTES, Child


class Zygote:
    """Lives as long as its worker."""

    def __init__(self, *, control: int, worker: int) -> None:
        """``control`` is the descriptor of the socket to the worker, ``worker`` its process id."""
        self._control = socket.socket(fileno=control)
        self._worker = worker
        self._program = b""
        self._space = 0
        self._children: dict[int, tuple[int, int]] = {}  # pidfd -> number, process id

    def live(self, packages: Sequence[str]) -> None:
        """Get ready, then fork children as told until the worker is gone."""
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            self._get_ready(packages)
            self._control.send(frames.READY)
            self._serve()
        except (BrokenPipeError, ConnectionResetError):  # the worker is gone
            pass
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker has to know
            self._control.send(frames.UNFIT + (str(error) or repr(error)).encode(errors="replace"))
        finally:
            self._end_children()

    def _get_ready(self, packages: Sequence[str]) -> None:
        preload(packages)
        if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - pathlib is not worth its import here
            raise OSError(f"a package among {', '.join(packages)} starts threads, which children cannot be forked with")
        lockdown.settle(self._worker)
        self._program = self._control.recv(frames.MAX_MESSAGE_BYTES)
        if not kernel.can_filter():
            raise OSError(policy.NO_SECCOMP)
        try:
            os.close(os.pidfd_open(os.getpid()))
        except OSError as error:
            raise OSError(f"pidfd_open(2), which Linux has since 5.3, is missing or forbidden ({error})") from error
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 2)  # until now, whoever started this wanted to know what went wrong
        os.close(null)
        gc.freeze()  # a child's collector shall not touch, and so copy, what all share
        gc.enable()
        self._space = lockdown.address_space()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor != self._control.fileno():
                    poll.unregister(descriptor)
                    self._tell_exit(descriptor)
                    continue
                message, streams, _, _ = socket.recv_fds(self._control, frames.MAX_MESSAGE_BYTES, 1)
                if not message:
                    return
                number, memory_bytes, cpu_s = frames.FORK_FIELDS.unpack(message)
                try:
                    pidfd = self._fork(streams[0], number, memory_bytes, cpu_s)
                except (IndexError, OSError) as error:  # no descriptor or no process left
                    self._control.send(frames.NOT_FORKED + frames.NUMBER.pack(number) + str(error).encode())
                else:
                    poll.register(pidfd, select.POLLIN)
                finally:
                    for stream in streams:
                        os.close(stream)

    def _fork(self, stream: int, number: int, memory_bytes: int, cpu_s: float) -> int:
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                self._control.detach()
                space = self._space + RESERVE_BYTES + memory_bytes
                Child().serve(lockdown.Confinement(stream, zygote, space, cpu_s, self._program))
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


def _children_cpu_s() -> float:
    """Return what all children that were waited for have used (wait4 would import a module, too late for that)."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
