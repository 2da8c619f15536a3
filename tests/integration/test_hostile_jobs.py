"""The Linux sandbox against jobs that mean harm. Judged by canaries outside, not by what the sandbox says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
import pytest_asyncio

from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.errors import SandboxCrashed, SandboxError, SandboxLimitExceeded
from ec262.domain.work.outcome import decode_outcome
from ec262.domain.work.work import Limits, Phase, Work
from tests.canaries import SECRET, Scene
from tests.hostile_jobs import PAYLOADS, armed
from tests.sandbox_jobs import (
    LIMITS as PLENTY,
)
from tests.sandbox_jobs import (
    REPOSITORY,
    assert_serves,
    encoded,
    environment,
    failure_of,
    is_idle,
    map_work,
    pairs_of,
    pickled,
    zygote_of,
)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the Linux sandbox needs Linux"),
    pytest.mark.asyncio(loop_scope="module"),
]

LIMITS = Limits(cpu_s=1, wall_s=0.3, memory_bytes=128 << 20, output_bytes=1 << 20, log_bytes=1 << 14)
PATIENT = attrs.evolve(LIMITS, wall_s=10)  # for those that end by themselves, or at another limit, on a busy machine
AT_A_TIME = 16
SHORT = attrs.evolve(LIMITS, wall_s=0.2)

TIERS: dict[str, set[str]] = {
    **({} if os.geteuid() == 0 else {"all layers": set()}),  # root has had that, one by one
    "without namespaces": {"namespaces"},
    "without Landlock": {"landlock"},
    "seccomp and rlimits alone": {"namespaces", "landlock"},
}


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.close()


@asynccontextmanager
async def started(without: Collection[str] = ()) -> AsyncIterator[LinuxSandbox]:
    box = LinuxSandbox(without=without)
    await box.start()
    try:
        yield box
    finally:
        await box.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox(scene: Scene) -> AsyncIterator[LinuxSandbox]:
    async with started() as box:
        yield box


async def run(sandbox: LinuxSandbox, work: Work, limits: Limits) -> tuple[Any, str]:
    """Run a job; return what came of it, a result or an error, and all that it told."""
    started_at = time.monotonic()
    result: Any
    try:
        result = await sandbox.run(work, limits)
        told = result.outcome.decode(errors="replace") + result.log.decode()
        with suppress(Exception):
            told += str(decode_outcome(result.outcome))
    except SandboxError as error:
        result, told = error, str(error)
    assert time.monotonic() - started_at < limits.wall_s + 5
    return result, told


async def attack(
    sandbox: LinuxSandbox, scene: Scene, name: str, *, limits: Limits = PATIENT, courteous: bool = False
) -> Any:
    """Run a payload, see that nothing was harmed; return what came of it, a result or an error."""
    zygote = zygote_of(sandbox)
    act = PAYLOADS[name].act if courteous else armed(PAYLOADS[name].act)
    result, told = await run(sandbox, map_work(act, [("row", scene.target(zygote))]), limits)
    assert scene.harm(told) == [], told
    assert await is_idle(sandbox), "processes were left"
    return result


async def test_there_are_payloads_of_each_family() -> None:
    assert len(PAYLOADS) >= 120
    assert len({payload.family for payload in PAYLOADS.values()}) >= 20


@pytest.mark.parametrize("name", PAYLOADS)
async def test_it_does_no_harm_and_the_next_job_is_served(sandbox: LinuxSandbox, scene: Scene, name: str) -> None:
    before = zygote_of(sandbox)
    await attack(sandbox, scene, name, limits=LIMITS)
    assert zygote_of(sandbox) == before
    await assert_serves(sandbox)


@pytest.mark.parametrize("tier", TIERS)
async def test_no_payload_does_harm_on_any_tier(scene: Scene, tier: str) -> None:
    """Many at a time, for there are many; where there is harm, it is one of those named."""
    async with started(TIERS[tier]) as box:
        assert {layer.name for layer in box.layers if layer.in_force} >= {"seccomp", "rlimits"}
        assert {layer.name for layer in box.layers if not layer.in_force} >= TIERS[tier]
        zygote = zygote_of(box)
        target = scene.target(zygote)

        async def attack_and_serve(name: str) -> str:
            _, told = await run(box, map_work(armed(PAYLOADS[name].act), [("row", target)]), SHORT)
            await assert_serves(box)
            return told

        names = sorted(PAYLOADS, key=lambda name: PAYLOADS[name].family)  # those that take their time, together
        for group in (names[start : start + AT_A_TIME] for start in range(0, len(names), AT_A_TIME)):
            told = await asyncio.gather(*map(attack_and_serve, group))
            assert scene.harm("\n".join(told)) == [], (group, told)
            assert await is_idle(box), (group, "processes were left")
            assert zygote_of(box) == zygote, group


async def test_without_a_sandbox_they_do_harm() -> None:
    """The control: the canaries would tell."""
    names = [name for name, payload in PAYLOADS.items() if not payload.never]
    controls = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.unconfined", *names[half::2]),
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
            env=environment() | {"EC262_CANARY": SECRET},
        )
        for half in (0, 1)
    ]
    told = [(await control.communicate())[0] for control in controls]
    harm = {name: harm for part in told for name, harm in json.loads(part).items()}
    assert harm.pop("an honest job") == []
    harmless = {name for name in names if not harm[name]}
    assert {name for name in harmless if not PAYLOADS[name].unless} == set()
    families = {PAYLOADS[name].family for name in names}
    assert {PAYLOADS[name].family for name in set(names) - harmless} == families, "a family of which none can do harm"


# --- what came of it is told ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "functions",
    [
        pytest.param(b"cos\nsystem\n(S': > {folder}/ran'\ntR.", id="runs a command"),
        pytest.param(b"cposix\nsystem\n(S': > {folder}/ran'\ntR.", id="runs a command by another name"),
        pytest.param(b"cbuiltins\nopen\n(S'{folder}/written'\nS'w'\ntR.", id="opens a file"),
        pytest.param(b"cbuiltins\nexec\n(S'import os; os.kill(os.getppid(), 9)'\ntR.", id="kills its parent"),
        pytest.param(b"cos\n_exit\n(I0\ntR.", id="ends"),
        pytest.param(b"csys\nexit\n(I0\ntR.", id="exits"),
        pytest.param(b"(" * 2_000_000 + b"t" * 2_000_000 + b".", id="nests"),
        pytest.param(b"\x8e" + (1 << 60).to_bytes(8, "little") + b"x", id="announces more than there is"),
        pytest.param(b"cbuiltins\nbytes\n(L99999999999999L\ntR.", id="takes all memory"),
        pytest.param(b"I" + b"9" * 1_000_000 + b"\n.", id="a number without end"),
        pytest.param(b"\x00" * 100_000, id="garbage"),
        pytest.param(b"x" * (8 << 20), id="much garbage"),
        pytest.param(pickled(mapper=test_there_are_payloads_of_each_family)[:-100], id="cut off"),
        pytest.param(b"]q\x00h\x00a" * 100_000 + b".", id="holds itself"),
    ],
)
async def test_hostile_pickles(sandbox: LinuxSandbox, scene: Scene, functions: bytes) -> None:
    functions = functions.replace(b"{folder}", str(scene.folder).encode())
    work = Work(phase=Phase.MAP, functions=functions, rows=encoded([(1, 1)]), seed=0)
    try:
        computed = await sandbox.run(work, LIMITS)
        assert failure_of(computed).function == "job"
    except (SandboxCrashed, SandboxLimitExceeded):
        pass
    assert scene.harm("") == []
    assert await is_idle(sandbox)
    await assert_serves(sandbox)


@pytest.mark.parametrize(
    ("name", "exception", "told"),
    [
        ("read_a_file", "PermissionError", "the ec262 sandbox has no files (open): '"),
        ("walk_the_disk", "PermissionError", "the ec262 sandbox has no files (os.listdir): '"),
        (
            "fork",
            "PermissionError",
            "in fork\nPermissionError: [Errno 1] the ec262 sandbox has no other processes (os.fork)\n",
        ),
        ("run_a_command", "PermissionError", "the ec262 sandbox has no other processes (os.system)\n"),
        ("kill_the_zygote", "PermissionError", "the ec262 sandbox has no other processes (os.kill)\n"),
        ("start_many_threads", "PermissionError", "the ec262 sandbox has no threads (threading.Thread.start)\n"),
        ("connect_by_tcp", "PermissionError", "the ec262 sandbox has no network (socket"),
        ("run_a_program_by_subprocess", "ModuleNotFoundError", "'subprocess' is not available in the sandbox (rule: "),
    ],
)
async def test_a_refused_act_names_the_rule(
    sandbox: LinuxSandbox, scene: Scene, name: str, exception: str, told: str
) -> None:
    computed = await attack(sandbox, scene, name, courteous=True)
    assert failure_of(computed).exception == exception
    assert told in computed.log.decode()
    assert "[the sandbox refused" not in computed.log.decode()


async def test_refusals_by_the_kernel_are_explained(sandbox: LinuxSandbox, scene: Scene) -> None:
    computed = await attack(sandbox, scene, "read_a_file")
    assert failure_of(computed).exception == "PermissionError"
    assert "Operation not permitted" in computed.log.decode()
    assert "[the sandbox refused this: a job can use no file" in computed.log.decode()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("exit_at_once", "exit status 0 and no result"),
        ("crash_by_null_pointer", "SIGSEGV"),
        ("trace_the_worker", "rule: system calls"),
        ("send_an_answer_of_no_kind", "protocol"),
        ("announce_a_huge_log", "protocol"),
    ],
)
async def test_a_crash_is_reported(sandbox: LinuxSandbox, scene: Scene, name: str, told: str) -> None:
    result = await attack(sandbox, scene, name)
    assert isinstance(result, SandboxCrashed)
    assert told in str(result)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("announce_an_endless_result", "output"),
        ("yield_what_is_large", "output"),
        ("allocate_for_ever", "memory"),
        ("allocate_at_once", "memory"),
        ("catch_everything_and_sleep", "wall"),
        ("print_for_ever", "wall"),
    ],
)
async def test_a_limit_is_reported(sandbox: LinuxSandbox, scene: Scene, name: str, limit: str) -> None:
    result = await attack(sandbox, scene, name, limits=LIMITS if limit == "wall" else PATIENT)
    assert isinstance(result, SandboxLimitExceeded)
    assert result.limit == limit


async def test_memory_from_the_kernel_itself_is_limited(sandbox: LinuxSandbox, scene: Scene) -> None:
    got_mib = dict(pairs_of(await attack(sandbox, scene, "map_for_ever")))["got"]
    assert 64 <= got_mib <= 128


@pytest.mark.parametrize("name", ["claim_a_limit_with_a_terminals_commands", "write_nonsense_where_prints_go"])
async def test_a_terminal_gets_no_commands_from_a_job(sandbox: LinuxSandbox, scene: Scene, name: str) -> None:
    text = str(await attack(sandbox, scene, name))
    assert "\x1b" not in text
    assert "\0" not in text
    assert len(text) < 1500


async def test_standard_descriptors_are_nothing_but_dev_null(sandbox: LinuxSandbox, scene: Scene) -> None:
    found = pairs_of(await attack(sandbox, scene, "read_its_standard_descriptors"))
    assert found == [("0", b""), ("1", b""), ("2", b"")]


async def test_nothing_is_left_for_the_next_job(sandbox: LinuxSandbox) -> None:
    def leave(key: Any, _value: Any) -> list[tuple[Any, Any]]:
        import json as shared

        seen = getattr(shared, "mark", None), os.environ.get("MARK"), vars(sys.modules["__main__"]).get("mark")
        shared.mark = os.environ["MARK"] = "was here"  # type: ignore[attr-defined]  # that is the point
        sys.modules["__main__"].mark = "was here"  # type: ignore[attr-defined]  # likewise
        return [(key, seen)]

    for _ in range(2):
        assert pairs_of(await sandbox.run(map_work(leave), PLENTY)) == [("row", (None, None, None))]
