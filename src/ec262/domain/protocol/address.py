"""Where a worker listens."""

from __future__ import annotations

import attrs

from ec262.domain.protocol.shapes import a_fingerprint, a_host, a_port


@attrs.frozen(kw_only=True)
class WorkerAddress:
    """Where a worker listens, and the SHA-256 of its TLS certificate (hexadecimal), the only proof of its identity."""

    host: str = attrs.field(validator=a_host)
    port: int = attrs.field(validator=a_port)
    fingerprint: str = attrs.field(validator=a_fingerprint)
