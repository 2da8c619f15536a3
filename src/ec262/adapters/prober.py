"""Knocking at a worker's door: TLS, and the certificate's fingerprint."""

from __future__ import annotations

import socket
import time

from ec262.adapters.tcp.tls import client_context, is_pinned
from ec262.domain.commands import WorkerAddress
from ec262.domain.errors import AddressUnreachable

TIMEOUT_S = 3.0
"""For connection and handshake together."""


class TlsProber:
    """Connects, takes the certificate, and hangs up without a word."""

    def __init__(self, *, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._context = client_context()

    def probe(self, address: WorkerAddress) -> None:
        """Return if someone with the address's certificate answers. Raises AddressUnreachable, with one text for all
        reasons, so that nobody explores a network with it."""
        try:
            certificate = self._certificate(address)
        except (OSError, ValueError) as error:
            raise _unreachable(address) from error
        if not is_pinned(certificate, address.fingerprint):
            raise _unreachable(address)

    def _certificate(self, address: WorkerAddress) -> bytes | None:
        deadline = time.monotonic() + self._timeout_s
        with socket.create_connection((address.host, address.port), timeout=self._timeout_s) as connection:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            with self._context.wrap_socket(connection) as encrypted:
                return encrypted.getpeercert(binary_form=True)


def _unreachable(address: WorkerAddress) -> AddressUnreachable:
    return AddressUnreachable(
        f"nobody with the registered certificate answers at {address.host} port {address.port}: "
        "is it reachable from the discovery service, and is that the address to advertise?"
    )
