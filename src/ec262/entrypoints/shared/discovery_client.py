"""Builds the client of the discovery service in the settings; locates the account tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
    from ec262.entrypoints.shared.settings import ClientSettings


def build_discovery_client(
    settings: ClientSettings, *, role: str, patience_s: float, token: str | None = None
) -> HttpDiscovery:
    """Build a client of ``settings.discovery`` that retries a call for ``patience_s``. Without a ``token``, it uses the
    token on disk for this role, or creates one.

    Raises ConfigurationError if the settings name no discovery service, or a file that cannot be used.
    """
    from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
    from ec262.adapters.files.credentials import load_or_create_token
    from ec262.domain.errors import ConfigurationError

    if settings.discovery is None:
        raise ConfigurationError("no discovery service is configured: give --discovery URL")
    if settings.discovery_ca is not None:
        _require_certificates(settings.discovery_ca)
    if token is None:
        token = load_or_create_token(credentials_folder(settings), settings.discovery, role)
    return HttpDiscovery(
        settings.discovery,
        token=token,
        patience_s=patience_s,
        ca=settings.discovery_ca,
    )


def _require_certificates(path: str) -> None:
    """Report now an error that every call would run into."""
    import ssl

    from ec262.domain.errors import ConfigurationError

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"cannot use the certificates in {path}: {error.strerror or error}") from error


def credentials_folder(settings: ClientSettings) -> Path:
    """Return the folder of account tokens."""
    import platformdirs

    return Path(settings.credentials or platformdirs.user_state_dir("ec262"))
