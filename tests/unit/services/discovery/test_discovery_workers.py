from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest

from ec262.domain.discovery.tasks import CLAIM_S
from ec262.domain.errors import (
    AddressUnreachable,
    CommitmentConflict,
    DiscoveryUnavailable,
    InvalidRequest,
    TaskClosed,
    UnknownTask,
)
from ec262.domain.protocol.worker_calls import (
    AssignmentQuery,
    Commitment,
    CommitResults,
    GiveUp,
    RegisterWorker,
    TaskRefusal,
)
from ec262.domain.verification.task_state import TaskState
from ec262.services.discovery.discovery_policy import Policy
from tests.discovery_town import (
    DAY_S,
    FOREMAN,
    Town,
    build_town,
    digest,
    order,
    registration,
    worker_token,
)

UNKNOWN = "0" * 32


def test_a_worker_joins_at_the_address_it_called_from() -> None:
    town = build_town()
    token = worker_token(1)
    account = town.service.accounts.open(token).account
    lease = town.service.workers.register(token, registration(4001, ttl_s=30), source="10.0.0.7")
    assert (lease.worker, lease.address.host, lease.address.port) == (account, "10.0.0.7", 4001)
    assert lease.expires_in_s == 30
    assert town.prober.probed == [lease.address]
    assert town.prober.asking == [(account, "10.0.0.7")]
    assert town.pool().workers == 1


def test_a_worker_may_name_its_address() -> None:
    town = build_town()
    town.service.accounts.open(worker_token(1))
    lease = town.service.workers.register(worker_token(1), registration(host="worker.example"), source="10.0.0.7")
    assert lease.address.host == "worker.example"


def test_a_source_without_an_address_needs_a_name() -> None:
    town = build_town()
    town.service.accounts.open(worker_token(1))
    with pytest.raises(InvalidRequest, match="state one as host"):
        town.service.workers.register(worker_token(1), registration(), source="fe80::1%eth0")


def test_a_silent_address_does_not_join() -> None:
    town = build_town()
    town.prober.silent.add(("127.0.0.1", 4001))
    with pytest.raises(AddressUnreachable):
        town.add_worker(1)
    assert town.pool().workers == 0


def test_renewing_does_not_knock_again() -> None:
    town = build_town(workers=1)
    town.add_worker(0)
    assert len(town.prober.probed) == 1
    assert town.pool().workers == 1


def test_a_new_address_is_knocked_at() -> None:
    town = build_town(workers=1)
    town.add_worker(0, registration(5000))
    assert [address.port for address in town.prober.probed] == [4000, 5000]
    assert town.pool().workers == 1


def test_replacing_another_process_of_the_account_returns_its_address() -> None:
    town = build_town()
    token = worker_token(1)
    town.service.accounts.open(token)
    one, other = registration(4001, ttl_s=30), attrs.evolve(registration(4002, ttl_s=30), fingerprint="1" * 64)

    def replaced(command: RegisterWorker) -> int | None:
        lease = town.service.workers.register(token, command, source="10.0.0.7")
        return None if lease.replaced is None else lease.replaced.port

    assert [replaced(command) for command in (one, one, other, other, one, one)] == [None, None, 4001, None, 4002, None]
    assert replaced(attrs.evolve(one, port=4003)) is None  # the same process elsewhere
    town.clock.advance(30)
    assert replaced(other) is None  # that lease has run out
    town.service.workers.leave(token)
    assert replaced(one) is None


def test_an_expired_lease_is_probed_again() -> None:
    town = build_town()
    town.add_worker(0, registration(ttl_s=30))
    town.clock.advance(30)
    assert town.pool().workers == 0
    town.add_worker(0, registration(ttl_s=30))
    assert len(town.prober.probed) == 2
    assert town.pool().workers == 1


def test_a_long_lease_is_for_those_who_have_earned() -> None:
    town = build_town(beginner_lease_s=60)

    def lease_s(number: int, ttl_s: float) -> float:
        command = registration(4000 + number, ttl_s=ttl_s)
        return town.service.workers.register(worker_token(number), command, source="127.0.0.1").expires_in_s

    for number in range(3):
        town.add_worker(number)
    assert [lease_s(0, ttl_s) for ttl_s in (30, 60, 3600)] == [30, 60, 60]
    task = town.buy_one()
    for position in range(2):
        town.commit(task, position, "right")
    earned = {replica.worker for replica in task.replicas[:2]}
    leases = {number: lease_s(number, 3600) for number in range(3)}
    assert leases == {
        number: 3600 if town.service.accounts.status(worker_token(number)).account in earned else 60
        for number in range(3)
    }
    town.clock.advance(60)
    assert town.pool().workers == 2


def test_a_flood_of_beginners_yields_to_other_blocks_and_to_earners() -> None:
    town = build_town(workers=3, policy=Policy(grant=0, max_beginners=4))
    task = town.buy_one()
    for position in range(3):
        town.commit(task, position, "right")
    for number in range(3):
        town.add_worker(number)  # has earned, and so leaves its place to others
    flood = [town.add_worker(10 + number, registration(5000, host="198.51.100.1")) for number in range(4)]
    with pytest.raises(
        DiscoveryUnavailable, match="all 4 places for workers that have not earned anything yet are taken"
    ):
        town.add_worker(14, registration(5000, host="198.51.100.2"))
    town.add_worker(10, registration(5000, host="198.51.100.1"))  # a renewal needs no further place
    other = town.add_worker(20, registration(5000, host="203.0.113.1"))
    with town.unit_of_work() as uow:
        beginners = {member.worker for member in uow.pool.beginners(town.clock())}
    assert other in beginners
    assert len(beginners & set(flood)) == 3
    assert town.pool().workers == 7


def test_leaving_is_fine_for_everybody() -> None:
    town = build_town(workers=1)
    for token in (worker_token(0), worker_token(0), FOREMAN):
        town.service.workers.leave(token)
    assert town.pool().workers == 0


# --- computing -------------------------------------------------------------------------------------------------------


def test_the_assigned_read_key_and_secrets() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.clock.advance(100)
    parts = [town.assignment(town.tokens[r.worker], task.task) for r in task.replicas]
    assert {len(part.key) for part in parts} == {32}
    assert len({part.key for part in parts}) == 1
    assert [part.secret for part in parts] == [replica.secret for replica in task.replicas]
    assert len({part.delivery_digest for part in parts}) == 3
    assert (parts[0].deadline_in_s, parts[0].forgotten_in_s) == (500, 500 + DAY_S)


@pytest.mark.parametrize("token", [FOREMAN, worker_token(3)])
def test_strangers_cannot_learn_that_a_task_exists(token: str) -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.add_worker(3)
    with pytest.raises(UnknownTask) as refused:
        town.assignment(token, task.task)
    with pytest.raises(UnknownTask) as unknown:
        town.assignment(token, UNKNOWN)
    assert str(refused.value).replace(task.task, "") == str(unknown.value).replace(UNKNOWN, "")
    with pytest.raises(UnknownTask):
        town.commit_as(token, task.task, digest("a"))


def test_a_commitment_to_an_unknown_task_is_refused() -> None:
    town = build_town(workers=1)
    with pytest.raises(UnknownTask):
        town.commit_as(worker_token(0), UNKNOWN, digest("a"))


def test_after_the_deadline_no_key_is_given() -> None:
    town = build_town(workers=3)
    won, lost = town.buy_one(), None
    town.commit(won, 0, "a")
    town.commit(won, 1, "a")
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        town.assignment(town.tokens[won.replicas[2].worker], won.task)
    (lost,) = town.buy(order("purchase-2")).tasks
    town.clock.advance(600)
    with pytest.raises(TaskClosed):
        town.assignment(town.tokens[lost.replicas[0].worker], lost.task)


def test_the_winners_are_paid_at_once() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.commit(task, 0, "a")
    assert town.credits(town.tokens[task.replicas[0].worker]) == 0
    town.commit(task, 1, "a")
    town.commit(task, 2, "lie")
    purses = [town.credits(town.tokens[replica.worker]) for replica in task.replicas]
    assert purses == [1, 1, 0]
    assert town.service.accounts.open(FOREMAN).escrow == 1


def test_commitments_can_be_repeated_but_not_changed() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for _ in range(3):
        town.commit(task, 0, "a")
        town.commit(task, 1, "a")
    with pytest.raises(CommitmentConflict):
        town.commit(task, 0, "b")
    assert town.credits(town.tokens[task.replicas[0].worker]) == 1


def test_a_worker_that_asked_for_its_part_stays_busy_and_others_become_free() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    town.assignment(town.tokens[task.replicas[0].worker], task.task)
    town.clock.advance(CLAIM_S - 0.001)
    assert town.pool().slots == 0
    town.clock.advance(0.001)
    assert town.pool().slots == 2
    town.assignment(town.tokens[task.replicas[1].worker], task.task)
    assert town.pool().slots == 1
    for position in range(3):
        town.commit(task, position, "a")
    assert [town.credits(town.tokens[replica.worker]) for replica in task.replicas] == [1, 1, 1]


def test_more_than_one_worker_may_wait_for_a_slot_that_was_not_claimed() -> None:
    town = build_town(workers=3)
    town.buy(order("purchase-1"))
    town.clock.advance(CLAIM_S)
    assert len(town.buy(order("purchase-2")).tasks) == 1
    assert town.buy(order("purchase-3")).tasks == ()


def test_the_same_credits_do_not_block_a_slot_again_and_again() -> None:
    town = build_town(workers=3)
    blocked_s = 0.0
    for number in range(20):  # a foreman that sends no work, and gets its credits back every 30 s
        assert len(town.buy(order(f"blocking-{number}", deadline_s=30.0)).tasks) == 1
        for _ in range(30):
            blocked_s += town.pool().slots == 0
            town.clock.advance(1.0)
    assert blocked_s <= 0.1 * 20 * 30


# --- late replicas --------------------------------------------------------------------------------------------------


def late_town(workers: int) -> tuple[Town, str, str]:
    """A town where two have won a task that the third still computes; that task, and the token of the third."""
    town = build_town(workers=workers)
    task = town.buy_one()
    token = town.tokens[task.replicas[2].worker]
    town.assignment(token, task.task)
    for position in range(2):
        town.commit(task, position, "a")
    return town, task.task, token


def test_a_worker_computing_a_won_task_is_busy_until_it_commits_or_gives_up() -> None:
    town, task, token = late_town(workers=4)
    assert town.pool().slots == 3
    other = town.buy(order("purchase-2", tasks=2)).tasks
    assert len(other) == 1
    assert token not in {town.tokens[replica.worker] for replica in other[0].replicas}
    town.give_up(token, task)
    assert town.pool().slots == 1


def test_workers_computing_won_tasks_are_drawn_if_there_are_too_few_others() -> None:
    town, _, token = late_town(workers=3)
    assert town.pool().slots == 2
    (task,) = town.buy(order("purchase-2", tasks=2)).tasks
    assert token in {town.tokens[replica.worker] for replica in task.replicas}


def test_a_restarted_worker_has_all_its_slots() -> None:
    town = build_town()
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=2))
    won, open_task = town.buy(order(tasks=2)).tasks
    for task in (won, open_task):
        for replica in task.replicas:
            town.assignment(town.tokens[replica.worker], task.task)
    for position in range(2):
        town.commit(won, position, "a")
    assert town.pool().slots == 2
    late = town.tokens[won.replicas[2].worker]
    number = list(map(worker_token, range(3))).index(late)
    town.add_worker(number, attrs.evolve(registration(4000 + number, slots=2), fingerprint="1" * 64))
    assert town.pool().slots == 4


def test_a_worker_that_never_asked_for_its_part_of_a_won_task_is_free() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    for position in range(2):
        town.commit(task, position, "a")
    assert town.pool().slots == 3


def test_workers_that_have_not_committed_learn_of_a_win() -> None:
    town = build_town(workers=3)
    task = town.buy_one()
    tokens = [town.tokens[replica.worker] for replica in task.replicas]
    told = [[town.assignment(token, task.task).won for token in tokens]]
    for position in range(3):
        town.commit(task, position, "a")
        told.append([town.assignment(token, task.task).won for token in tokens])
    assert told == [[False] * 3, [False] * 3, [False, False, True], [False] * 3]


def test_workers_do_not_learn_of_a_win_by_one_commitment() -> None:
    """Neither to whom it may be an audit, nor to those whose commitments may still open the task again."""
    town, tokens = build_town(workers=3), list(map(worker_token, range(3)))
    task = town.buy_one()
    found = town.service.workers.assignments
    with town.unit_of_work() as uow:
        (stored,) = uow.tasks.locked([task.task])
        uow.tasks.save([attrs.evolve(stored, state=TaskState.PROVISIONAL, digest=digest("a"))])
        uow.commit()
    query = AssignmentQuery(tasks=(task.task,))
    assert [found(token, query).assignments[0].won for token in tokens] == [False] * 3


# --- batches --------------------------------------------------------------------------------------------------------


def commitments(*items: tuple[str, str]) -> CommitResults:
    return CommitResults(commitments=tuple(Commitment(task=task, digest=digest(text)) for task, text in items))


def codes(refused: Iterable[TaskRefusal]) -> list[tuple[str, str]]:
    return [(refusal.task, refusal.error) for refusal in refused]


def busy_town(tasks: int) -> tuple[Town, list[str], str]:
    """A town, the tasks that all three workers have, and the token of one of them."""
    town = build_town(grant=3 * tasks)
    for number in range(3):
        town.add_worker(number, registration(4000 + number, slots=tasks))
    return town, [task.task for task in town.buy(order(tasks=tasks)).tasks], worker_token(1)


def test_a_refusal_of_one_task_leaves_the_others_alone() -> None:
    town, (won, lost, given_up, left), token = busy_town(4)
    for other in (worker_token(0), worker_token(2)):
        town.commit_as(other, won, digest("a"))
    town.commit_as(token, lost, digest("before"))
    town.give_up(token, given_up)
    reply = town.service.workers.commit(
        token, commitments((won, "a"), (lost, "other"), (UNKNOWN, "a"), (given_up, "a"), (left, "a"), (left, "b"))
    )
    assert reply.tasks == (won, left)
    assert codes(reply.refused) == [
        (lost, "commitment_conflict"),
        (UNKNOWN, "unknown_task"),
        (given_up, "task_closed"),
        (left, "commitment_conflict"),
    ]
    assert town.credits(token) == 1


def test_a_batch_may_name_a_task_twice_and_be_repeated() -> None:
    town, (first, second), token = busy_town(2)
    command = commitments((first, "a"), (first, "a"), (second, "a"))
    for _ in range(2):
        assert town.service.workers.commit(token, command).tasks == (first, first, second)
    town.commit_as(worker_token(0), first, digest("a"))
    assert town.credits(token) == 1


def test_parts_in_many_tasks_are_read_at_once() -> None:
    town, (first, second, third), token = busy_town(3)
    stranger = worker_token(7)
    town.add_worker(7)
    query = AssignmentQuery(tasks=(first, UNKNOWN, second, first))
    reply = town.service.workers.assignments(token, query)
    assert [part.task for part in reply.assignments] == [first, second, first]
    assert codes(reply.refused) == [(UNKNOWN, "unknown_task")]
    assert town.service.workers.assignments(token, AssignmentQuery(tasks=())).assignments == ()
    nothing = town.service.workers.assignments(stranger, AssignmentQuery(tasks=(first, third)))
    assert (nothing.assignments, codes(nothing.refused)) == ((), [(task, "unknown_task") for task in (first, third)])


def test_many_tasks_are_given_up_at_once() -> None:
    town, (first, second, third), token = busy_town(3)
    town.commit_as(token, third, digest("a"))
    for _ in range(2):
        reply = town.service.workers.give_up(token, GiveUp(tasks=(first, UNKNOWN, second, third, first)))
        assert (reply.tasks, codes(reply.refused)) == ((first, second, third, first), [(UNKNOWN, "unknown_task")])
    assert town.pool().slots == 3
    town.clock.advance(600)
    late = town.service.workers.give_up(worker_token(0), GiveUp(tasks=(first,)))
    assert codes(late.refused) == [(first, "task_closed")]


def test_a_stranger_cannot_tell_a_task_from_one_that_is_not_there() -> None:
    town, (task,), _ = busy_town(1)
    stranger = worker_token(7)
    town.add_worker(7)
    workers = town.service.workers

    def messages(name: str) -> list[str]:
        replies: list[tuple[TaskRefusal, ...]] = [
            workers.assignments(stranger, AssignmentQuery(tasks=(name,))).refused,
            workers.commit(stranger, commitments((name, "a"))).refused,
            workers.give_up(stranger, GiveUp(tasks=(name,))).refused,
        ]
        return [f"{refusal.error} {refusal.message}".replace(name, "") for refused in replies for refusal in refused]

    before = messages(UNKNOWN)
    assert before == messages(task)
    for token in (worker_token(0), worker_token(1)):
        town.commit_as(token, task, digest("a"))
    assert before == messages(task)
    town.clock.advance(600)
    assert before == messages(task)
