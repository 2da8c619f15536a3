"""The digests that workers commit and discovery compares."""

from __future__ import annotations

import hashlib

_STOPPED = b"ec262 stopped\n"


def ciphertext_digest(ciphertext: bytes) -> bytes:
    """Return what a worker commits: SHA-256 of its encrypted result."""
    return hashlib.sha256(ciphertext).digest()


def adjudicated_digest(digest: bytes, *, stopped: bool) -> bytes:
    """Return what discovery compares and publishes: the digest itself or, for a commitment marked as a limit or a
    crash, another digest derived from it.

    So a worker that marks its result as a limit, in order to differ without being caught, can only agree with limits;
    and the foreman, which sees what won, takes nothing else for a limit.
    """
    return hashlib.sha256(_STOPPED + digest).digest() if stopped else digest
