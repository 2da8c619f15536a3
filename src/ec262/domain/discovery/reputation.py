"""What discovery knows of a worker from settled tasks, never from what anybody claims.

It is kept for each worker and runtime class, in two records. All foremen go by the general one. Only tasks whose draw
the foreman could not steer teach it, an agreement counts for as much as the workers are independent of each other, and
what a single foreman's tasks contribute is capped. Everything else goes into a record of that foreman's own, which
counts in its own tasks alone.

A dissent binds the foreman in whose task it happened. To everybody else it is an accusation: the foreman chose the code
and sent the work, and could have made an honest worker dissent. Several unrelated foremen have to accuse a worker in
open draws before all of them go by it, the more of them the more is known of the worker (docs/adr/0087).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection, Mapping

import attrs

from ec262.domain.discovery.pool.steering import REMEMBERED
from ec262.domain.discovery.tasks import Replica, Task
from ec262.domain.verification.credibility import ESTABLISHED, NOTHING_KNOWN, Trust, confidences
from ec262.domain.verification.rules import parse_rule
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.runtime import RuntimeClass

EVERYBODY = ""
"""In the place of a foreman: the record that all foremen go by."""

NO_ALARM = 0.0
"""In the place of an alarm's time."""

HALF_LIFE_S = 30 * 24 * 3600.0
"""After so long, what a worker did is worth half."""

PROBATION_S = 30 * 24 * 3600.0
"""For so long after a lie a worker is drawn only where there is nobody else."""

FORGOTTEN_S = 20 * HALF_LIFE_S
"""A reputation to which nothing came for so long is forgotten: of a million tasks it would be worth one."""

FOREMAN_CAP = 20.0
"""Tasks that a single foreman can contribute to the general record, until they are old."""

ACCUSERS = 5
"""Foremen of different owners who have to accuse a worker before everybody goes by it, at least."""

WORTH_AN_ACCUSER = 10.0
"""For each so many tasks in which the worker was right, one more accuser is needed: it must take more foremen to undo a
worker's record than to make it."""

SURE = 0.9
"""The confidence in a verdict from which it says something about those who took part."""

ALARMING = 30.0
"""A worker that was right so often and then lies raises an alarm for the foreman whose task it was: others may have
waited for their time, too. For that foreman alone, or accomplices could raise it for everybody (docs/adr/0065)."""

ALARM_S = PROBATION_S
"""So long does an alarm stand."""


class Lesson(enum.Enum):
    """What a task shows of a worker."""

    AGREED = "won alongside others"
    AUDITED = "won alongside others that were drawn to check it"
    DISSENTED = "committed something other than the winning result"
    MISSED = "committed no result before the deadline, although others did or could have"


@attrs.frozen(kw_only=True)
class Reputation:
    """``agreed`` tasks, worth what they are worth at ``as_of`` (Unix seconds); ``caught_at`` is the time of the last
    lie that this record's readers go by.

    Of a foreman's record alone: ``contributed`` is what its tasks brought the general record; in ``recent`` of its
    tasks, wherever they count, the worker was right since the alarm that was the last one then, at ``alarm``;
    ``alarmed_at`` is the time of the last lie that raised an alarm. Of the general record alone: plain counts, which
    bind nobody; ``partners``, the tags of those with whom the worker agreed last; and ``accusers``, the tags of the
    owners of foremen in whose tasks it dissented, each with the time."""

    worker: str
    runtime: RuntimeClass
    foreman: str = EVERYBODY
    agreed: float = 0.0
    recent: float = 0.0
    alarm: float = NO_ALARM
    contributed: float = 0.0
    as_of: float = 0.0
    dissented: int = 0
    missed: int = 0
    audited: int = 0
    caught_at: float | None = None
    alarmed_at: float | None = None
    partners: tuple[str, ...] = ()
    accusers: tuple[tuple[str, float], ...] = ()

    def on_probation(self, now: float) -> bool:
        """Tell whether it lied not long ago."""
        return self.caught_at is not None and now < self.caught_at + PROBATION_S

    def worth(self, now: float) -> float:
        """Return what a task is worth now that was worth 1 when this was written."""
        age_s = now - self.as_of
        return math.exp2(-age_s / HALF_LIFE_S) if age_s > 0 else 1.0

    def aged(self, now: float, alarm: float) -> Reputation:
        """Return it as it is now: older tasks count for less, those before an alarm do not count as recent."""
        worth = self.worth(now)
        return attrs.evolve(
            self,
            agreed=self.agreed * worth,
            recent=self.recent * worth if self.alarm == alarm else 0.0,
            contributed=self.contributed * worth,
            alarm=alarm,
            as_of=max(now, self.as_of),
        )


@attrs.frozen(kw_only=True)
class Evidence:
    """What makes a lesson count for everybody: the ``weight`` of an agreement, from 0 to 1, with partners of these
    tags; or the tag of the ``accuser`` in whose task a worker dissented. Without either it is the foreman's own."""

    weight: float = 0.0
    partners: tuple[str, ...] = ()
    accuser: str = ""


OWN_ALONE = Evidence()


@attrs.frozen(kw_only=True)
class Record:
    """What is known of a worker where one foreman's tasks are concerned: the general reputation and the foreman's
    own."""

    general: Reputation
    own: Reputation

    @classmethod
    def new(cls, worker: str, runtime: RuntimeClass, foreman: str) -> Record:
        """Begin a record of somebody of whom nothing is known."""
        return cls(
            general=Reputation(worker=worker, runtime=runtime),
            own=Reputation(worker=worker, runtime=runtime, foreman=foreman),
        )

    def aged(self, now: float, alarm: float) -> Record:
        """Return it as it is now, given the foreman's last alarm; what a foreman knew of a worker is void once it was
        caught lying, by whomever."""
        general, own = self.general.aged(now, NO_ALARM), self.own
        if _is_void(general, own):
            own = attrs.evolve(own, agreed=0.0, recent=0.0, contributed=0.0)
        return Record(general=general, own=own.aged(now, alarm))

    @property
    def trust(self) -> Trust:
        """How far this foreman may trust the worker, of an aged record. Whom the foreman itself caught it knows by its
        own tasks since then alone."""
        agreed = self.own.agreed + (self.general.agreed if self.own.caught_at is None else 0.0)
        return Trust(agreed=agreed, recent=agreed if self.own.alarm == NO_ALARM else self.own.recent)

    def taught(self, lesson: Lesson, now: float, *, times: int = 1, evidence: Evidence = OWN_ALONE) -> Record:
        """Return an aged record with a lesson added, once for each task that showed it on this evidence."""
        match lesson:
            case Lesson.AGREED:
                return self._with_agreements(times, evidence)
            case Lesson.AUDITED:
                after = self._with_agreements(times, evidence)
                return attrs.evolve(after, general=attrs.evolve(after.general, audited=after.general.audited + times))
            case Lesson.MISSED:
                return attrs.evolve(self, general=attrs.evolve(self.general, missed=self.general.missed + times))
            case Lesson.DISSENTED:
                return self._caught(now, times, evidence.accuser)

    def _with_agreements(self, times: int, evidence: Evidence) -> Record:
        general, own = self.general, self.own
        public = min(times * evidence.weight, max(0.0, FOREMAN_CAP - own.contributed))
        return Record(
            general=attrs.evolve(
                general,
                agreed=general.agreed + public,
                partners=(general.partners + evidence.partners * times)[-REMEMBERED:] if public else general.partners,
            ),
            own=attrs.evolve(
                own,
                contributed=own.contributed + public,
                agreed=own.agreed + times - (public if own.caught_at is None else 0.0),
                recent=own.recent + times,
            ),
        )

    def _caught(self, now: float, times: int, accuser: str) -> Record:
        alarming = self.trust.agreed >= ALARMING
        general = attrs.evolve(self.general, dissented=self.general.dissented + times)
        return Record(
            general=_accused(general, accuser, now) if accuser else general,
            own=attrs.evolve(
                self.own,
                agreed=0.0,
                recent=0.0,
                caught_at=now,
                alarmed_at=now if alarming else self.own.alarmed_at,
            ),
        )


def _accused(general: Reputation, accuser: str, now: float) -> Reputation:
    """Add an accuser; with enough of them the worker is caught for everybody."""
    others = [each for each in general.accusers if each[0] != accuser and now < each[1] + PROBATION_S]
    accusers = (*others, (accuser, now))
    if len(accusers) < max(ACCUSERS, 1 + math.floor(general.agreed / WORTH_AN_ACCUSER)):
        return attrs.evolve(general, accusers=accusers)
    return attrs.evolve(general, agreed=0.0, caught_at=now, accusers=(), partners=())


_OVER = frozenset({TaskState.SETTLED, TaskState.REFUNDED, TaskState.LAPSED})


def news(before: Task, after: Task) -> tuple[Replica, ...]:
    """Return the replicas of whose workers a task's change may show something, each once in the task's life: those who
    committed, when it is won or later, and those who did not until its end. Who won alone is among them when the first
    other worker agrees, whether or not the win was accepted before."""
    if after.state is TaskState.WON:
        if before.state is not TaskState.WON:
            return tuple([each for each in after.replicas if each.arrival is not None])
        new = tuple([each for each in after.replicas if each.arrival is not None and each.arrival >= before.committed])
        if any(each.digest == after.digest for each in new):
            supporters = tuple([each for each in before.replicas if each.digest == before.digest])
            return supporters + new if len(supporters) == 1 else new
        return new
    if after.state in _OVER and before.state not in _OVER:
        # A worker that was never told of the task has missed nothing.
        return tuple([each for each in after.replicas if each.is_late])
    return ()


def lessons(
    before: Task, after: Task, trusts: Mapping[str, Trust], *, anchored: bool = False
) -> list[tuple[str, Lesson]]:
    """Return what a task's change shows of its workers, given how far all that it has are known. Where there are
    anchors, all trust descends from them: an agreement shows something only beside who is established."""
    replicas = news(before, after)
    if after.state is not TaskState.WON:
        return [(each.worker, Lesson.MISSED) for each in replicas]
    if not replicas or _certainty(after, trusts) < SURE:
        return []
    won = [each for each in after.replicas if each.digest == after.digest]
    if any(each.stopped for each in won):
        return []  # machines have different sizes: whoever got further did not lie
    sponsors = [each.worker for each in won if not anchored or trusts[each.worker].agreed >= ESTABLISHED]
    return [
        (each.worker, _lesson(each, after))
        for each in replicas
        if each.digest != after.digest or (len(won) > 1 and any(name != each.worker for name in sponsors))
    ]


def _certainty(task: Task, trusts: Mapping[str, Trust]) -> float:
    """Return how sure it is that what won is right. Not every rule asks who said it; but whether somebody lied must not
    be up to two whom nobody knows."""
    if parse_rule(task.rule).weighs_trust:
        return task.confidence
    return certainty(task, trusts, [each.worker for each in task.replicas])


def certainty(task: Task, trusts: Mapping[str, Trust], witnesses: Collection[str]) -> float:
    """Return how sure it is that what won is right, going by what some of those say who committed; 0 if none of them
    said so."""
    groups: dict[bytes | None, list[Trust]] = {}
    for replica in task.replicas:
        if replica.digest is not None and replica.worker in witnesses:
            groups.setdefault(replica.digest, []).append(trusts[replica.worker])
    return confidences(groups).get(task.digest, 0.0)


def _lesson(replica: Replica, task: Task) -> Lesson:
    if replica.digest != task.digest:
        return Lesson.MISSED if replica.stopped else Lesson.DISSENTED
    return Lesson.AUDITED if task.audited and replica.arrival == 0 else Lesson.AGREED


def trust_now(general: Reputation | None, own: Reputation | None, now: float, alarm: float) -> Trust:
    """Return the trust of the aged record that these reputations make: what drawing and commitments ask of
    everybody."""
    if own is not None and _is_void(general, own):
        own = None
    if own is not None and own.caught_at is not None:
        general = None
    agreed = 0.0
    for reputation in (general, own):
        if reputation is not None and reputation.agreed:
            agreed += reputation.agreed * reputation.worth(now)
    if not agreed:
        return NOTHING_KNOWN
    if alarm == NO_ALARM:
        return Trust(agreed=agreed, recent=agreed)
    if own is None or own.alarm != alarm:
        return Trust(agreed=agreed)
    return Trust(agreed=agreed, recent=own.recent * own.worth(now))


def _is_void(general: Reputation | None, own: Reputation) -> bool:
    """Tell whether what a foreman knew of a worker is older than a lie of the worker's."""
    return general is not None and general.caught_at is not None and own.as_of <= general.caught_at
