from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.discovery.pool.draw import Team, draw
from ec262.domain.discovery.pool.pool import HOUSES, Lot, Member, Pool, Tie
from ec262.domain.work.runtime import RuntimeClass
from tests.discovery_town import OTHER_PYTHON, REQUIREMENT, runtime
from tests.unit.domain.discovery.test_pool import member, pool


def drawn(
    members: Pool,
    *,
    tasks: int = 1,
    replicas: int = 3,
    avoid: Iterable[str] = (),
    apart: Iterable[Tie] = (),
    company: Iterable[str] = (),
    runtime: RuntimeClass | None = None,
    seed: int = 0,
) -> list[Team]:
    lot = Lot(
        requirement=REQUIREMENT,
        foreman="me",
        replicas=replicas,
        tasks=tasks,
        avoid=frozenset(avoid),
        apart=frozenset(apart),
        company=frozenset(company),
        runtime=runtime,
    )
    return draw(members, lot, SeededEntropy(seed))


def names(team: Team) -> set[str]:
    return {each.worker for each in team}


def crowd(count: int, *, slots: int = 1, machine: str = "x86_64", prefix: str = "w") -> list[Member]:
    return [member(f"{prefix}{number}", slots=slots, machine=machine) for number in range(count)]


def test_a_team_has_one_distinct_worker_per_replica() -> None:
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
    assert time.process_time() - started < 3  # a second without coverage


# --- apart ----------------------------------------------------------------------------------------------------------


def block(name: str, count: int, *, slots: int = 1) -> list[Member]:
    """So many workers behind one block of addresses, each of an owner of its own."""
    return [member(f"{name}{number}", slots=slots, block=name) for number in range(count)]


def owned(name: str, count: int) -> list[Member]:
    """So many workers of one owner, each in a block of its own."""
    return [member(f"{name}{number}", owner=name) for number in range(count)]


def tied(team: Team, tie: Tie) -> bool:
    return len({HOUSES[tie](each) for each in team}) < len(team)


def test_a_saboteur_with_many_accounts_behind_one_block_gets_one_replica() -> None:
    for seed in range(200):
        (team,) = drawn(pool(*block("evil", 60), *crowd(3)), seed=seed)
        assert sum(each.block == "evil" for each in team) <= 1


def test_one_owner_gets_one_replica() -> None:
    for seed in range(200):
        (team,) = drawn(pool(*owned("rich", 40), *crowd(3)), seed=seed)
        assert sum(each.owner == "rich" for each in team) <= 1


def test_the_only_team_without_a_tie_is_found() -> None:
    members = (member("x", owner="o", block="b"), member("y", owner="o"), member("z", block="b"))
    for seed in range(100):
        assert names(drawn(pool(*members), replicas=2, seed=seed)[0]) == {"y", "z"}


def test_teams_are_apart_to_the_last_slot_where_that_is_possible() -> None:
    # Blind chance would use up the others first, and leave whole teams to the block.
    for members in ([*block("evil", 50), *crowd(100)], [*owned("rich", 50), *crowd(100)]):
        teams = drawn(pool(*members), tasks=50)
        assert len(teams) == 50
        assert not any(tied(team, tie) for team in teams for tie in Tie)


def test_as_many_teams_as_possible_are_apart_where_not_all_can_be() -> None:
    teams = drawn(pool(*block("evil", 50), *crowd(50)), tasks=33)
    assert len(teams) == 33
    assert sum(not tied(team, Tie.BLOCK) for team in teams) == 25  # 50 others are two for each of 25 teams


def test_those_that_may_be_drawn_are_drawn_equally_often() -> None:
    members = [*block("evil", 40), *crowd(8)]
    counts = Counter(
        worker for seed in range(500) for team in drawn(pool(*members), seed=seed) for worker in names(team)
    )
    evil = [counts[f"evil{number}"] for number in range(40)]
    others = [counts[f"w{number}"] for number in range(8)]
    # The first one drawn is of the block with a chance of 5/6, else the second of 40/47 or the third of 40/46.
    expected = 500 * (1 - 8 / 48 * 7 / 47 * 6 / 46)
    assert abs(sum(evil) - expected) < 10
    assert max(evil) < 30  # 12.5 expected, a deviation of 3.5
    assert min(others) > 85  # 125 expected, a deviation of 10
    assert max(others) < 170


def test_rare_strangers_are_drawn_equally_often_too() -> None:
    counts = Counter(
        worker
        for seed in range(400)
        for team in drawn(pool(*block("evil", 31), *crowd(2)), replicas=2, seed=seed)
        for worker in names(team)
    )
    assert abs(counts["w0"] - counts["w1"]) < 80  # a deviation of 20


def test_a_tie_of_owners_is_better_than_one_of_addresses() -> None:
    for seed in range(50):
        (team,) = drawn(pool(*block("evil", 9), *owned("rich", 9)), seed=seed)
        assert tied(team, Tie.OWNER)
        assert not tied(team, Tie.BLOCK)


def test_where_all_share_their_addresses_owners_are_kept_apart() -> None:
    members = [member(f"w{number}", owner=f"o{number % 3}", block="home") for number in range(90)]
    teams = drawn(pool(*members), tasks=30)
    assert len(teams) == 30
    assert not any(tied(team, Tie.OWNER) for team in teams)


def test_where_no_team_can_be_apart_it_has_as_few_ties_as_can_be() -> None:
    for seed in range(50):
        (team,) = drawn(pool(*block("evil", 40), member("other")), seed=seed)
        assert "other" in names(team)


def test_an_avoided_worker_is_better_than_a_tie() -> None:
    # Else a saboteur that makes tasks fail would see honest workers avoided, until its own are left.
    for seed in range(50):
        (team,) = drawn(pool(*block("evil", 9), *crowd(2)), avoid=("w0", "w1"), seed=seed)
        assert names(team) > {"w0", "w1"}


def test_no_more_avoided_workers_than_it_takes() -> None:
    members = [*block("evil", 9), *crowd(3)]
    for seed in range(50):
        (team,) = drawn(pool(*members), avoid=("evil0", "evil1", "w0", "w1"), seed=seed)
        assert "w2" in names(team)
        assert len(names(team) & {"w0", "w1"}) == 1
        assert not names(team) & {"evil0", "evil1"}


def test_where_no_team_can_be_apart_avoided_workers_stay_out() -> None:
    for seed in range(20):
        (team,) = drawn(pool(*block("home", 4)), avoid=("home0",), seed=seed)
        assert names(team) == {"home1", "home2", "home3"}


def test_keeping_apart_never_costs_a_team() -> None:
    # Four teams need each of the big ones four times; they are neighbors.
    members = [*block("home", 2, slots=4), *crowd(4)]
    for seed in range(20):
        teams = drawn(pool(*members), tasks=4, seed=seed)
        assert len(teams) == 4
        assert all(names(team) > {"home0", "home1"} for team in teams)


# --- conditions -----------------------------------------------------------------------------------------------------


def test_a_tie_that_is_a_condition_is_in_no_team() -> None:
    members = [*block("evil", 9), *crowd(4)]
    teams = drawn(pool(*members), tasks=9, apart={Tie.BLOCK})
    assert len(teams) == 2
    assert not any(tied(team, Tie.BLOCK) for team in teams)
    assert drawn(pool(*members), apart={Tie.OWNER})
    assert drawn(pool(*block("evil", 9), *crowd(1)), apart={Tie.BLOCK}) == []


def test_the_other_tie_still_costs_no_team() -> None:
    # Each of the two teams needs both of the home, whose owners differ.
    members = [*block("home", 2, slots=2), *crowd(2)]
    for seed in range(20):
        assert len(drawn(pool(*members), tasks=2, apart={Tie.OWNER}, seed=seed)) == 2


def test_both_ties_may_be_conditions() -> None:
    members = [member(f"w{n}", owner=f"o{n % 9}", block=f"b{n // 9}") for n in range(81)]
    teams = drawn(pool(*members), tasks=27, apart=set(Tie))
    assert len(teams) >= 25
    assert not any(tied(team, tie) for team in teams for tie in Tie)


def test_conditions_that_cannot_be_met_together_take_no_time() -> None:
    started = time.process_time()
    assert drawn(pool(*block("evil", 3000), *owned("rich", 3000)), tasks=1000, apart=set(Tie)) == []
    assert time.process_time() - started < 3  # a second without coverage


# --- replicas that are added ----------------------------------------------------------------------------------------


def test_no_worker_that_has_the_task_is_drawn_again() -> None:
    for seed in range(20):
        (team,) = drawn(pool(*crowd(5, slots=9)), replicas=2, company=("w0", "w1", "w2"), seed=seed)
        assert names(team) == {"w3", "w4"}


def test_replicas_are_added_in_the_tasks_runtime_class() -> None:
    members = [*crowd(3), *crowd(9, machine="aarch64", prefix="arm")]
    (team,) = drawn(pool(*members), replicas=1, company=("w0", "w1"), runtime=runtime())
    assert names(team) == {"w2"}
    assert drawn(pool(*members), replicas=2, company=("w0", "w1"), runtime=runtime()) == []


def test_those_who_are_added_are_apart_from_those_who_were_there() -> None:
    members = [*block("evil", 9), *owned("rich", 9), member("free")]
    for seed in range(20):
        (team,) = drawn(pool(*members), replicas=1, company=("evil0", "rich0", "gone"), seed=seed)
        assert names(team) == {"free"}


def test_those_who_are_added_have_as_few_ties_to_those_who_were_there_as_can_be() -> None:
    there, far = member("there", owner="rich"), member("far", owner="rich")
    near, neighbor = member("near", owner="rich", block="b"), member("neighbor", block="b")
    for seed in range(20):
        (team,) = drawn(pool(there, far, near, neighbor), replicas=2, company=("there",), seed=seed)
        assert "neighbor" in names(team)


def test_a_tie_to_those_who_were_there_is_better_than_none_unless_it_is_a_condition() -> None:
    evil = block("evil", 9)
    assert drawn(pool(*evil), replicas=1, company=("evil0",))
    assert drawn(pool(*evil), replicas=1, company=("evil0",), apart={Tie.BLOCK}) == []


# --- time -----------------------------------------------------------------------------------------------------------


def test_large_pools_full_of_ties_take_no_time() -> None:
    """A look through the pool for each replica would take a minute."""
    far = [member(f"far{number}", slots=1024) for number in range(3)]
    for members in (
        [*block("evil", 9000), *far],
        [*block("evil", 5000), *owned("rich", 5000), *far],
        [member(f"w{n}", owner=f"o{n % 40}", block=f"b{n // 250}") for n in range(10_000)],
        block("home", 10_000),
    ):
        started = time.process_time()
        assert len(drawn(pool(*members), tasks=1000)) == 1000
        assert time.process_time() - started < 3  # a second without coverage


def test_a_seed_draws_the_same_teams_in_every_process() -> None:
    """Sets have another order in each: what is looked at must not be in theirs."""
    members = [member(f"w{n}", owner=f"o{n % 4}", block=f"b{n % 5}", slots=2 + n % 3) for n in range(12)]
    teams = [[each.worker for each in team] for team in drawn(pool(*members), tasks=9)]
    assert teams[:3] == [["w10", "w7", "w1"], ["w0", "w9", "w6"], ["w3", "w1", "w2"]]


def late(members: list[Member], busy: dict[str, int], late: dict[str, int]) -> Pool:
    """A pool whose late replicas count as busy, as everywhere."""
    return Pool(members=tuple(members), busy=Counter(busy) + Counter(late), late=late)


def test_workers_busy_with_decided_tasks_are_drawn_last() -> None:
    for seed in range(20):
        (team,) = drawn(late(crowd(4), {}, {"w0": 1}), tasks=2, seed=seed)
        assert names(team) == {"w1", "w2", "w3"}


def test_others_who_are_busy_are_waited_for() -> None:
    assert drawn(late(crowd(4), {"w1": 1}, {"w0": 1})) == []
    assert drawn(late(crowd(2), {"w1": 1}, {"w0": 1}), replicas=1) == []


def test_where_there_are_too_few_others_who_computes_what_is_decided_is_drawn_as_well() -> None:
    (team,) = drawn(late(crowd(3), {}, {"w0": 1}))
    assert names(team) == {"w0", "w1", "w2"}
    assert drawn(late(crowd(3), {"w0": 1}, {"w0": 1})) == []
    assert drawn(late(crowd(3), {"w1": 1}, {"w0": 1})) == []


def test_a_worker_with_another_slot_is_drawn_however_long_one_of_them_computes_what_is_decided() -> None:
    (team,) = drawn(late(crowd(3, slots=2), {}, {"w0": 1}), tasks=2)
    assert names(team) == {"w0", "w1", "w2"}


def test_those_who_have_the_task_do_not_count_as_others() -> None:
    (team,) = drawn(late(crowd(3), {}, {"w0": 1}), replicas=1, company={"w1", "w2"})
    assert names(team) == {"w0"}
