from __future__ import annotations

import time
from collections import Counter

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.draw import Team, draw
from ec262.domain.pool import Lot, Member, Pool
from tests.discovery_town import OTHER_PYTHON, REQUIREMENT
from tests.unit.domain.test_pool import member, pool


def drawn(
    members: Pool, *, tasks: int = 1, replicas: int = 3, avoid: tuple[str, ...] = (), seed: int = 0
) -> list[Team]:
    lot = Lot(requirement=REQUIREMENT, foreman="me", replicas=replicas, tasks=tasks, avoid=frozenset(avoid))
    return draw(members, lot, SeededEntropy(seed))


def names(team: Team) -> set[str]:
    return {each.worker for each in team}


def crowd(count: int, *, slots: int = 1, machine: str = "x86_64", prefix: str = "w") -> list[Member]:
    return [member(f"{prefix}{number}", slots=slots, machine=machine) for number in range(count)]


def test_a_team_has_as_many_workers_as_replicas_and_none_twice() -> None:
    (team,) = drawn(pool(*crowd(5, slots=9)))
    assert len(team) == len(names(team)) == 3


def test_too_few_workers_make_no_team() -> None:
    assert drawn(pool(*crowd(2, slots=9))) == []


def test_those_who_cannot_be_drawn_are_not() -> None:
    others = [member("me"), member("new", python=OTHER_PYTHON), member("full")]
    (team,) = drawn(pool(*crowd(3), *others, busy={"full": 1}))
    assert names(team) == {"w0", "w1", "w2"}


def test_whole_teams_only() -> None:
    assert len(drawn(pool(*crowd(8)), tasks=5)) == 2


def test_no_more_teams_than_asked_for() -> None:
    assert len(drawn(pool(*crowd(9, slots=9)), tasks=2)) == 2


def test_no_worker_takes_more_than_its_free_slots() -> None:
    teams = drawn(pool(*crowd(4, slots=3), busy={"w0": 2}), tasks=10)
    taken = Counter(worker for team in teams for worker in names(team))
    assert len(teams) == 3
    assert taken["w0"] == 1
    assert max(taken.values()) == 3


def test_a_team_is_of_one_runtime_class() -> None:
    teams = drawn(pool(*crowd(5), *crowd(4, machine="aarch64", prefix="arm")), tasks=9)
    assert len(teams) == 2
    for team in teams:
        assert len({each.runtime for each in team}) == 1


def test_avoided_workers_stay_out_while_there_are_others() -> None:
    for seed in range(20):
        (team,) = drawn(pool(*crowd(6)), avoid=("w0", "w1", "w2"), seed=seed)
        assert names(team) == {"w3", "w4", "w5"}


def test_avoided_workers_stay_out_of_every_team_if_the_others_can_fill_all() -> None:
    members = [member("a", slots=2), member("b", slots=2), member("c"), member("d"), member("bad", slots=2)]
    for seed in range(20):
        teams = drawn(pool(*members), tasks=2, avoid=("bad",), seed=seed)
        assert len(teams) == 2
        assert "bad" not in names(teams[0]) | names(teams[1])


def test_avoided_workers_are_better_than_none() -> None:
    for seed in range(20):
        (team,) = drawn(pool(*crowd(4)), avoid=("w0", "w1"), seed=seed)
        assert names(team) >= {"w2", "w3"}


def test_everybody_is_drawn_sooner_or_later_and_orders_differ() -> None:
    teams = [frozenset(names(drawn(pool(*crowd(5)), seed=seed)[0])) for seed in range(100)]
    assert len(set(teams)) == 10  # all the ways to choose 3 of 5


def test_chance_does_not_waste_slots() -> None:
    # Four teams fit only if each of the four workers sits out exactly once: blind chance mostly fails.
    for seed in range(50):
        assert len(drawn(pool(*crowd(4, slots=3)), tasks=4, seed=seed)) == 4


def test_an_ample_worker_is_held_to_where_it_is_needed() -> None:
    members = [member("ample", slots=5), *crowd(10)]
    for seed in range(50):
        teams = drawn(pool(*members), tasks=5, seed=seed)
        assert len(teams) == 5
        assert all("ample" in names(team) for team in teams)


def test_a_worker_that_becomes_ample_is_held_to_where_it_is_needed() -> None:
    # No slot can be spared: once as many teams are to come as "late" has slots, it has to be in all of them.
    members = [member("late", slots=2), member("big", slots=4), *crowd(6)]
    for seed in range(50):
        teams = drawn(pool(*members), tasks=4, seed=seed)
        taken = Counter(worker for team in teams for worker in names(team))
        assert len(teams) == 4
        assert taken == {"late": 2, "big": 4} | {f"w{number}": 1 for number in range(6)}


def test_everybody_is_drawn_equally_often() -> None:
    counts = Counter(
        worker for seed in range(300) for team in drawn(pool(*crowd(10)), seed=seed) for worker in names(team)
    )
    assert all(60 < counts[f"w{number}"] < 120 for number in range(10))  # 90 expected, a deviation of 8


def test_many_teams_of_a_large_pool_take_no_time() -> None:
    """Work that grew with the product of workers and tasks took two seconds for a tenth of these workers."""
    started = time.process_time()
    assert len(drawn(pool(*crowd(5000, slots=2), member("big", slots=1024)), tasks=1000)) == 1000
    assert time.process_time() - started < 1
