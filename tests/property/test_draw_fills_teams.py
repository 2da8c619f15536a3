"""Whatever the pool is: as many teams as fit are drawn, nobody is asked for more than its free slots, and nobody works
beside its own kind where that can be helped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import attrs
from hypothesis import given
from hypothesis import strategies as st

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.discovery.pool.draw import Team, draw
from ec262.domain.discovery.pool.pool import HOUSES, Lot, Member, Tie
from tests.discovery_town import REQUIREMENT
from tests.unit.domain.discovery.test_pool import member, pool

slot_counts = st.lists(st.integers(1, 9), max_size=9)
seeds = st.integers(0, 1000)
conditions = st.sampled_from([frozenset[Tie](), frozenset({Tie.OWNER}), frozenset({Tie.BLOCK}), frozenset(Tie)])


@st.composite
def neighborhoods(draw_one: st.DrawFn) -> list[Member]:
    """Workers of whom many have owners and blocks in common."""
    kinds = st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
    return [
        member(f"w{number}", slots=slots, owner=f"o{owner}", block=f"b{block}")
        for number, (slots, owner, block) in enumerate(draw_one(st.lists(kinds, max_size=9)))
    ]


def fitting(counts: Iterable[int], replicas: int, tasks: int) -> int:
    """How many teams can be filled by those who have so many slots."""
    counts = list(counts)
    return max(n for n in range(tasks + 1) if sum(min(count, n) for count in counts) >= replicas * n)


def slots_by(members: Sequence[Member], tie: Tie) -> Iterable[int]:
    slots: Counter[str] = Counter()
    for each in members:
        slots[HOUSES[tie](each)] += each.slots
    return slots.values()


def has_tie(team: Sequence[Member], ties: Iterable[Tie]) -> bool:
    return any(len({HOUSES[tie](each) for each in team}) < len(team) for tie in ties)


def check(teams: Sequence[Team], members: Sequence[Member], replicas: int) -> None:
    for team in teams:
        assert len({each.worker for each in team}) == len(team) == replicas
    taken = Counter(each.worker for team in teams for each in team)
    assert all(taken[each.worker] <= each.slots for each in members)


@given(slots=slot_counts, replicas=st.integers(1, 5), tasks=st.integers(1, 12), avoided=st.integers(0, 9), seed=seeds)
def test_as_many_teams_as_fit_and_no_slot_twice(
    slots: list[int], replicas: int, tasks: int, avoided: int, seed: int
) -> None:
    members = [member(f"w{number}", slots=count) for number, count in enumerate(slots)]
    avoid = frozenset(f"w{number}" for number in range(avoided))
    lot = Lot(requirement=REQUIREMENT, foreman="me", replicas=replicas, tasks=tasks, avoid=avoid)
    teams = draw(pool(*members), lot, SeededEntropy(seed))
    check(teams, members, replicas)
    without = fitting(slots[avoided:], replicas, tasks)
    assert without <= len(teams) <= fitting(slots, replicas, tasks)
    assert sum(avoid.isdisjoint(each.worker for each in team) for team in teams) >= without
    if avoided in {0, 9}:  # nobody or everybody
        assert len(teams) == fitting(slots, replicas, tasks)


@given(members=neighborhoods(), replicas=st.integers(1, 4), tasks=st.integers(1, 8), apart=conditions, seed=seeds)
def test_a_condition_holds_in_every_team_and_a_preference_costs_none(
    members: list[Member], replicas: int, tasks: int, apart: frozenset[Tie], seed: int
) -> None:
    lot = Lot(requirement=REQUIREMENT, foreman="me", replicas=replicas, tasks=tasks, apart=apart)
    teams = draw(pool(*members), lot, SeededEntropy(seed))
    check(teams, members, replicas)
    assert not any(has_tie(team, apart) for team in teams)
    bounds = [fitting(slots_by(members, tie), replicas, tasks) for tie in apart]
    most = min(bounds, default=fitting((each.slots for each in members), replicas, tasks))
    assert len(teams) <= most
    if len(apart) < len(Tie):
        assert len(teams) == most
    explained = pool(*members).shortfall(lot, assigned=len(teams))
    assert bool(explained) == (len(teams) < tasks)


@given(members=neighborhoods(), replicas=st.integers(1, 4), apart=conditions, seed=seeds)
def test_a_single_team_is_as_far_apart_as_can_be(
    members: list[Member], replicas: int, apart: frozenset[Tie], seed: int
) -> None:
    lot = Lot(requirement=REQUIREMENT, foreman="me", replicas=replicas, tasks=1, apart=apart)
    teams = draw(pool(*members), lot, SeededEntropy(seed))
    for ties in (frozenset(Tie), frozenset({Tie.BLOCK}), frozenset({Tie.OWNER})):
        if ties >= apart and any(not has_tie(team, ties) for team in combinations(members, replicas)):
            assert teams
            assert not has_tie(teams[0], ties)
            return


@given(members=neighborhoods(), most=st.integers(1, 3), apart=conditions, seed=seeds)
def test_added_workers_are_new_to_the_task_and_independent_of_its_workers(
    members: list[Member], most: int, apart: frozenset[Tie], seed: int
) -> None:
    company = members[: len(members) // 2]
    lot = Lot(
        requirement=REQUIREMENT,
        foreman="me",
        replicas=most,
        tasks=1,
        apart=apart,
        company=frozenset(each.worker for each in company),
    )
    for team in draw(pool(*members), lot, SeededEntropy(seed)):
        assert not {each.worker for each in team} & lot.company
        assert not any(has_tie((old, new), apart) for old in company for new in team)


@given(
    strangers=st.integers(2, 30),
    neighbors=st.integers(2, 15),
    replicas=st.integers(2, 4),
    tie=st.sampled_from(Tie),
    seed=seeds,
)
def test_one_group_is_spread_over_all_teams(strangers: int, neighbors: int, replicas: int, tie: Tie, seed: int) -> None:
    members = [member(f"s{number}") for number in range(strangers)]
    names = [f"n{number}" for number in range(neighbors)]
    members += [member(name, owner="x") if tie is Tie.OWNER else member(name, block="x") for name in names]
    tasks = (strangers + neighbors) // replicas
    lot = Lot(requirement=REQUIREMENT, foreman="me", replicas=replicas, tasks=tasks)
    teams = draw(pool(*members), lot, SeededEntropy(seed))
    assert len(teams) == tasks
    apart = sum(not has_tie(team, Tie) for team in teams)
    assert apart == fitting(slots_by(members, tie), replicas, tasks)


@given(members=neighborhoods(), replicas=st.integers(1, 4), tie=st.sampled_from(Tie), seed=seeds)
def test_where_all_teams_can_be_apart_all_are(members: list[Member], replicas: int, tie: Tie, seed: int) -> None:
    alike = {Tie.OWNER: "block", Tie.BLOCK: "owner"}[tie]
    members = [attrs.evolve(each, **{alike: each.worker}) for each in members]  # type: ignore[arg-type]  # a str each
    tasks = fitting(slots_by(members, tie), replicas, 40)
    lot = Lot(requirement=REQUIREMENT, foreman="me", replicas=replicas, tasks=tasks)
    teams = draw(pool(*members), lot, SeededEntropy(seed))
    assert len(teams) == tasks
    assert not any(has_tie(team, Tie) for team in teams)
