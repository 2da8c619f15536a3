"""Canonical values (being written)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

FORMAT = 1


def encode(value: Any) -> bytes:
    """Return the canonical bytes of a value. Raises ValueNotEncodable."""
    raise NotImplementedError


def decode(data: bytes) -> Any:
    """Return the value of canonical bytes. Raises NotCanonical."""
    raise NotImplementedError


def encode_list(items: Iterable[bytes]) -> bytes:
    """Return the canonical bytes of a list, given those of its items."""
    return b"[" + b",".join(items) + b"]"
