from __future__ import annotations

import pytest

from ec262.domain.verification import Majority, parse_rule


def test_two_of_three_is_the_rule_of_2012() -> None:
    rule = Majority()
    assert (rule.replicas, rule.quorum, rule.spec) == (3, 2, "majority:3:2")
    assert rule.verdict([]) is None
    assert rule.verdict([b"a"]) is None
    assert rule.verdict([b"a", b"b"]) is None
    assert rule.verdict([b"a", b"b", b"a"]) == b"a"
    assert rule.winnable([b"a", b"b"], 1)
    assert not rule.winnable([b"a", b"b", b"c"], 0)
    assert not rule.winnable([], 1)


@pytest.mark.parametrize(("replicas", "quorum"), [(3, 1), (3, 4), (2, 1), (4, 2), (3, 0), (3, -2), (0, 0), (16, 9)])
def test_a_quorum_is_more_than_half_and_no_more_than_all(replicas: int, quorum: int) -> None:
    with pytest.raises(ValueError, match=r"majority|replicas"):
        Majority(replicas=replicas, quorum=quorum)


@pytest.mark.parametrize(
    ("spec", "replicas", "quorum"),
    [("majority:1", 1, 1), ("majority:2", 2, 2), ("majority:3", 3, 2), ("majority:5:4", 5, 4), ("majority:15", 15, 8)],
)
def test_a_rule_is_read_from_text(spec: str, replicas: int, quorum: int) -> None:
    rule = parse_rule(spec)
    assert rule == Majority(replicas=replicas, quorum=quorum)
    assert parse_rule(rule.spec) == rule


@pytest.mark.parametrize(
    "spec", ["", "majority", "majority:", "majority:3:", "majority:3:2 ", "quorum:2", "majority:-3"]
)
def test_another_text_is_no_rule(spec: str) -> None:
    with pytest.raises(ValueError, match="expected majority"):
        parse_rule(spec)
