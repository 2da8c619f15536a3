"""The Linux sandbox's limits, its processes, and what it does where it cannot be."""

from __future__ import annotations

import asyncio
import os
import pwd
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ec262.adapters.sandbox.linux import zygote
from ec262.adapters.sandbox.linux.sandbox import LinuxSandbox
from ec262.domain.errors import SandboxCrashed, SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.job import Limits
from tests.canaries import NOBODY, has, session_of
from tests.sandbox_jobs import LIMITS, assert_serves, count_words, failure_of, map_work, pairs_of, zygote_of

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]

REPOSITORY = Path(__file__).parents[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LinuxSandbox]:
    box = LinuxSandbox()
    await box.start()
    yield box
    await box.close()


def spin(key: Any, _value: Any) -> None:
    while key:
        pass


def sleep(_key: Any, _value: Any) -> None:
    time.sleep(600)


def hoard(key: Any, _value: Any) -> None:
    kept = [key]
    while True:
        kept *= 2


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapper", "limits", "limit", "detail"),
    [
        (spin, Limits(cpu_s=0.2), "cpu", "0.2 s of processor time in the mapper at the row with key 'row'"),
        (sleep, Limits(wall_s=0.2), "wall", "0.2 s of time in the mapper at the row with key 'row'"),
        (spin, Limits(wall_s=0.2), "wall", "0.2 s of time in the mapper at the row with key 'row'"),
        (hoard, Limits(memory_bytes=48 << 20), "memory", "48 MiB of memory in the mapper at the row with key 'row'"),
    ],
)
async def test_a_limit_names_its_figure_and_the_row(
    sandbox: LinuxSandbox, mapper: Any, limits: Limits, limit: str, detail: str
) -> None:
    started = time.monotonic()
    with pytest.raises(SandboxLimitExceeded) as caught:
        await sandbox.run(map_work(mapper), limits)
    assert (caught.value.limit, caught.value.detail) == (limit, detail)
    assert time.monotonic() - started < 2
    await assert_serves(sandbox)


async def test_processor_time_ends_also_for_one_that_hears_nothing(sandbox: LinuxSandbox) -> None:
    def mapper(_key: Any, _value: Any) -> None:
        signals = sys.modules["ec262.adapters.sandbox.linux.child.task"].signal
        signals.pthread_sigmask(signals.SIG_BLOCK, range(1, 65))
        spin(1, 1)

    with pytest.raises(SandboxLimitExceeded, match=r"0\.1 s of processor time") as caught:
        await sandbox.run(map_work(mapper), Limits(cpu_s=0.1))
    assert caught.value.limit == "cpu"


async def test_memory_that_the_work_itself_takes_counts(sandbox: LinuxSandbox) -> None:
    with pytest.raises(SandboxLimitExceeded, match="20 MiB of memory while the task was read") as caught:
        await sandbox.run(map_work(count_words, [(1, "x" * (30 << 20))]), Limits(memory_bytes=20 << 20))
    assert caught.value.limit == "memory"


async def test_one_that_handles_the_lack_of_memory_goes_on(sandbox: LinuxSandbox) -> None:
    def mapper(key: Any, _value: Any) -> Iterable[tuple[Any, Any]]:
        try:
            hoard(key, None)
        except MemoryError:
            yield key, "went on"

    assert pairs_of(await sandbox.run(map_work(mapper), Limits(memory_bytes=48 << 20))) == [("row", "went on")]


async def test_a_job_sees_only_a_clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def mapper(_key: Any, _value: Any) -> Iterable[tuple[Any, Any]]:
        yield "environment", dict(os.environ)
        yield "hash", hash("ec262")
        yield "zone", time.localtime(0)[:6]
        yield "arguments", sys.argv
        yield "path", sys.path
        yield "main", sorted(vars(sys.modules["__main__"]))

    monkeypatch.setenv("LD_LIBRARY_PATH", os.environ.get("LD_LIBRARY_PATH", "/nonexistent"))
    monkeypatch.setenv("EC262_SECRET", "of the worker")
    box = LinuxSandbox()
    await box.start()
    try:
        seen, again = [dict(pairs_of(await box.run(map_work(mapper), LIMITS))) for _ in range(2)]
    finally:
        await box.close()
    assert seen["environment"] == zygote.ENVIRONMENT
    assert seen["zone"] == (1970, 1, 1, 0, 0, 0)
    assert (seen["arguments"], seen["path"]) == ([""], [])
    assert "Zygote" not in seen["main"]
    assert seen["hash"] == again["hash"]


async def test_useful_modules_are_there_and_others_are_not(sandbox: LinuxSandbox) -> None:
    useful = (
        "array base64 bisect calendar cmath codecs collections.abc colorsys concurrent csv dataclasses datetime "
        "decimal difflib fractions functools hashlib heapq html.parser io ipaddress itertools json logging math "
        "operator os.path pathlib pprint random re secrets shlex statistics string struct textwrap tomllib typing "
        "unicodedata urllib.parse uuid xml.etree.ElementTree zipfile zlib zoneinfo subprocess socket "
        "ctypes signal asyncio multiprocessing urllib.request sqlite3 no_such_module_262 attr"
    )

    def mapper(name: str, _value: Any) -> Iterable[tuple[Any, Any]]:
        import importlib

        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            yield name, str(error)

    missing = dict(pairs_of(await sandbox.run(map_work(mapper, [(name, 0) for name in useful.split()]), LIMITS)))
    assert sorted(missing) == sorted(
        [
            "concurrent",
            "subprocess",
            "socket",
            "ctypes",
            "signal",
            "asyncio",
            "multiprocessing",
            "urllib.request",
            "sqlite3",
            "no_such_module_262",
        ]
    )
    assert "(rule: imports; jobs may import the harmless part of the standard library)" in missing["socket"]


async def test_what_needs_files_at_first_use_works(sandbox: LinuxSandbox) -> None:
    def mapper(key: str, _value: Any) -> Iterable[tuple[Any, Any]]:
        import datetime
        import hashlib
        import logging
        import unicodedata

        yield "date", datetime.datetime.strptime("2012-12-21", "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a date
        yield "charset", "дом".encode("koi8-r") + "家".encode("gbk") + "家".encode("euc-jp")
        yield "digest", hashlib.new("sha3_256", b"").hexdigest()[:8]
        yield "name", unicodedata.name("\N{SNOWMAN}")
        logging.warning("logged")

    computed = await sandbox.run(map_work(mapper), LIMITS)
    assert dict(pairs_of(computed)) == {
        "date": "2012-12-21",
        "charset": "дом".encode("koi8-r") + "家".encode("gbk") + "家".encode("euc-jp"),
        "digest": "a7ffc6f8",
        "name": "SNOWMAN",
    }
    assert computed.log == b"WARNING:root:logged\n"


# --- processes ------------------------------------------------------------------------------------------------------


async def test_cancellation_kills_the_child(sandbox: LinuxSandbox) -> None:
    run = asyncio.create_task(sandbox.run(map_work(sleep), LIMITS))
    assert await has(zygote_of(sandbox), 2)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await has(zygote_of(sandbox), 1)


async def test_cancellation_at_any_moment_leaves_nothing(sandbox: LinuxSandbox) -> None:
    work = map_work(count_words, [(1, "x y " * 100_000)])
    for delay_ms in range(0, 30, 2):
        run = asyncio.create_task(sandbox.run(work, LIMITS))
        await asyncio.sleep(delay_ms / 1000)
        run.cancel()
        await asyncio.wait([run])
    assert await has(zygote_of(sandbox), 1)
    await assert_serves(sandbox)


async def test_no_descriptor_is_leaked(sandbox: LinuxSandbox) -> None:
    def opened() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    await assert_serves(sandbox)
    assert await has(zygote_of(sandbox), 1)
    before = opened()
    for _ in range(5):
        await assert_serves(sandbox)
        with pytest.raises(SandboxLimitExceeded):
            await sandbox.run(map_work(sleep), Limits(wall_s=0.02))
        with pytest.raises(SandboxCrashed):
            await sandbox.run(map_work(lambda _key, _value: os._exit(1)), LIMITS)
    assert await has(zygote_of(sandbox), 1)
    await asyncio.sleep(0.1)  # the last handles are closed when the loop gets to it
    assert opened() <= before


async def test_a_dead_zygote_is_replaced(sandbox: LinuxSandbox) -> None:
    first = zygote_of(sandbox)
    run = asyncio.create_task(sandbox.run(map_work(sleep), LIMITS))
    assert await has(first, 2)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(SandboxCrashed, match="own process ended"):
        await run
    await assert_serves(sandbox)
    assert zygote_of(sandbox) != first
    assert not session_of(first)


async def test_a_zygote_that_cannot_be_replaced_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    box = LinuxSandbox()
    await box.start()
    try:
        os.kill(zygote_of(box), signal.SIGKILL)
        assert await has(zygote_of(box), 0)
        monkeypatch.setattr(sys, "executable", "/bin/false")
        for _ in range(2):
            with pytest.raises(SandboxCrashed, match=r"died and cannot be started again: .*before it was ready"):
                await box.run(map_work(count_words, []), LIMITS)
        monkeypatch.undo()
        await assert_serves(box)
    finally:
        await box.close()


async def test_a_user_who_may_start_no_process_is_told() -> None:
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, before[1]))
    try:
        with pytest.raises(SandboxUnavailable, match=r"no process could be started for the task|cannot be started"):
            await LinuxSandbox().start()
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, before)


async def test_a_closed_sandbox_runs_nothing() -> None:
    box = LinuxSandbox()
    await box.start()
    zygote_id = zygote_of(box)
    run = asyncio.create_task(box.run(map_work(sleep), LIMITS))
    assert await has(zygote_id, 2)
    await box.close()
    with pytest.raises(SandboxCrashed):
        await run
    with pytest.raises(SandboxCrashed, match="not open"):
        await box.run(map_work(count_words, []), LIMITS)
    assert not session_of(zygote_id)


OWNER = """
import asyncio, sys
from ec262.adapters.sandbox.linux.sandbox import LinuxSandbox
from tests.integration.test_linux_sandbox import sleep
from tests.sandbox_jobs import LIMITS, map_work, zygote_of

async def main():
    sandbox = LinuxSandbox()
    await sandbox.start()
    tasks = [asyncio.create_task(sandbox.run(map_work(sleep), LIMITS)) for _ in range(2)]
    await asyncio.sleep(0.1)
    print(zygote_of(sandbox), flush=True)
    await asyncio.gather(*tasks)

asyncio.run(main())
"""


async def test_an_owner_that_is_killed_leaves_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, env=environment()) as owner:  # noqa: ASYNC220 - nothing else goes on
        assert owner.stdout is not None
        zygote_id = int(owner.stdout.readline())
        assert len(session_of(zygote_id)) == 3
        assert zygote_id not in session_of(os.getsid(owner.pid)), "a terminal's Ctrl-C must not reach it"
        owner.kill()
    assert await has(zygote_id, 0)


async def test_root_becomes_nobody(sandbox: LinuxSandbox) -> None:
    status = (Path("/proc") / str(zygote_of(sandbox)) / "status").read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in status)
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.getuid()
    assert fields["Uid"].split() == [str(user)] * 4
    assert {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert fields["Groups"].strip() == ""


# --- packages -------------------------------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "allowed_262").mkdir()
    (tmp_path / "allowed_262" / "__init__.py").write_text("NAME = 'allowed'")
    (tmp_path / "allowed_262" / "later.py").write_text("from allowed_262 import NAME\nLATER = NAME + ' later'")
    (tmp_path / "other_262.py").write_text("")
    (tmp_path / "broken_262.py").write_text("raise RuntimeError('of its own')")
    monkeypatch.syspath_prepend(tmp_path)


async def test_allowed_packages_can_be_imported_and_others_not(packages: None) -> None:
    def mapper(key: Any, _value: Any) -> Iterable[tuple[Any, Any]]:
        import allowed_262.later  # type: ignore[import-not-found]  # made above

        yield key, allowed_262.later.LATER
        import other_262  # type: ignore[import-not-found]  # noqa: F401 - likewise

    box = LinuxSandbox(["allowed_262"])
    await box.start()
    try:
        computed = await box.run(map_work(mapper), LIMITS)
    finally:
        await box.close()
    assert failure_of(computed).exception == "ModuleNotFoundError"
    assert b"'other_262' is not available" in computed.log
    assert b"and what this worker allows: allowed_262)" in computed.log


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing_262", "the package 'missing_262', which jobs shall be allowed to import, is not installed"),
        ("broken_262", r"the allowed package 'broken_262' cannot be imported: RuntimeError\('of its own'\)"),
    ],
)
async def test_a_package_that_cannot_be_allowed_is_told(packages: None, name: str, told: str) -> None:
    with pytest.raises(SandboxUnavailable, match=told):
        await LinuxSandbox([name]).start()


# --- where there is no sandbox --------------------------------------------------------------------------------------


async def test_another_system_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxUnavailable, match="needs Linux, and this is darwin"):
        await LinuxSandbox().start()


async def test_a_python_that_does_not_start_is_told_with_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "_BOOT", Path("/nonexistent/boot.py"))
    with pytest.raises(
        SandboxUnavailable, match=r"ended before it was ready: .*can't open file '/nonexistent/boot.py'"
    ):
        await LinuxSandbox().start()


async def test_one_that_never_gets_ready_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lazy = tmp_path / "boot.py"
    lazy.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(zygote, "_BOOT", lazy)
    monkeypatch.setattr(zygote, "_PATIENCE_S", 0.1)
    with pytest.raises(SandboxUnavailable, match=r"not ready after 0\.2 s"):
        await LinuxSandbox(start_timeout_s=0.2).start()


async def test_a_sandbox_with_a_hole_is_found_by_its_witness(monkeypatch: pytest.MonkeyPatch) -> None:
    allow_all = b"\x06\x00\x00\x00\x00\x00\xff\x7f"
    monkeypatch.setattr(zygote, "seccomp_program", lambda: allow_all)
    with pytest.raises(SandboxUnavailable, match="does not"):
        await LinuxSandbox().start()


@pytest.mark.parametrize("call", ["open a file", "open a socket"])
async def test_each_hole_is_named(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    from ec262.adapters.sandbox.linux import policy

    names = {"open a file": "getdents64", "open a socket": "socket"}
    monkeypatch.setattr(policy, "ALLOWED", {**policy.ALLOWED, names[call]: "a hole", "openat": "a hole"})
    with pytest.raises(SandboxUnavailable, match=f"does not hold on this machine: a job could .*{call}"):
        await LinuxSandbox().start()


CONFINED = """
import asyncio, errno, seccompy
filter = seccompy.Filter()
filter.errno("seccomp", errno.{error})
filter.errno("prctl", errno.{error}, args={{0: 22}})
filter.load()
from ec262.adapters.sandbox.linux.sandbox import LinuxSandbox
asyncio.run(LinuxSandbox().start())
"""


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EINVAL"])
async def test_a_machine_without_seccomp_is_told(error: str) -> None:
    script = CONFINED.format(error=error)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment(), check=False)  # noqa: ASYNC221 - nothing else goes on
    assert done.returncode == 1
    last = done.stderr.decode().splitlines()[-1]
    assert "SandboxUnavailable" in last
    assert "seccomp, on x86-64 or arm64 is missing or forbidden. Use a kernel built with CONFIG_SECCOMP_FILTER" in last


# --- another user ---------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """Return an environment in which another process finds what this one does."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return kept | {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])}


async def test_as_an_ordinary_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("this run is by an ordinary user")
    name = f"python3.{sys.version_info.minor}"
    probe = textwrap.dedent(
        f"""
        import sys
        assert sys.version_info[1] == {sys.version_info.minor}
        import attrs, cloudpickle, seccompy, pytest, pytest_asyncio, pytest_timeout
        import ec262.adapters.sandbox.linux.sandbox
        """
    )

    def as_nobody(python: str, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
        command = [python, "-B", *arguments]
        user: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        try:
            return subprocess.run(command, cwd="/", env=environment(), capture_output=True, check=False, **user)
        except OSError:
            return None

    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        probed = as_nobody(python, "-c", probe)
        if probed is not None and probed.returncode == 0:
            break
    else:
        pytest.skip(f"no {name} that an ordinary user could run with this project")
    chosen = "(does_no_harm and not for_ever and not sleep and not recurse) or names_its_figure or nobody or killed"
    options = ["-q", "-k", chosen, "-p", "no:cacheprovider", "-p", "no:hypothesispytest", f"--rootdir={REPOSITORY}"]
    files = [str(Path(__file__)), str(Path(__file__).with_name("test_hostile_jobs.py"))]
    done = as_nobody(python, "-m", "pytest", *options, "-c", str(REPOSITORY / "pyproject.toml"), *files)
    assert done is not None
    said = done.stdout.decode()
    assert done.returncode == 0, said[-5000:] + done.stderr.decode()[-1000:]
    assert " passed" in said
