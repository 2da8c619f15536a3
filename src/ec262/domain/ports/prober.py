"""Checking that a worker is where it says."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.protocol.address import WorkerAddress


class Prober(Protocol):
    """Knocks at the doors of workers that want to join the pool."""

    def probe(self, address: WorkerAddress, *, account: str, source: str) -> None:
        """Return if someone with the address's certificate answers within a few seconds.

        ``account`` is whose worker it is to be, ``source`` the address that the request came from. Raises
        AddressUnreachable, and DiscoveryUnavailable at once while too many are being knocked at.
        """
        ...
