from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ec262.domain.verification.rules import Ballot, Finding, Majority, Quorum, VerificationRule, parse_rule

majorities = st.integers(1, 15).flatmap(
    lambda replicas: st.integers(replicas // 2 + 1, replicas).map(
        lambda quorum: Majority(replicas=replicas, quorum=quorum)
    )
)
quorums = st.integers(1, 15).map(lambda count: Quorum(count=count))
digests = st.sampled_from([b"a", b"b", b"c"])
majorities_and_digests = majorities.flatmap(
    lambda rule: st.tuples(st.just(rule), st.lists(digests, max_size=rule.replicas)),
)
quorums_and_digests = quorums.flatmap(lambda rule: st.tuples(st.just(rule), st.lists(digests, max_size=31)))


def find(rule: VerificationRule, committed: list[bytes], *, outstanding: int = 0) -> Finding:
    return rule.find([Ballot(digest=digest) for digest in committed], outstanding=outstanding, audited=False)


@given(majorities_and_digests)
def test_a_digest_wins_exactly_if_a_quorum_committed_it(case: tuple[Majority, list[bytes]]) -> None:
    rule, committed = case
    assert rule.quorum > rule.replicas / 2
    reached = [digest for digest in set(committed) if committed.count(digest) >= rule.quorum]
    assert find(rule, committed).digest == (reached[0] if reached else None)
    assert len(reached) <= 1


@given(majorities_and_digests)
def test_a_win_is_never_taken_back(case: tuple[Majority, list[bytes]]) -> None:
    rule, committed = case
    found = [find(rule, committed[:count]).digest for count in range(len(committed) + 1)]
    winners = list(dict.fromkeys(digest for digest in found if digest is not None))
    assert len(winners) <= 1
    assert not winners or found[-1] == winners[0]


@given(majorities_and_digests | quorums_and_digests, st.integers(0, 15))
def test_equal_digests_win_exactly_if_they_are_enough(case: tuple[VerificationRule, list[bytes]], count: int) -> None:
    rule, _ = case
    assert (find(rule, [b"a"] * count).digest is not None) == rule.enough(count)


@given(quorums_and_digests, st.integers(0, 4))
def test_a_quorum_wants_as_many_as_win_should_all_agree_with_the_best(
    case: tuple[Quorum, list[bytes]], outstanding: int
) -> None:
    rule, committed = case
    found = find(rule, committed, outstanding=outstanding)
    if found.digest is not None:
        assert committed.count(found.digest) >= rule.count
        assert found.wanted == 0
        return
    best = max(b"abc", key=lambda digest: committed.count(bytes([digest])))
    ahead = [bytes([best])] * (outstanding + found.wanted)
    assert find(rule, [*committed, *ahead]).digest is not None
    assert found.wanted == 0 or find(rule, [*committed, *ahead[1:]]).digest is None


@given(majorities, st.integers(0, 3))
def test_a_majority_wants_no_more_than_it_was_bought_with(rule: Majority, outstanding: int) -> None:
    assert find(rule, [b"a"] * (rule.quorum - 1), outstanding=outstanding).wanted == 0


@given(majorities | quorums)
def test_a_rule_is_read_from_its_text(rule: VerificationRule) -> None:
    assert parse_rule(rule.spec) == rule
