"""What the machine gives the Linux sandbox: each layer by itself, what is told of them, and machines that lack some."""

from __future__ import annotations

import errno
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ec262.adapters.sandbox.linux import zygote
from ec262.adapters.sandbox.linux.child import kernel
from ec262.adapters.sandbox.linux.child.namespaces import Namespaces
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.adapters.sandbox.self_test import SelfTest
from ec262.adapters.sandbox.tier import Layer
from tests.canaries import Scene, has, is_first_of_namespace, session_of
from tests.compile_policy import compile_policy
from tests.hostile_jobs import Target
from tests.sandbox_jobs import LIMITS, assert_serves, environment, is_idle, map_work, pairs_of, zygote_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux")


@asynccontextmanager
async def started(without: Collection[str] = ()) -> AsyncIterator[LinuxSandbox]:
    box = LinuxSandbox(without=without)
    await box.start()
    try:
        yield box
    finally:
        await box.close()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


def layer(box: LinuxSandbox, name: str) -> Layer:
    return {layer.name: layer for layer in box.layers}[name]


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_layers_and_findings_are_reported() -> None:
    box = LinuxSandbox()
    assert list(box.layers) == []
    async with started() as box:
        assert [layer.name for layer in box.layers] == ["seccomp", "rlimits", "landlock", "namespaces"]
        assert layer(box, "seccomp").in_force
        assert layer(box, "rlimits").in_force
        findings = await box.witness()
        assert all(finding.refused for finding in findings)
        assert {finding.told for finding in findings} == {"refused"}
        assert {"open a file", "open a socket", "fork a process", "take more memory than its limit"} <= {
            finding.act for finding in findings
        }


async def test_omissions_are_reported() -> None:
    async with started({"landlock", "namespaces"}) as box:
        assert str(layer(box, "landlock")) == "no landlock (not wanted)"
        assert str(layer(box, "namespaces")) == "no namespaces (not wanted)"
        await assert_serves(box)


def proc(pid: int, name: str) -> str:
    return (Path("/proc") / str(pid) / name).read_text()


async def test_tasks_have_no_huge_pages() -> None:
    """The kernel would keep them whole when a task gives back all of their address space but a page."""
    async with started() as box:
        assert "THP_enabled:\t0\n" in proc(zygote_of(box), "status")


async def test_where_memory_runs_out_tasks_end_first() -> None:
    async with started() as box:
        assert proc(zygote_of(box), "oom_score_adj") == "1000\n"
        assert proc(os.getpid(), "oom_score_adj") != "1000\n"


def look_at_the_interpreter(_key: str, _value: object) -> list[tuple[str, object]]:
    places = "executable", "_base_executable", "prefix", "base_prefix", "exec_prefix", "base_exec_prefix", "_stdlib_dir"
    state = [sys.argv, sys.orig_argv, sys.path, sys.warnoptions, *(getattr(sys, name, "") for name in places)]
    return [("state", repr(state)), ("environment", dict(os.environ))]


async def test_the_interpreter_tells_nothing_of_the_machine() -> None:
    async with started() as box:
        told = dict(pairs_of(await box.run(map_work(look_at_the_interpreter), LIMITS)))
        assert "/" not in told["state"]
        assert str(os.getpid()) not in told["state"]
        assert told["environment"] == zygote.ENVIRONMENT
        arguments = proc(zygote_of(box), "cmdline")  # a job may find them in its memory
        assert "packages" not in arguments
        assert "worker" not in arguments


@pytest.mark.parametrize("layer", ["seccomp", "rlimits", "landlok"])
def test_other_layers_cannot_be_left_out(layer: str) -> None:
    with pytest.raises(ValueError, match=f"can be left out are landlock, namespaces, not {layer}"):
        LinuxSandbox(without={layer})


# --- each layer holds by itself ---------------------------------------------------------------------------------------


def try_holes(_key: str, target: Target) -> Iterator[tuple[str, str]]:
    """Do what no filter stops here."""
    acts: Mapping[str, Any] = {
        "delete": lambda: Path(target["secret_file"]).unlink(),
        "open": lambda: os.open(target["secret_file"], os.O_RDONLY),
        "signal": lambda: os.kill(target["victim"], 9),
    }
    sys.modules["ec262.adapters.sandbox.linux.child.refusals"].RULES.clear()
    for name, act in acts.items():
        try:
            act()
        except OSError as error:
            yield name, errno.errorcode[error.errno or 0]
        else:
            yield name, "done"


@pytest.mark.parametrize(
    ("without", "needs", "expected"),
    [
        (["namespaces"], "landlock", {"delete": "EACCES", "open": "EMFILE", "signal": "EPERM"}),
        (["landlock"], "namespaces", {"delete": "ENOENT", "open": "EMFILE", "signal": "ESRCH"}),
        (["landlock", "namespaces"], "rlimits", {"delete": "done", "open": "EMFILE", "signal": "done"}),
    ],
)
async def test_behind_a_filter_with_holes(
    monkeypatch: pytest.MonkeyPatch, scene: Scene, without: list[str], needs: str, expected: dict[str, str]
) -> None:
    async def see_nothing(_trial: SelfTest, _box: LinuxSandbox) -> None: ...

    with_holes = compile_policy(platform.machine(), ["unlink", "unlinkat", "openat", "kill"])
    monkeypatch.setattr(zygote, "seccomp_program", lambda: with_holes)
    monkeypatch.setattr(SelfTest, "check", see_nothing)
    async with started(without) as box:
        if not layer(box, needs).in_force or " no " in layer(box, needs).detail:
            pytest.skip(f"this machine: {layer(box, needs)}")
        if "signals" not in layer(box, needs).detail and needs == "landlock":
            expected = expected | {"signal": "done"}
        work = map_work(try_holes, [("row", scene.target(zygote_of(box)))])
        assert dict(pairs_of(await box.run(work, LIMITS))) == expected


async def test_namespaces_are_others_and_the_root_is_empty() -> None:
    async with started() as box:
        told = layer(box, "namespaces")
        kinds = told.detail.partition(";")[0].split()
        if "mount" not in kinds:
            pytest.skip(f"this machine: {told}")
        ours, theirs = Path("/proc/self/ns"), Path("/proc") / str(zygote_of(box)) / "ns"
        names = {"mount": "mnt", "pid": "pid_for_children"}
        for kind in kinds if os.geteuid() == 0 else ():  # others may not look
            name = names.get(kind, kind)
            assert (theirs / name).readlink() != (ours / name).readlink(), kind
        if os.geteuid() == 0:
            root = theirs.parent / "root"
            assert list(root.iterdir()) == []
            with pytest.raises(OSError, match="Read-only"):
                (root / "x").touch()


async def test_when_the_first_of_the_namespace_ends_another_zygote_is_started() -> None:
    async with started() as box:
        zygote = zygote_of(box)
        assert await is_idle(box)
        firsts = [process for process in session_of(zygote) if is_first_of_namespace(process)]
        if not firsts:
            pytest.skip(f"this machine: {layer(box, 'namespaces')}")
        [first] = firsts
        os.kill(first, signal.SIGKILL)
        assert await has(zygote, 0)
        await assert_serves(box)
        assert zygote_of(box) != zygote


# --- machines that lack some ------------------------------------------------------------------------------------------

CONFINED = """
import asyncio, json, sys
import seccompy
filter = seccompy.Filter()
for call in sys.argv[2].split():
    filter.errno(call, int(sys.argv[1]))
filter.load()

from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from tests.sandbox_jobs import assert_serves

async def main():
    sandbox = LinuxSandbox()
    await sandbox.start()
    print(json.dumps([str(layer) for layer in sandbox.layers]))
    await assert_serves(sandbox)
    await sandbox.close()

asyncio.run(main())
"""


def on_a_machine_without(calls: str, error: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CONFINED, str(error), calls]
    return subprocess.run(command, capture_output=True, env=environment(), check=False, text=True)


@pytest.mark.parametrize(
    ("calls", "error", "told"),
    [
        ("unshare", errno.EPERM, ["no namespaces (no user mount net ipc uts pid: Operation not permitted)"]),
        ("unshare", errno.ENOSPC, ["no namespaces (no user mount net ipc uts pid: No space left on device)"]),
        ("mount", errno.EACCES, ["namespaces (user net ipc uts pid; no mount: Permission denied)"]),
        ("landlock_create_ruleset", errno.ENOSYS, ["no landlock (this kernel has none, or was started without it)"]),
        (
            "landlock_create_ruleset",
            errno.EOPNOTSUPP,
            ["no landlock (this kernel has none, or was started without it)"],
        ),
        ("landlock_restrict_self", errno.EPERM, ["no landlock (refused: Operation not permitted)"]),
        ("unshare landlock_create_ruleset close_range", errno.EPERM, ["no landlock (", "no namespaces (no user"]),
    ],
)
def test_a_machine_without_depth_serves(calls: str, error: int, told: list[str]) -> None:
    done = on_a_machine_without(calls, error)
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)
    assert layers[0].startswith("seccomp (")
    assert layers[1].startswith("rlimits (")
    assert all(any(layer.startswith(text) for layer in layers) for text in told), layers


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errno.EPERM, "resource limits on a task's process cannot be set. Use a Linux kernel itself"),
        (0, "the sandbox does not hold on this machine: a job could take more memory than its limit (allowed)"),
    ],
)
def test_a_machine_without_resource_limits_is_reported(error: int, told: str) -> None:
    done = on_a_machine_without("prlimit64 setrlimit", error)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "SandboxUnavailable" in last
    assert told in last


# --- Landlock's versions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "rights", "tcp", "scopes", "detail"),
    [
        (1, 13, 0, 0, "ABI 1: files"),
        (2, 14, 0, 0, "ABI 2: files"),
        (3, 15, 0, 0, "ABI 3: files"),
        (4, 15, 3, 0, "ABI 4: files, TCP"),
        (5, 16, 3, 0, "ABI 5: files, TCP"),
        (6, 16, 3, 3, "ABI 6: files, TCP, signals, abstract sockets"),
        (9, 16, 3, 3, "ABI 9: files, TCP, signals, abstract sockets"),
    ],
)
def test_each_version_of_landlock_is_given_what_it_knows(
    monkeypatch: pytest.MonkeyPatch, version: int, *, rights: int, tcp: int, scopes: int, detail: str
) -> None:
    made: list[bytes] = []

    def system_call(_number: int, *arguments: Any) -> int:
        made.extend(argument for argument in arguments if isinstance(argument, bytes))
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(kernel, "_system_call", system_call)
    kernel.restrict_by_landlock(version)
    words = [int.from_bytes(made[0][start : start + 8], sys.byteorder) for start in (0, 8, 16)]
    assert words == [(1 << rights) - 1, tcp, scopes]
    assert kernel.landlock_detail(version) == detail


def test_reasons_are_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unshare(flags: int) -> None:
        if flags != 0x4000_0000:
            raise OSError(errno.EPERM if flags & 0x1000_0000 else errno.EINVAL, "refused" if flags else "")

    monkeypatch.setattr(kernel, "unshare", unshare)
    namespaces = Namespaces()
    namespaces.leave(as_root=True)
    assert namespaces.left == ["net"]
    namespaces.leave()
    assert namespaces.detail == "net; no user mount ipc uts pid: refused"
