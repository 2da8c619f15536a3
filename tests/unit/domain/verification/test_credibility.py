"""What is estimated of workers, beside the published formulas."""

from __future__ import annotations

import math

import pytest

from ec262.domain.verification.credibility import (
    LEAST_RATE,
    MOST_AGREED,
    SABOTEURS,
    Trust,
    agreed_alone,
    alone_suffices,
    confidences,
    error_bound,
    weight,
)

ODDS = SABOTEURS / (1 - SABOTEURS)


def known(agreed: float) -> Trust:
    return Trust(agreed=agreed, recent=agreed)


# --- Sarmenta 2002 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 9])
def test_of_workers_not_known_the_credibility_of_a_group_is_sarmentas(workers: int) -> None:
    """His CrG of one group is prod(p) / (prod(p) + prod(1 - p)), for p = CrP = 1 - f: 0.8, 0.941, 0.985, ..."""
    published = (1 - SABOTEURS) ** workers / ((1 - SABOTEURS) ** workers + SABOTEURS**workers)
    assert confidences({"a": [Trust()] * workers})["a"] == pytest.approx(published)
    assert 1 - error_bound([Trust()] * workers) == pytest.approx(published)


@pytest.mark.parametrize(("workers", "published"), [(1, 0.8), (2, 0.9412), (3, 0.9846), (4, 0.9961)])
def test_the_values_for_one_saboteur_in_five(workers: int, published: float) -> None:
    assert 1 - error_bound([Trust()] * workers) == pytest.approx(published, abs=5e-5)


def test_of_two_groups_of_newcomers_each_has_the_weight_of_the_other() -> None:
    """His CrG of several groups: P(Ga right) prod P(others wrong) over the sum of that for each and for none."""
    right, wrong = 1 - SABOTEURS, SABOTEURS
    a_right, b_right, none = right**2 * wrong, wrong**2 * right, wrong**2 * wrong
    chances = confidences({"a": [Trust()] * 2, "b": [Trust()]})
    assert chances["a"] == pytest.approx(a_right / (a_right + b_right + none))
    assert chances["b"] == pytest.approx(b_right / (a_right + b_right + none))
    assert sum(chances.values()) < 1


@pytest.mark.parametrize("checks", [1, 2, 5, 9])
def test_after_checks_it_is_his_bound_with_blacklisting_or_less(checks: int) -> None:
    """Passed ``k`` checks, wrong with odds of ODDS * s * (1 - s) ** k: his bound over all s is f / ((1 - f) k e), ours
    the maximum itself, as long as it is at a rate of lying of LEAST_RATE or more."""
    published = ODDS / (checks * math.e)
    exact = max(ODDS * rate * (1 - rate) ** checks for rate in (step / 1000 for step in range(1, 1001)))
    ours = error_bound([known(checks)])
    assert ours / (1 - ours) == pytest.approx(exact, rel=1e-3)
    assert ours / (1 - ours) <= published
    # Without blacklisting he has f / k, which is more by far.
    assert ours < SABOTEURS / checks


@pytest.mark.parametrize("checks", [20, 100, 200])
def test_rarer_lies_than_one_in_ten_are_left_to_audits(checks: int) -> None:
    """Here, and only here, it is more optimistic than his bound, which fears lies however rare."""
    ours = error_bound([known(checks)])
    assert ours / (1 - ours) == pytest.approx(ODDS * LEAST_RATE * (1 - LEAST_RATE) ** checks)
    assert ours < ODDS / (checks * math.e)


@pytest.mark.parametrize("workers", [2, 3, 5])
@pytest.mark.parametrize("checks", [0, 1, 3, 10, 40])
def test_for_those_who_may_collude_it_is_never_more_optimistic_than_the_product(workers: int, checks: int) -> None:
    """His product of credibilities takes workers to lie independently of each other."""
    alone = error_bound([known(checks)])
    product = alone**workers / (alone**workers + (1 - alone) ** workers)
    together = error_bound([known(checks)] * workers)
    assert together >= product * (1 - 1e-9)
    assert (together > 2 * product) == (checks > 0)


# --- the rest -------------------------------------------------------------------------------------------------------


def test_more_right_results_weigh_more_up_to_a_cap() -> None:
    weights = [weight([known(agreed)]) for agreed in (0, 1, 5, 50, MOST_AGREED)]
    assert weights == sorted(weights)
    assert weight([known(10 * MOST_AGREED)]) == weights[-1]
    assert all(weight([known(9), known(agreed)]) > weight([known(9)]) for agreed in (0, 1, 99))


def test_rivals_make_an_error_likelier() -> None:
    group = [known(5), known(5)]
    assert error_bound(group) < error_bound(group, [[Trust()]]) < error_bound(group, [[known(50)]])
    assert error_bound(group, [group]) > 0.5


def test_nothing_overflows() -> None:
    crowd = [known(MOST_AGREED)] * 31
    assert error_bound(crowd) == pytest.approx(0.0, abs=1e-12)
    assert 0 < error_bound([Trust()], [crowd]) <= 1
    assert confidences({}) == {}


@pytest.mark.parametrize("agreed", [5e-324, 1e-300, 1e-17, 1e-15])
def test_a_worker_last_right_long_ago_is_as_good_as_unknown(agreed: float) -> None:
    assert weight([known(agreed)]) == pytest.approx(weight([Trust()]))


def test_alone_suffices_who_was_right_since_the_last_alarm() -> None:
    assert alone_suffices(Trust(agreed=99.0, recent=10.0))
    assert not alone_suffices(Trust(agreed=99.0, recent=9.9))


@pytest.mark.parametrize("error", [0.1, 1e-2, 1e-4, 1e-5, 1e-9])
def test_one_commitment_suffices_after_enough_tasks(error: float) -> None:
    least = agreed_alone(error)
    counts = [least * share for share in (0.0, 0.5, 0.999, 1.0, 1.001, 1.5)]
    suffices = [error_bound([known(agreed)]) <= error for agreed in counts]
    assert suffices == [agreed >= least for agreed in counts]
    assert 0 < least < MOST_AGREED


def test_for_small_errors_no_worker_suffices_alone() -> None:
    assert agreed_alone(1e-15) == math.inf
