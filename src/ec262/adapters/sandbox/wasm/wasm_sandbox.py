"""The portable sandbox: CPython in WebAssembly, in a process for each task."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from ec262.adapters.jobs.local_runtime import cloudpickle_series
from ec262.adapters.sandbox.self_test import SelfTest
from ec262.adapters.sandbox.tier import AttemptedAct, Layer
from ec262.adapters.sandbox.wasm.guest.witness import ACTS, REFUSED, attempt
from ec262.adapters.sandbox.wasm.guests import choose_guest
from ec262.adapters.sandbox.wasm.host_process import HostProcess
from ec262.adapters.sandbox.wasm.image_store import Prepared, engine_version, prepare
from ec262.domain.errors import SandboxBroken, SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.values import canonical
from ec262.domain.work.runtime import PythonTag, RuntimeClass
from ec262.domain.work.work import Computed, Limits, Work

logger = logging.getLogger(__name__)

_START_TIMEOUT_S = 300.0
"""The first start on a machine compiles the guest: seconds here, minutes on a small machine."""


WITNESS = SelfTest(
    attempt=attempt, acts=tuple(ACTS), refused=REFUSED, limits=Limits(cpu_s=10, wall_s=30, memory_bytes=16 << 20)
)


class WasmSandbox:
    """Each task in a CPython of its own, within a WebAssembly engine, within a process of its own.

    Works on every system that wasmtime works on. The guest's Python need not be this one: ``runtime`` tells which
    foremen it serves. Belongs to the event loop that started it.
    """

    name = "wasm"

    def __init__(
        self,
        packages: Sequence[str] = (),
        *,
        python: str | None = None,
        nice: int = 0,
        start_timeout_s: float = _START_TIMEOUT_S,
    ) -> None:
        """``packages`` are what jobs may import beside the standard library: pure Python, installed here, and all that
        they import named as well. ``python`` is the guest's version ("3.12"); by default it is this interpreter's where
        there is such a guest, else the newest. ``nice`` is how much tasks give way to other processes, 0 to 19.

        Raises SandboxUnavailable if the extra ``wasm`` is not installed.
        """
        self._packages = tuple(packages)
        self._nice = nice
        self._program = _seccomp_program()
        self._start_timeout_s = start_timeout_s
        self._engine = engine_version()
        self._guest = choose_guest(int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little"), python)
        self._prepared: Prepared | None = None
        self._spare: HostProcess | None = None
        self._preparing = False
        self._hosts: set[HostProcess] = set()
        self._background: set[asyncio.Task[None]] = set()

    @property
    def runtime(self) -> RuntimeClass:
        """What results of this sandbox can be compared with: the same guest's in the same engine, on any machine."""
        return RuntimeClass(
            python=PythonTag(
                implementation="cpython",
                magic=self._guest.magic,
                cloudpickle=cloudpickle_series(),
                version=self._guest.minor,
            ),
            machine="wasm32",
            sandbox=f"{self.name}-{self._guest.version}-wasmtime{self._engine.partition('.')[0]}",
            canonical_format=canonical.FORMAT,
        )

    @property
    def layers(self) -> Sequence[Layer]:
        """What keeps jobs in: the engine, and what this machine has to put around it."""
        guest = f"wasmtime {self._engine}, CPython {self._guest.version}: for foremen on Python {self._guest.minor}"
        engine = Layer(name="webassembly", in_force=True, detail=guest)
        around = Layer(name="seccomp", in_force=True, detail="as in the Linux sandbox, around the engine")
        return (engine, around) if self._program else (engine,)

    async def witness(self) -> Sequence[AttemptedAct]:
        """Have a job try what no job may do, as each start does. Raises SandboxUnavailable if it cannot even run."""
        return await WITNESS.findings(self)

    async def start(self) -> None:
        """Prepare the guest, if that was not done before, and see the sandbox hold. Raises SandboxUnavailable."""
        self._prepared = await self._prepare(anew=False)
        try:
            await self._try_out()
        except BaseException:
            await self.close()
            raise

    async def run(self, work: Work, limits: Limits) -> Computed:
        """Run one task to its end. Raises SandboxLimitExceeded, SandboxCrashed, SandboxBroken."""
        host: HostProcess | None = None
        try:
            async with asyncio.timeout(limits.wall_s):
                host = await self._take()
                await host.ready()
                return await host.compute(work, limits)
        except TimeoutError:
            where = await host.last_words() if host else ""
            raise SandboxLimitExceeded("wall", f"{limits.wall_s:g} s of time{where}") from None
        finally:
            if host:
                self._end(host)

    async def close(self) -> None:
        """Kill what still runs, and wait until all is gone. May be called twice."""
        prepared, self._prepared = self._prepared, None
        self._spare = None
        for host in list(self._hosts):
            self._end(host)
        while self._background:
            await asyncio.wait(self._background)
        if prepared is not None:
            prepared.remove()

    async def _prepare(self, *, anew: bool) -> Prepared:
        return await prepare(self._guest, self._packages, anew=anew, timeout_s=self._start_timeout_s)

    async def _try_out(self) -> None:
        """See the sandbox hold; with files that were found, and do not serve, once more with new ones."""
        try:
            await WITNESS.check(self)
        except SandboxUnavailable as error:
            if self._prepared is None or self._prepared.new:
                raise
            logger.info("rebuilding the guest: %s", error)
            self._put_away_spare()
            self._prepared = await self._prepare(anew=True)
            await WITNESS.check(self)

    async def _take(self) -> HostProcess:
        """Return a process for a task, the one that waits for it if there is one. Raises SandboxBroken."""
        host, self._spare = self._spare, None
        if host is None or not host.alive:
            host = await self._new_host()
        if self._spare is None and not self._preparing:
            self._preparing = True
            self._do(self._have_a_spare())
        return host

    async def _new_host(self) -> HostProcess:
        if self._prepared is None:
            raise SandboxBroken("the sandbox is not open")
        prepared = self._prepared
        prepared.mark_used()
        host = await HostProcess.start(prepared.module, prepared.image, nice=self._nice, program=self._program)
        self._hosts.add(host)
        return host

    async def _have_a_spare(self) -> None:
        """Start a process for the next task, so that it need not wait for one."""
        try:
            host = await self._new_host()
        except SandboxBroken as error:  # the next task will hear of it
            logger.debug("no process for the next task: %s", error)
        else:
            self._spare = host
            if self._prepared is None:  # closed meanwhile
                self._put_away_spare()
        finally:
            self._preparing = False

    def _put_away_spare(self) -> None:
        host, self._spare = self._spare, None
        if host is not None:
            self._end(host)

    def _end(self, host: HostProcess) -> None:
        host.end()
        if host in self._hosts:
            self._hosts.remove(host)
            self._do(host.gone())

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(what)
        self._background.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a process of the sandbox: %s", error, exc_info=error)


def _seccomp_program() -> bytes:
    """Return the Linux sandbox's filter, as depth behind the engine; nothing where there is none."""
    if sys.platform != "linux":
        return b""
    from ec262.adapters.sandbox.linux.child.kernel import can_filter  # noqa: PLC0415 - exists on Linux only
    from ec262.adapters.sandbox.linux.seccomp.policy import seccomp_program  # noqa: PLC0415 - likewise

    try:
        return seccomp_program() if can_filter() else b""
    except SandboxUnavailable:
        return b""
