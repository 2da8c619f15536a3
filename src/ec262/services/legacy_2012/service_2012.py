"""The use cases of the 2012 API: each is a transaction around the rules of ``ec262.domain.legacy_2012``.

Every method may be called from several threads. ``addr`` identifies the caller, in its canonical form (see
``canonical_addr``). Each call first applies the deadlines that have passed, so that no answer depends on whether a
sweep has run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ec262.domain.errors import DiscoveryRefused, LedgerError, UnknownClient
from ec262.domain.legacy_2012 import ledger_2012
from ec262.domain.legacy_2012.addresses_2012 import Endpoint2012
from ec262.domain.legacy_2012.clients_2012 import Client
from ec262.domain.legacy_2012.constants_2012 import Constants2012
from ec262.domain.legacy_2012.draw_2012 import draw
from ec262.domain.legacy_2012.ledger_2012 import Entry
from ec262.domain.legacy_2012.parameters_2012 import Ending, Registration, is_valid
from ec262.domain.legacy_2012.tasks_2012 import ID_BYTES, Accepted2012, Rejected, Task2012, is_task_id, unknown_task
from ec262.domain.legacy_2012.unit_of_work_2012 import UnitOfWork2012, UnitOfWork2012Factory
from ec262.domain.ports.clock import Clock, Entropy

EXPIRY_BATCH = 200


class Discovery2012:
    """Introduces the clients of 2012 to each other, and keeps their credits and keys."""

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWork2012Factory,
        clock: Clock,
        entropy: Entropy,
        constants: Constants2012 | None = None,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._clock = clock
        self._entropy = entropy
        self.constants = constants or Constants2012()

    # --- clients ----------------------------------------------------------------------------------------------------

    def register(self, addr: str, command: Registration) -> Client:
        """Join the pool, renew the lease, or leave. The first call also grants the starting credits."""
        with self._transaction() as (uow, now):
            client = self._first_contact(uow, addr, now).registered(command, now=now)
            uow.clients.save([client])
            return client

    def client(self, addr: str) -> Client:
        """Return a client. Raises UnknownClient; asking does not register anyone."""
        with self._transaction() as (uow, _):
            return _known(uow, addr)

    def history(self, addr: str) -> tuple[Client, Sequence[Entry]]:
        """Return a client and every change of its credits, oldest first, for the operator. Raises UnknownClient."""
        with self._transaction() as (uow, _):
            return _known(uow, addr), uow.ledger.history(addr)

    # --- tasks ------------------------------------------------------------------------------------------------------

    def buy(self, addr: str, wanted: int) -> Sequence[Task2012]:
        """Draw workers for as many tasks as there are workers for, at most ``wanted``, and charge for these.

        Raises PurchaseTooExpensive if the foreman cannot pay for all of them; then it gets none.
        """
        with self._transaction() as (uow, now):
            foreman = self._first_contact(uow, addr, now)
            others = [worker for worker in uow.clients.pool(now) if worker.addr != addr]
            size = self.constants.workers_a_task
            count = min(wanted, len(others) // size)
            foreman.afford(count * self.constants.price)
            drawn = draw(others, count * size, self._entropy)
            uow.clients.take([worker.addr for worker in drawn])
            teams = [drawn[start : start + size] for start in range(0, len(drawn), size)]
            tasks = [self._task(addr, team, now) for team in teams]
            uow.tasks.add(tasks)
            _book(uow, [foreman], [ledger_2012.purchase(task, at=now) for task in tasks])
            return tasks

    def key(self, addr: str, task: str) -> bytes:
        """Return a task's key to one of its workers. Raises UnknownTask for everyone else."""
        with self._transaction() as (uow, _):
            return _open_task(uow, task).key_for(addr)

    def end(self, addr: str, command: Ending) -> Accepted2012 | Rejected:
        """End a task for its foreman: pay the workers for a valid result and return the key, or refund the credits.

        Raises UnknownTask for everyone else, and InvalidRequest if ``valid`` is neither; the task then continues.
        """
        with self._transaction() as (uow, now):
            task = _open_task(uow, command.task)
            if task.foreman != addr:
                raise unknown_task()
            if is_valid(command.valid):
                self._pay(uow, task, command.missing, now)
                return Accepted2012(key=task.key)
            self._refund(uow, [task], now)
            return Rejected(credits=uow.clients.find([addr])[0].credits)

    # --- upkeep -----------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Apply the deadlines that have passed. Call it every few seconds."""
        with self._transaction():
            pass

    def audit(self) -> int:
        """Return the credits ever granted. Raises LedgerError if the books do not balance."""
        with self._unit_of_work() as uow:
            unbalanced = uow.ledger.unbalanced()
            if unbalanced:
                raise LedgerError(f"the credits of {unbalanced[0]} do not match the ledger of the 2012 API")
            return ledger_2012.audit(uow.ledger.totals())

    @contextmanager
    def _transaction(self) -> Iterator[tuple[UnitOfWork2012, float]]:
        """Run a use case in a unit of work in which every deadline up to now has been applied. A refusal rolls nothing
        back: a use case changes only what may stay after its refusal, and applied deadlines stay applied."""
        with self._unit_of_work() as uow:
            now = self._clock()
            while due := uow.tasks.due(now, limit=EXPIRY_BATCH):
                self._refund(uow, due, now)
            try:
                yield uow, now
            except DiscoveryRefused:
                uow.commit()
                raise
            uow.commit()

    def _first_contact(self, uow: UnitOfWork2012, addr: str, now: float) -> Client:
        """Return a client. A new one gets the starting credits, whatever it asked for."""
        known = uow.clients.get(addr)
        if known is not None:
            return known
        entries = ledger_2012.grant(addr, self.constants.starting_credits, at=now)
        client = Client(addr=addr).booked(entries)
        uow.clients.add(client)
        uow.ledger.post(entries)
        return client

    def _task(self, foreman: str, team: Sequence[Endpoint2012], now: float) -> Task2012:
        return Task2012(
            id=self._entropy.token(ID_BYTES).hex(),
            foreman=foreman,
            key=self._entropy.token(self.constants.key_bytes),
            expires_at=now + self.constants.task_ttl_s,
            workers=tuple(team),
        )

    def _pay(self, uow: UnitOfWork2012, task: Task2012, missing: str | None, now: float) -> None:
        failed = None if missing is None else task.worker_named(missing)
        workers = uow.clients.find([worker.addr for worker in task.workers])
        _book(
            uow,
            [worker.counted(failed=worker.addr == failed) for worker in workers],
            ledger_2012.payments(task, at=now),
        )
        uow.tasks.remove([task.id])

    def _refund(self, uow: UnitOfWork2012, tasks: Sequence[Task2012], now: float) -> None:
        foremen = uow.clients.find({task.foreman for task in tasks})
        _book(uow, foremen, [ledger_2012.refund(task, at=now) for task in tasks])
        uow.tasks.remove([task.id for task in tasks])


def _known(uow: UnitOfWork2012, addr: str) -> Client:
    client = uow.clients.get(addr)
    if client is None:
        raise UnknownClient("Unknown client")
    return client


def _open_task(uow: UnitOfWork2012, task: str) -> Task2012:
    found = uow.tasks.get(task) if is_task_id(task) else None
    if found is None:
        raise unknown_task()
    return found


def _book(uow: UnitOfWork2012, clients: Iterable[Client], entries: Sequence[Entry]) -> None:
    """Post entries, and add them to the credits of the clients that they belong to."""
    uow.ledger.post(entries)
    uow.clients.save([client.booked(entries) for client in clients])
