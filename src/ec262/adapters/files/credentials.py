"""Account tokens on disk: one file for each discovery service and role, made at first use."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ec262.adapters.files.private_paths import open_to_others
from ec262.domain.errors import ConfigurationError, NotAuthenticated
from ec262.domain.protocol.token import token_digest

logger = logging.getLogger(__name__)

TOKEN_BYTES = 32
CHECK_CHARS = 6


def new_token() -> str:
    """Make a token that cannot be guessed. What is behind its period tells whether the rest was mistyped: any other
    token would open an account of its own, and it would go unnoticed."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    return f"{token}.{_check(token)}"


def _check(token: str) -> str:
    return hashlib.sha256(f"ec262 {token}".encode()).hexdigest()[:CHECK_CHARS]


def load_or_create_token(folder: Path, discovery_url: str, role: str) -> str:
    """Return the token of this role's account at a discovery service; make it if there is none.

    The file has mode 0600, and a folder that has to be made 0700. Two processes at once get the same token.
    Raises ConfigurationError if the file cannot be had or holds no token, or while the token is being replaced.
    """
    tokens = TokenFile(folder, discovery_url, role)
    tokens.require_settled()
    return tokens.load_or_create()


def roles_with_tokens(folder: Path, discovery_url: str) -> list[str]:
    """Return the roles that have an account at a discovery service, by their token files. Raises ConfigurationError."""
    suffix = _file_name(discovery_url, "")
    with _explained(folder):
        names = [path.name for path in folder.iterdir()] if folder.exists() else []
    return sorted(name.removesuffix(suffix) for name in names if name.endswith(suffix))


class TokenFile:
    """The token of one account, and the one that is to replace it, in a file beside, while that is under way: until
    discovery is known to have taken the new one, neither may be lost."""

    def __init__(self, folder: Path, discovery_url: str, role: str) -> None:
        self._path = folder / _file_name(discovery_url, role)
        self._next = self._path.with_suffix(".next")
        self._role = role

    def load_or_create(self) -> str:
        """Return the token; make it if there is none. Raises ConfigurationError."""
        with _explained(self._path):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._path.exists():
                _publish(self._path, new_token())
            return _token_in(self._path)

    def load(self) -> str:
        """Return the token. Raises ConfigurationError, also if there is none."""
        with _explained(self._path):
            if not self._path.exists():
                raise ConfigurationError(f"no account of the role {self._role!r} is kept in {self._path.parent}")
            return _token_in(self._path)

    def require_settled(self) -> None:
        """Raise ConfigurationError while a replacement is under way, or was interrupted."""
        with _explained(self._next):
            unsettled = self._next.exists()
        if unsettled:
            raise ConfigurationError(
                f"the account's token was being replaced: finish that with `ec262 account rotate --role {self._role}`"
            )

    def prepare(self) -> str:
        """Return the token that is to replace this one, written down before anybody else is told; one that an earlier
        attempt has left is taken up again."""
        with _explained(self._next):
            if not self._next.exists():
                _publish(self._next, new_token())
            return _token_in(self._next)

    def replace(self) -> None:
        """Let the new token take the old one's place."""
        # Another process may have done it meanwhile.
        with _explained(self._path), contextlib.suppress(FileNotFoundError):
            self._next.replace(self._path)
            _make_durable(self._path.parent)

    def discard_replacement(self) -> None:
        """Forget the new token, which opens nothing. Raises ConfigurationError."""
        with _explained(self._next):
            self._next.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget the token: the account is closed. Raises ConfigurationError."""
        with _explained(self._path):
            self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot keep the account's token in {path}: {error}") from error
    except NotAuthenticated as error:
        raise ConfigurationError(f"{path} does not hold an account's token: {error}") from error


def _token_in(path: Path) -> str:
    _warn_unless_private(path)
    token = path.read_text(encoding="ascii").strip()
    token_digest(token)
    body, period, check = token.rpartition(".")
    if period and check != _check(body):
        raise NotAuthenticated("some of its characters are wrong")
    return token


def _warn_unless_private(path: Path) -> None:
    """Warn if others can read or replace the token. It may be meant so: a secret that a container's host provides."""
    if os.name == "posix" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        logger.warning("other users can read the account's token in %s: chmod 600 %s", path, path)
    culprit = open_to_others(path)
    if culprit is not None:
        logger.warning(
            "other users can write to %s, so they can replace the account's token in %s: use another folder "
            "(--credentials), or chmod 700 it",
            culprit,
            path,
        )


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
        _make_durable(path.parent)
    finally:
        Path(name).unlink()


def _make_durable(folder: Path) -> None:
    """Let names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
