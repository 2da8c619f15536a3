"""Account tokens on disk: one file for each discovery service and role, made at first use."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import tempfile
from pathlib import Path

from ec262.domain.accounts import token_digest
from ec262.domain.errors import ConfigurationError, NotAuthenticated

TOKEN_BYTES = 32


def load_or_create_token(folder: Path, discovery_url: str, role: str) -> str:
    """Return the token of this role's account at a discovery service; make it if there is none.

    The file has mode 0600, and a folder that has to be made 0700. Two processes at once get the same token.
    Raises ConfigurationError if the file cannot be had or holds no token.
    """
    path = folder / _file_name(discovery_url, role)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _publish(path, secrets.token_urlsafe(TOKEN_BYTES))
        token = path.read_text(encoding="ascii").strip()
        token_digest(token)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot keep the account's token in {path}: {error}") from error
    except NotAuthenticated as error:
        raise ConfigurationError(f"{path} does not hold an account's token: {error}") from error
    return token


def _file_name(discovery_url: str, role: str) -> str:
    """Name the file for people (role and host) and, by a digest, for good."""
    url = discovery_url.rstrip("/")
    host = re.sub(r"[^A-Za-z0-9.]+", "-", url.partition("://")[2])[:60]
    return f"{role}-{host}-{hashlib.sha256(url.encode()).hexdigest()[:8]}.token"


def _publish(path: Path, token: str) -> None:
    """Let the file appear whole, and only if nobody else's was there first."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".token-")  # mkstemp's mode is 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()
