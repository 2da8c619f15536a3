"""The use cases of the discovery service: thin transactions around the domain's rules.

Every method may be called from several threads, takes the caller's bearer token, and can be repeated. Before anything
else each applies the deadlines that have passed, so that an answer never depends on whether a sweep has run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from ec262.domain import ledger, tasks
from ec262.domain.accounts import Account, token_digest
from ec262.domain.commands import (
    AccountStatus,
    Assignment,
    BuyTasks,
    CommitResult,
    Committed,
    Lease,
    PoolQuery,
    PoolStatus,
    Purchase,
    RegisterWorker,
    VerdictQuery,
    Verdicts,
    WorkerAddress,
)
from ec262.domain.draw import Team, draw
from ec262.domain.errors import (
    InvalidRequest,
    LimitReached,
    NotAuthenticated,
    PurchaseTooExpensive,
)
from ec262.domain.pool import Lot, Member, Pool
from ec262.domain.ports.clock import Clock, Entropy
from ec262.domain.ports.prober import Prober
from ec262.domain.ports.unit_of_work import UnitOfWork, UnitOfWorkFactory
from ec262.domain.purchases import PurchaseRecord, command_digest
from ec262.domain.tasks import Task
from ec262.domain.verification import parse_rule
from ec262.services.discovery_replies import account_status, purchase_reply, task_verdict, worker_assignment

ID_BYTES = 16
EXPIRY_BATCH = 200
"""Most deadlines applied in one transaction: others wait for it."""


@attrs.frozen(kw_only=True)
class Policy:
    """What the operator decides: credits that a new account starts with, seconds for which a task is remembered after
    its deadline, and how many tasks an account may have under way."""

    grant: int = attrs.field(default=12, validator=attrs.validators.ge(0))
    retention_s: float = attrs.field(default=24 * 3600.0, validator=attrs.validators.ge(0))
    max_open_tasks: int = attrs.field(default=10_000, validator=attrs.validators.ge(1))


class DiscoveryService:
    """Introduces foremen and workers, and keeps leases, keys and credits."""

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWorkFactory,
        clock: Clock,
        entropy: Entropy,
        prober: Prober,
        policy: Policy | None = None,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._entropy = entropy
        self._prober = prober
        self._policy = policy or Policy()

    # --- accounts ---------------------------------------------------------------------------------------------------

    def open_account(self, token: str) -> AccountStatus:
        """Open the account of a token, with the policy's grant, or find it again. Raises NotAuthenticated if the token
        is too weak."""
        with self._transaction() as (uow, now):
            account = self._open(uow, token, grant=self._policy.grant, now=now)
            uow.commit()
            return account_status(uow, account)

    def grant_account(self, token: str, grant: int) -> AccountStatus:
        """Open an account with a grant of its own; one that exists stays as it is. For the composition root: no request
        makes credits beyond the policy's."""
        with self._transaction() as (uow, now):
            account = self._open(uow, token, grant=grant, now=now)
            uow.commit()
            return account_status(uow, account)

    def _open(self, uow: UnitOfWork, token: str, *, grant: int, now: float) -> str:
        digest = token_digest(token)
        known = uow.accounts.by_token(digest)
        if known is not None:
            return known.id
        account = Account(id=self._new_id(), token_digest=digest, opened_at=now)
        uow.accounts.add(account)
        if grant > 0:
            uow.ledger.post(ledger.grant(account.id, grant, at=now))
        return account.id

    # --- workers ----------------------------------------------------------------------------------------------------

    def register(self, token: str, command: RegisterWorker, *, source: str) -> Lease:
        """Join the pool or renew the lease. ``source`` is the address that the request came from.

        A new address is knocked at before it is believed, outside any transaction. Raises AddressUnreachable, and
        DiscoveryUnavailable while too many others are being knocked at.
        """
        address = _address(command, source)
        with self._transaction() as (uow, now):
            worker = _authenticate(uow, token)
            known = uow.pool.get(worker)
        if known is None or known.address != address or known.expires_at <= now:
            self._prober.probe(address, account=worker, source=source)
        with self._transaction() as (uow, now):
            member = Member(
                worker=worker,
                address=address,
                runtime=command.runtime,
                packages=frozenset(command.packages),
                slots=command.slots,
                expires_at=now + command.ttl_s,
            )
            uow.pool.put(member)
            uow.commit()
        return Lease(worker=worker, address=address, expires_in_s=command.ttl_s)

    def leave(self, token: str) -> None:
        """Leave the pool; fine also for who is not in it."""
        with self._transaction() as (uow, _):
            uow.pool.remove(_authenticate(uow, token))
            uow.commit()

    def assignment(self, token: str, task: str) -> Assignment:
        """Tell a worker its part in a task. Raises UnknownTask, TaskClosed (the deadline passed)."""
        with self._transaction() as (uow, now):
            worker = _authenticate(uow, token)
            return worker_assignment(_find(uow, task), worker, now)

    def commit(self, token: str, command: CommitResult) -> Committed:
        """Take a commitment, adjudicate and pay. Raises UnknownTask, CommitmentConflict, TaskClosed."""
        with self._transaction() as (uow, now):
            worker = _authenticate(uow, token)
            task, transfers = tasks.commit(_find(uow, command.task), worker=worker, digest=command.digest, now=now)
            _store(uow, task, transfers)
            uow.commit()
            return Committed(task=task.id)

    def give_up(self, token: str, task: str) -> None:
        """Note that a worker will not commit to a task, which frees its slot. Raises UnknownTask, TaskClosed."""
        with self._transaction() as (uow, _):
            worker = _authenticate(uow, token)
            _store(uow, tasks.give_up(_find(uow, task), worker=worker), ())
            uow.commit()

    # --- foremen ----------------------------------------------------------------------------------------------------

    def pool(self, token: str, query: PoolQuery) -> PoolStatus:
        """Tell who could be drawn now."""
        with self._transaction() as (uow, now):
            foreman = _authenticate(uow, token)
            pool = _pool(uow, now)
        eligible = pool.eligible(query.requirement, foreman=foreman)
        return PoolStatus(
            workers=len(eligible),
            slots=sum(pool.free_slots(member) for member in eligible),
            explanation=pool.explanation(query.requirement, foreman=foreman),
        )

    def buy(self, token: str, command: BuyTasks) -> Purchase:
        """Draw workers and move the replicas' credits into escrow, or do nothing at all.

        Raises PurchaseTooExpensive, PurchaseConflict, LimitReached.
        """
        with self._transaction() as (uow, now):
            foreman = _authenticate(uow, token)
            record = uow.purchases.get(command.purchase)
            if record is not None:
                record.check_repeat(command, foreman=foreman)
                return purchase_reply(uow, record, now)
            record = self._assign(uow, command, foreman=foreman, now=now)
            uow.purchases.add(record)
            uow.commit()
            return purchase_reply(uow, record, now)

    def _assign(self, uow: UnitOfWork, command: BuyTasks, *, foreman: str, now: float) -> PurchaseRecord:
        replicas, pool = parse_rule(command.rule).replicas, _pool(uow, now)
        lot = Lot(
            requirement=command.requirement,
            foreman=foreman,
            replicas=replicas,
            tasks=command.tasks,
            avoid=frozenset(command.avoid),
        )
        # One task more than can be paid is enough to find out that the purse is too small: drawing takes time.
        affordable = uow.ledger.balance(ledger.user_account(foreman)) // replicas
        teams = draw(pool, attrs.evolve(lot, tasks=min(lot.tasks, affordable + 1)), self._entropy)
        self._check_purse(uow, foreman, price=len(teams) * replicas, count=len(teams))
        for team in teams:
            task = self._new_task(command, team, foreman=foreman, now=now)
            uow.tasks.add(task)
            uow.ledger.post(tasks.purchase_transfer(task, at=now))
        return PurchaseRecord(
            id=command.purchase,
            foreman=foreman,
            command_digest=command_digest(command),
            tasks=len(teams),
            price=len(teams) * replicas,
            credits=uow.ledger.balance(ledger.user_account(foreman)),
            shortfall=pool.shortfall(lot, assigned=len(teams)),
            forgotten_at=now + self._policy.retention_s,
        )

    def verdicts(self, token: str, query: VerdictQuery) -> Verdicts:
        """Tell the state of the caller's own tasks; others are left out."""
        with self._transaction() as (uow, _):
            foreman = _authenticate(uow, token)
            found = uow.tasks.find(query.tasks)
        return Verdicts(verdicts=tuple(task_verdict(task) for task in found if task.foreman == foreman))

    def _check_purse(self, uow: UnitOfWork, foreman: str, *, price: int, count: int) -> None:
        have = uow.ledger.balance(ledger.user_account(foreman))
        if price > have:
            raise PurchaseTooExpensive(have=have, need=price)
        under_way = uow.tasks.holdings(foreman).tasks
        if under_way + count > self._policy.max_open_tasks:
            raise LimitReached(
                f"{under_way} tasks are under way and {count} would come: "
                f"an account may have {self._policy.max_open_tasks}"
            )

    def _new_task(self, command: BuyTasks, team: Team, *, foreman: str, now: float) -> Task:
        deadline = now + command.deadline_s
        return Task(
            id=self._new_id(),
            foreman=foreman,
            purchase=command.purchase,
            rule=command.rule,
            deadline=deadline,
            forgotten_at=deadline + self._policy.retention_s,
            key=self._entropy.token(tasks.KEY_BYTES),
            replicas=tuple(
                tasks.Replica(
                    worker=member.worker,
                    address=member.address,
                    secret=self._entropy.token(tasks.SECRET_BYTES),
                    delivery_secret=self._entropy.token(tasks.SECRET_BYTES),
                )
                for member in team
            ),
        )

    # --- upkeep -----------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Apply deadlines and drop what is to be forgotten; to be called every few seconds."""
        with self._transaction() as (uow, now):
            uow.tasks.forget(now)
            uow.purchases.forget(now)
            uow.pool.purge(now)
            uow.commit()

    def audit(self) -> int:
        """Return the credits ever granted. Raises LedgerError if the books do not balance."""
        with self._unit_of_work() as uow:
            return ledger.audit(uow.ledger.balances())

    @contextmanager
    def _transaction(self) -> Iterator[tuple[UnitOfWork, float]]:
        """Begin a unit of work in which every deadline up to now was applied, durably: an answer that was given once
        stays true, even if the clock is set back."""
        with self._unit_of_work() as uow:
            now = self._clock()
            while due := uow.tasks.due(now, limit=EXPIRY_BATCH):
                for task in due:
                    _store(uow, *tasks.expire(task, now=now))
                uow.commit()
            yield uow, now

    def _new_id(self) -> str:
        return self._entropy.token(ID_BYTES).hex()


def _authenticate(uow: UnitOfWork, token: str) -> str:
    account = uow.accounts.by_token(token_digest(token))
    if account is None:
        raise NotAuthenticated("no account has this token: open one first")
    return account.id


def _address(command: RegisterWorker, source: str) -> WorkerAddress:
    try:
        return WorkerAddress(host=command.host or source, port=command.port, fingerprint=command.fingerprint)
    except ValueError as error:
        raise InvalidRequest("the address that the request came from is of no use: name one as host") from error


def _pool(uow: UnitOfWork, now: float) -> Pool:
    return Pool(members=tuple(uow.pool.alive(now)), busy=uow.tasks.busy())


def _find(uow: UnitOfWork, task: str) -> Task:
    for found in uow.tasks.find([task]):
        return found
    raise tasks.unknown_task(task)


def _store(uow: UnitOfWork, task: Task, transfers: tuple[ledger.Transfer, ...]) -> None:
    uow.tasks.save(task)
    for transfer in transfers:
        uow.ledger.post(transfer)
