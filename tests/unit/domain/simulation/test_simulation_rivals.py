"""The policies of other systems, by what is published of them."""

from __future__ import annotations

from random import Random

import pytest

from ec262.domain.simulation.population import Population, Scenario
from ec262.domain.simulation.rivals import Asking, Boinc, Poco, Voting, poco_consensus, poco_weight


class Loaded:
    """Dice that always fall the same way; members are drawn in turn."""

    def __init__(self, value: float) -> None:
        self._value = value
        self._turn = 0

    def random(self) -> float:
        return self._value

    def randrange(self, stop: int, /) -> int:
        self._turn += 1
        return self._turn % stop


def population(**kinds: float) -> Population:
    return Population(Scenario(name="test", workers=20, **kinds), Random(1), salt=1)  # type: ignore[arg-type] # shares


@pytest.mark.parametrize(("score", "weight"), [(0, 2), (9, 2), (11, 2), (12, 3), (15, 4), (300, 99), (303, 100)])
def test_poco_weighs_a_worker_by_a_third_of_its_score(score: int, weight: int) -> None:
    assert poco_weight(score) == weight


@pytest.mark.parametrize(
    ("groups", "trust", "consensus"),
    [
        ({0: 2**6}, 100, False),
        ({0: 2**7}, 100, True),
        ({0: 99}, 100, False),
        ({0: 100}, 100, True),
        ({0: 2**7, 1: 2}, 100, False),
        ({0: 2**9, 1: 2}, 100, True),
        ({0: 2}, 1, True),
    ],
)
def test_poco_wants_a_share_of_all_weights(groups: dict[int, int], trust: int, *, consensus: bool) -> None:
    assert poco_consensus(groups, 0, trust) is consensus


def test_seven_newcomers_are_consensus_at_a_trust_of_100() -> None:
    poco = Poco(dice=Random(1))
    assert poco.settle(population(), 0).executions == 7
    assert set(poco.scores.values()) == {1}


def test_poco_takes_a_third_of_the_score_of_who_lost() -> None:
    people = population(saboteurs=0.05)
    liar = next(actor for actor in people.actors if actor.saboteur)
    poco = Poco(dice=Random(1))
    poco.scores.update({actor.name: 90 for actor in people.actors})
    for task in range(40):
        poco.settle(people, task)
    assert 0 <= poco.scores[liar.name] < 60 < min(score for name, score in poco.scores.items() if name != liar.name)


def test_a_poco_worker_that_decides_alone_gains_nothing_unless_it_is_audited() -> None:
    people = population()
    alone, audited = Poco(dice=Loaded(0.5)), Poco(dice=Loaded(0.01), audits=0.05)
    for poco in (alone, audited):
        poco.scores.update({actor.name: 303 for actor in people.actors})
    assert alone.settle(people, 0).executions == 1
    assert audited.settle(people, 0).executions == 2
    assert max(alone.scores.values()) == 303
    assert sorted(audited.scores.values())[-2:] == [304, 304]


def test_poco_takes_the_heaviest_answer_when_everybody_was_asked() -> None:
    people = Population(Scenario(name="few", workers=3), Random(1), salt=1)
    settled = Poco(dice=Random(1)).settle(people, 0)
    assert (settled.answer, settled.executions) == (0, 3)


@pytest.mark.parametrize(("consecutive", "dice", "trusted"), [(9, 0.99, False), (10, 0.11, True), (10, 0.1, False)])
def test_boinc_replicates_one_in_as_many_as_were_right_in_a_row(
    consecutive: int, dice: float, *, trusted: bool
) -> None:
    assert Boinc(dice=Loaded(dice)).trusts(consecutive) is trusted


def test_boinc_wants_two_equal_answers_of_newcomers_and_one_of_the_trusted() -> None:
    people = population()
    boinc = Boinc(dice=Loaded(0.5))
    assert boinc.settle(people, 0).executions == 2
    boinc.consecutive.update({actor.name: 10 for actor in people.actors})
    assert boinc.settle(people, 1).executions == 1


def test_boinc_counts_from_nothing_after_an_invalid_result() -> None:
    people = population(saboteurs=0.05)
    liar = next(actor for actor in people.actors if actor.saboteur)
    boinc = Boinc(dice=Loaded(0.0))
    boinc.consecutive[liar.name] = 9
    while not liar.lied:
        boinc.settle(people, 0)
    assert boinc.consecutive[liar.name] == 0


def test_two_of_three_decide_and_three_more_are_asked_where_all_differ() -> None:
    assert Voting().settle(population(), 0).executions == 3
    mixed = population(saboteurs=0.6, colluding=False)
    executions = [Voting().settle(mixed, task).executions for task in range(50)]
    assert set(executions) > {3}
    assert all(count % 3 == 0 for count in executions)


def test_no_worker_is_asked_twice() -> None:
    asking = Asking(Population(Scenario(name="few", workers=3), Random(1), salt=1), 0)
    assert [asking.next() is None for _ in range(4)] == [False, False, False, True]


def test_colluding_majorities_win_votes() -> None:
    assert Voting().settle(population(saboteurs=1.0), 0).answer == 1


def test_vanished_machines_are_paid_for_and_replaced() -> None:
    people = population(vanishing=1.0)
    executions = [Voting().settle(people, task).executions for task in range(100)]
    assert 3.0 < sum(executions) / 100 < 3.8
