"""The sandbox of a worker on Linux."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Collection, Sequence
from functools import partial

import attrs

from ec262.adapters.jobs import local_runtime
from ec262.adapters.sandbox.linux.child.witness import ACTS, MORE_THAN_ITS_LIMIT_BYTES, REFUSED, attempt
from ec262.adapters.sandbox.linux.conversation import converse, last_words
from ec262.adapters.sandbox.linux.offspring import RequestedChild
from ec262.adapters.sandbox.linux.spare import Spare
from ec262.adapters.sandbox.linux.zygote import ZygoteProcess
from ec262.adapters.sandbox.self_test import SelfTest
from ec262.adapters.sandbox.tier import AttemptedAct, Layer
from ec262.domain.errors import SandboxBroken, SandboxCrashed, SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.terminal import printable
from ec262.domain.work.runtime import RuntimeClass
from ec262.domain.work.work import Computed, Limits, Work

DEPTH = frozenset({"landlock", "namespaces"})
"""Layers that not every machine has."""

_START_TIMEOUT_S = 30.0
_LAST_PRINT_BYTES = 300


WITNESS = SelfTest(
    attempt=attempt,
    acts=tuple(ACTS),
    refused=REFUSED,
    limits=Limits(cpu_s=10, wall_s=10, memory_bytes=MORE_THAN_ITS_LIMIT_BYTES // 4),
)


class LinuxSandbox:
    """Each task in a process of its own, forked from a clean one, and locked in by the kernel before the job is loaded.

    Belongs to the event loop that started it. Works for root, who becomes nobody inside, and for ordinary users.
    """

    name = "linux"

    def __init__(
        self,
        packages: Sequence[str] = (),
        *,
        nice: int = 0,
        hash_seed: int = 0,
        start_timeout_s: float = _START_TIMEOUT_S,
        without: Collection[str] = (),
    ) -> None:
        """``packages`` are what jobs may import beside the standard library's harmless part. ``nice`` is how much tasks
        give way to other processes, 0 to 19. With another ``hash_seed`` results are no longer comparable: that is for
        finding out what depends on it. ``without`` leaves out layers of ``DEPTH``, for tests: without the other layers
        no machine has a sandbox.
        """
        if not DEPTH.issuperset(without):
            raise ValueError(f"layers that can be left out are {', '.join(sorted(DEPTH))}, not {', '.join(without)}")
        self._packages = tuple(packages)
        self._start = partial(
            ZygoteProcess.start, timeout_s=start_timeout_s, hash_seed=hash_seed, without=frozenset(without)
        )
        self._nice = nice
        self._zygote: ZygoteProcess | None = None
        self._folders: list[bytes] = []
        self._starting = asyncio.Lock()
        self._spare: Spare | None = None

    @property
    def runtime(self) -> RuntimeClass:
        """This interpreter's, on this machine."""
        return local_runtime.runtime_class(self.name)

    @property
    def layers(self) -> Sequence[Layer]:
        """What the machine gave, the layers that must be first; nothing before the start."""
        return self._zygote.layers if self._zygote is not None else ()

    async def witness(self) -> Sequence[AttemptedAct]:
        """Have a job try what no job may do, as each start does. Raises SandboxUnavailable if it cannot even run."""
        return await WITNESS.findings(self)

    async def start(self) -> None:
        """Start the process that all children come from, and see the sandbox hold. Raises SandboxUnavailable."""
        if sys.platform != "linux":
            raise SandboxUnavailable(f"the sandbox named linux needs Linux, and this is {sys.platform}")
        self._zygote = await self._start(self._packages)
        self._folders = sorted((os.fsencode(folder) + b"/" for folder in self._zygote.folders), key=len, reverse=True)
        try:
            await WITNESS.check(self)
            self._give_way(self._zygote)  # from now on: on a busy machine it would not get ready
            self._spare = Spare(self._fork)
            self._spare.prepare(Limits())
        except BaseException:
            await self.close()
            raise

    async def run(self, work: Work, limits: Limits) -> Computed:
        """Run one task to its end. Raises SandboxLimitExceeded, SandboxCrashed, SandboxBroken."""
        child: RequestedChild | None = None
        try:
            async with asyncio.timeout(limits.wall_s):
                child = await self._child_for(limits)
                computed = await converse(child, work, limits)
                return attrs.evolve(computed, log=self._without_folders(computed.log))
        except TimeoutError:
            where = await last_words(child) if child else ""
            raise SandboxLimitExceeded("wall", f"{limits.wall_s:g} s of time{where}{self._last_print(child)}") from None
        except SandboxLimitExceeded as error:
            raise SandboxLimitExceeded(error.limit, error.detail + self._last_print(child)) from error
        except SandboxCrashed as error:
            raise SandboxCrashed(f"{error}{self._last_print(child)}") from error
        finally:
            if child:
                child.kill()
            if self._spare:
                self._spare.prepare(limits)  # while the result is on its way, and the next task on its

    async def close(self) -> None:
        """Kill what still runs, and wait until all is gone. May be called twice."""
        zygote, self._zygote = self._zygote, None
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()
        if zygote is not None:
            await zygote.close()

    async def _child_for(self, limits: Limits) -> RequestedChild:
        spare = await self._spare.take(limits) if self._spare else None
        return spare or await self._fork(limits)

    async def _fork(self, limits: Limits) -> RequestedChild:
        zygote = await self._living_zygote()
        try:
            return await zygote.fork(limits)
        except SandboxBroken:
            if zygote.alive:
                raise
        # It had died unnoticed.
        return await (await self._living_zygote()).fork(limits)

    async def _living_zygote(self) -> ZygoteProcess:
        """Return the zygote, another one if it has died. Raises SandboxBroken."""
        async with self._starting:
            if self._zygote is None:
                raise SandboxBroken("the sandbox is not open")
            if not self._zygote.alive:
                await self._zygote.close()
                try:
                    self._zygote = await self._start(self._packages)
                    self._give_way(self._zygote)
                except SandboxUnavailable as error:
                    raise SandboxBroken(
                        f"the sandbox's own process died and cannot be started again: {error}"
                    ) from error
            return self._zygote

    def _give_way(self, zygote: ZygoteProcess) -> None:
        try:
            zygote.priority.lower(self._nice)
        except OSError as error:
            raise SandboxUnavailable(f"the priority of tasks cannot be lowered: {error}") from error

    def _last_print(self, child: RequestedChild | None) -> str:
        """Return what a job that gives no result has printed last: its log is lost with it."""
        log = self._without_folders(child.printed()) if child else b""
        printed = printable(log[-_LAST_PRINT_BYTES:].decode(errors="replace")).strip()
        return f'; it last printed "{printed}"' if printed else ""

    def _without_folders(self, log: bytes) -> bytes:
        """Leave out where this machine has its library, as in tracebacks and warnings: that is not the job's business,
        and may name the user."""
        for folder in self._folders:
            log = log.replace(folder, b"")
        return log
