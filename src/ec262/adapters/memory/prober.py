"""A prober that knows which addresses answer, without connecting."""

from __future__ import annotations

from collections.abc import Collection

from ec262.domain.errors import AddressUnreachable
from ec262.domain.protocol.address import WorkerAddress


class MemoryProber:
    """Everybody answers, but those at the ``silent`` (host, port) pairs. ``probed`` lists the knocks so far, ``asking``
    the account and source of each."""

    def __init__(self, *, silent: Collection[tuple[str, int]] = ()) -> None:
        self.silent = set(silent)
        self.probed: list[WorkerAddress] = []
        self.asking: list[tuple[str, str]] = []

    def probe(self, address: WorkerAddress, *, account: str, source: str) -> None:
        """Return if someone answers. Raises AddressUnreachable."""
        self.probed.append(address)
        self.asking.append((account, source))
        if (address.host, address.port) in self.silent:
            raise AddressUnreachable(f"nobody with the registered certificate answers at {address.host}:{address.port}")
