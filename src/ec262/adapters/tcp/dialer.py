"""The foreman's side: connect, and make sure that the worker is the expected one."""

from __future__ import annotations

import asyncio

from ec262.adapters.tcp.connection import READ_BUFFER_BYTES, TcpConnection
from ec262.adapters.tcp.tls import client_context, is_pinned
from ec262.domain.errors import PeerLost
from ec262.domain.protocol.address import WorkerAddress


class TcpDialer:
    """Connects to workers whose certificate has the fingerprint reported by discovery."""

    def __init__(self) -> None:
        self._context = client_context()

    async def connect(self, address: WorkerAddress, *, timeout_s: float) -> TcpConnection:
        """Connect to a worker. Raises PeerLost, also if the certificate is not the pinned one."""
        where = f"{address.host}:{address.port}"
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(
                    address.host, address.port, limit=READ_BUFFER_BYTES, ssl=self._context
                )
        except TimeoutError:
            raise PeerLost(f"no connection to {where} within {timeout_s:.0f} s") from None
        except OSError as error:
            raise PeerLost(f"no connection to {where}: {error}") from error
        connection = TcpConnection(reader, writer, where)
        tls = writer.get_extra_info("ssl_object")
        if not is_pinned(tls.getpeercert(binary_form=True), address.fingerprint):
            await connection.close()
            raise PeerLost(f"{where} is not the worker that was registered: its certificate is different")
        return connection
