"""Under ``error:P`` one known worker may decide a task alone. What can it do with that? Over TCP in TLS, with discovery
over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import pytest

from ec262.adapters.jobs.local_runtime import runtime_class
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.domain.discovery.reputation import Reputation
from ec262.domain.errors import InsufficientCredits, KeyCollision, NoEligibleWorkers, TaskLimitExceeded, UserCodeFailed
from ec262.domain.values import canonical
from ec262.domain.verification.rules import parse_rule
from ec262.domain.work.work import Phase
from tests.adversaries import Clasher, Denier, Exhausted, Liar, Misnamer
from tests.system import make_job
from tests.tcp_system import HONEST, POLICY, Staff, TcpSystem, tcp_system

TEXT = dict.fromkeys(range(8), "the quick fox and the lazy dog and the end")
COUNTS = Counter(word for line in TEXT.values() for word in line.split())
JOB = make_job(TEXT)
RULE = attrs.evolve(POLICY, run=attrs.evolve(POLICY.run, rule=parse_rule("error:1e-3")))
BOUND_S = 30.0

Maker = Callable[[], Mapping[str, Any]]


def let_be_known(system: TcpSystem, staff: Iterable[Staff], agreed: float = 200.0) -> None:
    """Have everybody believe these workers alone."""
    with system.service._unit_of_work() as uow:
        runtime = runtime_class(UnconfinedSandbox.name)
        known = Reputation(worker="", runtime=runtime, agreed=agreed, as_of=time.time())
        uow.reputations.save([attrs.evolve(known, worker=each.lease.worker) for each in staff])
        uow.commit()


def dissented(system: TcpSystem, staff: Staff) -> int:
    with system.service._unit_of_work() as uow:
        return sum(each.dissented for each in uow.reputations.find([staff.lease.worker], []))


LIES: dict[str, Maker] = {
    "that the code failed": lambda: {"sandbox": Denier()},
    "that a limit was hit": lambda: {"sandbox": Exhausted()},
    "that a key is a list": lambda: {"sandbox": Misnamer()},
}


@pytest.mark.parametrize("make", LIES.values(), ids=LIES)
async def test_a_known_workers_claim_ends_no_job(make: Maker) -> None:
    async with tcp_system(make, HONEST, HONEST, HONEST, credits=300) as system, asyncio.timeout(BOUND_S):
        let_be_known(system, system.staff)
        liar, *honest = system.staff
        for _ in range(3):
            assert await system.run(JOB, RULE) == COUNTS
        assert system.credits_of(liar) == 0
        assert all(system.credits_of(each) for each in honest)
        assert system.service.audit() == 300


def number_words(number: int, line: str) -> Iterable[tuple[Any, int]]:
    yield number, len(line.split())


def largest(number: int, counts: Iterable[int]) -> Iterable[tuple[Any, int]]:
    yield number, max(counts)


def by_number(number: int) -> int:
    return number


NUMBERS: dict[str, Any] = {"mapper": number_words, "reducer": largest, "combiner": None}
NUMBERED = NUMBERS | {"partitioner": by_number}
RESULT = {number: len(line.split()) for number, line in TEXT.items()}


@pytest.mark.parametrize("as_lines", [False, True])
@pytest.mark.parametrize(
    ("functions", "phase", "key"),
    [
        (NUMBERS, Phase.MAP, True),
        (NUMBERS, Phase.MAP, 3.0),
        (NUMBERS, Phase.REDUCE, 3.0),
        (NUMBERED, Phase.MAP, (7, 3)),
        (NUMBERED, Phase.MAP, (3, 3.0)),
        (NUMBERED, Phase.MAP, "no number"),
        (NUMBERED, Phase.REDUCE, True),
    ],
    ids=lambda value: repr(value) if not isinstance(value, dict) else "numbered" if value is NUMBERED else "plain",
)
async def test_a_known_workers_key_that_clashes_with_others_ends_no_job(
    functions: Any,
    phase: Phase,
    key: Any,
    as_lines: bool,  # noqa: FBT001 - parametrized
) -> None:
    job = attrs.evolve(make_job(TEXT, functions), partitioned=functions is NUMBERED, map_tasks=4)
    makers = [lambda: {"sandbox": Clasher(phase, key)}, HONEST, HONEST, HONEST]
    async with tcp_system(*makers, credits=300) as system, asyncio.timeout(BOUND_S):
        let_be_known(system, system.staff)
        lines: list[bytes] = []
        for _ in range(2):
            if as_lines:
                await system.run_to(job, RULE, lines.extend)
            else:
                assert await system.run(job, RULE) == RESULT
        assert {tuple(canonical.decode(line[:-1])) for line in lines} == (set(RESULT.items()) if as_lines else set())
        assert system.service.audit() == 300


@pytest.mark.parametrize("phase", Phase)
async def test_clashing_keys_end_the_job_when_two_workers_say_so(phase: Phase) -> None:
    makers = [lambda: {"sandbox": Clasher(phase, 3.0)}] * 4
    async with tcp_system(*makers, credits=300) as system, asyncio.timeout(BOUND_S):
        let_be_known(system, system.staff)
        with pytest.raises(KeyCollision, match=f"the {phase.value} phase yielded keys .*: 3.* and 3") as caught:
            await system.run(attrs.evolve(make_job(TEXT, NUMBERS), map_tasks=4), RULE)
        assert caught.value.confirmed


async def test_a_contradicted_claim_that_the_code_failed_counts_as_a_lie() -> None:
    async with tcp_system(LIES["that the code failed"], HONEST, HONEST, HONEST, credits=300) as system:
        let_be_known(system, system.staff)
        async with asyncio.timeout(BOUND_S):
            while not dissented(system, system.staff[0]):
                assert await system.run(JOB, RULE) == COUNTS
        assert [dissented(system, each) for each in system.staff[1:]] == [0, 0, 0]


async def test_code_that_fails_ends_the_job_when_two_workers_say_so() -> None:
    broken = make_job({1: None})
    async with tcp_system(HONEST, HONEST, HONEST, credits=300) as system, asyncio.timeout(BOUND_S):
        let_be_known(system, system.staff)
        with pytest.raises(UserCodeFailed, match="the mapper raised") as caught:
            await system.run(broken, RULE)
        assert caught.value.confirmed
        assert system.spent == sum(map(system.credits_of, system.staff)) == 2


async def test_code_that_does_fail_where_nobody_can_confirm_it() -> None:
    hasty = attrs.evolve(RULE, run=attrs.evolve(RULE.run, patience_s=0.5))
    async with tcp_system(HONEST, credits=300) as system, asyncio.timeout(BOUND_S):
        let_be_known(system, system.staff)
        with pytest.raises(UserCodeFailed, match="according to one worker; no other was available") as caught:
            await system.run(make_job({1: None}), hasty)
        assert not caught.value.confirmed


async def test_a_limit_that_all_hit_ends_the_job() -> None:
    makers = [LIES["that a limit was hit"]] * 3
    async with tcp_system(*makers, credits=300) as system, asyncio.timeout(BOUND_S):
        let_be_known(system, system.staff)
        with pytest.raises(TaskLimitExceeded):
            await system.run(JOB, RULE)


async def test_a_pool_that_is_too_small_is_reported_at_once_with_advice() -> None:
    strict = attrs.evolve(POLICY, run=attrs.evolve(POLICY.run, rule=parse_rule("error:1e-4"), patience_s=0.5))
    async with tcp_system(*[HONEST] * 4, credits=300) as system, asyncio.timeout(BOUND_S):
        with pytest.raises(NoEligibleWorkers, match=r"7 needed by error:.* 4 available: use error:0\.01"):
            await system.run(JOB, strict)
        assert (system.spent, system.service.audit()) == (0, 300)


async def test_credits_that_run_out_in_the_middle_are_accounted_for() -> None:
    """The purse is for teams that agree; here everybody lies, each something else."""
    hasty = attrs.evolve(POLICY, run=attrs.evolve(POLICY.run, rule=parse_rule("error:1e-2")), deadline_s=4)
    liars = [lambda lie=str(number): {"sandbox": Liar(lie)} for number in range(20)]
    async with tcp_system(*liars, credits=14) as system, asyncio.timeout(BOUND_S):
        with pytest.raises(InsufficientCredits, match="for additional workers, because the first ones differ"):
            await system.run(JOB, hasty)
        assert system.service.audit() == 14
        system.let_pass(hasty.deadline_s)
        assert (system.open_tasks(), system.spent, system.service.audit()) == ([], 0, 14)
