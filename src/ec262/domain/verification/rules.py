"""Verification rules, which decide the digest that wins a task from the commitments of its replicas.

A rule is data: the foreman chooses it when it buys a task, and discovery applies it with this same code.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Protocol

import attrs

from ec262.domain.verification.credibility import (
    NOTHING_KNOWN,
    Trust,
    agreed_alone,
    alone_suffices,
    confidences,
    error_bound,
)

MAX_REPLICAS = 31
"""The most workers that one task can have, including those added later."""

MIN_ERROR, MAX_ERROR = 1e-9, 0.1
"""The range of error probabilities that a rule can name."""

MAX_TEAM = 15
"""The most workers that a rule can name."""

USAGE = "use majority:REPLICAS, majority:REPLICAS:QUORUM, quorum:COUNT, error:PROBABILITY or none"


def _between(least: float, most: float, what: str) -> Callable[[object, object, float], None]:
    def check(_rule: object, _attribute: object, value: float) -> None:
        if not least <= value <= most:
            raise ValueError(f"{what} must be between {least:g} and {most:g}, not {value:g}")

    return check


@attrs.frozen(kw_only=True)
class Ballot:
    """One commitment, and the trust in its worker when it arrived."""

    digest: bytes
    trust: Trust = NOTHING_KNOWN


@attrs.frozen(kw_only=True)
class Finding:
    """The decision of a rule: the ``digest`` that wins or, if none does, how many more workers are ``wanted``, assuming
    that all of them support the leading digest. Rules that add no workers want none.

    ``alone`` marks a decision by one worker, which holds only as long as that worker is not caught lying.
    ``confidence`` is the probability that the leading digest is right, as estimated by
    ``ec262.domain.verification.credibility``.
    """

    digest: bytes | None = None
    confidence: float = 0.0
    alone: bool = False
    wanted: int = 0


class VerificationRule(Protocol):
    """What discovery and the foreman need to know about a rule."""

    @property
    def spec(self) -> str:
        """The rule as text that ``parse_rule`` can read."""
        ...

    @property
    def weighs_trust(self) -> bool:
        """Whether the decision depends on who commits."""
        ...

    def team(self, trust: Trust = NOTHING_KNOWN) -> int:
        """Return how many workers with this trust are drawn for a new task, at one credit each."""
        ...

    def believes(self, trust: Trust) -> bool:
        """Return whether a worker with this trust may decide a task alone."""
        ...

    def enough(self, equal: int) -> bool:
        """Return whether this many equal commitments may decide a task."""
        ...

    def find(self, ballots: Sequence[Ballot], *, outstanding: int, audited: bool) -> Finding:
        """Decide on ``ballots``, given in order of arrival, while ``outstanding`` more may arrive. One worker alone
        never decides an ``audited`` task."""
        ...


@attrs.frozen(kw_only=True)
class Majority:
    """A digest that ``quorum`` of ``replicas`` workers committed wins. The rule of 2012 is 2 of 3. No worker is added.

    The quorum is more than half of the replicas, so no two digests can both reach it.
    """

    replicas: int = attrs.field(default=3, validator=_between(1, MAX_TEAM, "the number of replicas"))
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

    @property
    def weighs_trust(self) -> bool:
        """All commitments count the same."""
        return False

    def team(self, trust: Trust = NOTHING_KNOWN) -> int:  # noqa: ARG002 - part of the protocol
        """Return the number of replicas."""
        return self.replicas

    def believes(self, trust: Trust) -> bool:  # noqa: ARG002 - see team
        """Return whether any worker may."""
        return self.quorum == 1

    def enough(self, equal: int) -> bool:
        """Return whether they are a quorum."""
        return equal >= self.quorum

    def find(self, ballots: Sequence[Ballot], *, outstanding: int, audited: bool) -> Finding:  # noqa: ARG002 - see team
        """Find the digest that ``quorum`` workers committed."""
        return _found(ballots, self.quorum)


@attrs.frozen(kw_only=True)
class Quorum:
    """The first digest that ``count`` workers committed wins. That many workers are drawn at first, and more one by one
    as long as they differ."""

    count: int = attrs.field(default=2, validator=_between(1, MAX_TEAM, "the size of a quorum"))

    @property
    def spec(self) -> str:
        """The rule as text: ``quorum:2``."""
        return f"quorum:{self.count}"

    @property
    def weighs_trust(self) -> bool:
        """All commitments count the same."""
        return False

    def team(self, trust: Trust = NOTHING_KNOWN) -> int:  # noqa: ARG002 - see Majority
        """Return the count."""
        return self.count

    def believes(self, trust: Trust) -> bool:  # noqa: ARG002 - see Majority
        """Return whether any worker may."""
        return self.count == 1

    def enough(self, equal: int) -> bool:
        """Return whether they are a quorum."""
        return equal >= self.count

    def find(self, ballots: Sequence[Ballot], *, outstanding: int, audited: bool) -> Finding:  # noqa: ARG002 - see Majority
        """Find the digest that ``count`` workers committed, or how many more workers it needs."""
        found = _found(ballots, self.count)
        if found.digest is not None:
            return found
        best = max(Counter(ballot.digest for ballot in ballots).values(), default=0)
        return attrs.evolve(found, wanted=max(0, self.count - best - outstanding))


def _found(ballots: Sequence[Ballot], quorum: int) -> Finding:
    """Find the digest that reached the quorum, and estimate the confidence in the leading one."""
    if not ballots:
        return Finding()
    groups = _by_digest(ballots)
    digest, supporters = max(groups.items(), key=lambda item: len(item[1]))
    count, confidence = len(supporters), confidences(groups)[digest]
    return Finding(digest=digest if count >= quorum else None, confidence=confidence)


@attrs.frozen(kw_only=True)
class Credibility:
    """A digest wins when the probability that it is wrong is at most ``error``, given which workers committed it and
    how often each was right before. Until then, workers are added. ``ec262.domain.verification.credibility`` describes
    the estimate and its assumptions."""

    error: float = attrs.field(validator=_between(MIN_ERROR, MAX_ERROR, "the error probability"))

    @property
    def spec(self) -> str:
        """The rule as text: ``error:0.0001``."""
        return f"error:{self.error:g}"

    @property
    def weighs_trust(self) -> bool:
        """How much a commitment counts depends on its worker's record."""
        return True

    def team(self, trust: Trust = NOTHING_KNOWN) -> int:
        """Return how many workers with this trust can decide a task if all agree."""
        return self._missing((), trust)

    def believes(self, trust: Trust) -> bool:
        """Return whether the trust is high enough and no alarm prevents it."""
        return alone_suffices(trust) and trust.agreed >= agreed_alone(self.error)

    def enough(self, equal: int) -> bool:
        """Return whether there is more than one. Only discovery knows how much they count."""
        return equal > 1

    def find(self, ballots: Sequence[Ballot], *, outstanding: int, audited: bool) -> Finding:
        """Find the digest that is wrong with a probability of at most ``error``, or how many more workers it needs if
        they are as trusted as its supporters.

        If any commitment differs, one worker never suffices, however trusted it is: otherwise a saboteur that waited
        long enough before lying could even get the workers punished that were right.
        """
        if not ballots:
            return Finding(wanted=0 if outstanding else 1)
        groups = _by_digest(ballots)
        chances = confidences(groups)
        leading = max(chances, key=chances.__getitem__)
        supporters, confidence = groups[leading], chances[leading]
        alone = len(supporters) == 1
        doubted = audited or len(ballots) > 1 or not alone_suffices(supporters[0])
        if confidence >= 1 - self.error and not (alone and doubted):
            return Finding(digest=leading, confidence=confidence, alone=alone)
        rivals = [group for digest, group in groups.items() if digest != leading]
        typical = Trust(agreed=sum(trust.agreed for trust in supporters) / len(supporters))
        missing = self._missing(supporters, typical, rivals)
        return Finding(confidence=confidence, wanted=max(0, missing - outstanding))

    def _missing(self, supporters: Sequence[Trust], joining: Trust, rivals: Sequence[Sequence[Trust]] = ()) -> int:
        """Return how many workers with this trust would have to join the supporters."""
        if not supporters and self.believes(joining):
            return 1
        # This ends, because each worker that joins divides the odds of an error by at least four.
        counts = itertools.count(max(1, 2 - len(supporters)))
        return next(n for n in counts if error_bound([*supporters, *[joining] * n], rivals) <= self.error)


def _by_digest(ballots: Sequence[Ballot]) -> dict[bytes, list[Trust]]:
    groups: dict[bytes, list[Trust]] = {}
    for ballot in ballots:
        groups.setdefault(ballot.digest, []).append(ballot.trust)
    return groups


@lru_cache(maxsize=256)
def parse_rule(spec: str) -> VerificationRule:
    """Read a rule from text: ``majority:3`` (the smallest majority is the quorum), ``majority:3:2``, ``quorum:2``,
    ``error:1e-4``, or ``none``, which is ``quorum:1``.

    Raises ValueError with a sentence that lists what is allowed.
    """
    if match := re.fullmatch(r"majority:([0-9]{1,2})(?::([0-9]{1,2}))?", spec):
        replicas = int(match[1])
        return Majority(replicas=replicas, quorum=int(match[2]) if match[2] else replicas // 2 + 1)
    if match := re.fullmatch(r"quorum:([0-9]{1,2})", spec):
        return Quorum(count=int(match[1]))
    if match := re.fullmatch(r"error:([0-9.]{1,12}(?:e-?[0-9]{1,2})?)", spec):
        return Credibility(error=_number(match[1]))
    if spec == "none":
        return Quorum(count=1)
    raise ValueError(f"unknown verification rule {spec!r}: {USAGE}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a probability: {USAGE}") from None
