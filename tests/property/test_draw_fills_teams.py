"""Whatever the pool is: as many teams as fit are drawn, and nobody is asked for more than its free slots."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.draw import draw
from ec262.domain.pool import Lot
from tests.discovery_town import REQUIREMENT
from tests.unit.domain.test_pool import member, pool


@given(
    slots=st.lists(st.integers(1, 9), max_size=9),
    replicas=st.integers(1, 5),
    tasks=st.integers(1, 12),
    avoided=st.integers(0, 9),
    seed=st.integers(0, 1000),
)
def test_as_many_teams_as_fit_and_no_slot_twice(
    slots: list[int], replicas: int, tasks: int, avoided: int, seed: int
) -> None:
    members = [member(f"w{number}", slots=count) for number, count in enumerate(slots)]
    avoid = frozenset(f"w{number}" for number in range(avoided))
    lot = Lot(requirement=REQUIREMENT, foreman="me", replicas=replicas, tasks=tasks, avoid=avoid)
    teams = draw(pool(*members), lot, SeededEntropy(seed))
    for team in teams:
        assert len({each.worker for each in team}) == len(team) == replicas
    taken = Counter(each.worker for team in teams for each in team)
    assert all(taken[each.worker] <= each.slots for each in members)

    def fitting(counts: list[int]) -> int:
        return max(n for n in range(tasks + 1) if sum(min(count, n) for count in counts) >= replicas * n)

    without = fitting(slots[avoided:])
    assert without <= len(teams) <= fitting(slots)
    assert sum(avoid.isdisjoint(each.worker for each in team) for team in teams) >= without
    if avoided in {0, 9}:  # nobody or everybody
        assert len(teams) == fitting(slots)
