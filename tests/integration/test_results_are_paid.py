"""A foreman learns nothing of what its job computed unless the workers are paid for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox
from ec262.domain.errors import Ec262Error, TaskAbandoned, TaskLimitExceeded
from ec262.domain.protocol.messages import Committed, Failed, Message
from ec262.services.foreman.workers import worker_link
from tests.system import add_up, make_job
from tests.tcp_system import TcpSystem, tcp_system

ANSWER = "THE ANSWER IS 42"


def print_and_crash(_key: object, _value: str) -> Iterator[tuple[str, int]]:
    print(ANSWER, flush=True)
    os._exit(3)


def print_and_fill_the_memory(_key: object, _value: str) -> Iterator[tuple[str, int]]:
    print(ANSWER, flush=True)
    taken = []
    while True:
        taken.append(bytes(64 << 20))


def print_and_abort(_key: object, _value: str) -> Iterator[tuple[str, int]]:
    print(ANSWER, flush=True)
    os.abort()


def sandboxed() -> dict[str, Any]:
    return {"sandbox": LinuxSandbox()}


async def ended(system: TcpSystem, mapper: Any) -> Ec262Error:
    with pytest.raises(Ec262Error) as caught:
        async with asyncio.timeout(60):
            await system.run(make_job({1: "a"}, {"mapper": mapper, "reducer": add_up, "combiner": None}))
    return caught.value


@pytest.mark.parametrize(
    ("mapper", "error", "purchases"),
    [
        (print_and_crash, TaskAbandoned, 9),
        (print_and_abort, TaskAbandoned, 9),
        (print_and_fill_the_memory, TaskLimitExceeded, 1),
    ],
)
async def test_output_of_a_stopped_job_comes_with_a_paid_result(
    mapper: Any, error: type[Ec262Error], purchases: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Message] = []
    route = worker_link.WorkerLink._route

    def overheard(link: worker_link.WorkerLink, message: Message) -> None:
        heard.append(message)
        route(link, message)

    monkeypatch.setattr(worker_link.WorkerLink, "_route", overheard)
    async with tcp_system(*[sandboxed] * 3, credits=60, sandbox=LinuxSandbox.name) as system:
        raised = await ended(system, mapper)
        assert isinstance(raised, error)
        assert ANSWER in str(raised), "it was paid for"
        plain = [message for message in heard if isinstance(message, Committed | Failed)]
        assert plain
        assert not [message for message in plain if ANSWER in repr(message)]
        paid = sum(system.credits_of(staff) for staff in system.staff)
        assert system.spent == 3 * purchases
        assert 2 * purchases <= paid <= 3 * purchases, "the winners are, and those who are late will be"
        assert system.service.audit() == system.granted
