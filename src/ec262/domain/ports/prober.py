"""Checks that a worker can be reached at the address that it advertises."""

from __future__ import annotations

from typing import Protocol

from ec262.domain.protocol.address import WorkerAddress


class Prober(Protocol):
    """Connects to workers that want to join the pool."""

    def probe(self, address: WorkerAddress, *, account: str, source: str) -> None:
        """Return if a process with the address's certificate answers within a few seconds.

        ``account`` is the worker's account, ``source`` the address that the request came from. Raises
        AddressUnreachable, and DiscoveryUnavailable immediately while too many probes are in progress.
        """
        ...
