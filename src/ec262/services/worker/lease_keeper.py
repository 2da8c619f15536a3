"""A worker's place in the pool: joining, renewing, and staying out while its owner needs the machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from ec262.domain.errors import DiscoveryError, DiscoveryRefused, DiscoveryUnavailable
from ec262.domain.pauses import growing, scattered
from ec262.domain.ports.clock import Entropy
from ec262.domain.ports.discovery import WorkerDiscovery
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.worker_calls import Lease, RegisterWorker
from ec262.domain.worker.surroundings import Surroundings
from ec262.services.worker.worker_policy import WorkerPolicy

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
LEAVE_S = 5.0

OnJoined = Callable[[Lease], None]


class LeaseKeeper:
    """Keeps one worker registered. Each change of its status is logged once."""

    def __init__(
        self,
        discovery: WorkerDiscovery,
        surroundings: Surroundings,
        entropy: Entropy,
        registration: RegisterWorker,
        policy: WorkerPolicy,
    ) -> None:
        self._discovery = discovery
        self._surroundings = surroundings
        self._entropy = entropy
        self._registration = registration
        self._policy = policy
        self._lease_s = registration.ttl_s
        self._has_account = False
        self._may_have_lease = False
        self._was_in = False
        self._is_in = False
        self._status = ""
        self._pauses = self._new_pauses()

    async def keep(self, stop: asyncio.Event, *, on_joined: OnJoined) -> None:
        """Stay in the pool while this machine is available, and renew the lease, until ``stop`` is set.

        ``on_joined`` is called each time the worker has joined. If discovery does not answer, or refuses a renewal, the
        call is retried. Raises DiscoveryRefused if discovery refuses the first registration, since the owner has to
        act; ConfigurationError if the machine cannot be watched.
        """
        while not stop.is_set():
            obstacle = await self._obstacle()
            pause_s = await (self._stay_out(obstacle) if obstacle else self._stay_in(on_joined))
            # Only between requests: one that is abandoned could still reach discovery after the worker has left.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)

    async def leave(self) -> None:
        """Leave the pool, if discovery can be reached."""
        if not self._may_have_lease:
            return
        self._may_have_lease = False
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._discovery.leave()
        except (DiscoveryError, TimeoutError) as error:
            reason = str(error) or f"discovery did not answer within {LEAVE_S:g} s"
            logger.warning("could not leave the pool; the lease will expire: %s", reason)
        else:
            logger.info("left the pool")

    async def _obstacle(self) -> str:
        if not self._policy.availability.restricted:
            return ""
        return self._policy.availability.obstacle(await self._surroundings.observe())

    async def _stay_out(self, obstacle: str) -> float:
        """Stay out of the pool; return the seconds until the next check."""
        await self.leave()
        self._is_in = False
        self._note(logging.WARNING, f"not in the pool, will join automatically: {obstacle}")
        return self._policy.watch_s

    async def _stay_in(self, on_joined: OnJoined) -> float:
        """Join or renew; return the seconds until the next renewal."""
        try:
            lease = await self._register()
        except DiscoveryUnavailable as error:
            self._note(logging.WARNING, f"discovery is unavailable, retrying: {error}")
            return next(self._pauses)
        except DiscoveryRefused as error:
            if not self._was_in:
                raise
            self._note(logging.WARNING, f"discovery refused the lease, retrying: {error}")
            return next(self._pauses)
        self._lease_s = min(lease.expires_in_s, self._registration.ttl_s)
        self._note(*self._entry_for(lease))
        if not self._is_in:
            self._was_in = self._is_in = True
            on_joined(lease)
        self._pauses = self._new_pauses()
        # Randomized: otherwise, workers that rejoined at the same moment would always renew at the same moments.
        renew_s = scattered(self._lease_s / RENEWALS_PER_LEASE, self._entropy)
        return min(renew_s, self._policy.watch_s) if self._policy.availability.restricted else renew_s

    def _entry_for(self, lease: Lease) -> tuple[int, str]:
        """Return the log level and the text for a lease."""
        there = f"in the pool as {lease.worker}, reachable at {_place(lease.address)}"
        if lease.expires_in_s < self._registration.ttl_s:
            wanted, granted = self._registration.ttl_s, lease.expires_in_s
            there = (
                f"{there}, with a lease of {granted:g} s instead of {wanted:g} s: discovery grants no longer leases yet"
            )
        other = lease.replaced
        if other is None or not (self._is_in or (other.host, other.port) != (lease.address.host, lease.address.port)):
            return logging.INFO, there  # at this very address, an earlier process was replaced
        remedy = "give each machine its own credentials (--credentials), or each worker its own port (-P)"
        if self._is_in:
            return logging.ERROR, f"{there}, but a worker at {_place(other)} uses the same account: {remedy}"
        return logging.WARNING, f"{there}, replacing a worker at {_place(other)}: if that is still running, {remedy}"

    async def _register(self) -> Lease:
        try:
            if not self._has_account:
                await self._discovery.open_account(self._policy.invitation)
                self._has_account = True
            self._may_have_lease = True
            return await self._discovery.register(self._registration)
        except DiscoveryRefused:
            # Discovery may have lost its accounts: the next attempt reopens this one.
            self._has_account = False
            raise

    def _new_pauses(self) -> Iterator[float]:
        longest_s = min(self._policy.max_retry_s, self._lease_s / RENEWALS_PER_LEASE)
        return growing(self._policy.retry_s, longest_s, self._entropy)

    def _note(self, level: int, status: str) -> None:
        if status != self._status:
            self._status = status
            logger.log(level, "%s", status)


def _place(address: WorkerAddress) -> str:
    return f"{address.host}:{address.port}"
