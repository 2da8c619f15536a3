"""Whole jobs in one process, over in-memory adapters: no socket, no file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import pytest

from ec262.adapters.memory.result_store import MemoryResultStore
from ec262.adapters.memory.spill import MemorySpill
from ec262.adapters.sandbox.in_process import UnconfinedSandbox
from ec262.domain.errors import (
    DiscoveryUnavailable,
    InsufficientCredits,
    JobDefinitionError,
    KeyCollision,
    NoEligibleWorkers,
    PeerLost,
    TaskAbandoned,
    TaskLimitExceeded,
    UserCodeFailed,
)
from ec262.domain.foreman.data.row_spool import RowSpool
from ec262.domain.ports.discovery import ForemanDiscovery
from ec262.domain.ports.progress import JobStatus
from ec262.domain.ports.result_store import StoredResult
from ec262.domain.ports.transport import Admit, Connection, Dialer
from ec262.domain.protocol.account_calls import AccountStatus
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.foreman_calls import BuyTasks, DeliveryReports, Purchase, VerdictQuery, Verdicts
from ec262.domain.protocol.messages import Committed, Failed, Message
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.work.runtime import PythonTag
from ec262.domain.work.work import Computed, Limits, Phase, Work
from ec262.services.foreman.foreman_policy import ForemanPolicy
from tests.adversaries import Crasher, Exhausted, Liar, Sleeper, altered
from tests.system import FOREMAN, FOREMAN_POLICY, WORD_COUNT, add_up, make_job, memory_system, worker_token

TEXT = dict.fromkeys(range(10), "the quick fox and the lazy dog and the end")
COUNTS = {"and": 20, "dog": 10, "end": 10, "fox": 10, "lazy": 10, "quick": 10, "the": 30}


class ForgetfulStore(MemoryResultStore):
    """Commits, and then has nothing to deliver."""

    async def get(self, task: str) -> StoredResult | None:
        return None


@attrs.define
class Recorder:
    """A progress that keeps what it was shown."""

    shown: list[JobStatus] = attrs.Factory(list)
    closed: bool = False

    def show(self, status: JobStatus) -> None:
        self.shown.append(status)

    def close(self) -> None:
        self.closed = True


class Relay:
    """A discovery that passes all calls on."""

    def __init__(self, discovery: ForemanDiscovery) -> None:
        self._discovery = discovery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._discovery, name)


def hasty(**run: Any) -> ForemanPolicy:
    """Return a policy with other patience."""
    return attrs.evolve(FOREMAN_POLICY, run=attrs.evolve(FOREMAN_POLICY.run, **run))


async def test_a_whole_job_without_a_socket() -> None:
    async with memory_system() as system:
        assert await system.foreman().run(make_job(TEXT)) == COUNTS
        assert system.service.audit() == 1000
        spent = 1000 - system.credits_of(FOREMAN)
        assert spent > 0
        assert spent % 3 == 0


async def test_no_rows_are_no_work() -> None:
    async with memory_system(workers=0) as system:
        assert await system.foreman().run(make_job({})) == {}


async def test_rows_that_yield_nothing_end_the_job_after_the_map_phase() -> None:
    async with memory_system() as system:
        assert await system.foreman().run(make_job({1: "", 2: ""})) == {}


async def test_values_come_in_the_order_of_the_data_however_the_rows_are_packed() -> None:
    def same_key(row: int, _value: None) -> Iterator[tuple[str, tuple[int, str]]]:
        yield "all", (row, "first")
        yield "all", (row, "second")

    def keep(key: str, values: tuple[tuple[int, str], ...]) -> Iterator[tuple[str, Any]]:
        assert isinstance(values, tuple)
        yield key, values

    job = make_job(dict.fromkeys(range(40)), {"mapper": same_key, "reducer": keep, "combiner": None})
    async with memory_system() as system:
        result = await system.foreman().run(job)
    assert result == {"all": tuple((row, word) for row in range(40) for word in ("first", "second"))}


async def test_a_combiner_changes_what_travels_and_not_what_comes_out() -> None:
    async with memory_system() as system:
        assert await system.foreman().run(make_job(TEXT, WORD_COUNT | {"combiner": add_up})) == COUNTS


async def test_the_last_pair_of_a_key_wins_in_the_order_of_the_reduce_keys() -> None:
    def rename(word: str, counts: Iterable[int]) -> Iterator[tuple[str, str]]:
        yield "last", word
        yield word, "x"

    async with memory_system() as system:
        result = await system.foreman().run(make_job(TEXT, WORD_COUNT | {"reducer": rename}))
    assert result["last"] == "the"
    assert set(result) == {*COUNTS, "last"}


async def test_keys_that_python_takes_for_equal_are_an_error() -> None:
    def collide(_key: int, _value: str) -> Iterator[tuple[Any, int]]:
        yield 1, 1
        yield True, 1

    async with memory_system() as system:
        with pytest.raises(KeyCollision):
            await system.foreman().run(make_job(TEXT, WORD_COUNT | {"mapper": collide}))


@pytest.mark.parametrize("bad", [Liar("lie"), Crasher(), Sleeper(), Exhausted()], ids=lambda bad: type(bad).__name__)
async def test_one_bad_worker_among_three_changes_nothing(bad: UnconfinedSandbox) -> None:
    async with memory_system(workers=3, sandboxes={1: bad}) as system:
        assert await system.foreman().run(make_job(TEXT)) == COUNTS
        assert system.credits_of(worker_token(1)) == 0
        assert system.credits_of(worker_token(0)) == system.credits_of(worker_token(2)) > 0


async def test_a_task_without_a_win_is_bought_again_from_others() -> None:
    sandboxes = {0: Liar("one lie"), 1: Liar("another lie")}
    async with memory_system(workers=8, sandboxes=sandboxes) as system:
        assert await system.foreman(hasty(attempts=9)).run(make_job(TEXT)) == COUNTS
        # Nothing, but for the one dispute that a job buys where it is not the first time that nobody won.
        assert system.credits_of(worker_token(0)) == system.credits_of(worker_token(1)) <= 1


async def test_where_most_workers_crash_the_job_fails_naming_the_task_and_how_it_crashed() -> None:
    async with memory_system(workers=3, sandboxes={0: Crasher(), 1: Crasher()}) as system:
        with pytest.raises(TaskAbandoned, match="task 1 was bought 3 times") as caught:
            await system.foreman().run(make_job({1: "a b"}))
    assert caught.value.history == tuple(
        f"purchase {number}, 2 workers agree: its process crashed: the child died" for number in (1, 2, 3)
    )


async def test_one_worker_that_crashes_is_outvoted_and_not_called_a_liar() -> None:
    async with memory_system(workers=3, sandboxes={0: Crasher()}) as system:
        assert await system.foreman().run(make_job({1: "a b"})) == {"a": 1, "b": 1}
        assert system.credits_of(worker_token(0)) == 0


async def test_a_limit_that_most_replicas_hit_is_reported_as_a_limit() -> None:
    async with memory_system(workers=3, sandboxes={0: Exhausted(), 1: Exhausted(), 2: Exhausted()}) as system:
        with pytest.raises(TaskLimitExceeded, match="map task 1 exceeded its cpu limit: 5 s of processor time"):
            await system.foreman().run(make_job({1: "a b"}))


async def test_a_user_error_is_a_verified_result_that_ends_the_job() -> None:
    def stumble(key: int, _value: str) -> Iterator[tuple[str, int]]:
        print("about to stumble")
        yield "x", 1 // (key - 3)

    async with memory_system() as system:
        with pytest.raises(UserCodeFailed, match="the mapper raised ZeroDivisionError at the row with key 3") as caught:
            await system.foreman().run(make_job(TEXT, WORD_COUNT | {"mapper": stumble}))
        assert system.credits_of(worker_token(0)) + system.credits_of(worker_token(1)) > 0
    assert [function for function, _ in caught.value.frames] == ["stumble"]
    assert "about to stumble" in caught.value.report
    assert "ZeroDivisionError" in caught.value.report


async def test_winners_that_do_not_deliver_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ec262")
    async with memory_system(workers=3, results={0: ForgetfulStore(capacity_bytes=1 << 24)}) as system:
        assert await system.foreman().run(make_job(TEXT)) == COUNTS


async def test_a_task_that_nobody_delivers_is_given_up_and_they_are_reported() -> None:
    forgetful = {number: ForgetfulStore(capacity_bytes=1 << 24) for number in range(3)}
    async with memory_system(workers=3, results=forgetful) as system:
        with pytest.raises(TaskAbandoned, match="no winner delivered"):
            await system.foreman().run(make_job({1: "a"}))
        reports = [system.service.accounts.open(worker_token(number)).reports for number in range(3)]
    assert sum(reports) >= 2  # it was bought three times: two winners each, perhaps the same


class DeafToReports(Relay):
    """A discovery that does not take reports."""

    async def report(self, command: DeliveryReports) -> None:
        raise DiscoveryUnavailable("away")


class SlowToReport(Relay):
    """A discovery that takes its time with reports."""

    async def report(self, command: DeliveryReports) -> None:
        await asyncio.sleep(60)


@pytest.mark.parametrize("kind", [DeafToReports, SlowToReport])
async def test_a_failing_report_does_no_harm(kind: type[Relay], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.services.foreman.job_workers.LAST_REPORT_S", 0.05)
    async with memory_system(workers=3, results={0: ForgetfulStore(capacity_bytes=1 << 24)}) as system:
        discovery = kind(system.foreman_discovery)
        assert await system.foreman(discovery=discovery).run(make_job(TEXT)) == COUNTS
        assert system.service.accounts.open(worker_token(0)).reports == 0


class Corrupt(MemoryResultStore):
    """Delivers something else than was committed."""

    async def get(self, task: str) -> StoredResult | None:
        stored = await super().get(task)
        return stored and attrs.evolve(stored, ciphertext=altered(stored.ciphertext))


async def test_a_delivery_that_was_not_committed_is_refused() -> None:
    async with memory_system(
        workers=3, results={number: Corrupt(capacity_bytes=1 << 24) for number in range(3)}
    ) as system:
        with pytest.raises(TaskAbandoned, match="not the committed one"):
            await system.foreman().run(make_job({1: "a"}))


class BadLog(MemoryResultStore):
    async def get(self, task: str) -> StoredResult | None:
        stored = await super().get(task)
        return stored and attrs.evolve(stored, log=b"no ciphertext")


async def test_a_log_that_cannot_be_opened_does_not_spoil_the_result() -> None:
    async with memory_system(
        workers=3, results={number: BadLog(capacity_bytes=1 << 24) for number in range(3)}
    ) as system:
        assert await system.foreman().run(make_job(TEXT)) == COUNTS


async def test_colluding_workers_that_send_garbage_are_not_believed() -> None:
    class Garbage(UnconfinedSandbox):
        async def run(self, work: Work, limits: Limits) -> Computed:
            return Computed(outcome=b"not canonical", log=b"")

    async with memory_system(workers=3, sandboxes={0: Garbage(), 1: Garbage()}) as system:
        with pytest.raises(TaskAbandoned, match="NotCanonical"):
            await system.foreman().run(make_job({1: "a"}))


async def test_the_output_of_a_job_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def chatty(_key: int, value: str) -> Iterator[tuple[str, int]]:
        print("seen", value)
        yield value, 1

    caplog.set_level("INFO", "ec262")
    async with memory_system() as system:
        await system.foreman().run(make_job({1: "a"}, WORD_COUNT | {"mapper": chatty}))
    assert "map task 1 printed:\nseen a" in [record.getMessage() for record in caplog.records]


async def test_a_shortage_of_workers_is_reported_after_a_wait() -> None:
    async with memory_system(workers=2) as system:
        with pytest.raises(NoEligibleWorkers, match="3 needed, 2 available"):
            await system.foreman(hasty(patience_s=0.1)).run(make_job(TEXT))


async def test_a_long_wait_is_reported(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.services.foreman.foreman.LAST_PAUSE_S", 0.04)
    async with memory_system(workers=2) as system:
        with pytest.raises(NoEligibleWorkers):
            await system.foreman(hasty(patience_s=0.3)).run(make_job(TEXT))
    assert "waiting for workers: 3 needed, 2 available" in caplog.text


async def test_workers_of_another_python_are_not_used_and_named() -> None:
    other = Requirement(python=PythonTag(implementation="cpython", magic=1, cloudpickle="9", version="9.9"))
    async with memory_system() as system:
        with pytest.raises(NoEligibleWorkers, match=r"4 run cpython 3\."):
            await system.foreman(hasty(patience_s=0.1)).run(make_job(TEXT, requirement=other))


async def test_a_shortage_of_credits_is_reported_before_any_work() -> None:
    async with memory_system(credits=8) as system:
        with pytest.raises(InsufficientCredits, match="have 8, need 9"):
            await system.foreman().run(make_job(TEXT))
        assert system.credits_of(FOREMAN) == 8


async def test_humpty_dumpty_runs_on_twelve_credits() -> None:
    async with memory_system(workers=3, credits=12, slots=1) as system:
        assert await system.foreman().run(make_job(TEXT)) == COUNTS
        assert system.credits_of(FOREMAN) == 3


async def test_progress_goes_from_nothing_to_all() -> None:
    recorder = Recorder()
    async with memory_system() as system:
        system.progress = recorder
        await system.foreman().run(make_job(TEXT))
    first, last = recorder.shown[0], recorder.shown[-1]
    assert (first.phase, first.done) == (Phase.MAP, 0)
    assert (last.phase, last.done, last.running) == (Phase.REDUCE, last.total, 0)
    assert last.workers == 4
    assert recorder.closed


class Unlucky(Relay):
    """A discovery that fails in one of its calls."""

    async def buy(self, command: BuyTasks) -> Purchase:
        raise DiscoveryUnavailable("discovery is away")


async def test_discovery_that_stays_away_ends_the_job() -> None:
    async with memory_system() as system:
        with pytest.raises(DiscoveryUnavailable, match="discovery is away"):
            await system.foreman(discovery=Unlucky(system.foreman_discovery)).run(make_job(TEXT))


async def test_credits_spent_elsewhere_during_the_job_are_reported() -> None:
    class Thief(Unlucky):
        async def open_account(self, invitation: str | None = None) -> AccountStatus:
            status = await self._discovery.open_account(invitation)
            return attrs.evolve(status, credits=status.credits + 100)

        async def buy(self, command: BuyTasks) -> Purchase:
            return await self._discovery.buy(command)

    async with memory_system(credits=2) as system:
        with pytest.raises(InsufficientCredits, match="to continue"):
            await system.foreman(discovery=Thief(system.foreman_discovery)).run(make_job({1: "a"}))


class FlakyDialer:
    """Does not reach the first worker that it is asked for, the first time."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._dialed: list[int] = []

    async def connect(self, address: WorkerAddress, *, timeout_s: float) -> Connection:
        self._dialed.append(address.port)
        if self._dialed == [address.port]:
            raise PeerLost("no route")
        return await self._dialer.connect(address, timeout_s=timeout_s)

    @property
    def first_was_dialed_again(self) -> bool:
        return self._dialed.count(self._dialed[0]) == 2


async def test_a_connection_that_failed_is_made_again_for_the_next_task() -> None:
    async with memory_system(workers=3) as system:
        dialer = FlakyDialer(system.network.dialer())
        assert await system.foreman(dialer=dialer).run(make_job(TEXT)) == COUNTS
        assert dialer.first_was_dialed_again


class Mute:
    """A connection on which workers never say what became of a task."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def receive(self, *, max_payload_bytes: int, timeout_s: float | None, admit: Admit | None = None) -> Message:
        while True:
            message = await self._connection.receive(
                max_payload_bytes=max_payload_bytes, timeout_s=timeout_s, admit=admit
            )
            if not isinstance(message, Committed | Failed):
                return message


class MutingDialer:
    """Dials as another does."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def connect(self, address: WorkerAddress, *, timeout_s: float) -> Mute:
        return Mute(await self._dialer.connect(address, timeout_s=timeout_s))


async def test_wins_are_heard_of_from_discovery_where_workers_say_nothing() -> None:
    waits: list[float] = []

    class Watched(Relay):
        async def verdicts(self, query: VerdictQuery) -> Verdicts:
            waits.append(query.wait_s)
            return await self._discovery.verdicts(query)

    async with memory_system() as system:
        foreman = system.foreman(
            dialer=MutingDialer(system.network.dialer()), discovery=Watched(system.foreman_discovery)
        )
        assert await foreman.run(make_job(TEXT)) == COUNTS
    assert set(waits) == {FOREMAN_POLICY.watch_s}


async def test_a_watch_does_not_hold_up_the_end_of_a_job() -> None:
    class Attentive(Relay):
        async def verdicts(self, query: VerdictQuery) -> Verdicts:
            if query.wait_s:
                await asyncio.sleep(60)
            return await self._discovery.verdicts(query)

    async with memory_system() as system, asyncio.timeout(10):
        foreman = system.foreman(hasty(poll_s=0.0), discovery=Attentive(system.foreman_discovery))
        assert await foreman.run(make_job(TEXT)) == COUNTS


async def test_a_cancelled_job_leaves_nothing_running() -> None:
    async with memory_system(workers=3, sandboxes={n: Sleeper() for n in range(3)}) as system:
        before = asyncio.all_tasks()
        run = asyncio.create_task(system.foreman().run(make_job(TEXT)))
        await asyncio.sleep(0.2)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        left = {
            task for task in asyncio.all_tasks() - before if "foreman" in repr(task) or "JobExecution" in repr(task)
        }
        assert not left


async def test_a_job_whose_rows_were_put_away_runs_once() -> None:
    rows = RowSpool(MemorySpill)
    rows.append(b'[1,"a b"]')
    job = attrs.evolve(make_job(TEXT), rows=rows)
    async with memory_system(workers=3) as system:
        assert await system.foreman().run(job) == {"a": 1, "b": 1}
        with pytest.raises(JobDefinitionError, match="a job can run only once"):
            await system.foreman().run(job)
