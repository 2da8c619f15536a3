"""A worker's place in the pool: joined, renewed, left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from ec262.domain.commands import Lease, RegisterWorker
from ec262.domain.errors import DiscoveryError, DiscoveryRefused, DiscoveryUnavailable
from ec262.domain.ports.discovery import WorkerDiscovery
from ec262.services.patience import doubled
from ec262.services.worker_policy import WorkerPolicy

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
LEAVE_S = 5.0


class LeaseKeeper:
    """Keeps one worker registered. Each change of its standing is logged once, however often it is asked again."""

    def __init__(self, discovery: WorkerDiscovery, registration: RegisterWorker, policy: WorkerPolicy) -> None:
        self._discovery = discovery
        self._registration = registration
        self._policy = policy
        self._has_account = False
        self._may_have_lease = False
        self._standing = ""

    async def keep(self, stop: asyncio.Event, *, on_joined: Callable[[Lease], None]) -> None:
        """Join the pool, call ``on_joined`` once, and renew the lease until ``stop`` is set.

        While discovery does not answer, or refuses a renewal, it is asked again. Raises DiscoveryRefused when it
        refuses the first registration: the owner has to act.
        """
        joined = False
        pauses = self._pauses()
        while not stop.is_set():
            try:
                lease = await self._register()
            except DiscoveryUnavailable as error:
                self._note(logging.WARNING, f"discovery is away, trying again: {error}")
                pause_s = next(pauses)
            except DiscoveryRefused as error:
                if not joined:
                    raise
                self._note(logging.WARNING, f"discovery refuses the lease, trying again: {error}")
                pause_s = next(pauses)
            else:
                address = lease.address
                self._note(logging.INFO, f"in the pool as {lease.worker}, reached at {address.host}:{address.port}")
                if not joined:
                    joined = True
                    on_joined(lease)
                pauses = self._pauses()
                pause_s = min(lease.expires_in_s, self._registration.ttl_s) / RENEWALS_PER_LEASE
            # Between requests only: one that is given up could still reach discovery after we have left.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)

    async def leave(self) -> None:
        """Leave the pool, if discovery can be told."""
        if not self._may_have_lease:
            return
        try:
            async with asyncio.timeout(LEAVE_S):
                await self._discovery.leave()
        except (DiscoveryError, TimeoutError) as error:
            logger.warning("could not leave the pool; the lease will run out: %s", error)
        else:
            logger.info("left the pool")

    async def _register(self) -> Lease:
        try:
            if not self._has_account:
                await self._discovery.open_account()
                self._has_account = True
            self._may_have_lease = True
            return await self._discovery.register(self._registration)
        except DiscoveryRefused:
            # Perhaps it lost its accounts: the next attempt opens this one again.
            self._has_account = False
            raise

    def _pauses(self) -> Iterator[float]:
        longest_s = min(self._policy.max_retry_s, self._registration.ttl_s / RENEWALS_PER_LEASE)
        return doubled(self._policy.retry_s, longest_s)

    def _note(self, level: int, standing: str) -> None:
        if standing != self._standing:
            self._standing = standing
            logger.log(level, "%s", standing)
