from __future__ import annotations

import random

import pytest

from ec262.domain.discovery.pool.feasibility import Foresight, capacity
from ec262.domain.discovery.pool.pool import Member
from tests.unit.domain.discovery.test_pool import member


@pytest.mark.parametrize(
    ("slots", "replicas", "teams", "expected"),
    [
        ([], 1, 5, 0),
        ([1, 1, 1], 3, 0, 0),
        ([1, 1], 3, 5, 0),
        ([9, 9, 9], 3, 5, 5),
        ([9, 9, 9], 3, 20, 9),
        ([9, 1, 1], 2, 20, 2),  # what one has beyond the number of teams is of no use
        ([3, 3, 3, 3], 3, 20, 4),
    ],
)
def test_capacity(slots: list[int], replicas: int, teams: int, expected: int) -> None:
    assert capacity(slots, replicas, teams) == expected


def foresight(free: dict[str, int], members: list[Member], replicas: int, teams: int) -> Foresight:
    built = Foresight(lambda each: each.owner, members, free, replicas)
    built.expect(teams)
    return built


@pytest.mark.parametrize("seed", range(40))
def test_looking_ahead_step_by_step_equals_looking_anew(seed: int) -> None:
    chance = random.Random(seed)
    members = [member(f"w{number}", owner=f"o{chance.randrange(6)}") for number in range(8)]
    free = {each.worker: chance.randint(1, 5) for each in members}
    teams = Foresight(lambda each: each.owner, members, free, 2).possible(9)
    rolling = foresight(free, members, 2, teams)
    while teams > 1:
        before = rolling.ample()
        team = rolling.ample()[:1] if chance.random() < 0.5 else []
        team += [each for each in members if free[each.worker] and each.owner not in {one.owner for one in team}][:1]
        if len(team) < 2 or chance.random() < 0.3:
            team = []  # none was found
        for each in team:
            free[each.worker] -= 1
        more = rolling.passed(team)
        teams -= 1
        fresh = foresight(free, members, 2, teams)
        assert {each.owner for each in rolling.ample()} == {each.owner for each in fresh.ample()}
        assert rolling.needed(()) == fresh.needed(())
        assert more == (rolling.ample() != before)
