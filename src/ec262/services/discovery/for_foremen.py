"""The use cases of foremen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import attrs

from ec262.domain.discovery import ledger, tasks
from ec262.domain.discovery.pool.draw import Team
from ec262.domain.discovery.pool.pool import Lot, Pool
from ec262.domain.discovery.purchases import PurchaseRecord, command_digest
from ec262.domain.discovery.selection import Company, expected_team, select, select_more, steered_addition
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import Process
from ec262.domain.errors import LimitReached, PurchaseTooExpensive
from ec262.domain.ports.clock import Entropy
from ec262.domain.protocol.foreman_calls import (
    AcceptResults,
    AddReplicas,
    BuyDisputes,
    BuyTasks,
    DeliveryReports,
    PoolQuery,
    PoolStatus,
    Purchase,
    ReplicaOrder,
    VerdictQuery,
    Verdicts,
)
from ec262.domain.protocol.requirement import Requirement
from ec262.domain.verification.rules import parse_rule
from ec262.domain.verification.task_state import TaskState
from ec262.services.discovery.discovery_policy import ID_BYTES, Policy
from ec262.services.discovery.replies import purchase_reply, task_verdict
from ec262.services.discovery.reputations import company, doubtful
from ec262.services.discovery.transactions import Transaction, Transactions

TIME_BYTES = 6
"""Bytes of a task's id that encode the time in milliseconds."""

First = Callable[..., tuple[PurchaseRecord, Sequence[Task]]]
"""Makes a purchase for the first time, given the transaction and the foreman; returns it with its tasks."""


class ForemanDesk:
    """Purchases, verdicts, disputes and reports."""

    def __init__(self, transactions: Transactions, entropy: Entropy, policy: Policy) -> None:
        self._transactions = transactions
        self._entropy = entropy
        self._policy = policy

    def pool(self, token: str, query: PoolQuery) -> PoolStatus:
        """Describe the workers that could be drawn now."""
        with self._transactions.begin() as transaction:
            foreman = transaction.account(token).id
            pool = _pool(transaction)
            lot = Lot(requirement=query.requirement, foreman=foreman, replicas=1, tasks=1)
            team = None if query.rule is None else self._expected_team(transaction, pool, lot, query.rule)
        eligible = pool.eligible(query.requirement, foreman=foreman)
        return PoolStatus(
            workers=len(eligible),
            slots=sum(pool.free_slots(member) for member in eligible),
            explanation=pool.explanation(query.requirement, foreman=foreman, apart=self._policy.apart),
            team=team,
        )

    def _expected_team(self, transaction: Transaction, pool: Pool, lot: Lot, spec: str) -> int:
        rule = parse_rule(spec)
        return expected_team(company(transaction.uow, pool, rule, foreman=lot.foreman, now=transaction.now), lot, rule)

    # --- buying -----------------------------------------------------------------------------------------------------

    def buy(self, token: str, command: BuyTasks) -> Purchase:
        """Draw workers and move a credit for each replica into escrow, or change nothing.

        Raises PurchaseTooExpensive, PurchaseConflict, LimitReached.
        """
        return self._once(token, command, partial(self._bought, command=command))

    def add_replicas(self, token: str, command: AddReplicas) -> Purchase:
        """Draw more workers for open tasks and move a credit for each into escrow, or change nothing.

        Raises PurchaseTooExpensive, PurchaseConflict, LimitReached.
        """
        return self._once(token, command, partial(self._added, command=command))

    def _once(self, token: str, command: BuyTasks | AddReplicas, first: First) -> Purchase:
        """Make a purchase while holding the pool's lock; if its id is known, repeat the first answer."""
        with self._transactions.begin() as transaction:
            foreman = transaction.active(token).id
            transaction.uow.pool.lock()
            record = transaction.uow.purchases.get(command.purchase)
            if record is None:
                record, bought = first(transaction, foreman=foreman)
            else:
                record.check_repeat(command, foreman=foreman)
                bought = transaction.uow.tasks.of_purchase(record.id)
            reply = purchase_reply(record, bought, transaction.now)
            transaction.commit()
            return reply

    def _bought(
        self, transaction: Transaction, *, command: BuyTasks, foreman: str
    ) -> tuple[PurchaseRecord, Sequence[Task]]:
        uow, now = transaction.uow, transaction.now
        rule, pool = parse_rule(command.rule), _pool(transaction)
        lot = Lot(
            requirement=command.requirement,
            foreman=foreman,
            replicas=rule.team(),
            tasks=command.tasks,
            avoid=frozenset(command.avoid),
            apart=self._policy.apart,
        )
        selection = select(
            company(uow, pool, rule, foreman=foreman, now=now),
            lot,
            rule,
            self._entropy,
            audit_rate=self._policy.audit_rate,
            credits=uow.ledger.balance(ledger.user_account(foreman)),
        )
        self._check_purse(transaction, foreman, price=sum(map(len, selection.teams)), tasks=len(selection.teams))
        bought = [
            self._new_task(command, team, audited=audited, steered=steered, foreman=foreman, now=now)
            for team, audited, steered in zip(selection.teams, selection.audited, selection.steered, strict=True)
        ]
        uow.tasks.add(bought)
        shortfall = pool.shortfall(selection.lot, assigned=len(bought))
        return self._recorded(transaction, command, foreman, bought, shortfall=shortfall)

    def _added(
        self, transaction: Transaction, *, command: AddReplicas, foreman: str
    ) -> tuple[PurchaseRecord, Sequence[Task]]:
        now, pool = transaction.now, _pool(transaction)
        known = {task.id: task for task in transaction.uow.tasks.locked([order.task for order in command.orders])}
        companies: dict[bool, Company] = {}
        extended: list[Task] = []
        closed = short = ""
        for order in command.orders:
            task = known.get(order.task)
            if task is None or task.foreman != foreman or not tasks.room_for(task, replicas=order.replicas, now=now):
                closed = "some tasks no longer accept replicas"
                continue
            lot = self._lot(task, order, command)
            rule = parse_rule(task.rule)
            if rule.weighs_trust not in companies:
                companies[rule.weighs_trust] = company(transaction.uow, pool, rule, foreman=foreman, now=now)
            eligible = attrs.evolve(companies[rule.weighs_trust], pool=pool)
            team = select_more(eligible, lot, task, self._entropy, audit_rate=self._policy.audit_rate)
            if team is None:
                short = pool.shortfall(lot, assigned=0)
                continue
            steered = task.steered or steered_addition(eligible, lot, team)
            pool = pool.taken(team)
            replicas = self._replicas(team, purchase=command.purchase, now=now)
            extended.append(tasks.add_replicas(task, replicas, deadline=now + command.deadline_s, steered=steered))
        price = sum(len(task.replicas) - len(known[task.id].replicas) for task in extended)
        self._check_purse(transaction, foreman, price=price, tasks=0)
        transaction.store(extended, ())
        shortfall = "; ".join(filter(None, (closed, short)))
        return self._recorded(transaction, command, foreman, extended, shortfall=shortfall)

    def _lot(self, task: Task, order: ReplicaOrder, command: AddReplicas) -> Lot:
        return Lot(
            requirement=Requirement(python=task.runtime.python, packages=task.packages),
            foreman=task.foreman,
            replicas=order.replicas,
            tasks=1,
            avoid=frozenset(command.avoid),
            apart=self._policy.apart,
            company=frozenset(replica.worker for replica in task.replicas),
            runtime=task.runtime,
        )

    def _recorded(
        self,
        transaction: Transaction,
        command: BuyTasks | AddReplicas,
        foreman: str,
        bought: Sequence[Task],
        *,
        shortfall: str,
    ) -> tuple[PurchaseRecord, Sequence[Task]]:
        """Move the credits for a purchase's replicas, and store what is needed to repeat the answer."""
        uow, now = transaction.uow, transaction.now
        transfers = [tasks.purchase_transfer(task, purchase=command.purchase, at=now) for task in bought]
        uow.ledger.post(transfers)
        record = PurchaseRecord(
            id=command.purchase,
            foreman=foreman,
            command_digest=command_digest(command),
            tasks=len(bought),
            price=sum(transfer.amount for transfer in transfers),
            credits=uow.ledger.balance(ledger.user_account(foreman)),
            shortfall=shortfall,
            forgotten_at=now + self._policy.retention_s,
        )
        uow.purchases.add(record)
        return record, bought

    def _check_purse(self, transaction: Transaction, foreman: str, *, price: int, tasks: int) -> None:
        """Raise PurchaseTooExpensive or LimitReached if an account cannot afford, or may not have, this much more."""
        have = transaction.uow.ledger.balance(ledger.user_account(foreman))
        if price > have:
            raise PurchaseTooExpensive(have=have, need=price)
        held = transaction.uow.tasks.holdings(foreman)
        if held.tasks + tasks > self._policy.max_open_tasks:
            raise LimitReached(
                f"too many open tasks: {held.tasks} and {tasks} more, "
                f"but an account may have {self._policy.max_open_tasks}"
            )
        if held.credits + price > self._policy.max_escrow:
            raise LimitReached(
                f"too many credits in escrow: {held.credits} and {price} more, "
                f"but an account may have {self._policy.max_escrow}"
            )

    def _new_task(
        self, command: BuyTasks, team: Team, *, audited: bool, steered: bool, foreman: str, now: float
    ) -> Task:
        deadline = now + command.deadline_s
        return Task(
            id=task_id(now, self._entropy.token(ID_BYTES - TIME_BYTES)),
            foreman=foreman,
            rule=command.rule,
            runtime=team[0].runtime,
            packages=command.requirement.packages,
            deadline=deadline,
            forgotten_at=deadline + self._policy.retention_s,
            audited=audited,
            steered=steered,
            key=self._entropy.token(tasks.KEY_BYTES),
            replicas=self._replicas(team, purchase=command.purchase, now=now),
        )

    def _replicas(self, team: Team, *, purchase: str, now: float) -> tuple[tasks.Replica, ...]:
        size = tasks.SECRET_BYTES
        secrets = self._entropy.token(2 * size * len(team))  # one call for all, since each call asks the system
        return tuple(
            [
                tasks.Replica(
                    worker=member.worker,
                    address=member.address,
                    purchase=purchase,
                    drawn_at=now,
                    secret=secrets[at : at + size],
                    delivery_secret=secrets[at + size : at + 2 * size],
                )
                for at, member in zip(range(0, len(secrets), 2 * size), team, strict=True)
            ]
        )

    # --- afterwards -------------------------------------------------------------------------------------------------

    def verdicts(self, token: str, query: VerdictQuery) -> Verdicts:
        """Return the state of the caller's own tasks, leaving out all others. Never waits."""
        with self._transactions.begin() as transaction:
            foreman = transaction.account(token).id
            found = transaction.uow.tasks.find(query.tasks)
        return Verdicts(
            verdicts=tuple(task_verdict(task, votes=query.votes) for task in found if task.foreman == foreman)
        )

    def accept(self, token: str, command: AcceptResults) -> Verdicts:
        """Accept provisional wins, or reopen them if their worker was caught lying; return the tasks' state."""
        with self._transactions.begin() as transaction:
            foreman, now = transaction.active(token).id, transaction.now
            own = [task for task in transaction.uow.tasks.locked(command.tasks) if task.foreman == foreman]
            doubted = doubtful(transaction.uow, own)
            after = {
                task.id: (tasks.doubt(task), ()) if task.id in doubted else tasks.accept(task, now=now)
                for task in own
                if task.state is TaskState.PROVISIONAL
            }
            transaction.store(
                [task for task, _ in after.values()], [move for _, moves in after.values() for move in moves]
            )
            transaction.commit()
        current = {task.id: task for task in own} | {name: task for name, (task, _) in after.items()}
        return Verdicts(verdicts=tuple(map(task_verdict, current.values())))

    def dispute(self, token: str, command: BuyDisputes) -> Verdicts:
        """Pay everyone who committed to a task that nobody won, once commitments are closed; return the tasks'
        state."""
        with self._transactions.begin() as transaction:
            foreman, now = transaction.active(token).id, transaction.now
            own = [task for task in transaction.uow.tasks.locked(command.tasks) if task.foreman == foreman]
            disputed = [tasks.dispute(task, now=now) for task in own if tasks.can_be_disputed(task, now=now)]
            after = {task.id: task for task in own} | {task.id: task for task, _ in disputed}
            transaction.store([task for task, _ in disputed], [move for _, moves in disputed for move in moves])
            transaction.commit()
        return Verdicts(verdicts=tuple(task_verdict(task) for task in after.values()))

    def report(self, token: str, command: DeliveryReports) -> None:
        """Record which winners of the caller's own tasks did not deliver; ignore any other report."""
        with self._transactions.begin() as transaction:
            foreman = transaction.active(token).id
            found = transaction.uow.tasks.find({report.task for report in command.reports})
            winners = {
                (task.id, replica.worker)
                for task in found
                if task.foreman == foreman and task.won
                for replica in task.replicas
                if replica.digest == task.digest
            }
            for report in command.reports:
                if (report.task, report.worker) in winners:
                    transaction.uow.reports.add(worker=report.worker, foreman=foreman, at=transaction.now)
            transaction.commit()


def task_id(now: float, lot: bytes) -> str:
    """Make an id from the time and random bytes. Tasks bought together are then neighbors in every index, so the
    database writes a few pages for a batch instead of one for each row."""
    return (int(now * 1000) % (1 << 8 * TIME_BYTES)).to_bytes(TIME_BYTES, "big").hex() + lot.hex()


def _pool(transaction: Transaction) -> Pool:
    uow, now = transaction.uow, transaction.now
    members, late = tuple(uow.pool.alive(now)), uow.tasks.late()
    taken = Counter(uow.tasks.busy(now)) + Counter(late)

    def of_members(slots: Mapping[Process, int]) -> dict[str, int]:
        counts = {each.worker: slots.get((each.worker, each.address.fingerprint), 0) for each in members}
        return {worker: count for worker, count in counts.items() if count}

    return Pool(members=members, busy=of_members(taken), late=of_members(late))
