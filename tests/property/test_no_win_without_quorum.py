from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.verification import MAX_REPLICAS, Majority, parse_rule

rules = st.integers(1, MAX_REPLICAS).flatmap(
    lambda replicas: st.integers(replicas // 2 + 1, replicas).map(
        lambda quorum: Majority(replicas=replicas, quorum=quorum)
    )
)
digests = st.sampled_from([b"a", b"b", b"c"])
rules_and_digests = rules.flatmap(
    lambda rule: st.tuples(st.just(rule), st.lists(digests, max_size=rule.replicas)),
)


@given(rules_and_digests)
def test_a_digest_wins_exactly_if_a_quorum_committed_it(case: tuple[Majority, list[bytes]]) -> None:
    rule, committed = case
    assert rule.quorum > rule.replicas / 2
    reached = [digest for digest in set(committed) if committed.count(digest) >= rule.quorum]
    assert rule.verdict(committed) == (reached[0] if reached else None)
    assert len(reached) <= 1


@given(rules_and_digests)
def test_a_win_is_never_taken_back(case: tuple[Majority, list[bytes]]) -> None:
    rule, committed = case
    verdicts = [rule.verdict(committed[:count]) for count in range(len(committed) + 1)]
    winners = list(dict.fromkeys(verdict for verdict in verdicts if verdict is not None))
    assert len(winners) <= 1
    assert not winners or verdicts[-1] == winners[0]


@given(rules_and_digests, st.integers(0, 4))
def test_a_task_is_winnable_exactly_if_some_further_commitments_win(
    case: tuple[Majority, list[bytes]], outstanding: int
) -> None:
    rule, committed = case
    ahead = itertools.product([b"a", b"b", b"c"], repeat=outstanding)
    assert rule.winnable(committed, outstanding) == any(rule.verdict([*committed, *more]) for more in ahead)


@given(rules)
def test_a_rule_is_read_from_its_text(rule: Majority) -> None:
    assert parse_rule(rule.spec) == rule
