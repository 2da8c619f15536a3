"""How a worker is proved to be itself.

There is no certificate authority and no host name to check: the discovery service tells a foreman the SHA-256 of the
certificate that the worker registered (as Syncthing's device ids), and nothing else proves a worker.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl


def client_context() -> ssl.SSLContext:
    """Make the dialer's context: it encrypts, and leaves the proof of identity to ``is_pinned``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def fingerprint_of(der: bytes) -> str:
    """Return SHA-256 of a certificate, 64 hexadecimal digits."""
    return hashlib.sha256(der).hexdigest()


def is_pinned(der: bytes | None, fingerprint: str) -> bool:
    """Tell whether the peer's certificate is the one whose fingerprint is known."""
    return der is not None and hmac.compare_digest(fingerprint_of(der), fingerprint)
