"""Values, and crowds, for the tests of discovery's storage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ec262.domain.discovery.accounts import Account, Invitation
from ec262.domain.discovery.ledger import Transfer
from ec262.domain.discovery.pool.pool import Member
from ec262.domain.discovery.purchases import PurchaseRecord
from ec262.domain.discovery.tasks import Replica, Task, commit
from ec262.domain.discovery.unit_of_work import UnitOfWork, UnitOfWorkFactory
from ec262.domain.errors import DiscoveryUnavailable
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.reason import Reason
from ec262.domain.protocol.token import token_digest
from tests.discovery_town import FINGERPRINT, OTHER_PYTHON, digest, runtime


def account(name: str) -> Account:
    return Account(id=name, opened_at=12.5, owner=f"owner of {name}")


def token(name: str) -> bytes:
    return token_digest(name * 8)


def with_accounts(uow: UnitOfWork, *names: str) -> None:
    for name in names or ("boss1", "work1", "work2", "work3"):
        uow.accounts.add(account(name), token(name))


def invitation(name: str, *, uses_left: int = 2, expires_at: float | None = None) -> Invitation:
    return Invitation(
        id=name,
        code_digest=digest(name),
        credits=7,
        uses_left=uses_left,
        owner=f"guests of {name}",
        expires_at=expires_at,
    )


def member(worker: str, *, expires_at: float = 100.0, slots: int = 2) -> Member:
    return Member(
        worker=worker,
        address=WorkerAddress(host="::1", port=4000, fingerprint=FINGERPRINT),
        runtime=runtime(python=OTHER_PYTHON),
        packages=frozenset({"scipy", "numpy"}),
        slots=slots,
        expires_at=expires_at,
        owner=f"owner of {worker}",
        block="2001:db8::/48",
    )


def replica(worker: str, *, purchase: str = "p1", drawn_at: float = 60.0) -> Replica:
    return Replica(
        worker=worker,
        address=WorkerAddress(host="h", port=int(worker[-1]), fingerprint=FINGERPRINT),
        purchase=purchase,
        drawn_at=drawn_at,
        secret=worker.encode() * 6,
        delivery_secret=worker.encode() * 5,
    )


def task(name: str = "task1", *, deadline: float = 100.0, foreman: str = "boss1", purchase: str = "p1") -> Task:
    return Task(
        id=name,
        foreman=foreman,
        rule="majority:3",
        runtime=runtime(python=OTHER_PYTHON),
        packages=("numpy", "scipy"),
        deadline=deadline,
        forgotten_at=deadline + 50,
        key=b"\x00key" * 8,
        replicas=tuple(replica(worker, purchase=purchase) for worker in ("work2", "work1", "work3")),
    )


def after(given: Task, *workers: str) -> Task:
    """A task to which workers have committed the same digest."""
    for worker in workers:
        given, _ = commit(given, worker=worker, digest=digest("a"), now=0)
    return given


def transfer(name: str, debit: str, credit: str, amount: int, *, at: float = 7.25) -> Transfer:
    return Transfer(id=name, debit=debit, credit=credit, amount=amount, reason=Reason.PURCHASE, task="task1", at=at)


def purchase(name: str, *, price: int, forgotten_at: float = 10) -> PurchaseRecord:
    return PurchaseRecord(
        id=name,
        foreman="boss1",
        command_digest=digest(name),
        tasks=price // 3,
        price=price,
        credits=5,
        shortfall="none offers numpy",
        forgotten_at=forgotten_at,
    )


def at_once(ways_in: Sequence[UnitOfWorkFactory], act: Callable[[UnitOfWork, str], None], *, times: int = 5) -> None:
    """Have four threads, two for each way in, do something in units of work of their own, again and again; what stood
    in each other's way is repeated."""
    failures: list[Exception] = []

    def run(name: str, unit_of_work: UnitOfWorkFactory) -> None:
        step = 0
        try:
            while step < times:
                try:
                    with unit_of_work() as uow:
                        act(uow, f"{name}-{step}")
                        uow.commit()
                except DiscoveryUnavailable:
                    continue
                step += 1
        except Exception as error:  # noqa: BLE001 - told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(f"thread-{number}", ways_in[number % 2])) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
