"""TLS as both sides use it: an ephemeral self-signed certificate here, its fingerprint pinned there.

There is no certificate authority and no host name to check: the discovery service tells a foreman the SHA-256 of the
certificate that the worker registered (as Syncthing's device ids), and nothing else proves a worker.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import os
import ssl
import tempfile
from pathlib import Path

import attrs

CLOCK_SKEW = datetime.timedelta(days=2)
VALIDITY = datetime.timedelta(days=3650)
"""Nobody checks the dates, since the fingerprint is pinned; they are there for middleboxes and tools that do."""


@attrs.frozen(kw_only=True)
class Identity:
    """A listener's certificate, loaded in ``context``; the private key is nowhere else."""

    context: ssl.SSLContext
    fingerprint: str


def make_identity() -> Identity:
    """Make a key (ECDSA P-256) and a certificate that live as long as this process."""
    # Only listeners pay for this import (60 ms).
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - see above
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - see above

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ec262 worker")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + VALIDITY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    return Identity(
        context=_server_context(pem), fingerprint=fingerprint_of(certificate.public_bytes(serialization.Encoding.DER))
    )


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


def _server_context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    # OpenSSL's binding in the standard library loads keys from files only: this one is there for a millisecond, in a
    # folder of mode 0700.
    with tempfile.TemporaryDirectory(prefix="ec262-") as folder:
        path = Path(folder, "identity.pem")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - wraps the descriptor opened with mode 0600
            file.write(pem)
        context.load_cert_chain(path)
    return context
