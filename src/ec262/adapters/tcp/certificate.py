"""A listener's certificate: self-signed, made at start, gone with the process."""

from __future__ import annotations

import datetime
import os
import ssl
import tempfile
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ec262.adapters.tcp.tls import fingerprint_of

CLOCK_SKEW = datetime.timedelta(days=2)
VALIDITY = datetime.timedelta(days=3650)
"""Nobody checks the dates, since the fingerprint is pinned; they are there for middleboxes and tools that do."""


@attrs.frozen(kw_only=True)
class Identity:
    """A certificate, loaded in ``context``; its private key is nowhere else."""

    context: ssl.SSLContext = attrs.field(repr=False)
    fingerprint: str


def make_identity() -> Identity:
    """Make a key (ECDSA P-256) and a certificate that live as long as this process."""
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
    encoding, plain = serialization.Encoding, serialization.NoEncryption()
    pem = key.private_bytes(encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    context = _server_context(pem + certificate.public_bytes(encoding.PEM))
    return Identity(context=context, fingerprint=fingerprint_of(certificate.public_bytes(encoding.DER)))


def _server_context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nobody resumes sessions
    # The standard library loads keys from files only: this one is there for a millisecond, in a folder of mode 0700.
    with tempfile.TemporaryDirectory(prefix="ec262-") as folder:
        path = Path(folder, "identity.pem")
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        context.load_cert_chain(path)
    return context
