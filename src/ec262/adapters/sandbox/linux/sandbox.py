"""The sandbox of a worker on Linux."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from ec262.adapters.sandbox.linux.conversation import converse, last_words
from ec262.adapters.sandbox.linux.offspring import Child
from ec262.adapters.sandbox.linux.witness import check_witness
from ec262.adapters.sandbox.linux.zygote import Zygote
from ec262.domain.errors import SandboxCrashed, SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.job import Computed, Limits, Work

_START_TIMEOUT_S = 30.0


class LinuxSandbox:
    """Each task in a process of its own, forked from a clean one, and locked in by the kernel before the job is loaded.

    Belongs to the event loop that started it. Works for root, who becomes nobody inside, and for ordinary users.
    """

    name = "linux"

    def __init__(self, packages: Sequence[str] = (), *, start_timeout_s: float = _START_TIMEOUT_S) -> None:
        """``packages`` are what jobs may import beside the standard library's harmless part."""
        self._packages = tuple(packages)
        self._start_timeout_s = start_timeout_s
        self._zygote: Zygote | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start the process that all children come from, and see the sandbox hold. Raises SandboxUnavailable."""
        if sys.platform != "linux":
            raise SandboxUnavailable(f"the sandbox named linux needs Linux, and this is {sys.platform}")
        self._zygote = await Zygote.start(self._packages, timeout_s=self._start_timeout_s)
        try:
            await check_witness(self)
        except BaseException:
            await self.close()
            raise

    async def run(self, work: Work, limits: Limits) -> Computed:
        """Run one task to its end. Raises SandboxLimitExceeded, SandboxCrashed."""
        child: Child | None = None
        try:
            async with asyncio.timeout(limits.wall_s):
                child = await self._fork(limits)
                return await converse(child, work, limits)
        except TimeoutError:
            where = await last_words(child) if child else ""
            raise SandboxLimitExceeded("wall", f"{limits.wall_s:g} s of time{where}") from None
        finally:
            if child:
                child.kill()

    async def close(self) -> None:
        """Kill what still runs, and wait until all is gone. May be called twice."""
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            await zygote.close()

    async def _fork(self, limits: Limits) -> Child:
        zygote = await self._living_zygote()
        try:
            return await zygote.fork(limits)
        except SandboxCrashed:
            if zygote.alive:
                raise
        # It had died unnoticed.
        return await (await self._living_zygote()).fork(limits)

    async def _living_zygote(self) -> Zygote:
        """Return the zygote, another one if it has died. Raises SandboxCrashed."""
        async with self._starting:
            if self._zygote is None:
                raise SandboxCrashed("the sandbox is not open")
            if not self._zygote.alive:
                await self._zygote.close()
                try:
                    self._zygote = await Zygote.start(self._packages, timeout_s=self._start_timeout_s)
                except SandboxUnavailable as error:
                    raise SandboxCrashed(
                        f"the sandbox's own process died and cannot be started again: {error}"
                    ) from error
            return self._zygote
