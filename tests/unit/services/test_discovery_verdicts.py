"""What foremen are told of the tasks that they bought, and what they can do about it."""

from __future__ import annotations

import hashlib

import pytest

from ec262.domain.discovery.ledger import SERVICE
from ec262.domain.errors import TaskClosed
from ec262.domain.protocol.foreman_calls import BoughtTask, BuyDisputes, DeliveryReport, DeliveryReports, VerdictQuery
from ec262.domain.verification.task_state import TaskState
from tests.discovery_town import (
    DAY_S,
    FOREMAN,
    NEWCOMER,
    Town,
    build_town,
    digest,
    order,
    registration,
    worker_token,
)

UNKNOWN = "0" * 32


def test_before_a_win_only_the_count_is_revealed() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    verdict = town.verdict(task)
    assert (verdict.state, verdict.committed) == (TaskState.OPEN, 1)
    assert (verdict.key, verdict.digest, verdict.winners) == (None, None, ())


def test_after_a_win_the_key_the_digest_and_the_winners_are_revealed() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for position, text in [(2, "a"), (0, "lie"), (1, "a")]:
        town.commit(task, position, text)
    verdict = town.verdict(task)
    parts = {r.worker: town.assignment(town.tokens[r.worker], task.task) for r in task.replicas}
    assert (verdict.state, verdict.committed, verdict.digest) == (TaskState.WON, 3, digest("a"))
    assert verdict.key == next(iter(parts.values())).key
    assert {winner.worker for winner in verdict.winners} == {task.replicas[1].worker, task.replicas[2].worker}
    for winner in verdict.winners:
        assert hashlib.sha256(winner.delivery_secret).digest() == parts[winner.worker].delivery_digest


def test_a_settled_task_tells_what_a_won_one_did() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    town.commit(task, 1, "a")
    won = town.verdict(task)
    town.clock.advance(600)
    settled = town.verdict(task)
    assert settled.state is TaskState.SETTLED
    assert (settled.key, settled.digest, settled.winners) == (won.key, won.digest, won.winners)
    assert (town.credits(), town.service.accounts.open(FOREMAN).escrow) == (9, 0)


def test_a_task_without_a_win_is_refunded_and_its_key_deleted() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for position, text in enumerate("abc"):
        town.commit(task, position, text)
    town.clock.advance(600)
    verdict = town.verdict(task)
    assert (verdict.state, verdict.key, verdict.winners) == (TaskState.REFUNDED, None, ())
    assert town.credits() == 12


def test_the_deadline_counts_whether_or_not_a_sweep_ran() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        town.commit(task, 1, "a")
    assert town.credits() == 12


def test_a_refund_stays_a_refund_when_the_clock_is_set_back() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        town.commit(task, 0, "a")
    town.clock.advance(-300)
    with pytest.raises(TaskClosed):
        town.commit(task, 1, "a")
    assert town.verdict(task).state is TaskState.REFUNDED


def test_verdicts_leave_out_what_was_not_bought_by_the_caller() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for token in (town.tokens[task.replicas[0].worker], worker_token(2)):
        assert town.service.foremen.verdicts(token, VerdictQuery(tasks=(task.task,))).verdicts == ()
    both = VerdictQuery(tasks=(UNKNOWN, task.task, task.task))
    assert len(town.service.foremen.verdicts(FOREMAN, both).verdicts) == 1


def test_tasks_are_forgotten_a_day_after_their_deadline() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.clock.advance(600 + DAY_S - 1)
    town.service.sweep()
    assert town.verdict(task).state is TaskState.REFUNDED
    town.clock.advance(1)
    town.service.sweep()
    assert town.service.foremen.verdicts(FOREMAN, VerdictQuery(tasks=(task.task,))).verdicts == ()


# --- disputes -------------------------------------------------------------------------------------------------------


def lost_task(town: Town) -> BoughtTask:
    """Buy a task to which all workers commit something else."""
    task = town.buy_one()
    for position in range(3):
        town.commit(task, position, f"result {position}")
    return task


def purses(town: Town, task: BoughtTask) -> list[int]:
    return [town.credits(town.tokens[replica.worker]) for replica in task.replicas]


def test_a_dispute_pays_all_and_tells_all() -> None:
    town = build_town(workers=3)
    task = lost_task(town)
    before = town.verdict(task)
    assert (before.state, before.committed, before.outstanding, before.decided) == (TaskState.OPEN, 3, 0, True)
    assert (before.key, before.results) == (None, ())
    parts = {r.worker: town.assignment(town.tokens[r.worker], task.task) for r in task.replicas}
    verdict = town.dispute(task)
    assert (verdict.state, verdict.digest, verdict.winners) == (TaskState.DISPUTED, None, ())
    assert verdict.key == next(iter(parts.values())).key
    assert [(result.worker, result.digest) for result in verdict.results] == [
        (replica.worker, digest(f"result {position}")) for position, replica in enumerate(task.replicas)
    ]
    for result in verdict.results:
        assert hashlib.sha256(result.delivery_secret).digest() == parts[result.worker].delivery_digest
    assert (purses(town, task), town.credits()) == ([1, 1, 1], 9)


def test_a_dispute_is_bought_once_and_ends_the_task() -> None:
    town = build_town(workers=3)
    task = lost_task(town)
    told = [town.dispute(task) for _ in range(3)]
    town.clock.advance(600)
    town.service.sweep()
    told += [town.dispute(task), town.verdict(task)]
    assert all(verdict == told[0] for verdict in told)
    assert (purses(town, task), town.credits(), town.service.accounts.status(FOREMAN).escrow) == ([1, 1, 1], 9, 0)
    with pytest.raises(TaskClosed):
        town.assignment(town.tokens[task.replicas[0].worker], task.task)


def test_the_shares_of_those_who_gave_up_do_not_come_back() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    for position in (1, 2):
        town.give_up(town.tokens[task.replicas[position].worker], task.task)
    verdict = town.dispute(task)
    assert [result.worker for result in verdict.results] == [task.replicas[0].worker]
    assert (purses(town, task), town.credits()) == ([1, 0, 0], 9)
    with town.unit_of_work() as uow:
        assert uow.ledger.balance(SERVICE) == 2


def test_only_lost_tasks_of_ones_own_are_disputed() -> None:
    town = build_town(grant=24)
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=9))
    (lost, won, running, refunded) = (
        town.buy(order(f"purchase-{name}", deadline_s=deadline_s)).tasks[0]
        for name, deadline_s in [("1", 600.0), ("2", 600.0), ("3", 600.0), ("4", 1.0)]
    )
    for position in range(3):
        town.commit(lost, position, f"result {position}")
        town.commit(won, position, "a")
    town.commit(running, 0, "a")
    town.clock.advance(1)
    everything = BuyDisputes(tasks=(lost.task, UNKNOWN, won.task, running.task, refunded.task, lost.task))
    town.service.accounts.open(NEWCOMER)
    for stranger in (NEWCOMER, worker_token(0)):
        assert town.service.foremen.dispute(stranger, everything).verdicts == ()
    verdicts = town.service.foremen.dispute(FOREMAN, everything).verdicts
    assert {verdict.task: verdict.state for verdict in verdicts} == {
        lost.task: TaskState.DISPUTED,
        won.task: TaskState.WON,
        running.task: TaskState.OPEN,
        refunded.task: TaskState.REFUNDED,
    }
    assert {verdict.task for verdict in verdicts if verdict.key} == {lost.task, won.task}


def test_overdue_tasks_are_refunded_and_not_disputed() -> None:
    town = build_town(workers=3)
    task = lost_task(town)
    town.clock.advance(600)
    verdict = town.dispute(task)
    assert (verdict.state, verdict.key, verdict.results) == (TaskState.REFUNDED, None, ())
    assert (purses(town, task), town.credits()) == ([0, 0, 0], 12)


# --- reports --------------------------------------------------------------------------------------------------------


def report(town: Town, token: str, *items: tuple[str, str]) -> None:
    reports = tuple(DeliveryReport(task=task, worker=worker) for task, worker in items)
    town.service.foremen.report(token, DeliveryReports(reports=reports))


def reports_of(town: Town, worker: str) -> int:
    return town.service.accounts.status(town.tokens[worker]).reports


def test_each_foreman_reports_a_worker_once_and_no_credits_move() -> None:
    town = build_town()
    town.service.accounts.open_with_grant(NEWCOMER, 12)
    worker = town.add_worker(0, registration(slots=9))
    books = []
    for token, count in [(FOREMAN, 1), (NEWCOMER, 2)]:
        purchase = order(f"purchase-{count}", tasks=2, rule="majority:1")
        tasks = [task.task for task in town.service.foremen.buy(token, purchase).tasks]
        for task in tasks:
            town.commit_as(worker_token(0), task, digest("a"))
        books.append((town.credits(token), town.credits(worker_token(0))))
        for _ in range(2):
            report(town, token, *((task, worker) for task in tasks))
        books.append((town.credits(token), town.credits(worker_token(0))))
        assert reports_of(town, worker) == count
    assert books[0] == books[1]
    assert books[2] == books[3]


def test_only_winners_of_ones_own_tasks_are_reported() -> None:
    town = build_town(workers=6)
    (won, lost) = town.buy(order(tasks=2)).tasks
    for position, text in enumerate(("a", "a", "lie")):
        town.commit(won, position, text)
    town.commit(lost, 0, "a")
    town.service.accounts.open(NEWCOMER)
    winner, loser = won.replicas[0].worker, won.replicas[2].worker
    stranger = next(account for account in town.tokens if account not in {r.worker for r in won.replicas})
    report(town, NEWCOMER, (won.task, winner))
    report(
        town, FOREMAN, (won.task, loser), (won.task, stranger), (UNKNOWN, winner), (lost.task, lost.replicas[0].worker)
    )
    assert not any(reports_of(town, worker) for worker in town.tokens)
    report(town, FOREMAN, (won.task, loser), (won.task, winner))
    assert (reports_of(town, winner), reports_of(town, loser)) == (1, 0)


def test_payment_for_a_dispute_makes_nobody_a_winner() -> None:
    town = build_town(workers=3)
    task = lost_task(town)
    town.dispute(task)
    report(town, FOREMAN, *((task.task, replica.worker) for replica in task.replicas))
    assert not any(reports_of(town, worker) for worker in town.tokens)
