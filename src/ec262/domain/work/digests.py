"""The digests that workers commit and discovery compares."""

from __future__ import annotations

import hashlib

_STOPPED = b"ec262 stopped\n"


def ciphertext_digest(ciphertext: bytes) -> bytes:
    """Return what a worker commits: SHA-256 of its encrypted result."""
    return hashlib.sha256(ciphertext).digest()


def adjudicated_digest(digest: bytes, *, stopped: bool) -> bytes:
    """Return what discovery compares and tells: the digest itself, or, for a commitment that is said to be a limit or a
    crash, another one made of it.

    So whoever calls a result a limit, to differ without being caught, can agree with limits only; and the foreman, who
    sees what won, takes nothing else for one.
    """
    return hashlib.sha256(_STOPPED + digest).digest() if stopped else digest
