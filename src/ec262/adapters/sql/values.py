"""Values of the domain in columns of text. Few different ones are in many rows, which then share them."""

from __future__ import annotations

from functools import lru_cache

import attrs
import msgspec

from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.work.runtime import RuntimeClass

ANY = "any"
"""In the place of a Python's version, which is for people."""


def runtime_text(runtime: RuntimeClass) -> str:
    """Write a runtime class; equal ones may differ in what they tell people, so that their texts are not shared."""
    return msgspec.json.encode(runtime).decode()


@lru_cache(maxsize=256)
def runtime_of(text: str) -> RuntimeClass:
    """Read a runtime class."""
    return msgspec.json.decode(text, type=RuntimeClass)


@lru_cache(maxsize=256)
def runtime_key(runtime: RuntimeClass) -> str:
    """Write a runtime class so that equal ones have the same text: without what they tell people."""
    return runtime_text(attrs.evolve(runtime, python=attrs.evolve(runtime.python, version=ANY)))


@lru_cache(maxsize=256)
def names_text(names: tuple[str, ...]) -> str:
    """Write names, such as those of packages."""
    return msgspec.json.encode(names).decode()


@lru_cache(maxsize=256)
def names_of(text: str) -> tuple[str, ...]:
    """Read names."""
    return msgspec.json.decode(text, type=tuple[str, ...])


@lru_cache(maxsize=2048)
def packages_of(text: str) -> frozenset[str]:
    """Read what a worker offers. Every purchase looks at the whole pool, in which each worker may offer something else;
    an offer is at most 4 KiB of names."""
    return frozenset(msgspec.json.decode(text, type=tuple[str, ...]))


@lru_cache(maxsize=4096)
def address_of(host: str, port: int, fingerprint: str) -> WorkerAddress:
    """Read a worker's address."""
    return WorkerAddress(host=host, port=port, fingerprint=fingerprint)
