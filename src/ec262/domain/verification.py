"""Verification rules: which digest wins a task, given what its replicas committed.

A rule is data, chosen by the foreman when it buys and adjudicated by the discovery service with this very code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import attrs

MAX_REPLICAS = 15


class VerificationRule(Protocol):
    """What discovery and the foreman need to know of a rule."""

    @property
    def replicas(self) -> int:
        """How many workers compute the task: as many credits are its price."""
        ...

    @property
    def spec(self) -> str:
        """The rule as text, as ``parse_rule`` reads it."""
        ...

    def verdict(self, digests: Sequence[bytes]) -> bytes | None:
        """Return the digest that wins, given the committed ones in order of arrival, or None."""
        ...

    def winnable(self, digests: Sequence[bytes], outstanding: int) -> bool:
        """Tell whether ``outstanding`` further commitments could still bring a win."""
        ...


@attrs.frozen(kw_only=True)
class Majority:
    """``quorum`` equal digests of ``replicas`` win; the rule of 2012 is 2 of 3.

    The quorum is more than half of the replicas, so no two digests can both reach it.
    """

    replicas: int = attrs.field(default=3, validator=[attrs.validators.ge(1), attrs.validators.le(MAX_REPLICAS)])
    quorum: int = attrs.field(default=2)

    @quorum.validator
    def _more_than_half(self, _attribute: object, value: int) -> None:
        if not self.replicas < 2 * value <= 2 * self.replicas:
            raise ValueError(
                f"a quorum of {value} of {self.replicas} replicas is not a majority: "
                f"choose {self.replicas // 2 + 1} to {self.replicas}"
            )

    @property
    def spec(self) -> str:
        """The rule as text: ``majority:3:2``."""
        return f"majority:{self.replicas}:{self.quorum}"

    def verdict(self, digests: Sequence[bytes]) -> bytes | None:
        """Return the digest that ``quorum`` replicas committed, or None."""
        for digest, count in Counter(digests).most_common(1):
            if count >= self.quorum:
                return digest
        return None

    def winnable(self, digests: Sequence[bytes], outstanding: int) -> bool:
        """Tell whether ``outstanding`` further commitments could still bring a win."""
        best = max(Counter(digests).values(), default=0)
        return best + outstanding >= self.quorum


@lru_cache(maxsize=256)
def parse_rule(spec: str) -> VerificationRule:
    """Read a rule from text: ``majority:3`` (the smallest majority is the quorum) or ``majority:3:2``.

    Raises ValueError with a sentence that says what is allowed.
    """
    match = re.fullmatch(r"majority:([0-9]{1,2})(?::([0-9]{1,2}))?", spec)
    if match is None:
        raise ValueError(f"unknown verification rule {spec!r}: expected majority:REPLICAS or majority:REPLICAS:QUORUM")
    replicas = int(match[1])
    return Majority(replicas=replicas, quorum=int(match[2]) if match[2] else replicas // 2 + 1)
