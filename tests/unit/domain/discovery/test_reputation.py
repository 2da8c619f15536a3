from __future__ import annotations

from typing import Any

import attrs
import pytest

from ec262.domain.discovery.reputation import (
    ACCUSERS,
    ALARMING,
    FOREMAN_CAP,
    HALF_LIFE_S,
    PROBATION_S,
    Evidence,
    Lesson,
    Record,
    Reputation,
    lessons,
    news,
    trust_now,
)
from ec262.domain.discovery.tasks import Task, accept, commit, dispute, expire, fetch, give_up
from ec262.domain.verification.credibility import NOTHING_KNOWN, Trust
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.digests import adjudicated_digest
from tests.discovery_town import digest, runtime
from tests.task_cases import DEADLINE, EARLY, after, open_task

NOW = 1e9
OPEN = Evidence(weight=1.0, accuser="boss")
"""What comes of a draw that nobody could steer, among strangers."""
KNOWN = Trust(agreed=200.0, recent=200.0)


def record(**general: Any) -> Record:
    new = Record.new("w0", runtime(), "boss")
    return attrs.evolve(new, general=attrs.evolve(new.general, as_of=NOW, **general)).aged(NOW, 0.0)


def taught(given: Record, lesson: Lesson, times: int = 1, evidence: Evidence = OPEN) -> Record:
    for _ in range(times):
        given = given.taught(lesson, NOW, evidence=evidence)
    return given


# --- reputations and records ------------------------------------------------------------------------------------------


def test_newcomers_start_without() -> None:
    new = Record.new("w0", runtime(), "boss").aged(NOW, 0.0)
    assert new.trust == NOTHING_KNOWN == trust_now(None, None, NOW, 0.0)
    assert not new.general.on_probation(NOW)


def test_right_results_of_long_ago_count_less() -> None:
    known = taught(record(agreed=8.0), Lesson.AGREED, 4)
    later = known.aged(NOW + HALF_LIFE_S, 0.0)
    assert (later.general.agreed, later.own.recent, later.own.contributed) == (6.0, 2.0, 2.0)
    assert later.general.as_of == later.own.as_of == NOW + HALF_LIFE_S
    assert later.aged(NOW, 0.0) == later, "the clock was set back"


def test_after_an_alarm_nothing_is_recent_any_more() -> None:
    known = taught(record(agreed=8.0), Lesson.AGREED, 3)
    assert known.trust == Trust(agreed=11.0, recent=11.0)
    assert known.aged(NOW, 5.0).trust == Trust(agreed=11.0, recent=0.0)
    assert known.aged(NOW, 5.0).aged(NOW, 5.0).taught(Lesson.AGREED, NOW).trust == Trust(agreed=12.0, recent=1.0)
    above_the_cap = taught(known.aged(NOW, 5.0), Lesson.AGREED, 30)
    assert above_the_cap.trust == Trust(agreed=41.0, recent=30.0)
    assert taught(known.aged(NOW, 5.0), Lesson.AGREED).aged(NOW, 0.0).trust.recent == 12.0, "the alarm is over"


def test_a_foremans_contribution_to_reputation_is_capped() -> None:
    after_many = taught(record(), Lesson.AGREED, 30)
    assert after_many.general.agreed == after_many.own.contributed == FOREMAN_CAP
    assert after_many.own.agreed == 30 - FOREMAN_CAP
    assert after_many.trust == Trust(agreed=30.0, recent=30.0)
    others = Record(general=after_many.general, own=Record.new("w0", runtime(), "other").own)
    assert others.trust.agreed == FOREMAN_CAP


def test_audits_and_misses_are_counted() -> None:
    known = taught(taught(record(), Lesson.AUDITED, 2), Lesson.MISSED)
    assert (known.general.audited, known.general.missed, known.general.dissented) == (2, 1, 0)
    assert known.trust.agreed == 2


def test_one_lie_resets_it() -> None:
    liar = taught(taught(record(), Lesson.AGREED, 25), Lesson.DISSENTED)
    assert liar.trust == NOTHING_KNOWN
    assert (liar.own.agreed, liar.own.caught_at, liar.general.dissented) == (0.0, NOW, 1)
    assert liar.own.on_probation(NOW + PROBATION_S - 1)
    assert not liar.own.on_probation(NOW + PROBATION_S)
    assert trust_now(liar.general, liar.own, NOW, 0.0) == NOTHING_KNOWN
    assert taught(liar, Lesson.AGREED, 4).trust.agreed == 4.0, "by the foreman's own tasks since"
    assert liar.own.contributed == FOREMAN_CAP, "who accuses does not get to vouch for more"


def accused(given: Record, *accusers: str, at: float = NOW) -> Record:
    for name in accusers:
        own = Record.new("w0", runtime(), name).own
        given = Record(general=given.general, own=own).taught(Lesson.DISSENTED, at, evidence=Evidence(accuser=name))
    return given


def test_everybody_goes_by_a_dissent_only_if_several_foremen_accuse() -> None:
    suspect = accused(record(agreed=9.0), *[f"boss{number}" for number in range(ACCUSERS - 1)])
    assert (suspect.general.caught_at, suspect.general.agreed) == (None, 9.0)
    assert accused(suspect, "boss0", "boss1").general.caught_at is None, "they have said so already"
    steered = suspect.taught(Lesson.DISSENTED, NOW)
    assert steered.general.caught_at is None, "it was for the foreman alone"
    late = accused(suspect, "another", at=NOW + PROBATION_S)
    assert late.general.caught_at is None, "the others have spoken too long ago"
    convicted = accused(suspect, "another").general
    assert (convicted.caught_at, convicted.agreed, convicted.accusers) == (NOW, 0.0, ())


def test_the_more_is_known_of_a_worker_the_more_foremen_have_to_accuse_it() -> None:
    bosses = [f"boss{number}" for number in range(21)]
    assert accused(record(agreed=200.0), *bosses[:20]).general.caught_at is None
    assert accused(record(agreed=200.0), *bosses).general.caught_at == NOW


def test_agreement_counts_for_everybody_by_its_weight_and_for_its_foreman_wholly() -> None:
    known = taught(record(), Lesson.AGREED, 4, Evidence(weight=0.25, partners=("tag",)))
    assert (known.general.agreed, known.own.contributed, known.trust.agreed) == (1.0, 1.0, 4.0)
    assert known.general.partners == ("tag",) * 4
    steered = taught(known, Lesson.AGREED, 4, Evidence(partners=("tag",)))
    assert (steered.general, steered.trust.agreed) == (known.general, 8.0)
    assert len(taught(known, Lesson.AGREED, 20, Evidence(weight=0.01, partners=("tag",))).general.partners) == 16


def test_a_lie_voids_what_other_foremen_knew() -> None:
    other = taught(record(), Lesson.AGREED, 30)
    general = attrs.evolve(other.general, agreed=0.0, caught_at=NOW)
    voided = Record(general=general, own=other.own)
    assert voided.aged(NOW + 1, 0.0).trust == NOTHING_KNOWN == trust_now(general, other.own, NOW + 1, 0.0)
    assert voided.aged(NOW + 1, 0.0).own.contributed == 0.0
    since = Record(general=general, own=attrs.evolve(other.own, as_of=NOW + 1))
    assert since.aged(NOW + 1, 0.0).trust.agreed == 10.0


@pytest.mark.parametrize(("agreed", "alarmed_at"), [(ALARMING, NOW), (ALARMING - 1, 3.0)])
def test_the_lie_of_one_that_was_known_well_raises_an_alarm(agreed: float, alarmed_at: float) -> None:
    """For the foreman whose task it was, and for nobody else."""
    known = record(agreed=agreed)
    liar = taught(attrs.evolve(known, own=attrs.evolve(known.own, alarmed_at=3.0)), Lesson.DISSENTED)
    assert liar.own.alarmed_at == alarmed_at
    assert liar.general.alarmed_at is None


@pytest.mark.parametrize("alarm", [0.0, 5.0])
@pytest.mark.parametrize("caught_at", [None, 1.0, NOW + 5])
@pytest.mark.parametrize("later_s", [0.0, HALF_LIFE_S / 3])
def test_the_short_way_to_trust_leads_to_the_same(alarm: float, caught_at: float | None, later_s: float) -> None:
    known = taught(record(), Lesson.AGREED, 30)
    general = attrs.evolve(known.general, caught_at=caught_at)
    aged = Record(general=general, own=known.own).aged(NOW + later_s, alarm).trust
    assert attrs.astuple(trust_now(general, known.own, NOW + later_s, alarm)) == pytest.approx(attrs.astuple(aged))


# --- lessons --------------------------------------------------------------------------------------------------------


def shown(before: Task, then: Task, **trusts: Trust) -> dict[str, Lesson]:
    known = {each.worker: NOTHING_KNOWN for each in then.replicas} | trusts
    told = lessons(before, then, known)
    assert len(dict(told)) == len(told)
    return dict(told)


def test_a_win_shows_who_agreed_and_who_did_not() -> None:
    task = open_task(replicas=5, rule="majority:5")
    before = after(task, ("w0", "a"), ("w1", "b"), ("w2", "a"))
    won = after(before, ("w3", "a"))
    assert won.state is TaskState.WON
    assert shown(before, won, w0=KNOWN) == {
        "w0": Lesson.AGREED,
        "w1": Lesson.DISSENTED,
        "w2": Lesson.AGREED,
        "w3": Lesson.AGREED,
    }


def test_where_there_are_anchors_an_agreement_shows_something_only_beside_the_established() -> None:
    before = after(open_task(), ("w0", "a"))
    won = after(before, ("w1", "a"))
    known = {"w0": Trust(agreed=60.0, recent=60.0), "w1": NOTHING_KNOWN, "w2": NOTHING_KNOWN}
    assert lessons(before, won, known, anchored=True) == [("w1", Lesson.AGREED)]
    assert len(lessons(before, won, known)) == 2
    strangers = dict.fromkeys(known, Trust(agreed=9.0, recent=9.0))
    assert lessons(before, won, strangers, anchored=True) == []
    assert len(lessons(before, won, strangers)) == 2


def test_progress_after_the_win_is_shown_once() -> None:
    won = after(open_task(), ("w0", "a"), ("w1", "a"))
    late = after(won, ("w2", "b"))
    assert shown(won, late, w0=KNOWN) == {"w2": Lesson.DISSENTED}
    assert shown(late, late, w0=KNOWN) == {}


def test_two_unknown_workers_do_not_prove_that_a_third_lied() -> None:
    """An owner of many names would else take an honest worker's reputation by a task of its own."""
    before = after(open_task(), ("w0", "honest"), ("w1", "lie"))
    won = after(before, ("w2", "lie"))
    assert won.digest == digest("lie")
    assert shown(before, won) == {}
    assert shown(before, won, w0=KNOWN) == {}
    assert shown(before, won, w1=KNOWN, w2=KNOWN)["w0"] is Lesson.DISSENTED


def test_the_win_of_one_alone_shows_nothing() -> None:
    won = after(open_task(replicas=1, rule="none"), ("w0", "a"))
    assert shown(open_task(replicas=1, rule="none"), won, w0=KNOWN) == {}


def test_a_check_that_was_drawn_is_shown_of_the_first() -> None:
    task = attrs.evolve(open_task(replicas=2, rule="error:1e-4"), audited=True)
    first, _ = commit(task, worker="w0", digest=digest("a"), now=EARLY, trust=KNOWN)
    assert first.state is TaskState.OPEN
    won, _ = commit(first, worker="w1", digest=digest("a"), now=EARLY, trust=KNOWN)
    assert shown(first, won) == {"w0": Lesson.AUDITED, "w1": Lesson.AGREED}


def test_a_provisional_win_shows_nothing_and_its_confirmation_both() -> None:
    task = open_task(replicas=2, rule="error:1e-4")
    lone, _ = commit(task, worker="w0", digest=digest("a"), now=EARLY, trust=KNOWN)
    assert lone.state is TaskState.PROVISIONAL
    assert shown(task, lone) == {}
    accepted, _ = accept(lone, now=EARLY)
    assert shown(lone, accepted) == {}
    confirmed, _ = commit(lone, worker="w1", digest=digest("a"), now=EARLY)
    assert shown(lone, confirmed) == {"w0": Lesson.AGREED, "w1": Lesson.AGREED}


@pytest.mark.parametrize("contradicted", [False, True])
def test_the_confirmation_of_an_accepted_win_shows_both_once(contradicted: bool) -> None:  # noqa: FBT001 - a case
    task = open_task(replicas=4, rule="error:1e-4")
    lone, _ = commit(task, worker="w0", digest=digest("a"), now=EARLY, trust=KNOWN)
    won, _ = accept(lone, now=EARLY)
    if contradicted:
        before, won = won, after(won, ("w1", "b"))
        assert shown(before, won) == {"w1": Lesson.DISSENTED}
    confirmed = after(won, ("w2", "a"))
    assert shown(won, confirmed) == {"w0": Lesson.AGREED, "w2": Lesson.AGREED}
    assert shown(confirmed, after(confirmed, ("w3", "a"))) == {"w3": Lesson.AGREED}


def test_silence_about_an_announced_task_counts_and_giving_up_does_not() -> None:
    before = give_up(fetch(fetch(after(open_task(replicas=4), ("w0", "a")), worker="w1"), worker="w2"), worker="w1")
    over, _ = expire(before, now=DEADLINE)
    assert shown(before, over) == {"w2": Lesson.MISSED}
    won = fetch(after(open_task(replicas=4), ("w0", "a"), ("w1", "a")), worker="w2")
    settled, _ = expire(won, now=DEADLINE)
    assert shown(won, settled) == {"w2": Lesson.MISSED}
    assert news(settled, settled) == ()


def test_a_dispute_changes_nobodys_credibility() -> None:
    lost = after(open_task(), ("w0", "a"), ("w1", "b"), ("w2", "c"))
    assert shown(lost, dispute(lost, now=EARLY)[0]) == {}


def test_reputations_say_whose_they_are() -> None:
    assert Reputation(worker="w0", runtime=runtime()).foreman == ""


def stop(task: Task, worker: str) -> Task:
    """The task after a worker's commitment that it hit its memory limit."""
    stopped = adjudicated_digest(digest("memory"), stopped=True)
    return commit(task, worker=worker, digest=stopped, stopped=True, now=EARLY)[0]


def test_hitting_a_limit_that_others_do_not_is_not_a_lie() -> None:
    before = after(stop(open_task(), "w0"), ("w1", "a"))
    won = after(before, ("w2", "a"))
    assert shown(before, won, w1=KNOWN) == {"w0": Lesson.MISSED, "w1": Lesson.AGREED, "w2": Lesson.AGREED}


def test_a_limit_that_won_shows_nothing_of_anybody() -> None:
    before = after(stop(open_task(), "w0"), ("w1", "a"))
    won = stop(before, "w2")
    assert won.state is TaskState.WON
    assert shown(before, won, w0=KNOWN, w2=KNOWN) == {}


def test_a_lie_that_is_called_a_limit_agrees_with_no_lie_that_is_not() -> None:
    lie = digest("lie")
    task = after(open_task(), ("w0", "lie"))
    task, _ = commit(task, worker="w1", digest=adjudicated_digest(lie, stopped=True), stopped=True, now=EARLY)
    assert task.state is TaskState.OPEN
