"""The Linux sandbox's limits, what a job sees in it, and that any user can have it."""

from __future__ import annotations

import importlib.machinery
import os
import pkgutil
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
from ec262.adapters.sandbox.linux.child.preload import LOADED, STANDARD
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.errors import SandboxCrashed, SandboxLimitExceeded, SandboxUnavailable
from ec262.domain.work.work import Limits
from tests.canaries import NOBODY
from tests.sandbox_jobs import (
    LIMITS,
    REPOSITORY,
    assert_serves,
    count_words,
    environment,
    failure_of,
    map_work,
    pairs_of,
    sleep,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LinuxSandbox]:
    box = LinuxSandbox()
    await box.start()
    yield box
    await box.close()


def spin(key: Any, _value: Any) -> None:
    while key:
        pass


def hoard(key: Any, _value: Any) -> None:
    kept = [key]
    while True:
        kept *= 2


# --- limits -----------------------------------------------------------------------------------------------------------


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


async def test_processor_time_also_ends_a_child_that_ignores_signals(sandbox: LinuxSandbox) -> None:
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


def use_memory_in_every_honest_way(_key: Any, _value: Any) -> list[tuple[str, Any]]:
    import array

    grown = bytearray(1 << 20)
    while len(grown) < 64 << 20:  # the kernel moves large blocks
        grown += bytes(len(grown))
    small = [str(number) for number in range(300_000)]  # pages come, and go again
    small.clear()
    numbers = array.array("d", range(1_000_000))
    numbers.extend(numbers)
    mmap: Any = next(module.mmap for module in sys.modules.values() if hasattr(module, "mmap"))
    mapped = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE)
    mapped[-1] = 1
    mapped.resize(1 << 22)
    return [("sizes", [len(grown), len(numbers), len(mapped)])]


async def test_memory_within_the_limit_can_be_used(sandbox: LinuxSandbox) -> None:
    assert pairs_of(await sandbox.run(map_work(use_memory_in_every_honest_way), LIMITS)) == [
        ("sizes", [64 << 20, 2_000_000, 1 << 22])
    ]


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
            "ctypes",
            "signal",
            "asyncio",
            "multiprocessing",
            "sqlite3",
            "no_such_module_262",
        ]
    )
    assert "(rule: imports; jobs may import the harmless part of the standard library)" in missing["subprocess"]


async def test_all_of_the_harmless_library_can_be_imported(sandbox: LinuxSandbox) -> None:
    def mapper(name: str, _value: Any) -> Iterable[tuple[Any, Any]]:
        import importlib

        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            yield name, repr(error)

    for_windows = {"encodings.mbcs", "encodings.oem"}
    names = {*_modules_in({*STANDARD, *LOADED} & sys.stdlib_module_names)} - for_windows
    assert {"gzip", "bz2", "lzma", "xml.sax.saxutils", "email.mime.text", "encodings.koi8_r", "array"} <= names
    failed = pairs_of(await sandbox.run(map_work(mapper, [(name, 0) for name in names]), LIMITS))
    assert failed == []


def _modules_in(names: Iterable[str]) -> Iterable[str]:
    """Name those of these modules that this Python has, and all that is in them but tests."""
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None:
            continue
        yield name
        for inner in pkgutil.walk_packages(spec.submodule_search_locations or (), f"{name}."):
            if not {"test", "tests"}.intersection(inner.name.split(".")):
                yield inner.name


async def test_modules_that_read_files_at_first_use_work(sandbox: LinuxSandbox) -> None:
    def mapper(key: str, _value: Any) -> Iterable[tuple[Any, Any]]:
        import datetime
        import hashlib
        import logging
        import lzma
        import unicodedata
        import weakref

        yield "date", datetime.datetime.strptime("2012-12-21", "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a date
        yield "charset", "дом".encode("koi8-r") + "家".encode("gbk") + "家".encode("euc-jp")
        yield "digest", hashlib.new("sha3_256", b"").hexdigest()[:8]
        yield "name", unicodedata.name("\N{SNOWMAN}")
        yield "packed", lzma.decompress(lzma.compress(b"x"))
        yield "finalizer", weakref.finalize(mapper, print).alive
        logging.warning("logged")

    computed = await sandbox.run(map_work(mapper), LIMITS)
    assert dict(pairs_of(computed)) == {
        "date": "2012-12-21",
        "charset": "дом".encode("koi8-r") + "家".encode("gbk") + "家".encode("euc-jp"),
        "digest": "a7ffc6f8",
        "name": "SNOWMAN",
        "packed": b"x",
        "finalizer": True,
    }
    assert computed.log == b"WARNING:root:logged\n"


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_a_library_is_reported_without_its_path(sandbox: LinuxSandbox) -> None:
    def mapper(key: str, _value: Any) -> None:
        import json
        import warnings

        warnings.warn_explicit("odd", UserWarning, json.__file__, 1)
        try:
            json.loads("{")
        except ValueError as error:
            raise KeyError(key) from error

    log = (await sandbox.run(map_work(mapper), LIMITS)).log.decode()
    assert 'File "json/decoder.py", line ' in log
    assert "json/__init__.py:1: UserWarning: odd" in log
    assert f'File "{__file__}", line ' in log
    assert os.path.dirname(os.__file__) not in log  # noqa: PTH120 - as it was put together


@pytest.mark.parametrize(
    ("end", "limits", "told"),
    [
        (
            lambda: os._exit(3),
            LIMITS,
            r'exit status 3 and no result, in .* key .row.; it last printed "at row\nstill here"',
        ),
        (lambda: time.sleep(60), Limits(wall_s=0.3), r"key 'row'; it last printed \"at row\nstill here\""),
        (lambda: hoard(1, 1), Limits(memory_bytes=48 << 20), r"key 'row'; it last printed \"at row\nstill here\""),
    ],
)
async def test_the_last_output_of_a_task_without_result_is_reported(
    sandbox: LinuxSandbox, end: Any, limits: Limits, told: str
) -> None:
    def mapper(key: str, _value: Any) -> None:
        print("at", key)
        print("still here")
        end()

    with pytest.raises((SandboxCrashed, SandboxLimitExceeded), match=told):
        await sandbox.run(map_work(mapper), limits)


async def test_only_the_last_of_many_outputs_is_reported(sandbox: LinuxSandbox) -> None:
    def mapper(_key: Any, _value: Any) -> None:
        for number in range(20_000):
            print("line", number)
        os._exit(3)

    with pytest.raises(SandboxCrashed) as caught:
        await sandbox.run(map_work(mapper), Limits(log_bytes=1000))
    assert len(str(caught.value)) < 500
    assert "line 11" in str(caught.value)


# --- packages ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "allowed_262").mkdir()
    (tmp_path / "allowed_262" / "__init__.py").write_text("NAME = 'allowed'")
    (tmp_path / "allowed_262" / "later.py").write_text("from allowed_262 import NAME\nLATER = NAME + ' later'")
    (tmp_path / "other_262.py").write_text("")
    (tmp_path / "broken_262.py").write_text("raise RuntimeError('of its own')")
    (tmp_path / "innocent_262").mkdir()
    (tmp_path / "innocent_262" / "__init__.py").write_text("from . import inner")
    (tmp_path / "innocent_262" / "inner.py").write_text("import between_262.deeper, json")
    (tmp_path / "between_262").mkdir()
    (tmp_path / "between_262" / "__init__.py").write_text("")
    (tmp_path / "between_262" / "deeper.py").write_text("from threads_262 import NAME")
    start = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    (tmp_path / "threads_262.py").write_text(f"{start}import colorsys\nNAME = 1\n")
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


async def test_native_libraries_are_configured_to_start_no_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these starts threads when it is loaded, but for this."""
    (tmp_path / "pools_262.py").write_text(
        "import os, threading\n"
        "for variable, quiet in [\n"
        "    ('OPENBLAS_NUM_THREADS', '1'),  # numpy and scipy\n"
        "    ('OMP_NUM_THREADS', '1'),  # numexpr, scikit-learn\n"
        "    ('JE_ARROW_MALLOC_CONF', 'background_thread:false'),  # pyarrow, and so pandas\n"
        "]:\n"
        "    if os.environ.get(variable) != quiet:\n"
        "        threading.Thread(name=variable, target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    box = LinuxSandbox(["pools_262"])
    await box.start()
    await box.close()


async def test_native_code_that_was_not_loaded_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (tmp_path / "lazy_262").mkdir()
    (tmp_path / "lazy_262" / "__init__.py").write_text("__all__ = ['listed', 'no_module']")
    (tmp_path / "lazy_262" / "listed.py").write_text("import lazy_262; lazy_262.HERE = True")
    (tmp_path / "lazy_262" / f"native{suffix}").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)

    def mapper(_key: Any, _value: Any) -> Iterable[tuple[Any, Any]]:
        import lazy_262  # type: ignore[import-not-found]  # made above

        yield "loaded", lazy_262.HERE
        import lazy_262.native  # type: ignore[import-not-found]  # likewise

    box = LinuxSandbox(["lazy_262"])
    await box.start()
    try:
        computed = await box.run(map_work(mapper), LIMITS)
    finally:
        await box.close()
    assert failure_of(computed).exception == "ModuleNotFoundError"
    assert (
        "'lazy_262.native' is not available in the sandbox (rule: imports; it is native code" in computed.log.decode()
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing_262", "the package 'missing_262', which jobs are to be allowed to import, is not installed"),
        (
            "threads_262",
            r"the package 'threads_262' cannot be allowed: importing it starts a thread \(\S+\), and tasks",
        ),
        (
            "innocent_262",
            r"'innocent_262' cannot .* starts a thread by way of between_262, threads_262 \(\S+\), and tasks",
        ),
        ("broken_262", r"the allowed package 'broken_262' cannot be imported: RuntimeError\('of its own'\)"),
    ],
)
async def test_a_package_that_cannot_be_allowed_is_reported(packages: None, name: str, told: str) -> None:
    with pytest.raises(SandboxUnavailable, match=told):
        await LinuxSandbox([name]).start()


# --- another user -----------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_as_an_ordinary_user() -> None:
    if os.geteuid() != 0:
        pytest.skip("this run is by an ordinary user")
    name = f"python3.{sys.version_info.minor}"
    probe = textwrap.dedent(
        f"""
        import sys
        assert sys.version_info[1] == {sys.version_info.minor}
        import attrs, cloudpickle, seccompy, pytest, pytest_asyncio, pytest_timeout, xdist
        import ec262.adapters.sandbox.linux.linux_sandbox
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
    chosen = "on_any_tier or hostile_pickles or names_its_figure or nobody or killed"
    options = [
        "-q",
        "-n0",
        "-k",
        chosen,
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        f"--rootdir={REPOSITORY}",
    ]
    names = ("test_linux_sandbox.py", "test_linux_sandbox_processes.py", "test_hostile_jobs.py")
    files = [str(Path(__file__).with_name(name)) for name in names]
    done = as_nobody(python, "-m", "pytest", *options, "-c", str(REPOSITORY / "pyproject.toml"), *files)
    assert done is not None
    said = done.stdout.decode()
    assert done.returncode == 0, said[-5000:] + done.stderr.decode()[-1000:]
    assert " passed" in said
