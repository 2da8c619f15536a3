"""Tasks whose workers agreed in the same way are adjudicated once: with the digests that each of them has."""

from __future__ import annotations

import itertools

import attrs
import pytest

from ec262.domain.discovery.tasks import Task
from ec262.domain.verification.credibility import NOTHING_KNOWN, Trust
from ec262.domain.verification.rules import parse_rule
from tests.task_cases import open_task

WELL_KNOWN = Trust(agreed=150.0, recent=150.0)
DIGESTS = (b"a" * 32, b"b" * 32)


def committed(rule: str, votes: tuple[tuple[bytes, Trust], ...], *, audited: bool, swapped: bool) -> Task:
    """A task whose workers committed in the order opposite to that in which they were drawn."""
    task = attrs.evolve(open_task(rule=rule), audited=audited)
    names = dict(zip(DIGESTS, reversed(DIGESTS), strict=True)) if swapped else dict(zip(DIGESTS, DIGESTS, strict=True))
    replicas = list(task.replicas)
    for arrival, (digest, trust) in enumerate(votes):
        place = len(replicas) - 1 - arrival
        replicas[place] = attrs.evolve(replicas[place], digest=names[digest], arrival=arrival, trust=trust)
    return attrs.evolve(task, replicas=tuple(replicas))


@pytest.mark.parametrize("rule", ["majority:3", "quorum:2", "quorum:1", "error:0.0001"])
@pytest.mark.parametrize("audited", [False, True])
def test_a_finding_is_what_the_rule_says_of_the_tasks_own_digests(rule: str, audited: bool) -> None:  # noqa: FBT001 - a parameter
    ballots = list(itertools.product(DIGESTS, (NOTHING_KNOWN, WELL_KNOWN)))
    found = set()
    for count in range(4):
        for votes in itertools.product(ballots, repeat=count):
            for swapped in (False, True):  # the second is told what is known of the first
                task = committed(rule, votes, audited=audited, swapped=swapped)
                expected = parse_rule(rule).find(task.ballots(), outstanding=task.outstanding, audited=audited)
                assert task.finding() == expected
                found.add(expected.digest)
    assert found == {None, *DIGESTS}
