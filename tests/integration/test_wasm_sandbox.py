"""The portable sandbox with real guests in real processes: limits, ends, determinism, what is kept between starts."""

from __future__ import annotations

import asyncio
import os
import pwd
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ec262.adapters.jobs.local_runtime import local_python
from ec262.adapters.sandbox.wasm import host_process
from ec262.adapters.sandbox.wasm.wasm_sandbox import WasmSandbox
from ec262.domain.errors import SandboxBroken, SandboxCrashed, SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.work.work import Limits
from tests.portable import needs_guest
from tests.processes import alive, children, still_alive
from tests.sandbox_jobs import LIMITS, assert_serves, environment, failure_of, map_work, pairs_of, reduce_work

pytestmark = [needs_guest, pytest.mark.asyncio(loop_scope="module")]

Pair = tuple[Any, Any]


_strangers: set[int] = set()
"""Children of the tests' process that are none of the sandbox's: a database server, say."""


def engines() -> list[int]:
    """The sandbox's processes."""
    return [pid for pid in children(os.getpid()) if pid not in _strangers]


@pytest.fixture(scope="module", autouse=True)
def strangers() -> None:
    """Know who was there before."""
    _strangers.update(children(os.getpid()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(strangers: None) -> AsyncIterator[WasmSandbox]:
    box = WasmSandbox()
    await box.start()
    yield box
    await box.close()
    assert still_alive(engines()) == []


def spin(_key: Any, _value: Any) -> None:
    while True:
        pass


async def locked_in() -> tuple[int, list[dict[str, str]]]:
    """Wait until one process is ready for a task, both of its threads under their filter; return what the kernel tells
    of these."""
    async with asyncio.timeout(30):
        while True:
            for host in engines():
                threads = [status(thread) for thread in Path(f"/proc/{host}/task").glob("*")]  # noqa: ASYNC240 - nothing else goes on
                if [thread.get("Seccomp") for thread in threads] == ["2", "2"]:
                    return host, threads
            await asyncio.sleep(0.02)


def status(thread: Path) -> dict[str, str]:
    with suppress(OSError):
        return dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines())
    return {}


# --- what it is -------------------------------------------------------------------------------------------------------


async def test_its_runtime_is_the_guests_and_no_native_workers(sandbox: WasmSandbox) -> None:
    runtime = sandbox.runtime
    assert (runtime.python, runtime.machine) == (local_python(), "wasm32")
    assert runtime.sandbox.startswith(f"wasm-{local_python().version}.")
    assert runtime == WasmSandbox(["idna"]).runtime
    assert f"for foremen on Python {local_python().version}" in str(sandbox.layers[0])


async def test_results_of_another_engine_are_not_compared_with_its_own(
    sandbox: WasmSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_engine(version: str) -> WasmSandbox:
        monkeypatch.setattr("ec262.adapters.sandbox.wasm.wasm_sandbox.engine_version", lambda: version)
        return WasmSandbox()

    assert sandbox.runtime.sandbox.endswith(f"-wasmtime{own_major()}")
    assert with_engine(f"{own_major()}.9.9").runtime == sandbox.runtime
    assert with_engine(f"{own_major() + 1}.0.0").runtime != sandbox.runtime


def own_major() -> int:
    """Return the major version that the engine itself writes into what it compiles, before the target's name."""
    import wasmtime

    compiled = bytes(wasmtime.Module(wasmtime.Engine(), "(module)").serialize())
    found = re.search(rb"\x00[\x01-\x09](\d+)[\x01-\x7f]\w+-unknown-linux", compiled)
    assert found is not None
    return int(found[1])


async def test_a_job_finds_itself_on_a_machine_of_32_bits_and_no_files(sandbox: WasmSandbox) -> None:
    def look(key: str, _value: Any) -> Iterable[Pair]:
        import platform

        yield key, [sys.platform, platform.architecture()[0], sys.maxsize, dict(os.environ), str(Path.cwd())]

    ((_, seen),) = pairs_of(await sandbox.run(map_work(look), LIMITS))
    assert seen == ["wasi", "32bit", (1 << 31) - 1, {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC0"}, "/"]


async def test_the_witness_finds_that_it_holds(sandbox: WasmSandbox) -> None:
    findings = await sandbox.witness()
    assert len(findings) == 9
    assert all(finding.refused for finding in findings)


@pytest.mark.skipif(sys.platform != "linux", reason="this is what Linux adds")
async def test_the_engines_process_has_no_privileges_and_few_calls(sandbox: WasmSandbox) -> None:
    await assert_serves(sandbox)
    host, threads = await locked_in()
    for fields in threads:
        user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.getuid()
        assert {int(number) for number in fields["Uid"].split()} == {user}
        assert (int(fields["CapEff"], 16), fields["NoNewPrivs"]) == (0, "1")
    limits = Path(f"/proc/{host}/limits").read_text()  # noqa: ASYNC240 - likewise
    for name in ("Max file size", "Max open files", "Max processes", "Max core file size"):
        assert re.search(rf"^{name} +0 +0 ", limits, flags=re.MULTILINE), name


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_processor_time_is_limited_and_told_with_the_row(sandbox: WasmSandbox) -> None:
    with pytest.raises(
        SandboxLimitExceeded, match=r"0\.2 s of processor time in the mapper at the row with key 'a'$"
    ) as it:
        await sandbox.run(map_work(spin, [("a", 1)]), Limits(cpu_s=0.2, wall_s=20))
    assert it.value.limit == "cpu"
    numbered = map_work(lambda key, value: [(key, value)], [("a", 1)], partitioner=lambda key: spin(key, 0))
    with pytest.raises(SandboxLimitExceeded, match=r"processor time in the partitioner at the row with key 'a'$"):
        await sandbox.run(numbered, Limits(cpu_s=0.2, wall_s=20))


async def test_the_last_output_is_reported(sandbox: WasmSandbox) -> None:
    def talk(_key: Any, _value: Any) -> None:
        print("\x1b[2Jbefore the end")
        while True:
            pass

    with pytest.raises(SandboxLimitExceeded) as caught:
        await sandbox.run(map_work(talk), Limits(cpu_s=0.1, wall_s=20))
    assert caught.value.detail.endswith(
        """at the row with key 'row'; it last printed "\N{REPLACEMENT CHARACTER}[2Jbefore the end\""""
    )
    with pytest.raises(SandboxCrashed, match=r"exit status 3.*in the mapper at the row with key 'row'$"):
        await sandbox.run(map_work(lambda _key, _value: os._exit(3)), LIMITS)


async def test_time_is_limited_and_told_with_the_row(sandbox: WasmSandbox) -> None:
    limits = Limits(cpu_s=1000, wall_s=3)  # seconds, so that even a busy machine has begun with the row by then
    with pytest.raises(SandboxLimitExceeded, match=r"3 s of time in the reducer at the row with key 'a'$") as caught:
        await sandbox.run(reduce_work(spin, [("a", [1])]), limits)
    assert caught.value.limit == "wall"


async def test_an_endless_pickle_is_reported(sandbox: WasmSandbox) -> None:
    class Slow:
        def __reduce__(self) -> Any:
            return spin, (1, 2)

    slow = Slow()
    with pytest.raises(SandboxLimitExceeded, match=r"processor time while the job was loaded$"):
        await sandbox.run(map_work(lambda _key, _value: [(1, slow)]), Limits(cpu_s=0.2, wall_s=20))


@pytest.mark.parametrize("limit_mib", [32, 96])
async def test_memory_is_limited_to_what_is_asked_for(sandbox: WasmSandbox, limit_mib: int) -> None:
    def take(key: str, mib: int) -> Iterable[Pair]:
        yield key, len(bytearray(mib << 20))

    limits = Limits(cpu_s=20, wall_s=20, memory_bytes=limit_mib << 20)
    fits = await sandbox.run(map_work(take, [("k", limit_mib - 8)]), limits)
    assert pairs_of(fits) == [("k", (limit_mib - 8) << 20)]
    with pytest.raises(SandboxLimitExceeded, match=f"{limit_mib} MiB of memory in the mapper at the row") as caught:
        await sandbox.run(map_work(take, [("k", limit_mib + 1)]), limits)
    assert caught.value.limit == "memory"


async def test_rows_too_large_for_its_memory_are_reported(sandbox: WasmSandbox) -> None:
    with pytest.raises(SandboxLimitExceeded, match="16 MiB of memory while the job was loaded"):
        await sandbox.run(map_work(spin, [("k", "x" * (32 << 20))]), Limits(wall_s=20, memory_bytes=16 << 20))


async def test_many_tasks_leave_nothing_behind(sandbox: WasmSandbox) -> None:
    descriptors = count_descriptors()
    for _ in range(4):
        await asyncio.gather(*(assert_serves(sandbox) for _ in range(3)))
    await asyncio.sleep(0.3)
    assert count_descriptors() <= descriptors
    assert len(engines()) == 1


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- the same everywhere ----------------------------------------------------------------------------------------------


async def test_clock_and_chance_are_the_same_each_time(sandbox: WasmSandbox) -> None:
    def look(key: str, _value: Any) -> Iterable[Pair]:
        began = time.time()
        time.sleep(3600)
        yield key, [began, time.time(), time.monotonic(), os.urandom(8), str(uuid.uuid4()), random.random(), id(began)]
        yield "hash", [hash(None), hash("x"), id(object())]

    works = [map_work(look, seed=seed) for seed in (1, 1, 2)]
    more = Limits(cpu_s=1234.5, wall_s=4321, memory_bytes=999 << 20, output_bytes=12345)  # another volunteer's
    limits = (LIMITS, more, LIMITS)
    same, again, other = [(await sandbox.run(*each)).outcome for each in zip(works, limits, strict=True)]
    assert same == again != other
    (_, seen) = pairs_of(await sandbox.run(works[0], LIMITS))[1]
    assert 946_684_800 <= seen[0] < 946_684_801
    assert 3600 <= seen[1] - seen[0] < 3601


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_a_cancelled_task_leaves_no_process(sandbox: WasmSandbox) -> None:
    running = asyncio.create_task(sandbox.run(map_work(spin), Limits(cpu_s=60, wall_s=60)))
    await asyncio.sleep(0.3)
    hosts = engines()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    left = still_alive([pid for pid in hosts if pid not in engines()[-1:]], within_s=1)
    assert len(alive(hosts)) <= 1
    assert left == []
    await assert_serves(sandbox)


async def test_a_host_that_is_killed_is_a_crash_and_a_dead_spare_is_none(sandbox: WasmSandbox) -> None:
    await asyncio.sleep(0.3)
    (spare,) = engines()
    os.kill(spare, signal.SIGKILL)
    await assert_serves_soon(sandbox)
    running = asyncio.create_task(sandbox.run(map_work(spin), Limits(cpu_s=60, wall_s=60)))
    await asyncio.sleep(0.3)
    for pid in engines():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(SandboxCrashed):
        await running
    await assert_serves_soon(sandbox)


async def assert_serves_soon(sandbox: WasmSandbox) -> None:
    await asyncio.sleep(0.1)  # for the event loop to hear of a death
    await assert_serves(sandbox)


async def test_it_serves_nobody_when_closed() -> None:
    box = WasmSandbox()
    with pytest.raises(SandboxBroken, match="not open"):
        await box.run(map_work(spin), LIMITS)
    await box.start()
    running = asyncio.create_task(box.run(map_work(spin), Limits(cpu_s=60, wall_s=60)))
    await asyncio.sleep(0.2)
    await box.close()
    with pytest.raises(SandboxCrashed):
        await running


async def test_hosts_do_not_outlive_a_worker_that_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio\n"
        "from ec262.adapters.sandbox.wasm.wasm_sandbox import WasmSandbox\n"
        "from tests.integration.test_wasm_sandbox import spin\n"
        "from tests.sandbox_jobs import map_work, Limits\n"
        "async def main():\n"
        "    box = WasmSandbox()\n"
        "    await box.start()\n"
        "    running = asyncio.create_task(box.run(map_work(spin), Limits(cpu_s=60, wall_s=60)))\n"
        "    await asyncio.sleep(0.4)\n"
        "    print('now', flush=True)\n"
        "    await running\n"
        "asyncio.run(main())\n"
    )
    variables = environment() | {name: os.environ[name] for name in ("HOME", "XDG_CACHE_HOME") if name in os.environ}
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=variables)  # noqa: ASYNC220 - nothing else goes on
    with worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"now\n"
        hosts = children(worker.pid)
        assert len(hosts) == 2
        worker.kill()
    assert still_alive(hosts, within_s=2) == []


# --- packages, and what is kept ---------------------------------------------------------------------------------------


def use_idna(key: str, value: str) -> Iterable[Pair]:
    import idna

    yield key, idna.encode(value)


async def test_pure_packages_can_be_allowed(sandbox: WasmSandbox) -> None:
    work = map_work(use_idna, [("k", "bücher.example")])
    box = WasmSandbox(["idna"])
    await box.start()
    assert pairs_of(await box.run(work, LIMITS)) == [("k", b"xn--bcher-kva.example")]
    await box.close()
    refused = await sandbox.run(work, LIMITS)
    assert failure_of(refused).exception == "ModuleNotFoundError"
    assert "module 'idna' is not available in the sandbox (rule: imports; jobs may import" in refused.log.decode()


async def test_packages_with_compiled_parts_are_reported_at_the_start() -> None:
    with pytest.raises(SandboxUnavailable, match="the allowed package 'msgspec' cannot be imported"):
        await WasmSandbox(["msgspec"]).start()


@pytest.fixture
def own_cache(sandbox: WasmSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has a copy of what this one has prepared; to compile once more, which takes long, is to copy it."""
    assert sandbox._prepared is not None
    module, image = sandbox._prepared.module, sandbox._prepared.image
    folder = tmp_path / "ec262" / "wasm"
    for place in (folder.parent, folder):
        place.mkdir(mode=0o700)
    for path in (module, image):
        shutil.copy(path, folder)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: str(tmp_path / name))

    async def order_done(order: Mapping[str, Any], *, timeout_s: float) -> None:
        if order["act"] == "precompile":
            shutil.copy(module, order["module"])
        else:
            await host_process.order_done(order, timeout_s=timeout_s)

    monkeypatch.setattr("ec262.adapters.sandbox.wasm.image_store.order_done", order_done)
    return folder


@pytest.mark.parametrize(("kind", "kept"), [("image", slice(1 << 20)), ("module", slice(4096, None))])
async def test_a_damaged_cache_entry_is_made_again(own_cache: Path, kind: str, kept: slice) -> None:
    (path,) = own_cache.glob(f"*.{kind}")  # noqa: ASYNC240 - nothing else goes on
    whole = path.read_bytes()
    path.write_bytes(whole[kept])
    box = WasmSandbox()
    await box.start()
    await assert_serves(box)
    await box.close()
    assert path.stat().st_size == len(whole)
    assert len(list(own_cache.iterdir())) == 2  # noqa: ASYNC240 - likewise
