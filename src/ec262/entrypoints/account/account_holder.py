"""Whose account the ``account`` command is about."""

from __future__ import annotations

from pathlib import Path

import attrs

from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.adapters.files.credentials import TokenFile
from ec262.entrypoints.shared.discovery_client import build_discovery_client
from ec262.entrypoints.shared.settings import AccountSettings


@attrs.frozen(kw_only=True)
class Holder:
    """Whose account: the settings with discovery's URL, and the role that keeps the token."""

    settings: AccountSettings
    discovery: str
    folder: Path
    role: str

    @property
    def tokens(self) -> TokenFile:
        """Where the token is kept."""
        return TokenFile(self.folder, self.discovery, self.role)

    def settled_token(self) -> str:
        """Return the account's token. Raises ConfigurationError."""
        self.tokens.require_settled()
        return self.tokens.load()

    def client(self, token: str) -> HttpDiscovery:
        """Return a client with this token."""
        return build_discovery_client(self.settings, role=self.role, token=token, patience_s=self.settings.patience)
