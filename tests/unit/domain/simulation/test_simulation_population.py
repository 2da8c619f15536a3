"""Simulated workers do what their scenario says."""

from __future__ import annotations

from random import Random

import pytest

from ec262.domain.simulation.population import LIE, SCENARIOS, TRUTH, Population, Scenario


def population(**kinds: object) -> Population:
    return Population(Scenario(name="test", workers=50, **kinds), Random(7), salt=3)  # type: ignore[arg-type] # any field


def test_shares_are_kept_and_kinds_do_not_overlap() -> None:
    people = population(saboteurs=0.2, lazies=0.1).actors
    assert [sum(actor.saboteur for actor in people), sum(actor.lazy for actor in people)] == [10, 5]
    assert not any(actor.saboteur and actor.lazy for actor in people)


def test_a_flood_lives_where_its_saboteurs_do_and_anchors_are_honest() -> None:
    people = population(saboteurs=0.2, flood=3, anchors=0.1)
    crowd = people.newcomers()
    assert len(crowd) == 30
    assert {actor.place for actor in crowd} == {actor.place for actor in people.actors if actor.saboteur}
    assert len({actor.name for actor in (*crowd, *people.newcomers())}) == 60
    assert [actor.saboteur for actor in people.anchors()] == [False] * 5


def test_colluders_lie_in_the_same_tasks_and_alike() -> None:
    people = population(saboteurs=0.2, lie_rate=0.3)
    liars = [actor for actor in people.actors if actor.saboteur]
    said = [{people.answer(liar, task) for liar in liars} for task in range(400)]
    assert {frozenset(each) for each in said} == {frozenset({TRUTH}), frozenset({LIE})}
    assert said.count({LIE}) == pytest.approx(120, abs=30)


def test_a_coin_of_their_own_makes_liars_lie_in_different_tasks() -> None:
    people = population(saboteurs=0.2, lie_rate=0.3, common_coin=False)
    liars = [actor for actor in people.actors if actor.saboteur]
    assert any({people.answer(liar, task) for liar in liars} == {TRUTH, LIE} for task in range(10))


def test_liars_that_do_not_collude_all_say_something_else() -> None:
    people = population(saboteurs=0.2, colluding=False)
    said = [people.answer(actor, 0) for actor in people.actors if actor.saboteur]
    assert len(set(said)) == 10
    assert TRUTH not in said
    assert LIE not in said


def test_lazies_say_what_nobody_else_says_and_the_honest_the_truth() -> None:
    people = population(lazies=0.2)
    wrong = [people.answer(actor, 0) for actor in people.actors if actor.lazy]
    assert len(set(wrong)) == 10
    assert {people.answer(actor, 0) for actor in people.actors if not actor.lazy} == {TRUTH}


def test_sleepers_wake_after_their_tasks() -> None:
    people = population(saboteurs=0.02, sleep=3)
    sleeper = next(actor for actor in people.actors if actor.saboteur)
    assert [people.answer(sleeper, task) for task in range(5)] == [TRUTH] * 3 + [LIE] * 2
    assert people.woken == 1


def test_a_liar_found_out_comes_back_under_another_name_once() -> None:
    people = population(saboteurs=0.02, renames=True)
    liar = next(actor for actor in people.actors if actor.saboteur)
    heir = people.found_out(liar)
    assert (heir.name, heir.place, heir.done) == (50, liar.place, 0)
    assert people.found_out(liar) is heir
    assert people.names == 51


def test_others_keep_their_names() -> None:
    people = population(saboteurs=0.02)
    assert [people.found_out(actor) for actor in people.actors] == people.actors


def test_vanishing_and_slow_machines() -> None:
    people = population(vanishing=1.0, slow=1.0)
    said = [people.answer(people.actors[0], task) for task in range(500)]
    assert said.count(None) == pytest.approx(50, abs=20)
    assert min(actor.pace for actor in people.actors) >= 4


def test_drawing_leaves_out_who_was_drawn() -> None:
    people = population()
    assert {actor.place for _ in range(300) if (actor := people.draw(range(2, 50)))} == {0, 1}
    assert people.draw(range(50)) is None


def test_scenarios_have_names_of_their_own() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len({scenario.title for scenario in SCENARIOS})
    assert len(SCENARIOS) == 17
