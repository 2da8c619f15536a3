"""The use cases of the 2012 API."""

from __future__ import annotations

import attrs
import pytest

from ec262.domain.errors import InvalidRequest, LedgerError, PurchaseTooExpensive, UnknownClient, UnknownTask
from ec262.domain.legacy_2012.constants_2012 import Constants2012
from ec262.domain.legacy_2012.ledger_2012 import Reason2012
from ec262.domain.legacy_2012.parameters_2012 import LEAVE_S, Ending, Registration
from ec262.domain.legacy_2012.tasks_2012 import Accepted2012, Rejected, Task2012
from tests.town_2012 import FOREMAN, STRANGER, Town2012, build_town, worker


@pytest.fixture
def town() -> Town2012:
    return build_town(workers=3)


@pytest.fixture
def task(town: Town2012) -> Task2012:
    (bought,) = town.buy()
    return bought


def team(task: Task2012) -> list[str]:
    return [each.addr for each in task.workers]


# --- registering ----------------------------------------------------------------------------------------------------


def test_the_first_registration_gives_the_starting_credits_and_no_other_does() -> None:
    town = build_town()
    command = Registration(port=4321, ttl_s=60)
    assert town.service.register("::1", command).record() == {
        "addr": "::1",
        "port": "4321",
        "expiry": "1795330784",
        "credits": "12",
    }
    town.clock.advance(0.25)
    again = town.service.register("::1", Registration(port=4322, ttl_s=61)).record()
    assert again == {"addr": "::1", "port": "4322", "expiry": "1795330786", "credits": "12"}
    assert town.service.client("::1").record() == again


def test_a_worker_that_leaves_keeps_its_record_and_credits(town: Town2012) -> None:
    town.leave(1)
    assert town.pool() == [worker(2), worker(3)]
    assert town.buy() == []
    client = town.service.client(worker(1))
    assert (client.credits, client.port, client.expires_at) == (12, 4001, town.clock.now - 1)
    town.join(1)
    assert town.pool() == [worker(1), worker(2), worker(3)]


def test_leaving_without_having_joined_is_allowed() -> None:
    town = build_town()
    record = town.service.register(STRANGER, Registration(port=1, ttl_s=LEAVE_S)).record()
    assert record == {"addr": STRANGER, "port": "1", "expiry": "1795330723", "credits": "12"}
    assert town.pool() == []


def test_a_lease_runs_out_at_its_end_and_not_before(town: Town2012) -> None:
    town.clock.advance(59.75)
    assert len(town.pool()) == 3
    town.clock.advance(0.25)
    assert town.pool() == []
    assert town.buy() == []


def test_asking_makes_nobody_known(town: Town2012) -> None:
    for _ in range(2):
        with pytest.raises(UnknownClient, match=r"^Unknown client$"):
            town.service.client(STRANGER)
    assert town.service.audit() == 36


def test_the_history_of_a_client_explains_its_credits(town: Town2012) -> None:
    (task,) = town.buy()
    town.end(task, "0")
    client, entries = town.service.history(FOREMAN)
    assert client.credits == 12
    assert [(entry.amount, entry.reason) for entry in entries] == [
        (12, Reason2012.GRANT),
        (-3, Reason2012.PURCHASE),
        (3, Reason2012.REFUND),
    ]
    with pytest.raises(UnknownClient):
        town.service.history(STRANGER)


# --- buying ---------------------------------------------------------------------------------------------------------


def test_a_task_has_three_workers_and_costs_three_credits(town: Town2012) -> None:
    (task,) = town.buy()
    assert sorted(team(task)) == [worker(1), worker(2), worker(3)]
    assert {each.port for each in task.workers} == {4001, 4002, 4003}
    assert (task.foreman, task.expires_at, len(task.key)) == (FOREMAN, town.clock.now + 86_400, 16)
    assert town.service.client(FOREMAN).record() == {"addr": FOREMAN, "credits": "9"}
    assert [town.credits(worker(number)) for number in (1, 2, 3)] == [12, 12, 12]


def test_there_are_whole_triples_only_and_the_rest_stay() -> None:
    town = build_town(workers=8)
    tasks = town.buy(4)
    assert len(tasks) == 2
    assert town.credits() == 6
    taken = [addr for task in tasks for addr in team(task)]
    assert len(set(taken)) == 6
    assert sorted([*taken, *town.pool()]) == [worker(number) for number in range(1, 9)]


def test_no_more_tasks_than_were_asked_for() -> None:
    town = build_town(workers=9)
    assert len(town.buy(2)) == 2
    assert len(town.pool()) == 3


def test_a_foreman_that_was_never_seen_is_known_from_then_on() -> None:
    town = build_town(workers=2)
    assert town.buy() == []
    assert town.service.client(FOREMAN).record() == {"addr": FOREMAN, "credits": "12"}


def test_a_foreman_is_none_of_its_workers_and_stays_in_the_pool() -> None:
    town = build_town(workers=3)
    assert town.buy(foreman=worker(1)) == []
    town.join(4)
    (task,) = town.buy(foreman=worker(1))
    assert worker(1) not in team(task)
    assert town.pool() == [worker(1)]


def test_workers_come_back_by_registering_and_not_by_a_tasks_end(town: Town2012, task: Task2012) -> None:
    assert town.buy() == []
    town.end(task, "1")
    assert town.pool() == []
    town.join(1, 2, 3)
    (other,) = town.buy()
    assert other.id != task.id
    town.join(1, 2, 3)
    assert len(town.buy()) == 1  # while they hold a task


def test_workers_are_drawn_by_lot() -> None:
    town = build_town(workers=30)
    drawn = [addr for task in town.buy(2) for addr in team(task)]
    assert drawn != sorted(drawn)
    assert drawn != [worker(number) for number in range(1, 7)]


def test_a_foreman_without_credits_is_refused_and_nothing_changes() -> None:
    town = build_town(workers=15)
    for _ in range(2):
        with pytest.raises(PurchaseTooExpensive) as raised:
            town.buy(5)
        assert (raised.value.have, raised.value.need) == (12, 15)
        assert len(town.pool()) == 15
        assert town.credits() == 12
    assert town.service.audit() == 12 * 16
    assert len(town.buy(4)) == 4
    assert town.credits() == 0


def test_the_purse_need_not_cover_what_was_asked_for_but_not_assigned(town: Town2012) -> None:
    assert len(town.buy(1000)) == 1


def test_ids_and_keys_are_never_used_again() -> None:
    town = build_town(workers=3)
    tasks: list[Task2012] = []
    for _ in range(50):
        town.join(1, 2, 3)
        tasks += town.buy()
        town.end(tasks[-1], "0")
    assert len({task.id for task in tasks}) == len({task.key for task in tasks}) == 50


# --- keys -----------------------------------------------------------------------------------------------------------


def test_each_worker_reads_the_key_as_often_as_it_likes(town: Town2012, task: Task2012) -> None:
    for addr in team(task) * 2:
        assert town.service.key(addr, task.id) == task.key


@pytest.mark.parametrize("addr", [FOREMAN, STRANGER, worker(9)])
def test_strangers_do_not_learn_that_there_is_a_task(town: Town2012, task: Task2012, addr: str) -> None:
    town.join(9)
    for name in (task.id, "0" * 32, "7", "\0"):
        with pytest.raises(UnknownTask, match=r"^Unknown task$"):
            town.service.key(addr, name)


# --- endings --------------------------------------------------------------------------------------------------------


def test_a_valid_result_pays_each_worker_and_tells_the_key(town: Town2012, task: Task2012) -> None:
    assert town.end(task, "1") == Accepted2012(key=task.key)
    for addr in team(task):
        record = town.service.client(addr).record()
        assert (record["credits"], record["tasks_completed"]) == ("13", "1")
        assert "tasks_failed" not in record
    assert town.credits() == 9


@pytest.mark.parametrize("valid", ["0", None])
def test_any_other_result_gives_the_foreman_its_credits_back(town: Town2012, task: Task2012, valid: str | None) -> None:
    assert town.end(task, valid, missing=team(task)[0]) == Rejected(credits=12)
    assert town.credits() == 12
    for addr in team(task):
        record = town.service.client(addr).record()
        assert record["credits"] == "12"
        assert record.keys() == {"addr", "port", "expiry", "credits"}


@pytest.mark.parametrize("port", ["", ":4001", ":1"])
def test_a_missing_worker_has_failed_and_is_paid_nevertheless(town: Town2012, task: Task2012, port: str) -> None:
    town.end(task, "1", missing=worker(1) + port)
    client = town.service.client(worker(1))
    assert (client.credits, client.tasks_failed, client.tasks_completed) == (13, 1, 0)
    for number in (2, 3):
        client = town.service.client(worker(number))
        assert (client.credits, client.tasks_failed, client.tasks_completed) == (13, 0, 1)


@pytest.mark.parametrize("missing", [STRANGER, FOREMAN, "", "rubbish", worker(1) + ":x"])
def test_a_stranger_to_the_task_cannot_be_missing(town: Town2012, task: Task2012, missing: str) -> None:
    town.service.register(STRANGER, Registration(port=1, ttl_s=60))
    town.end(task, "1", missing=missing)
    for addr in (*team(task), STRANGER, FOREMAN):
        client = town.service.client(addr)
        assert client.tasks_failed == 0
        assert client.tasks_completed == (addr in team(task))


@pytest.mark.parametrize("valid", ["", "2", "true", "01"])
def test_an_invalid_ending_is_refused_and_ends_nothing(town: Town2012, task: Task2012, valid: str) -> None:
    with pytest.raises(InvalidRequest):
        town.end(task, valid)
    assert town.credits() == 9
    assert town.service.key(team(task)[0], task.id) == task.key
    assert town.end(task, "1") == Accepted2012(key=task.key)


@pytest.mark.parametrize("valid", ["1", "0", None, "rubbish"])
def test_the_ending_is_the_foremans_alone(town: Town2012, task: Task2012, valid: str | None) -> None:
    for addr in (STRANGER, *team(task)):
        with pytest.raises(UnknownTask, match=r"^Unknown task$"):
            town.end(task, valid, foreman=addr)
    assert town.service.key(team(task)[0], task.id) == task.key
    assert town.service.audit() == 48


@pytest.mark.parametrize("first", ["1", "0"])
def test_a_finished_task_is_unknown_to_everyone(town: Town2012, task: Task2012, first: str) -> None:
    town.end(task, first)
    for valid in ("1", "0", None, "rubbish"):
        with pytest.raises(UnknownTask):
            town.end(task, valid)
    for addr in (FOREMAN, *team(task)):
        with pytest.raises(UnknownTask):
            town.service.key(addr, task.id)
    assert town.service.audit() == 48


# --- deadlines ------------------------------------------------------------------------------------------------------


def test_an_expired_task_refunds_its_foreman_before_any_answer(town: Town2012, task: Task2012) -> None:
    town.clock.advance(86_399.75)
    assert town.credits() == 9
    town.clock.advance(0.25)
    assert town.credits() == 12
    with pytest.raises(UnknownTask):
        town.end(task, "1")


def test_no_key_after_the_end(town: Town2012, task: Task2012) -> None:
    town.clock.advance(86_400)
    with pytest.raises(UnknownTask):
        town.service.key(team(task)[0], task.id)
    town.clock.advance(-10)  # the refund was for good
    with pytest.raises(UnknownTask):
        town.service.key(team(task)[0], task.id)
    assert town.credits() == 12


def test_the_sweep_refunds_too_and_many_at_once() -> None:
    town = build_town(Constants2012(starting_credits=3000, task_ttl_s=3), workers=1500)
    assert len(town.buy(500)) == 500
    assert town.credits() == 1500
    town.clock.advance(3)
    town.service.sweep()
    with town.unit_of_work() as uow:
        client = uow.clients.get(FOREMAN)
        assert client is not None
        assert client.credits == 3000
        refunds = [line for line in uow.ledger.history(FOREMAN) if line.reason is Reason2012.REFUND]
    assert len(refunds) == 500
    town.service.sweep()
    assert town.credits() == 3000


def test_expired_workers_neither_gain_nor_fail(town: Town2012, task: Task2012) -> None:
    town.clock.advance(86_400)
    for addr in team(task):
        assert town.service.client(addr).record().keys() == {"addr", "port", "expiry", "credits"}


# --- settings and books ---------------------------------------------------------------------------------------------


def test_the_constants_can_be_others() -> None:
    town = build_town(Constants2012(starting_credits=5, workers_a_task=2, task_ttl_s=3, key_bytes=32), workers=5)
    first, second = town.buy(9)
    assert (len(first.workers), len(second.workers), len(first.key)) == (2, 2, 32)
    assert town.credits() == 1
    town.end(first, "1")
    assert [town.credits(addr) for addr in team(first)] == [6, 6]
    town.clock.advance(3)
    assert town.credits() == 3
    assert town.service.audit() == 5 * 6


def test_the_starting_grant_may_be_zero() -> None:
    town = build_town(Constants2012(starting_credits=0), workers=3)
    assert town.credits(worker(1)) == 0
    with pytest.raises(PurchaseTooExpensive):
        town.buy()
    assert town.service.audit() == 0


def test_the_audit_finds_credits_from_nowhere(town: Town2012) -> None:
    with town.unit_of_work() as uow:
        client = uow.clients.find([worker(2)])[0]
        uow.clients.save([attrs.evolve(client, credits=13)])
        uow.commit()
    with pytest.raises(LedgerError, match=worker(2)):
        town.service.audit()


def test_asking_for_a_task_builds_no_reputation(town: Town2012) -> None:
    command = Ending(task="0" * 32, valid="1", missing=None)
    with pytest.raises(UnknownTask):
        town.service.end(FOREMAN, command)
    with pytest.raises(UnknownClient):
        town.service.client(FOREMAN)
