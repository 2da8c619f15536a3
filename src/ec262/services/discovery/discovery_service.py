"""The use cases of the discovery service: thin transactions around the domain's rules, grouped by caller.

Every method of the desks takes the caller's bearer token, can be repeated safely, and may be called from several
threads, and from several processes over one storage.
"""

from __future__ import annotations

from ec262.domain.discovery import ledger
from ec262.domain.discovery.reputation import FORGOTTEN_S
from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
from ec262.domain.ports.clock import Clock, Entropy
from ec262.domain.ports.prober import Prober
from ec262.services.discovery.bookkeeping import Folding
from ec262.services.discovery.discovery_policy import Policy
from ec262.services.discovery.for_accounts import AccountDesk
from ec262.services.discovery.for_foremen import ForemanDesk
from ec262.services.discovery.for_workers import WorkerDesk
from ec262.services.discovery.transactions import OnDecided, Transactions


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
        on_decided: OnDecided = lambda _tasks: None,
    ) -> None:
        policy = policy or Policy()
        self._unit_of_work = unit_of_work
        self._transactions = Transactions(unit_of_work, clock, on_decided)
        self._folding = Folding(unit_of_work, clock, policy.history_s)
        self.accounts = AccountDesk(self._transactions, entropy, policy)
        self.workers = WorkerDesk(self._transactions, prober, policy)
        self.foremen = ForemanDesk(self._transactions, entropy, policy)

    def sweep(self) -> None:
        """Apply deadlines, delete expired data, and add up old movements. Call it every few seconds."""
        with self._transactions.begin() as transaction:
            uow, now = transaction.uow, transaction.now
            uow.tasks.forget(now)
            uow.purchases.forget(now)
            uow.pool.purge(now)
            uow.reputations.forget(now - FORGOTTEN_S)
            transaction.commit()
        self._folding.sweep()

    def audit(self) -> int:
        """Return the credits ever granted. Raises LedgerError if the books do not balance."""
        with self._unit_of_work() as uow:
            return ledger.audit(uow.ledger.balances())
