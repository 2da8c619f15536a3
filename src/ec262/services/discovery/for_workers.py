"""The use cases of workers."""

from __future__ import annotations

from functools import partial

from ec262.domain.discovery import tasks
from ec262.domain.discovery.ledger import user_account
from ec262.domain.discovery.pool.beginners import who_makes_way
from ec262.domain.discovery.pool.pool import Member
from ec262.domain.discovery.tasks import Task
from ec262.domain.errors import InvalidRequest
from ec262.domain.ports.prober import Prober
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.networks import address_block
from ec262.domain.protocol.worker_calls import (
    AssignmentQuery,
    Assignments,
    CommitmentsTaken,
    CommitResults,
    GivenUp,
    GiveUp,
    Lease,
    RegisterWorker,
)
from ec262.domain.verification.credibility import NOTHING_KNOWN
from ec262.domain.verification.rules import parse_rule
from ec262.domain.work.digests import adjudicated_digest
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.replies import worker_assignment
from ec262.services.discovery.reputations import caught_since_drawn, trust_in
from ec262.services.discovery.transactions import Batch, Transaction, Transactions


class WorkerDesk:
    """Leases, assignments and commitments."""

    def __init__(self, transactions: Transactions, prober: Prober, policy: Policy) -> None:
        self._transactions = transactions
        self._prober = prober
        self._policy = policy

    def register(self, token: str, command: RegisterWorker, *, source: str) -> Lease:
        """Join the pool or renew the lease. ``source`` is the address that the request came from.

        A new address is probed before it is believed, outside any transaction. Raises AddressUnreachable, and
        DiscoveryUnavailable while too many others are being probed or all places for beginners are taken.
        """
        address = _address(command, source)
        with self._transactions.begin() as transaction:
            worker = transaction.active(token).id
            known = transaction.uow.pool.get(worker)
        if known is None or known.address != address or known.expires_at <= transaction.now:
            self._prober.probe(address, account=worker, source=source)
        with self._transactions.begin() as transaction:
            account = transaction.active(token)
            before = transaction.uow.pool.get(account.id)
            alive = before is not None and before.expires_at > transaction.now
            earned = (before is not None and before.earned) or transaction.uow.ledger.has_earned(
                user_account(account.id)
            )
            lease_s = command.ttl_s if earned else min(command.ttl_s, self._policy.beginner_lease_s)
            member = Member(
                worker=account.id,
                address=address,
                runtime=command.runtime,
                packages=frozenset(command.packages),
                slots=command.slots,
                expires_at=transaction.now + lease_s,
                owner=account.owner,
                block=address_block(address.host, source),
                earned=earned,
            )
            if not (earned or alive):
                self._make_room(transaction, member)
            transaction.uow.pool.put(member)
            transaction.commit()
        replaced = before.address if before is not None and alive else None
        if replaced is not None and replaced.fingerprint == address.fingerprint:
            replaced = None  # it was this process's own
        return Lease(worker=worker, address=address, expires_in_s=lease_s, replaced=replaced)

    def _make_room(self, transaction: Transaction, beginner: Member) -> None:
        others = transaction.uow.pool.beginners(transaction.now)
        leaver = who_makes_way(beginner, others, places=self._policy.max_beginners)
        if leaver is not None:
            transaction.uow.pool.remove(leaver.worker)

    def leave(self, token: str) -> None:
        """Leave the pool. Also allowed for workers outside the pool and for frozen accounts."""
        with self._transactions.begin() as transaction:
            transaction.uow.pool.remove(transaction.account(token).id)
            transaction.commit()

    def assignments(self, token: str, query: AssignmentQuery) -> Assignments:
        """Return a worker's assignments. Tasks are refused individually: UnknownTask, TaskClosed (the deadline
        passed)."""
        with self._transactions.begin() as transaction:
            worker = transaction.active(token).id
            batch = Batch.lock(transaction, query.tasks)
            found = [batch.apply(task, lambda task: (tasks.fetch(task, worker=worker), ())) for task in query.tasks]
            batch.store(transaction)
            return Assignments(
                assignments=tuple(worker_assignment(task, worker, transaction.now) for task in found if task),
                refused=tuple(batch.refused),
            )

    def commit(self, token: str, command: CommitResults) -> CommitmentsTaken:
        """Accept commitments, adjudicate and pay. Tasks are refused individually: UnknownTask, CommitmentConflict,
        TaskClosed."""
        with self._transactions.begin() as transaction:
            worker, now = transaction.active(token).id, transaction.now
            batch = Batch.lock(transaction, (commitment.task for commitment in command.commitments))
            weighed = [task for task in batch.locked if parse_rule(task.rule).weighs_trust]
            trusts = trust_in(transaction.uow, worker, weighed, now)
            liars = caught_since_drawn(transaction.uow, weighed)
            taken: list[str] = []
            for commitment in command.commitments:
                taking = partial(
                    tasks.commit,
                    worker=worker,
                    digest=adjudicated_digest(commitment.digest, stopped=commitment.stopped),
                    stopped=commitment.stopped,
                    now=now,
                    trust=trusts.get(commitment.task, NOTHING_KNOWN),
                    liars=liars.get(commitment.task, frozenset()),
                )
                if batch.apply(commitment.task, taking):
                    taken.append(commitment.task)
            batch.store(transaction)
        return CommitmentsTaken(tasks=tuple(taken), refused=tuple(batch.refused))

    def give_up(self, token: str, command: GiveUp) -> GivenUp:
        """Record that a worker surrenders tasks, which frees its slots. Tasks are refused individually: UnknownTask,
        TaskClosed."""

        def given_up(task: Task) -> tuple[Task, tuple[()]]:
            return tasks.give_up(task, worker=worker), ()

        with self._transactions.begin() as transaction:
            worker = transaction.active(token).id
            batch = Batch.lock(transaction, command.tasks)
            freed = [task for task in command.tasks if batch.apply(task, given_up)]
            batch.store(transaction)
        return GivenUp(tasks=tuple(freed), refused=tuple(batch.refused))


def _address(command: RegisterWorker, source: str) -> WorkerAddress:
    try:
        return WorkerAddress(host=command.host or source, port=command.port, fingerprint=command.fingerprint)
    except ValueError as error:
        raise InvalidRequest("the address that the request came from cannot be used: state one as host") from error
