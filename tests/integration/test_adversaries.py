"""Workers that misbehave, among honest ones: over TCP in TLS, with discovery over HTTP.

What must come out: the right result, soon; the honest are paid, who did not commit it is not; the books balance.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from ec262.adapters.files.credentials import load_or_create_token
from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.adapters.tcp import connection as tcp_connection
from ec262.adapters.tcp.listener import TcpListener
from ec262.domain.discovery.ledger import SERVICE
from ec262.domain.ports.transport import Connection
from ec262.domain.protocol.messages import Committed, Delivered, Message, Ready, Welcome
from ec262.domain.protocol.reason import Reason
from tests.adversaries import (
    Act,
    Crasher,
    Exhausted,
    Liar,
    Pretender,
    Replayer,
    Saboteur,
    Sleeper,
    Unhurried,
    WrongKey,
    announce_huge_header,
    announce_huge_payload,
    deliver_something_else,
    drip,
    fall_silent,
    flood,
    flood_with_strays,
    greet_again,
    hang_up,
    push_delivery,
    refuse,
    send_garbage,
    send_huge,
    send_then_hang_up,
)
from tests.processes import peak_mib
from tests.system import make_job
from tests.tcp_system import HONEST, POLICY, Staff, TcpSystem, tcp_system

TEXT = dict.fromkeys(range(8), "the quick fox and the lazy dog and the end")
COUNTS = Counter(word for line in TEXT.values() for word in line.split())
JOB = make_job(TEXT)

JOB_FILE = """
import ec262

@ec262.mapper
def double(key, value):
    yield key, 2 * value

@ec262.reducer
def add_up(key, values):
    yield key, sum(values)

data = {1: 1, 2: 2}
"""

Maker = Callable[[], Mapping[str, Any]]

BOUND_S = 30.0
"""Far more than any of these jobs takes, also on a busy machine; far less than for ever."""


def sabotage(kind: type[Message] | tuple[type[Message], ...], act: Act, **others: Any) -> Maker:
    return lambda: {"listener": Saboteur(kind, act), **others}


NEVER_COMMIT: dict[str, Maker] = {
    "lies": lambda: {"sandbox": Liar("lie")},
    "crashes while computing": lambda: {"sandbox": Crasher()},
    "lies about limits": lambda: {"sandbox": Exhausted()},
    "is silent after Compute": lambda: {"sandbox": Sleeper()},
    "encrypts with another key": lambda: {"cipher": WrongKey()},
    "says Committed without committing": lambda: {"discovery": Pretender},
    "is silent after Hello": sabotage(Welcome, fall_silent),
    "is silent after Assign": sabotage(Ready, fall_silent),
    "hangs up after Hello": sabotage(Welcome, hang_up),
    "hangs up after Assign": sabotage(Ready, hang_up),
    "hangs up while computing": sabotage(Ready, send_then_hang_up, sandbox=Sleeper()),
    "sends garbage for Welcome": sabotage(Welcome, send_garbage),
    "sends garbage for Ready": sabotage(Ready, send_garbage),
    "announces a huge header": sabotage(Ready, announce_huge_header),
    "announces a huge payload": sabotage(Ready, announce_huge_payload),
    "sends a huge message": sabotage(Ready, send_huge),
    "drips": sabotage(Ready, drip),
    "floods with replies": sabotage(Ready, flood),
    "floods with strays": sabotage(Ready, flood_with_strays),
    "pushes a result that nobody asked for": sabotage(Ready, push_delivery),
    "refuses": sabotage(Ready, refuse),
    "sends what a worker never sends": sabotage(Ready, greet_again),
}

COMMIT_AND_THEN: dict[str, Maker] = {
    "silence": sabotage((Committed, Delivered), fall_silent),
    "the connection dropped": sabotage((Committed, Delivered), hang_up),
    "garbage for Committed": sabotage(Committed, send_garbage),
    "a flood for Committed": sabotage(Committed, flood),
    "silence for Delivered": sabotage(Delivered, fall_silent),
    "the connection dropped for Delivered": sabotage(Delivered, hang_up),
    "another delivery": sabotage(Delivered, deliver_something_else),
    "a refused delivery": sabotage(Delivered, refuse),
    "garbage for Delivered": sabotage(Delivered, send_garbage),
    "a huge delivery": sabotage(Delivered, send_huge),
    "a dripping delivery": sabotage(Delivered, drip),
}


@pytest.fixture(autouse=True)
def drips_are_cut_off_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_connection, "BEGUN_S", 0.5)


@asynccontextmanager
async def bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(BOUND_S):
        yield


def check_pay(system: TcpSystem, *, full: Sequence[Staff], nothing: Sequence[Staff] = ()) -> None:
    """``full`` are paid a credit for each task, ``nothing`` nothing, and no credit is lost."""
    tasks = system.spent // 3
    assert tasks >= 2
    assert [system.credits_of(staff) for staff in full] == [tasks] * len(full)
    assert [system.credits_of(staff) for staff in nothing] == [0] * len(nothing)
    assert system.service.audit() == system.granted


@pytest.mark.parametrize("make", NEVER_COMMIT.values(), ids=NEVER_COMMIT)
async def test_one_of_three_that_never_commits_the_result(make: Maker) -> None:
    async with tcp_system(HONEST, make, HONEST) as system:
        async with bounded():
            assert await system.run(JOB) == COUNTS
        first, bad, second = system.staff
        check_pay(system, full=[first, second], nothing=[bad])
        listener = bad.parts["listener"]
        assert not isinstance(listener, Saboteur) or listener.acted


@pytest.mark.parametrize("make", COMMIT_AND_THEN.values(), ids=COMMIT_AND_THEN)
async def test_a_commitment_is_paid_whatever_becomes_of_the_delivery(make: Maker) -> None:
    """The third worker sleeps, so that each task has these two winners, and half of them are first asked of the bad."""
    async with tcp_system(HONEST, lambda: {"sandbox": Unhurried(), **make()}, lambda: {"sandbox": Sleeper()}) as system:
        async with bounded():
            assert await system.run(JOB) == COUNTS
        honest, bad, sleeper = system.staff
        check_pay(system, full=[honest, bad], nothing=[sleeper])
        assert bad.parts["listener"].acted


async def test_no_worker_has_to_tell_of_its_commitment() -> None:
    silent = sabotage(Committed, fall_silent)
    async with tcp_system(silent, silent, lambda: {"sandbox": Sleeper()}) as system:
        async with bounded():
            assert await system.run(JOB) == COUNTS
        check_pay(system, full=system.staff[:2])


async def test_a_result_of_another_task() -> None:
    replayer = Replayer()
    async with tcp_system(HONEST, lambda: {"cipher": replayer}, HONEST, credits=30, slots=1) as system:
        assert await system.run(JOB) == COUNTS
        first, bad, second = system.staff
        await settled(lambda: system.credits_of(first) == system.credits_of(bad) == system.credits_of(second))
        check_pay(system, full=[first, bad, second])
        honestly_earned = system.credits_of(bad)
        replayer.replaying = True
        async with bounded():
            assert await system.run(JOB) == COUNTS
        check_pay(system, full=[first, second])
        assert system.credits_of(bad) == honestly_earned


async def settled(condition: Callable[[], bool]) -> None:
    async with bounded():
        while not condition():  # noqa: ASYNC110 - nobody tells when a late commitment was paid
            await asyncio.sleep(0.02)


async def test_different_lies_cost_time_and_nothing_else() -> None:
    makers = [HONEST, lambda: {"sandbox": Liar("one lie")}, HONEST, lambda: {"sandbox": Liar("another lie")}, HONEST]
    async with tcp_system(*makers, credits=300) as system:
        async with bounded():
            assert await system.run(JOB) == COUNTS
        staff = system.staff
        assert all(system.credits_of(honest) > 0 for honest in staff[::2])
        # A job buys one dispute at most, and that only where two tasks had no winner: it pays all who committed.
        earned = [transfer for liar in staff[1::2] for transfer in system.earnings_of(liar)]
        assert {transfer.reason for transfer in earned} <= {Reason.DISPUTE}
        assert len({transfer.task for transfer in earned}) <= 1
        assert system.service.audit() == 300


async def test_a_task_lost_by_silence_is_bought_again_and_its_credits_come_back() -> None:
    makers = [HONEST, lambda: {"sandbox": Sleeper()}, HONEST, lambda: {"sandbox": Liar("lie")}, HONEST]
    hasty = attrs.evolve(POLICY, deadline_s=2)
    async with tcp_system(*makers, credits=300, slots=20) as system:
        async with bounded():
            assert await system.run(JOB, hasty) == COUNTS
        system.let_pass(hasty.deadline_s)
        staff = system.staff
        earned = [system.credits_of(each) for each in staff]
        assert all(earned[::2])
        assert earned[1::2] == [0, 0]
        kept = balance(system, SERVICE)
        assert kept > 0  # the shares of those who did not commit what won
        assert system.spent == sum(earned) + kept
        assert system.service.audit() == 300


def balance(system: TcpSystem, account: str) -> int:
    with system.service._unit_of_work() as uow:
        return uow.ledger.balance(account)


async def silent_door(port: int) -> Callable[[], None]:
    """Take connections and never say anything."""
    door = socket.create_server(("127.0.0.1", port))
    return door.close


async def closed_door(_port: int) -> Callable[[], None]:
    return lambda: None


async def door_of_another(port: int) -> Callable[[], None]:
    """An honest listener, but with another certificate."""
    listener = TcpListener("127.0.0.1", port)

    async def handler(connection: Connection) -> None:
        await connection.receive(max_payload_bytes=0, timeout_s=None)
        raise AssertionError("the foreman spoke to a stranger")

    await listener.start(handler)
    closing: list[asyncio.Task[None]] = []
    return lambda: closing.append(asyncio.create_task(listener.close()))


@pytest.mark.parametrize("door", [silent_door, closed_door, door_of_another])
async def test_a_worker_that_is_not_there_any_more(
    door: Callable[[int], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with tcp_system(HONEST, HONEST, HONEST) as system:
        first, gone, second = system.staff
        await gone.parts["listener"].close()
        close = await door(gone.lease.address.port)
        async with bounded():
            assert await system.run(JOB) == COUNTS
        close()
        check_pay(system, full=[first, second], nothing=[gone])
    assert "the foreman spoke to a stranger" not in caplog.text


@pytest.mark.parametrize("bad", ["lies", "crashes while computing", "hangs up while computing"])
async def test_with_the_real_sandbox(bad: str) -> None:
    def honest() -> Mapping[str, Any]:
        return {"sandbox": LinuxSandbox()}

    async with tcp_system(honest, NEVER_COMMIT[bad], honest, sandbox=LinuxSandbox.name) as system:
        async with bounded():
            assert await system.run(JOB) == COUNTS
        first, liar, second = system.staff
        check_pay(system, full=[first, second], nothing=[liar])


# --- a foreman's process --------------------------------------------------------------------------------------------

FOREMAN_MIB = 200.0
"""A foreman with nothing to do has 45. Six results of 60 MiB would be 360 more."""


async def test_workers_that_push_results_do_not_fill_a_foremans_memory(tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(JOB_FILE, encoding="utf-8")
    async with tcp_system(*[sabotage(Ready, push_delivery)] * 6) as system, bounded():
        system.service.accounts.open_with_grant(load_or_create_token(tmp_path, system.url, "foreman"), 99)
        flags = ("--quiet", "--discovery", system.url, "--credentials", str(tmp_path), "--patience", "1")
        foreman = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ec262.entrypoints.foreman", str(job), *flags, stderr=asyncio.subprocess.DEVNULL
        )
        peak = 0.0
        while foreman.returncode is None:
            peak = max(peak, peak_mib(foreman.pid))
            with suppress(TimeoutError):
                await asyncio.wait_for(foreman.wait(), 0.02)
        saboteurs = [staff.parts["listener"] for staff in system.staff]
    assert foreman.returncode == 1
    assert sum(each.acted for each in saboteurs) >= 6
    assert 0 < peak < FOREMAN_MIB
