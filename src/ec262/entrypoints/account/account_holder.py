"""The account that the ``account`` command works on."""

from __future__ import annotations

from pathlib import Path

import attrs

from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
from ec262.adapters.files.credentials import TokenFile
from ec262.entrypoints.shared.discovery_client import build_discovery_client
from ec262.entrypoints.shared.settings import AccountSettings


@attrs.frozen(kw_only=True)
class Holder:
    """The holder of an account: discovery's URL, and the role under which the token is kept."""

    settings: AccountSettings
    discovery: str
    folder: Path
    role: str

    @property
    def tokens(self) -> TokenFile:
        """The file that holds the token."""
        return TokenFile(self.folder, self.discovery, self.role)

    def settled_token(self) -> str:
        """Return the account's token. Raises ConfigurationError."""
        self.tokens.require_settled()
        return self.tokens.load()

    def client(self, token: str) -> HttpDiscovery:
        """Return a client with this token."""
        return build_discovery_client(self.settings, role=self.role, token=token, patience_s=self.settings.patience)
