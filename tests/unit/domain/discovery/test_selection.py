from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from ec262.adapters.memory.entropy import SeededEntropy
from ec262.domain.discovery.pool.pool import Lot, Member, Pool, Tie
from ec262.domain.discovery.selection import TRAINING, Company, expected_team, select, select_more, steered_addition
from ec262.domain.discovery.tasks import Task, commit
from ec262.domain.verification.credibility import ESTABLISHED, Trust
from ec262.domain.verification.rules import parse_rule
from tests.discovery_town import REQUIREMENT, digest, runtime
from tests.task_cases import EARLY, open_task, replica
from tests.unit.domain.discovery.test_pool import member

RULE = parse_rule("error:1e-4")
MAJORITY = parse_rule("majority:3")
FULLY, BARELY = 200.0, ESTABLISHED
PLENTY = 1000


def company(known: Mapping[str, float], *, probation: tuple[str, ...] = (), slots: int = 1, **more: Any) -> Company:
    members = tuple(member(name, slots=slots, **more) for name in (*known, *probation))
    trusts = {name: Trust(agreed=agreed, recent=agreed) for name, agreed in known.items()}
    return Company(pool=Pool(members=members, busy={}), trusts=trusts, probation=frozenset(probation))


def lot(tasks: int = 1, **more: Any) -> Lot:
    return Lot(requirement=REQUIREMENT, foreman="me", replicas=1, tasks=tasks, **more)


def drawn(given: Company, wanted: Lot, *, spec: str = "error:1e-4", credits: int = PLENTY, rate: float = 0.08) -> Any:
    return select(given, wanted, parse_rule(spec), SeededEntropy(1), audit_rate=rate, credits=credits)


def names(team: tuple[Member, ...] | None) -> set[str]:
    return {each.worker for each in team or ()}


def many(letter: str, count: int, agreed: float) -> dict[str, float]:
    return {f"{letter}{number}": agreed for number in range(count)}


# --- new tasks ------------------------------------------------------------------------------------------------------


def test_under_a_majority_it_does_not_matter_who_is_known_unless_as_a_liar() -> None:
    given = company(many("new", 4, 0.0), probation=("liar",))
    for seed in range(9):
        selection = select(given, lot(), MAJORITY, SeededEntropy(seed), audit_rate=1.0, credits=PLENTY)
        (team,) = selection.teams
        assert len(team) == 3
        assert "liar" not in names(team)
        assert selection.audited == (False,)
        assert selection.lot.replicas == 3
    (team,) = drawn(company(many("new", 2, 0.0), probation=("liar",)), lot(), spec="majority:3").teams
    assert "liar" in names(team), "where there is nobody else"


def test_well_known_workers_compute_alone_and_newcomers_do_not_begin() -> None:
    selection = drawn(company(many("k", 5, FULLY) | many("n", 3, 0.0)), lot(9))
    assert Counter(map(len, selection.teams)) == {1: 5}
    assert {worker for team in selection.teams for worker in names(team)} == set(many("k", 5, 0))
    assert (selection.lot.replicas, selection.lot.tasks) == (1, 9)


def test_the_established_work_together_until_they_are_known_well() -> None:
    selection = drawn(company(many("k", 2, FULLY) | many("e", 4, BARELY)), lot(9))
    assert Counter(map(len, selection.teams)) == {1: 2, parse_rule("error:1e-4").team(Trust(agreed=BARELY)): 1}
    assert selection.audited[2:] == (False,) * len(selection.audited[2:])


def test_where_hardly_anybody_is_known_newcomers_compute_in_teams() -> None:
    selection = drawn(company(many("n", 15, 0.0)), lot(3))
    assert [len(team) for team in selection.teams] == [7], (
        "the next from all who will be free then, not from what is left"
    )
    assert selection.lot.replicas == 7
    assert selection.lot.tasks == 3
    assert not any(selection.audited)


def housed(known: Mapping[str, float], blocks: int, *, busy: Mapping[str, int] | None = None) -> Company:
    """Those whose names begin alike live in so many blocks together."""
    members = tuple(member(name, slots=4, owner=name, block=f"{name[0]}{int(name[1:]) % blocks}") for name in known)
    trusts = {name: Trust(agreed=agreed, recent=agreed) for name, agreed in known.items()}
    return Company(pool=Pool(members=members, busy=busy or {}), trusts=trusts, probation=frozenset())


def test_strangers_are_not_drawn_where_only_few_of_them_are_free() -> None:
    everybody = many("n", 28, 0.0)
    taken = dict.fromkeys(list(everybody)[:14], 4)
    assert len(drawn(housed(everybody, 28), lot(1)).teams) == 1
    assert drawn(housed(everybody, 28, busy=taken), lot(1)).teams == ()


def test_a_flood_of_accounts_in_one_block_gets_one_place_of_a_team() -> None:
    flooded = housed(many("n", 8, 0.0), 8)
    crowd = tuple(member(f"x{number}", slots=64, owner=f"x{number}", block="flood") for number in range(200))
    flooded = attrs.evolve(flooded, pool=Pool(members=(*flooded.pool.members, *crowd), busy={}))
    for team in drawn(flooded, lot(3)).teams:
        assert [each.block for each in team].count("flood") <= 1


def test_a_flood_of_accounts_in_few_blocks_is_drawn_as_few() -> None:
    """Their share of the places is that of their blocks: 4 of 24."""
    flooded = housed(many("n", 20, 0.0), 20)
    crowd = tuple(member(f"x{number}", slots=16, owner=f"x{number}", block=f"f{number % 4}") for number in range(200))
    flooded = attrs.evolve(flooded, pool=Pool(members=(*flooded.pool.members, *crowd), busy={}))
    places = Counter(
        each.worker[0]
        for seed in range(60)
        for team in select(flooded, lot(), RULE, SeededEntropy(seed), audit_rate=0.08, credits=PLENTY).teams
        for each in team
    )
    assert places["x"] / places.total() == pytest.approx(4 / 24, abs=0.06)


def test_a_flood_of_accounts_does_not_make_the_established_few() -> None:
    given = housed(many("k", 6, FULLY), 6)
    crowd = tuple(member(f"x{number}", slots=64, owner=f"x{number}", block=f"f{number % 3}") for number in range(200))
    given = attrs.evolve(given, pool=Pool(members=(*given.pool.members, *crowd), busy={}))
    selection = drawn(given, lot(100))
    assert {each.worker[0] for team in selection.teams for each in team} == {"k"}


def test_neighbors_of_a_liar_are_not_trained() -> None:
    given = attrs.evolve(housed(many("n", 4, 0.0), 2), probation=frozenset({"n0"}))
    innocent = {each.worker for each in given.pool.members if given.is_newcomer(each)}
    assert innocent == {"n1", "n3"}
    crowded = attrs.evolve(housed(many("n", 4, 0.0), 1), probation=frozenset({"n0"}))
    assert {each.worker for each in crowded.pool.members if crowded.is_newcomer(each)} == {"n1", "n2", "n3"}


def test_an_addition_is_open_only_if_it_was_drawn_from_most_of_the_pool() -> None:
    given = housed(many("k", 8, FULLY) | many("n", 1, 0.0), 8)
    by_name = {each.worker: each for each in given.pool.members}
    wanted = lot(company=frozenset({"k0"}))
    assert not steered_addition(given, wanted, (by_name["k1"],))
    assert steered_addition(given, wanted, (by_name["n0"],)), "only one newcomer could be drawn"


def test_where_there_are_anchors_only_the_established_begin() -> None:
    given = housed(many("a", 1, FULLY) | many("n", 30, 0.0), 30)
    assert not Counter(map(len, drawn(given, lot(40)).teams)).keys() <= {1}
    anchored = drawn(attrs.evolve(given, anchored=True), lot(40))
    assert [names(team) for team in anchored.teams] == [{"a0"}] * 4


def test_a_liar_is_not_drawn_first_if_others_are_available() -> None:
    selection = drawn(company(many("k", 1, FULLY), probation=("liar",)), lot(5))
    assert [names(team) for team in selection.teams] == [{"k0"}]
    alone = drawn(company({}, probation=tuple(f"liar{n}" for n in range(7))), lot(1))
    assert [len(team) for team in alone.teams] == [7]


def test_no_more_is_drawn_than_can_be_paid_but_one() -> None:
    given = company(many("k", 5, FULLY) | many("e", 12, BARELY))
    assert len(drawn(given, lot(20), credits=3).teams) == 4
    assert sum(map(len, drawn(given, lot(20), credits=6).teams)) >= 6
    assert len(drawn(given, lot(20), credits=5).teams) == 6


def audit_share(given: Company, *, rate: float) -> float:
    selection = drawn(given, lot(4000), rate=rate, credits=9999)
    return float(sum(selection.audited) / len(selection.audited))


def test_audits_never_stop() -> None:
    given = company(many("k", 40, FULLY), slots=100)
    assert audit_share(given, rate=0.08) == pytest.approx(0.08, abs=0.02)
    assert audit_share(given, rate=1.0) == 1.0


def test_while_newcomers_can_be_trained_more_is_audited() -> None:
    given = company(many("k", 40, FULLY) | many("n", 2, 0.0), slots=100)
    assert audit_share(given, rate=0.08) == pytest.approx(TRAINING, abs=0.03)
    assert audit_share(given, rate=0.6) == pytest.approx(0.6, abs=0.03)
    busy = attrs.evolve(given.pool, busy={"n0": 100, "n1": 100})
    assert audit_share(attrs.evolve(given, pool=busy), rate=0.08) == pytest.approx(0.08, abs=0.02)


# --- more workers ---------------------------------------------------------------------------------------------------


def waiting(*, audited: bool, worker: str = "k0") -> Task:
    task = attrs.evolve(open_task(rule="error:1e-4"), audited=audited, replicas=(replica(worker),))
    return commit(task, worker=worker, digest=digest("a"), now=EARLY)[0]


def added(given: Company, task: Task, *, seed: int = 1, **more: Any) -> set[str]:
    wanted = lot(company=frozenset(each.worker for each in task.replicas), runtime=runtime(), **more)
    return names(select_more(given, wanted, task, SeededEntropy(seed), audit_rate=0.08))


def test_the_established_are_added_to_what_is_undecided() -> None:
    given = company(many("k", 2, FULLY) | many("n", 9, 0.0), probation=("liar",))
    assert {frozenset(added(given, waiting(audited=False), seed=seed)) for seed in range(20)} == {frozenset({"k1"})}


def test_audits_are_for_newcomers_mostly() -> None:
    given, task, entropy = company(many("k", 9, FULLY) | many("n", 9, 0.0)), waiting(audited=True), SeededEntropy(1)
    wanted = lot(company=frozenset({"k0"}), runtime=runtime())
    teams = [select_more(given, wanted, task, entropy, audit_rate=0.08) or () for _ in range(600)]
    drawn_by = Counter(name[0] for team in teams for name in names(team))
    assert drawn_by["n"] / 600 == pytest.approx(TRAINING / (TRAINING + 0.08), abs=0.06)
    assert drawn_by["n"] + drawn_by["k"] == 600


def test_if_there_is_nobody_better_anybody_is_added_and_liars_last() -> None:
    task = waiting(audited=False)
    assert added(company({"k0": FULLY, "n0": 0.0}, probation=("liar",)), task) == {"n0"}
    assert added(company({"k0": FULLY}, probation=("liar",)), task) == {"liar"}
    assert added(company({"k0": FULLY}), task) == set()


def test_the_busy_are_waited_for_before_liars_are_asked() -> None:
    given = company({"k0": FULLY, "n0": 0.0}, probation=("liar",))
    busy = attrs.evolve(given, pool=attrs.evolve(given.pool, busy={"n0": 1}))
    assert added(busy, waiting(audited=False)) == set()


def test_the_established_are_waited_for_where_most_are() -> None:
    """Of a pool in which most are known, strangers are mostly liars, and always free."""
    given = company(many("k", 9, FULLY) | many("n", 8, 0.0))
    busy = attrs.evolve(given, pool=attrs.evolve(given.pool, busy={f"k{number}": 1 for number in range(9)}))
    assert added(busy, waiting(audited=False)) == set()
    trained = [added(busy, waiting(audited=True), seed=seed) for seed in range(40)]
    assert {name[0] for team in trained for name in team} == {"n"}, "one alone decides nothing"
    assert set() in trained, "nor is a check that is for the established given to others"
    avoided = frozenset(f"k{number}" for number in range(9))
    assert added(busy, waiting(audited=False), avoid=avoided) != set(), "whoever failed the foreman is not waited for"


def test_the_established_are_not_waited_for_where_they_are_few() -> None:
    given = company(many("k", 4, FULLY) | many("n", 8, 0.0))
    busy = attrs.evolve(given, pool=attrs.evolve(given.pool, busy={f"k{number}": 1 for number in range(4)}))
    assert {name[0] for name in added(busy, waiting(audited=False))} == {"n"}


def test_a_caught_worker_still_counts_when_related_workers_are_kept_apart() -> None:
    """A task that was opened again has the liar; its accomplice of the same owner is not to confirm it."""
    members = (member("liar", owner="gang"), member("k1", owner="gang"), member("k2"))
    trusts = {"k1": Trust(agreed=FULLY), "k2": Trust(agreed=FULLY)}
    given = Company(pool=Pool(members=members, busy={}), trusts=trusts, probation=frozenset({"liar"}))
    task = waiting(audited=True, worker="liar")
    assert {frozenset(added(given, task, seed=seed)) for seed in range(20)} == {frozenset({"k2"})}
    assert added(given, task, apart=frozenset({Tie.OWNER}), avoid=frozenset({"k2"})) == {"k2"}


def test_the_expected_team_is_that_of_the_next_task() -> None:
    assert expected_team(company(many("n", 9, 0.0)), lot(), MAJORITY) == 3
    assert expected_team(company(many("n", 9, 0.0)), lot(), RULE) == 7
    assert expected_team(company(many("k", 9, FULLY)), lot(), RULE) == 1
    assert expected_team(company(many("e", 9, BARELY)), lot(), RULE) == RULE.team(Trust(agreed=BARELY))
