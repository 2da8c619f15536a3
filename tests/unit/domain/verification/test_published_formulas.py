"""The rules, and what is credited to workers, beside the formulas of the papers and programs they are taken from.

Where a source prints no table, the numbers are its formula's; where it does, that is said.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from random import Random

import pytest

from ec262.domain.simulation.population import Population, Scenario
from ec262.domain.simulation.rivals import Boinc, Voting, poco_consensus, poco_weight
from ec262.domain.verification.credibility import ODDS, SABOTEURS, Trust, error_bound
from ec262.domain.verification.rules import Ballot, Majority, Quorum, VerificationRule

TRUTH, LIE = b"truth", b"lie"

# --- Sarmenta 2002, section 3: voting -------------------------------------------------------------------------------


def voting_error(saboteurs: float, quorum: int) -> float:
    """The error of m-first voting, of which there are 2 m - 1 votes at most, among saboteurs who agree."""
    votes = 2 * quorum - 1
    return sum(
        math.comb(votes, lies) * saboteurs**lies * (1 - saboteurs) ** (votes - lies)
        for lies in range(quorum, votes + 1)
    )


VOTES = [(0.2, 2, 0.104), (0.1, 2, 0.028), (0.05, 2, 0.00725), (0.2, 3, 0.05792), (0.35, 2, 0.28175), (0.5, 4, 0.5)]


@pytest.mark.parametrize(("saboteurs", "quorum", "error"), VOTES)
def test_majority_and_quorum_err_as_voting_does(saboteurs: float, quorum: int, error: float) -> None:
    """Over all orders in which saboteurs, who always lie and all alike, can be among those who are asked."""
    assert voting_error(saboteurs, quorum) == pytest.approx(error)
    majority = Majority(replicas=2 * quorum - 1, quorum=quorum)
    assert error_of(majority, saboteurs) == pytest.approx(error)
    assert error_of(Quorum(count=quorum), saboteurs) == pytest.approx(error)


def error_of(rule: VerificationRule, saboteurs: float) -> float:
    return sum(chance for chance, digest in outcomes(rule, saboteurs, []) if digest == LIE)


def outcomes(rule: VerificationRule, saboteurs: float, said: list[bytes]) -> Iterator[tuple[float, bytes]]:
    """Ask one worker after another until a digest wins."""
    found = rule.find([Ballot(digest=each) for each in said], outstanding=0, audited=False)
    if found.digest is not None:
        yield 1.0, found.digest
        return
    for chance, digest in ((saboteurs, LIE), (1 - saboteurs, TRUTH)):
        for rest, winner in outcomes(rule, saboteurs, [*said, digest]):
            yield chance * rest, winner


def test_the_bound_on_votings_error_holds() -> None:
    """(4 f (1 - f)) ** m / (2 (1 - 2 f) sqrt(pi (m - 1))), for f < 1/2 and m > 1."""
    for saboteurs, quorum in itertools.product((0.05, 0.1, 0.2, 0.35), (2, 3, 4)):
        bound = (4 * saboteurs * (1 - saboteurs)) ** quorum / (
            2 * (1 - 2 * saboteurs) * math.sqrt(math.pi * (quorum - 1))
        )
        assert error_of(Quorum(count=quorum), saboteurs) <= bound


def test_the_rival_that_votes_errs_as_voting_does() -> None:
    people = Population(Scenario(name="test", workers=1000, saboteurs=0.2), Random(1), salt=1)
    voting, tasks = Voting(), 4000
    wrong = sum(voting.settle(people, task).answer != 0 for task in range(tasks))
    assert wrong / tasks == pytest.approx(0.104, abs=4 * math.sqrt(0.104 * 0.896 / tasks))


# --- Sarmenta 2002, section 4: spot-checking with blacklisting ------------------------------------------------------


def spot_checked_error(rate: float, works: int, saboteurs: float, lying: float) -> float:
    """The share of wrong results among those that were not thrown away with their worker, when a batch ends."""
    survive = (1 - rate * lying) ** works
    return lying * saboteurs * survive / (1 - saboteurs + saboteurs * survive)


@pytest.mark.parametrize(("rate", "works"), [(0.1, 10), (0.1, 100), (0.2, 50), (1.0, 1), (1.0, 20)])
def test_spot_checking_errs_most_where_lies_are_few(rate: float, works: int) -> None:
    """Its maximum over all rates of lying is f / ((1 - f) q n e) at most, near s = 1 / (q n)."""
    bound = SABOTEURS / ((1 - SABOTEURS) * rate * works * math.e)
    errors = {step / 1000: spot_checked_error(rate, works, SABOTEURS, step / 1000) for step in range(1, 1001)}
    assert max(errors.values()) <= bound
    assert 0.5 <= max(errors, key=errors.__getitem__) * (rate * works + 1) <= 2


@pytest.mark.parametrize("checks", [1, 2, 5, 9])
@pytest.mark.parametrize("lying", [0.1, 0.3, 1.0])
def test_the_doubt_about_a_worker_is_at_least_what_spot_checks_leave(checks: int, lying: float) -> None:
    """A worker that was right in n tasks passed n checks, each task having been one."""
    ours = error_bound([Trust(agreed=checks, recent=checks)])
    assert spot_checked_error(1.0, checks, SABOTEURS, lying) <= ours / (1 - ours)


def test_of_an_unknown_worker_both_say_the_same() -> None:
    assert spot_checked_error(1.0, 0, SABOTEURS, 1.0) == SABOTEURS
    assert error_bound([Trust()]) == pytest.approx(SABOTEURS)
    assert pytest.approx(SABOTEURS / (1 - SABOTEURS)) == ODDS


# --- BOINC ----------------------------------------------------------------------------------------------------------


class Falling:
    """Dice that fall so."""

    def __init__(self, value: float) -> None:
        self._value = value

    def random(self) -> float:
        return self._value

    def randrange(self, stop: int, /) -> int:
        raise AssertionError(stop)


@pytest.mark.parametrize(("consecutive", "trusted"), [(0, 0.0), (9, 0.0), (10, 0.9), (20, 0.95), (100, 0.99)])
def test_boincs_rule_as_its_documentation_has_it(consecutive: int, trusted: float) -> None:
    """Below ten valid results in a row a host is not trusted; from then on with a probability of 1 - 1 / CV."""
    steps = 10_000
    times = sum(Boinc(dice=Falling((step + 0.5) / steps)).trusts(consecutive) for step in range(steps))
    assert times / steps == pytest.approx(trusted)


# --- iExec's PoCo ---------------------------------------------------------------------------------------------------


def test_the_weight_of_a_contribution_without_history_is_that_of_pocos_own_tests() -> None:
    """They expect 1, being the binary logarithm that the contract keeps."""
    assert math.log2(poco_weight(0)) == 1


@pytest.mark.parametrize(("trust", "newcomers"), [(1, 1), (2, 1), (3, 2), (5, 3), (10, 4), (100, 7), (1000, 10)])
def test_how_many_newcomers_are_consensus(trust: int, newcomers: int) -> None:
    """2 ** n > trust - 1, by the contract's formula; in its own tests one is not enough at a trust of 3."""
    fewest = next(n for n in itertools.count(1) if poco_consensus({0: poco_weight(0) ** n}, 0, trust))
    assert fewest == newcomers
