"""``ec262 worker --check``: prints the limits and tests the sandbox, without contacting discovery."""

from __future__ import annotations

import asyncio
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

import attrs

from ec262.adapters.jobs.local_runtime import local_python
from ec262.adapters.jobs.pickling import pickle_by_value
from ec262.adapters.machine.capacity import NO_LIMIT, Machine, group_limits, local_machine
from ec262.adapters.machine.local_surroundings import LocalSurroundings
from ec262.adapters.sandbox.tier import AttemptedAct, Layer
from ec262.domain.errors import ConfigurationError, Ec262Error, SandboxError
from ec262.domain.ports.sandbox import Sandbox
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Pairs, decode_outcome
from ec262.domain.work.work import Phase, Work
from ec262.entrypoints.shared.command import complain, tell
from ec262.entrypoints.shared.settings import NO_SANDBOX, UNSAFE_SANDBOX, WorkerSettings
from ec262.entrypoints.worker.bootstrap_worker import build_sandbox, room_for_results
from ec262.version import __version__

IMPORTED = "can be imported"

_OBSERVE_S = 1.0


@runtime_checkable
class Inspectable(Protocol):
    """A sandbox that can describe its layers."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers that the machine provides, once the sandbox has started."""
        ...

    async def witness(self) -> Sequence[AttemptedAct]:
        """Run a job that tries what no job may do. Raises SandboxUnavailable."""
        ...


async def check_worker(settings: WorkerSettings) -> int:
    """Print the check; return 0 if a worker with these settings can serve, else 2 after printing the problems."""
    tell(f"ec262 {__version__} worker: {sys.implementation.name} {platform.python_version()}, {platform.platform()}")
    _section("limits", _limits(settings))
    missing = [name for name in settings.allow if _find(name) is None]
    problems = [f"the package {name} is not installed: install it, or remove it from --allow" for name in missing]
    there = tuple(name for name in settings.allow if name not in missing)
    for check in (_check_room, _check_times, _check_sandbox):
        try:
            await check(attrs.evolve(settings, allow=there))
        except Ec262Error as error:
            problems.append(str(error))
    if settings.sandbox == UNSAFE_SANDBOX:
        complain(NO_SANDBOX)
    if problems:
        tell("\nproblems")
    for problem in problems:
        tell(f"  {problem}")
    tell("this machine cannot serve" if problems else "this machine can serve")
    return 2 if problems else 0


# --- limits and times -----------------------------------------------------------------------------------------------


def _limits(settings: WorkerSettings) -> Iterator[tuple[str, str]]:
    limits, machine = settings.limits, local_machine()
    yield "slots", f"{settings.slots} tasks at a time, on {machine.processors:g} processors"
    yield "memory", f"{settings.memory_limit_mib} MiB per task{_of_all_memory(settings, machine)}"
    yield "control group", _group()
    yield "processor time", f"{limits.cpu_s:g} s per task"
    yield "wall time", f"{limits.wall_s:g} s per task"
    yield "output", f"{settings.output_limit_mib} MiB per task, and {limits.log_bytes >> 10} KiB of log"
    yield "waiting results", f"{settings.results_limit_mib} MiB in total, on disk, encrypted"
    yield "niceness", f"{settings.nice}"
    yield "lease", f"{settings.lease:g} s"


def _of_all_memory(settings: WorkerSettings, machine: Machine) -> str:
    if machine.memory_bytes == NO_LIMIT:
        return ""
    most, there = settings.slots * settings.memory_limit_mib, int(machine.memory_bytes) >> 20
    too_much = ", WHICH IS NOT ENOUGH: lower --slots or --memory-limit" if most > there else ""
    return f", at most {most} of the {there} MiB available{too_much}"


def _group() -> str:
    group = group_limits()
    if group.memory_bytes == NO_LIMIT:
        memory = "no memory limit for the worker and all its tasks (docs/sandbox.md explains how to set one)"
    else:
        memory = f"at most {int(group.memory_bytes) >> 20} MiB for the worker and all its tasks"
    return memory + ("" if group.processes == NO_LIMIT else f", and {group.processes:.0f} processes and threads")


async def _check_room(settings: WorkerSettings) -> None:
    """Print where results wait. Raises ConfigurationError if there is no room for one result."""
    folder, free_bytes = room_for_results(settings)
    free = f"{free_bytes >> 20} MiB are free"
    if free_bytes < settings.results_limit_mib << 20:
        free += f", less than the {settings.results_limit_mib} MiB that they may take"
    _section("folder for waiting results", [(str(folder), free)])


async def _check_times(settings: WorkerSettings) -> None:
    """Print when this machine is lent. Raises ConfigurationError if its use cannot be observed."""
    rule = settings.availability
    hours = f"{', '.join(map(str, rule.hours))}, local time" if rule.hours else "around the clock"
    idle = "not required"
    if rule.idle is not None:
        minutes, share = settings.idle_minutes, rule.idle.load
        idle = f"while others use less than {share:.0%} of the processors, and {minutes:g} minutes after the last input"
    surroundings = LocalSurroundings(idleness=settings.when_idle)
    moment = await surroundings.observe()
    if settings.when_idle:
        await asyncio.sleep(_OBSERVE_S)
        moment = await surroundings.observe()
    now = rule.obstacle(moment) or "available"
    if moment.others_load is not None:
        now += f" (others use {moment.others_load:.0%}, last input {moment.input_idle_s / 60:.0f} minutes ago)"
    _section("availability", [("hours", hours), ("idleness", idle), ("now", now)])


# --- the sandbox ----------------------------------------------------------------------------------------------------


async def _check_sandbox(settings: WorkerSettings) -> None:
    """Start the sandbox, print its layers, and run jobs in it. Raises SandboxUnavailable, ConfigurationError."""
    sandbox = build_sandbox(attrs.evolve(settings, nice=0))  # a check must not wait for an idle machine
    try:
        await sandbox.start()
        runtime = sandbox.runtime
        _section("runs jobs for", [("Python", str(runtime.python)), ("machine", runtime.machine)])
        if isinstance(sandbox, Inspectable):
            _section(f"sandbox: {settings.sandbox}, {_tier(sandbox.layers)}", map(_layer, sandbox.layers))
            findings = await sandbox.witness()
            _section("a job that tries to", [(finding.act, finding.told) for finding in findings])
        else:
            _section(f"sandbox: {settings.sandbox}", [])
        if runtime.python != local_python():
            # Pickles of this Python do not load there. The packages did load, or the sandbox would not have started.
            _section("an honest job", [("skipped", f"this Python is {local_python().version}")])
            return
        await _check_packages(sandbox, settings)
        await _check_honest_job(sandbox, settings)
    finally:
        await sandbox.close()


def _tier(layers: Sequence[Layer]) -> str:
    missing = [layer.name for layer in layers if not layer.in_force]
    return f"without {' and '.join(missing)}" if missing else "all layers"


def _layer(layer: Layer) -> tuple[str, str]:
    in_force = "in force" if layer.in_force else "NOT in force"
    return layer.name, f"{in_force}: {layer.detail}" if layer.detail else in_force


async def _check_packages(sandbox: Sandbox, settings: WorkerSettings) -> None:
    told = await _run(sandbox, settings, import_package, [[name, None] for name in settings.allow])
    rest = "everything that is installed" if settings.sandbox == UNSAFE_SANDBOX else "the harmless part of it"
    _section("what jobs may import", [*told, ("standard library", rest)])
    broken = [f"{name} ({text})" for name, text in told if not text.startswith(IMPORTED)]
    if broken:
        raise ConfigurationError(f"jobs cannot import packages that are allowed: {'; '.join(broken)}")


async def _check_honest_job(sandbox: Sandbox, settings: WorkerSettings) -> None:
    began = time.perf_counter()
    pairs = await _run(sandbox, settings, count_words, [[1, "Humpty Dumpty sat on a wall"]])
    if pairs != [("words", 6)]:
        raise ConfigurationError(f"the sandbox returns wrong results: it counted six words as {pairs}")
    _section("an honest job", [("counts words", f"correct, in {(time.perf_counter() - began) * 1e3:.0f} ms")])


async def _run(sandbox: Sandbox, settings: WorkerSettings, mapper: Any, rows: list[list[Any]]) -> list[tuple[Any, Any]]:
    functions = pickle_by_value({"mapper": mapper}, __name__)
    work = Work(phase=Phase.MAP, functions=functions, rows=canonical.encode(rows), seed=0)
    try:
        computed = await sandbox.run(work, settings.limits)
    except SandboxError as error:
        raise ConfigurationError(f"the sandbox cannot compute with these limits: {error}") from error
    outcome = decode_outcome(computed.outcome)
    if not isinstance(outcome, Pairs):
        told = computed.log.decode(errors="replace").strip()
        raise ConfigurationError(f"a job that any sandbox can compute failed in this one:\n{told}")
    return list(outcome.pairs)


def count_words(_key: object, text: str) -> Iterator[tuple[str, int]]:
    """Mapper of the honest job."""
    yield "words", len(text.split())


def import_package(name: str, _value: object) -> Iterator[tuple[str, str]]:
    """Mapper that reports whether a package can be imported."""
    import importlib

    try:
        version = vars(importlib.import_module(name)).get("__version__")
    except Exception as error:  # noqa: BLE001 - any error is reported
        yield name, f"cannot be imported: {error}"
    else:
        yield name, f"{IMPORTED}, version {version}" if isinstance(version, str) else IMPORTED


def _find(name: str) -> object | None:
    try:
        return find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        return None


def _section(title: str, lines: Iterable[tuple[str, str]]) -> None:
    table = list(lines)
    width = max((len(name) for name, _ in table), default=0)
    tell(f"\n{title}")
    for name, told in table:
        tell(f"  {name:{width}}  {told}")
