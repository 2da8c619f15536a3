from __future__ import annotations

import pytest

from ec262.domain.verification.credibility import Trust
from ec262.domain.verification.rules import (
    MAX_REPLICAS,
    Ballot,
    Credibility,
    Finding,
    Majority,
    Quorum,
    VerificationRule,
    parse_rule,
)
from tests.discovery_town import digest

KNOWN = Trust(agreed=200.0, recent=200.0)
NEW = Trust()


def ballots(*said: str | tuple[str, Trust]) -> list[Ballot]:
    pairs = [(each, NEW) if isinstance(each, str) else each for each in said]
    return [Ballot(digest=digest(text), trust=trust) for text, trust in pairs]


def found(
    rule: VerificationRule, *said: str | tuple[str, Trust], outstanding: int = 0, audited: bool = False
) -> Finding:
    return rule.find(ballots(*said), outstanding=outstanding, audited=audited)


# --- majority and quorum --------------------------------------------------------------------------------------------


def test_two_of_three_is_the_rule_of_2012() -> None:
    rule = Majority()
    assert (rule.replicas, rule.quorum, rule.spec, rule.team()) == (3, 2, "majority:3:2", 3)
    assert not rule.weighs_trust
    assert [rule.enough(equal) for equal in (1, 2, 3)] == [False, True, True]
    assert found(rule) == Finding()
    assert found(rule, "a").digest is None
    assert found(rule, "a", "b").digest is None
    assert found(rule, "a", "b", "a").digest == digest("a")


def test_a_majority_asks_for_no_more_workers_and_is_never_a_lone_win() -> None:
    for said in ([], ["a"], ["a", "b", "c"], ["a", "b", "a"]):
        finding = found(Majority(), *said)
        assert (finding.wanted, finding.alone) == (0, False)


@pytest.mark.parametrize(("replicas", "quorum"), [(3, 1), (3, 4), (2, 1), (4, 2), (3, 0), (3, -2), (0, 0), (16, 9)])
def test_a_quorum_is_more_than_half_and_no_more_than_all(replicas: int, quorum: int) -> None:
    with pytest.raises(ValueError, match=r"majority|replicas"):
        Majority(replicas=replicas, quorum=quorum)


def test_a_quorum_buys_one_more_as_long_as_workers_differ() -> None:
    rule = Quorum(count=2)
    assert (rule.spec, rule.team(), rule.weighs_trust) == ("quorum:2", 2, False)
    assert [rule.enough(equal) for equal in (1, 2)] == [False, True]
    assert found(rule, "a", outstanding=1).wanted == 0
    assert found(rule, "a").wanted == 1
    assert found(rule).wanted == 2
    assert found(rule, "a", "b").wanted == 1
    assert found(rule, "a", "b", outstanding=1).wanted == 0
    finding = found(rule, "a", "b", "b")
    assert (finding.digest, finding.alone, finding.wanted) == (digest("b"), False, 0)
    assert finding.confidence == pytest.approx(16 / 21)


def test_one_of_one_is_not_a_provisional_win() -> None:
    """The embedded system's: there is nobody to doubt."""
    rule = parse_rule("none")
    assert (rule, rule.team()) == (Quorum(count=1), 1)
    finding = found(rule, "a")
    assert (finding.digest, finding.alone) == (digest("a"), False)
    assert finding.confidence == pytest.approx(0.8)


# --- credibility ----------------------------------------------------------------------------------------------------


def test_an_error_is_between_what_can_be_estimated_and_what_makes_sense() -> None:
    for error in (0.2, 1e-10, 0.0, -1.0):
        with pytest.raises(ValueError, match="error"):
            Credibility(error=error)


@pytest.mark.parametrize(("error", "team"), [(0.1, 2), (1e-2, 4), (1e-4, 7), (1e-5, 9)])
def test_no_known_worker_is_drawn_into_a_team_that_suffices_if_it_agrees(error: float, team: int) -> None:
    rule = Credibility(error=error)
    assert rule.team() == team
    assert found(rule, *["a"] * team).digest == digest("a")
    assert found(rule, *["a"] * (team - 1)).digest is None
    assert found(rule, *["a"] * (team - 1)).wanted == 1


def test_a_known_worker_decides_alone() -> None:
    rule = Credibility(error=1e-4)
    assert rule.weighs_trust
    assert rule.team(KNOWN) == 1
    finding = found(rule, ("a", KNOWN))
    assert (finding.digest, finding.alone, finding.wanted) == (digest("a"), True, 0)
    assert finding.confidence >= 1 - 1e-4
    assert [rule.enough(equal) for equal in (1, 2)] == [False, True]


def test_an_audited_task_is_not_decided_by_one_worker_alone() -> None:
    rule = Credibility(error=1e-4)
    assert found(rule, ("a", KNOWN), audited=True).digest is None
    assert found(rule, ("a", KNOWN), audited=True).wanted == 1
    assert found(rule, ("a", KNOWN), audited=True, outstanding=1).wanted == 0
    both = found(rule, ("a", KNOWN), "a", audited=True)
    assert (both.digest, both.alone) == (digest("a"), False)


def test_after_an_alarm_one_commitment_does_not_suffice_until_it_was_right_again() -> None:
    rule = Credibility(error=1e-4)
    before_the_alarm = Trust(agreed=200.0, recent=9.9)
    assert rule.team(before_the_alarm) == 2
    assert found(rule, ("a", before_the_alarm)).wanted == 1
    assert found(rule, ("a", before_the_alarm), "a").digest == digest("a")
    assert rule.team(Trust(agreed=200.0, recent=10.0)) == 1


@pytest.mark.parametrize("audited", [False, True])
def test_no_worker_however_well_known_suffices_alone_against_a_contradiction(*, audited: bool) -> None:
    """A sleeper that lies at last would else have those punished who check it."""
    rule = Credibility(error=1e-4)
    contradicted = found(rule, ("a", KNOWN), "b", audited=audited)
    assert (contradicted.digest, contradicted.wanted) == (None, 1)
    assert found(rule, ("a", KNOWN), "b", ("b", KNOWN), audited=audited).wanted == 1
    assert found(rule, ("a", KNOWN), "b", ("b", KNOWN), ("b", KNOWN), audited=audited).digest == digest("b")
    assert found(rule, ("a", KNOWN), "b", ("a", KNOWN), audited=audited).digest == digest("a")


def test_as_long_as_others_may_commit_fewer_are_wanted() -> None:
    rule = Credibility(error=1e-4)
    assert found(rule).wanted == 1
    assert found(rule, outstanding=7).wanted == 0
    assert found(rule, "a", outstanding=6).wanted == 0
    assert found(rule, "a", outstanding=4).wanted == 2
    assert found(rule, "a", "b", outstanding=0).wanted == 7


def test_a_task_always_has_room_for_a_decision() -> None:
    """Fourteen who all say something else, and the least error: those who are wanted then are few enough."""
    assert found(Credibility(error=1e-9), *"abcdefghijklmn").wanted <= MAX_REPLICAS - 14


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("majority:1", Majority(replicas=1, quorum=1)),
        ("majority:2", Majority(replicas=2, quorum=2)),
        ("majority:3", Majority(replicas=3, quorum=2)),
        ("majority:5:4", Majority(replicas=5, quorum=4)),
        ("majority:15", Majority(replicas=15, quorum=8)),
        ("quorum:2", Quorum(count=2)),
        ("error:1e-4", Credibility(error=1e-4)),
        ("error:0.05", Credibility(error=0.05)),
        ("none", Quorum(count=1)),
    ],
)
def test_a_rule_is_read_from_text(spec: str, rule: VerificationRule) -> None:
    assert parse_rule(spec) == rule
    assert parse_rule(rule.spec) == rule


@pytest.mark.parametrize(
    "spec",
    [
        *["", "majority", "majority:", "majority:3:", "majority:3:2 ", "majority:-3", "quorum:", "quorum:0"],
        *["quorum:16", "error:", "error:1", "error:1e-99", "error:1.2.3", "error:nan", "nothing"],
    ],
)
def test_other_texts_are_not_rules(spec: str) -> None:
    with pytest.raises(ValueError, match=r"use majority|must be"):
        parse_rule(spec)
