"""Discovery over HTTPS, with a certificate of its own authority."""

from __future__ import annotations

import datetime
import logging
import signal
import socket
import ssl
import time
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.domain.errors import ConfigurationError, DiscoveryUnavailable
from ec262.entrypoints.discovery import __main__ as discovery
from ec262.entrypoints.foreman.bootstrap_foreman import build_foreman_discovery
from ec262.entrypoints.http import server as discovery_server
from ec262.entrypoints.http.server import TlsFiles
from ec262.entrypoints.shared.settings import ForemanSettings
from tests.discovery_process import RunningDiscovery, running_discovery

TOKEN = "somebody-" + "s" * 40
DAY = datetime.timedelta(days=1)


@attrs.frozen
class Authority:
    """One that vouches for servers on loopback."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @property
    def certificate(self) -> str:
        return str(self.folder / "ca.pem")

    def vouch_for(self, server: str) -> tuple[str, str]:
        """Make a server's certificate; return the names of its file and of its key's."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(server, key, self.name, self.key, authority=False)
        files = self.folder / f"{server}.pem", self.folder / f"{server}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_key(files[1], key)
        return str(files[0]), str(files[1])


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> None:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    path.chmod(0o600)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(authority=authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    key = ec.generate_private_key(ec.SECP256R1())
    made = Authority(folder=folder, key=key, name=_name("authority"))
    certificate = _certificate("authority", key, made.name, key, authority=True)
    Path(made.certificate).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return made


async def credits_at(url: str, ca: str | None) -> int:
    client = HttpDiscovery(url, token=TOKEN, patience_s=0, ca=ca)
    try:
        return (await client.open_account()).credits
    finally:
        await client.close()


async def test_only_who_trusts_the_authority_talks_to_it(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.vouch_for("server")
    with running_discovery(tmp_path, "-v", "--tls-cert", certificate, "--tls-key", key) as running:
        assert await credits_at(running.url, authority.certificate) == 12
        with pytest.raises(DiscoveryUnavailable, match="no secure connection"):
            await credits_at(running.url, None)
        with pytest.raises(DiscoveryUnavailable):
            await credits_at(running.url.replace("https", "http"), None)
        running.process.terminate()
        assert running.process.wait(10) == 0
    assert TOKEN not in running.log()


def test_a_renewed_certificate_is_taken_up_on_sighup(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.vouch_for("renewed")
    with running_discovery(tmp_path, "-v", "--tls-cert", certificate, "--tls-key", key) as running:
        before = peer_certificate(running.url)
        authority.vouch_for("renewed")
        Path(key).write_text("broken")
        assert reloaded(running, "keeping the old certificate")
        assert peer_certificate(running.url) == before
        authority.vouch_for("renewed")
        assert reloaded(running, "certificate reloaded")
        assert peer_certificate(running.url) != before


def reloaded(running: RunningDiscovery, line: str) -> bool:
    """Tell the service to read its certificate again; return whether it says so."""
    running.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while line not in running.log() and time.monotonic() < deadline:
        time.sleep(0.02)
    return line in running.log()


def peer_certificate(url: str) -> str:
    host, port = url.removeprefix("https://").split(":")
    return ssl.get_server_certificate((host, int(port)))


def test_old_tls_is_refused(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.vouch_for("modern")
    context = TlsFiles(certificate, key).context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_handshakes_and_heads_have_a_time_limit(authority: Authority, tmp_path: Path) -> None:
    """Without it a connection on which nothing is said lives for a minute."""
    script = (
        "import sys; from ec262.entrypoints.discovery import __main__ as discovery;"
        "from ec262.entrypoints.http import server as discovery_server;"
        "discovery_server.HEAD_S = 0.5; sys.exit(discovery.main(sys.argv[1:]))"
    )
    certificate, key = authority.vouch_for("patient")
    flags = ("--tls-cert", certificate, "--tls-key", key)
    with running_discovery(tmp_path, *flags, first=("-c", script)) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=10) as silent:
            assert life_of(silent) < 5
        trust = ssl.create_default_context(cafile=authority.certificate)
        with (
            socket.create_connection(("127.0.0.1", running.port), timeout=10) as plain,
            trust.wrap_socket(plain, server_hostname="127.0.0.1") as silent_after_it,
        ):
            assert life_of(silent_after_it) < 5
        running.process.terminate()
        assert running.process.wait(10) == 0


def life_of(connection: socket.socket) -> float:
    """Wait until the other end hangs up; return how long that took."""
    started = time.monotonic()
    with suppress(ConnectionResetError, ssl.SSLEOFError):
        assert connection.recv(1) == b""
    return time.monotonic() - started


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_key_that_others_can_read_is_reported(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    certificate, key = authority.vouch_for("careless")
    TlsFiles(certificate, key)
    assert caplog.records == []
    Path(key).chmod(0o640)
    TlsFiles(certificate, key)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{key} is a private key that other users can read" in record.getMessage()


def test_certificate_and_key_may_be_one_file(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.vouch_for("both")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(certificate).read_bytes() + Path(key).read_bytes())
    TlsFiles(str(both), None)


@pytest.mark.parametrize("wrong", ["certificate", "key", "another's key", "encrypted", "nowhere", "no key"])
def test_files_that_cannot_be_used_are_reported(authority: Authority, tmp_path: Path, wrong: str) -> None:
    certificate, key = authority.vouch_for("fine")
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN NONSENSE-----\n")
    if wrong == "encrypted":
        _write_key(broken, ec.generate_private_key(ec.SECP256R1()), b"password")
    pairs = {
        "certificate": (str(broken), key),
        "key": (certificate, str(broken)),
        "another's key": (certificate, authority.vouch_for("other")[1]),
        "encrypted": (certificate, str(broken)),
        "nowhere": ("/nowhere.pem", key),
        "no key": (certificate, None),
    }
    with pytest.raises(ConfigurationError, match="cannot use the TLS certificate") as told:
        TlsFiles(*pairs[wrong])
    if wrong == "encrypted":
        assert "its key is encrypted" in str(told.value)
    assert ("--tls-key must name the key" in str(told.value)) is (wrong == "no key")
    assert all(file in str(told.value) for file in pairs[wrong] if file is not None)


def test_a_key_alone_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert discovery.main(["--port", "0", "--tls-key", "/nowhere.key"]) == 2
    assert "a TLS key without a certificate" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "", "-----BEGIN CERTIFICATE-----\n"])
def test_authorities_that_cannot_be_read_are_reported(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    settings = ForemanSettings(
        discovery="https://127.0.0.1:1", discovery_ca=str(file), credentials=str(tmp_path / "keys")
    )
    with pytest.raises(ConfigurationError, match=f"cannot use the certificates in {file}"):
        build_foreman_discovery(settings)
    assert not (tmp_path / "keys").exists()


def test_the_time_for_a_handshake_is_that_for_a_head() -> None:
    assert discovery_server.HEAD_S == 10
