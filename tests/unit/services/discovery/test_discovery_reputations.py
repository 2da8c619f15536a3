"""Reputations as the service keeps them, what is won by one worker's word alone, and how newcomers come to be known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from ec262.domain.discovery.ledger import SERVICE, escrow_account
from ec262.domain.discovery.pool.pool import Pool
from ec262.domain.discovery.reputation import ALARM_S, Reputation
from ec262.domain.discovery.tasks import Task
from ec262.domain.protocol.foreman_calls import (
    AcceptResults,
    BoughtTask,
    DeliveryReport,
    DeliveryReports,
    PoolQuery,
    Verdict,
    VerdictQuery,
)
from ec262.domain.protocol.worker_calls import Commitment, CommitResults
from ec262.domain.verification.credibility import ESTABLISHED, Trust
from ec262.domain.verification.rules import parse_rule
from ec262.domain.verification.task_state import TaskState
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.reputations import company
from tests.discovery_town import (
    FOREMAN,
    REQUIREMENT,
    Town,
    build_town,
    digest,
    more_replicas,
    order,
    registration,
    runtime,
    worker_token,
)

RULE = "error:1e-4"
OTHER_FOREMAN = "another-" + "f" * 40


def town_of(*known: float, audit_rate: float = 0.01, grant: int = 100_000) -> Town:
    """A town in which the workers were right so often, by what everybody knows."""
    town = build_town(grant=grant, policy=Policy(grant=0, audit_rate=audit_rate))
    for number in range(len(known)):
        town.add_worker(number, registration(host=f"10.0.{number}.1"))
    for worker, agreed in zip(town.tokens, known, strict=True):
        if agreed:
            know(town, worker, agreed=agreed)
    return town


def know(town: Town, worker: str, **known: Any) -> None:
    with town.unit_of_work() as uow:
        (before,) = uow.reputations.find([worker], []) or [Reputation(worker=worker, runtime=runtime())]
        uow.reputations.save([attrs.evolve(before, as_of=town.clock(), **known)])
        uow.commit()


def reputation(town: Town, worker: str) -> Reputation:
    with town.unit_of_work() as uow:
        return next(iter(uow.reputations.find([worker], [])), Reputation(worker=worker, runtime=runtime()))


def own(town: Town, worker: str) -> Reputation:
    """What the foreman itself knows of a worker."""
    foreman = town.service.accounts.status(FOREMAN).account
    with town.unit_of_work() as uow:
        return next(each for each in uow.reputations.find([worker], [foreman]) if each.foreman == foreman)


def trusted(town: Town, worker: str, token: str = FOREMAN) -> float:
    """How far a foreman trusts a worker."""
    foreman = town.service.accounts.status(token).account
    with town.unit_of_work() as uow:
        pool = Pool(members=tuple(uow.pool.alive(town.clock())), busy={})
        found = company(uow, pool, parse_rule(RULE), foreman=foreman, now=town.clock())
        return found.trusts[worker].agreed


def on_probation(town: Town, token: str) -> frozenset[str]:
    """Whom a foreman draws last."""
    foreman = town.service.accounts.status(token).account
    with town.unit_of_work() as uow:
        return company(uow, Pool(members=(), busy={}), parse_rule(RULE), foreman=foreman, now=town.clock()).probation


def stored(town: Town, task: BoughtTask) -> Task:
    with town.unit_of_work() as uow:
        (found,) = uow.tasks.find([task.task])
        return found


def escrow(town: Town, task: BoughtTask) -> int:
    with town.unit_of_work() as uow:
        return uow.ledger.balance(escrow_account(task.task))


def buy(town: Town, name: str, *, rule: str = RULE, tasks: int = 1) -> list[BoughtTask]:
    return list(town.buy(order(f"purchase-{name}", rule=rule, tasks=tasks)).tasks)


def accept(town: Town, *tasks: BoughtTask, token: str = FOREMAN) -> tuple[Verdict, ...]:
    return town.service.foremen.accept(token, AcceptResults(tasks=tuple(task.task for task in tasks))).verdicts


def audited(town: Town, task: BoughtTask, *, yes: bool) -> None:
    """Decide the lot that was drawn at buying."""
    with town.unit_of_work() as uow:
        (found,) = uow.tasks.locked([task.task])
        uow.tasks.save([attrs.evolve(found, audited=yes)])
        uow.commit()


def lone_task(town: Town, name: str = "lone", text: str = "a") -> BoughtTask:
    """A task that is won by one worker's word."""
    (task,) = buy(town, name)
    assert len(task.replicas) == 1
    audited(town, task, yes=False)
    town.commit(task, 0, text)
    return task


# --- provisional wins -----------------------------------------------------------------------------------------------


def test_a_lone_win_is_provisional_its_result_is_there_and_its_pay_is_held() -> None:
    town = town_of(200.0)
    task = lone_task(town)
    verdict = town.verdict(task)
    assert (verdict.state, verdict.digest, verdict.wanted) == (TaskState.PROVISIONAL, digest("a"), 0)
    assert verdict.key is not None
    assert [winner.worker for winner in verdict.winners] == [task.replicas[0].worker]
    assert verdict.confidence >= 1 - 1e-4
    assert (town.credits(worker_token(0)), escrow(town, task)) == (0, 1)


def test_an_accepted_win_is_paid_once() -> None:
    town = town_of(200.0)
    task = lone_task(town)
    for _ in range(2):
        (verdict,) = accept(town, task)
        assert verdict.state is TaskState.WON
        assert (town.credits(worker_token(0)), escrow(town, task)) == (1, 0)
    town.clock.advance(600)
    assert town.verdict(task).state is TaskState.SETTLED
    assert town.credits(worker_token(0)) == 1


def test_without_an_acceptance_the_deadline_accepts() -> None:
    town = town_of(200.0)
    task = lone_task(town)
    town.freeze(FOREMAN)
    town.clock.advance(600)
    assert town.verdict(task).state is TaskState.SETTLED
    assert town.credits(worker_token(0)) == 1


def test_only_ones_own_provisional_wins_are_accepted() -> None:
    town = town_of(200.0, 200.0)
    task = lone_task(town)
    town.service.accounts.open_with_grant(OTHER_FOREMAN, 10)
    assert accept(town, task, token=OTHER_FOREMAN) == ()
    (open_one,) = buy(town, "open")
    assert [verdict.state for verdict in accept(town, open_one)] == [TaskState.OPEN]
    assert town.verdict(task).state is TaskState.PROVISIONAL


@pytest.mark.parametrize("since_s", [-1.0, 0.0, 1.0])
def test_lone_wins_of_a_worker_caught_since_it_was_drawn_are_reopened(since_s: float) -> None:
    town = town_of(200.0)
    task = lone_task(town)
    know(town, task.replicas[0].worker, agreed=0.0, caught_at=town.clock() + since_s)
    (verdict,) = accept(town, task)
    if since_s < 0:
        assert verdict.state is TaskState.WON
        return
    assert (verdict.state, verdict.key, verdict.digest, verdict.winners) == (TaskState.OPEN, None, None, ())
    assert (verdict.wanted, verdict.outstanding, verdict.decided) == (6, 0, True)
    assert escrow(town, task) == 1
    assert task.task in town.decided


def reopened(town: Town) -> BoughtTask:
    task = lone_task(town)
    know(town, task.replicas[0].worker, agreed=0.0, caught_at=town.clock())
    accept(town, task)
    return task


def test_once_the_key_is_out_credits_are_not_refunded() -> None:
    town = town_of(200.0)
    task, before = reopened(town), town.credits()
    town.clock.advance(600)
    verdict = town.verdict(task)
    assert (verdict.state, verdict.key) == (TaskState.LAPSED, None)
    assert (town.credits(), town.credits(worker_token(0)), escrow(town, task)) == (before, 0, 0)
    with town.unit_of_work() as uow:
        assert uow.ledger.balance(SERVICE) == 1


def test_at_the_deadline_a_doubtful_win_lapses() -> None:
    town = town_of(200.0)
    task, before = lone_task(town), town.credits()
    know(town, task.replicas[0].worker, agreed=0.0, caught_at=town.clock())
    town.clock.advance(600)
    assert town.verdict(task).state is TaskState.LAPSED
    assert (town.credits(), town.credits(worker_token(0))) == (before, 0)


def test_a_dispute_of_what_was_opened_again_gives_nothing_back() -> None:
    town = town_of(200.0, 200.0)
    task, before = reopened(town), town.credits()
    assert town.add_replicas(more_replicas(task.task)).price == 1
    (added,) = [replica.worker for replica in stored(town, task).replicas[1:]]
    town.give_up(town.tokens[added], task.task)
    assert town.dispute(task).state is TaskState.DISPUTED
    assert town.credits() == before - 1
    assert escrow(town, task) == 0


@pytest.mark.parametrize("text", ["a", "b"])
def test_a_reopened_task_is_decided_by_others(text: str) -> None:
    town = town_of(200.0, 200.0, 200.0)
    task = reopened(town)
    first = task.replicas[0].worker
    added = town.add_replicas(more_replicas(task.task, replicas=2))
    for replica in added.tasks[0].replicas:
        town.commit_as(town.tokens[replica.worker], task.task, digest(text))
    verdict = town.verdict(task)
    assert (verdict.state, verdict.digest) == (TaskState.WON, digest(text))
    assert town.credits(town.tokens[first]) == (text == "a")
    assert reputation(town, first).dissented == (text == "b")
    town.clock.advance(600)
    assert town.verdict(task).state is TaskState.SETTLED


def test_a_provisional_winner_that_does_not_deliver_is_reported() -> None:
    town = town_of(200.0)
    task = lone_task(town)
    worker = task.replicas[0].worker
    town.service.foremen.report(FOREMAN, DeliveryReports(reports=(DeliveryReport(task=task.task, worker=worker),)))
    assert town.service.accounts.status(town.tokens[worker]).reports == 1


def test_votes_are_revealed_once_a_task_is_decided() -> None:
    town = town_of(200.0)
    (task,) = buy(town, "one")
    query = VerdictQuery(tasks=(task.task,), votes=True)
    (before,) = town.service.foremen.verdicts(FOREMAN, query).verdicts
    assert (before.votes, before.rule, before.audited) == ((), None, None)
    audited(town, task, yes=False)
    town.commit(task, 0, "a")
    (then,) = town.service.foremen.verdicts(FOREMAN, query).verdicts
    assert [(vote.worker, vote.digest, vote.agreed) for vote in then.votes] == [
        (task.replicas[0].worker, digest("a"), 200.0)
    ]
    assert (then.rule, then.audited) == (RULE, False)
    assert town.verdict(task).votes == ()


# --- audits ---------------------------------------------------------------------------------------------------------


def test_an_audited_task_waits_for_another_and_its_worker_sees_no_difference() -> None:
    town = town_of(200.0, 200.0)
    checked, unchecked = buy(town, "two", tasks=2)
    assert attrs.evolve(checked, task="", replicas=()) == attrs.evolve(unchecked, task="", replicas=())
    for task, yes in ((checked, True), (unchecked, False)):
        audited(town, task, yes=yes)
    parts = [town.assignment(town.tokens[task.replicas[0].worker], task.task) for task in (checked, unchecked)]
    assert parts[0].deadline_in_s == parts[1].deadline_in_s
    for task in (checked, unchecked):
        town.commit(task, 0, "a")
        assert town.credits(town.tokens[task.replicas[0].worker]) == 0
    verdict = town.verdict(checked)
    assert (verdict.state, verdict.wanted, verdict.key) == (TaskState.OPEN, 1, None)


def add_known(town: Town, number: int, agreed: float = 200.0) -> str:
    worker = town.add_worker(number)
    know(town, worker, agreed=agreed)
    return worker


def catch(town: Town, *, truth: str = "a") -> tuple[BoughtTask, BoughtTask]:
    """The only worker wins a task alone, lies in an audited one, and is caught by two others."""
    lone = lone_task(town)
    (checked,) = buy(town, "checked")
    audited(town, checked, yes=True)
    town.commit(checked, 0, "lie")
    for number in (1, 2):
        add_known(town, number)
        (bought,) = town.add_replicas(more_replicas(checked.task, purchase=f"purchase-more-{number}")).tasks
        town.commit_as(town.tokens[bought.replicas[0].worker], checked.task, digest(truth))
    assert town.verdict(checked).digest == digest(truth)
    return lone, checked


def test_a_worker_caught_in_an_audit_loses_its_lone_wins_and_raises_an_alarm() -> None:
    town = town_of(200.0)
    liar = next(iter(town.tokens))
    lone, checked = catch(town)
    assert town.credits(worker_token(0)) == 0
    town.service.accounts.open_with_grant(OTHER_FOREMAN, 10)
    assert (own(town, liar).caught_at, trusted(town, liar)) == (town.clock(), 0.0)
    assert on_probation(town, FOREMAN) == {liar}
    assert (reputation(town, liar).caught_at, trusted(town, liar, OTHER_FOREMAN)) == (None, 200.0)
    assert on_probation(town, OTHER_FOREMAN) == set()
    assert {verdict.state for verdict in accept(town, lone, checked)} == {TaskState.OPEN, TaskState.WON}
    assert town.verdict(lone).state is TaskState.OPEN
    for worker in town.tokens:
        if worker != liar:
            assert (trusted(town, worker), reputation(town, worker).dissented) == (201.0, 0)
    # Nobody's word suffices alone now, and the liar is not drawn as long as there are others.
    (task,) = buy(town, "after-the-alarm")
    assert {replica.worker for replica in task.replicas} == town.tokens.keys() - {liar}


def test_an_alarm_is_the_foremans_whose_task_it_was_and_ends() -> None:
    """Or accomplices that are caught in each other's tasks could have everybody's workers prove themselves again."""
    town = town_of(200.0)
    catch(town)
    town.service.accounts.open_with_grant(OTHER_FOREMAN, 10)
    for later_s, team in ((0, 2), (ALARM_S, 2), (1, 1)):
        town.clock.advance(later_s)
        for number in (1, 2):
            town.add_worker(number, registration(4000 + number, slots=4))
        (task,) = buy(town, f"after-{later_s:.0f}")
        (others,) = town.service.foremen.buy(OTHER_FOREMAN, order(f"others-after-{later_s:.0f}", rule=RULE)).tasks
        assert (len(task.replicas), len(others.replicas)) == (team, 1)


def test_after_an_alarm_ten_tasks_of_that_foreman_are_enough() -> None:
    town = town_of(200.0)
    catch(town)
    team: list[int] = []
    while not team or team[-1] > 1:
        (task,) = buy(town, f"proof-{len(team)}")
        team.append(len(task.replicas))
        have_computed(town, task)
    assert team == [2] * 10 + [1]


def test_a_caught_worker_is_not_believed_in_open_tasks() -> None:
    """What it committed before counts for nothing when others come to it."""
    town = town_of(200.0)
    (waits,) = buy(town, "waits")
    audited(town, waits, yes=True)
    town.commit(waits, 0, "a")
    catch(town)
    newcomer = town.add_worker(9)
    added = town.add_replicas(more_replicas(waits.task, purchase="purchase-newcomer"))
    (replica,) = added.tasks[0].replicas
    assert replica.worker != waits.replicas[0].worker
    know(town, replica.worker, agreed=5.0)
    town.commit_as(town.tokens[replica.worker], waits.task, digest("a"))
    assert town.verdict(waits).state is TaskState.OPEN
    assert stored(town, waits).replicas[0].trust == Trust()
    assert newcomer in town.tokens


def test_lies_come_last_in_what_a_batch_shows() -> None:
    """Whoever commits a lie among many truths at once is known for the lie."""
    town = town_of(200.0, 200.0, 200.0)
    liar = next(iter(town.tokens))
    for number, token in enumerate(town.tokens.values()):
        town.service.workers.register(token, registration(host=f"10.0.{number}.1", slots=9), source="127.0.0.1")
    tasks = buy(town, "batch", rule="majority:3", tasks=9)
    for task in tasks:
        for replica in task.replicas:
            if replica.worker != liar:
                town.commit_as(town.tokens[replica.worker], task.task, digest("a"))
    said = ["lie" if task is tasks[4] else "a" for task in tasks]
    commitments = tuple(Commitment(task=t.task, digest=digest(text)) for t, text in zip(tasks, said, strict=True))
    town.service.workers.commit(town.tokens[liar], CommitResults(commitments=commitments))
    assert (trusted(town, liar), reputation(town, liar).dissented) == (0.0, 1)


# --- reputations ------------------------------------------------------------------------------------------------------


def have_computed(town: Town, task: BoughtTask, said: Callable[[str], str] = lambda _: "a") -> None:
    """Let everybody commit, and buy what is wanted, until the task is decided."""
    replicas = list(task.replicas)
    for turn in range(20):
        for replica in replicas:
            town.commit_as(town.tokens[replica.worker], task.task, digest(said(replica.worker)))
        wanted = town.verdict(task).wanted
        if not wanted:
            return
        command = more_replicas(task.task, purchase=f"{task.task[:20]}-{turn}", replicas=wanted)
        replicas = [replica for each in town.add_replicas(command).tasks for replica in each.replicas]
    raise AssertionError("the task is never decided")


def test_settled_tasks_are_what_makes_a_reputation() -> None:
    town = town_of(0.0, 0.0, 0.0)
    (task,) = buy(town, "one", rule="majority:3")
    have_computed(town, task)
    for worker in town.tokens:
        known = reputation(town, worker)
        assert (known.agreed, known.dissented, known.missed, known.audited) == (1.0, 0, 0, 0)


def test_silence_is_noted_and_punished_by_nothing_else() -> None:
    town = town_of(0.0, 0.0, 50.0)
    (task,) = buy(town, "one", rule="majority:3")
    silent = list(town.tokens)[2]
    for replica in task.replicas:
        if replica.worker != silent:
            town.commit_as(town.tokens[replica.worker], task.task, digest("a"))
    town.assignment(town.tokens[silent], task.task)
    town.clock.advance(600)
    town.service.sweep()
    known = reputation(town, silent)
    assert (known.missed, known.dissented, known.caught_at) == (1, 0, None)
    assert known.agreed == pytest.approx(50.0, rel=1e-3)


def test_one_foremans_evidence_beyond_the_cap_counts_only_for_itself() -> None:
    town = town_of(0.0, 0.0, 0.0)
    for turn in range(25):
        have_computed(town, buy(town, f"t{turn}", rule="majority:3")[0])
    town.service.accounts.open_with_grant(OTHER_FOREMAN, 10)
    worker = next(iter(town.tokens))
    assert trusted(town, worker) == pytest.approx(25.0)
    assert trusted(town, worker, OTHER_FOREMAN) == reputation(town, worker).agreed == own(town, worker).contributed
    assert 1.0 < reputation(town, worker).agreed < 6.0, "the same three, again and again"


def test_the_number_of_workers_that_would_be_drawn_is_reported() -> None:
    town = town_of(200.0, 0.0)

    def team(rule: str | None) -> int | None:
        return town.service.foremen.pool(FOREMAN, PoolQuery(requirement=REQUIREMENT, rule=rule)).team

    assert (team(None), team("majority:3"), team(RULE)) == (None, 3, 1)


def test_honest_newcomers_among_workers_known_well_become_known() -> None:
    """Nobody starves: audits train them, in a number of tasks that does not matter to a job."""
    town = town_of(*[200.0] * 6, *[0.0] * 3, audit_rate=0.08)
    newcomers = [worker for worker in town.tokens if not reputation(town, worker).agreed]
    assert len(newcomers) == 3
    for turn in range(1, 600):
        (task,) = buy(town, f"t{turn}")
        have_computed(town, task)
        accept(town, task)
        if all(trusted(town, worker) >= ESTABLISHED for worker in newcomers):
            break
    assert 30 <= turn <= 400
    assert all(reputation(town, worker).dissented == 0 for worker in town.tokens)


def test_a_pool_of_newcomers_comes_to_be_known_by_working_in_teams() -> None:
    town = town_of(*[0.0] * 9)
    prices = []
    for turn in range(60):
        (task,) = buy(town, f"t{turn}")
        prices.append(len(task.replicas))
        have_computed(town, task)
        accept(town, task)
    assert prices[0] == 7
    assert prices[-1] == 2
