"""What discovery knows of a worker from settled tasks, never from what anybody claims.

It is kept for each worker and runtime class, in two records. The general one is what all foremen go by. What a single
foreman's tasks contribute to it is capped, since accomplices could buy each other trivial tasks: what goes beyond is in
a record of that foreman's, which counts in its own tasks alone.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping

import attrs

from ec262.domain.commands import TaskState
from ec262.domain.credibility import NOTHING_KNOWN, Trust, confidences
from ec262.domain.runtime import RuntimeClass
from ec262.domain.tasks import Replica, Task
from ec262.domain.verification import parse_rule

EVERYBODY = ""
"""In the place of a foreman: the record that all foremen go by."""

NO_ALARM = 0.0
"""In the place of an alarm's time."""

HALF_LIFE_S = 30 * 24 * 3600.0
"""After so long, what a worker did is worth half."""

PROBATION_S = 30 * 24 * 3600.0
"""For so long after a lie a worker is drawn only where there is nobody else."""

FORGOTTEN_S = 20 * HALF_LIFE_S
"""A standing to which nothing came for so long is forgotten: of a million tasks it would be worth one."""

FOREMAN_CAP = 20.0
"""Tasks that a single foreman can contribute to the general record, until they are old."""

SURE = 0.9
"""The confidence in a verdict from which it says something about those who took part."""

ALARMING = 30.0
"""A worker that was right so often and then lies raises an alarm for the foreman whose task it was: others may have
waited for their time, too. For that foreman alone, or accomplices could raise it for everybody (docs/adr/0065)."""

ALARM_S = PROBATION_S
"""So long does an alarm stand."""


class Lesson(enum.Enum):
    """What a task shows of a worker."""

    AGREED = "won beside others"
    AUDITED = "won beside others, who were drawn to check it"
    DISSENTED = "committed something else than what won"
    MISSED = "came to no result before the deadline, where others did or might have"


@attrs.frozen(kw_only=True)
class Standing:
    """``agreed`` tasks, worth what they are worth at ``as_of`` (Unix seconds).

    Of a foreman's record alone: ``contributed`` of its tasks went into the general record; in ``recent`` of its tasks,
    wherever they count, the worker was right since the alarm that was the last one then, at ``alarm``; ``alarmed_at``
    is the time of the last lie that raised an alarm. Of the general record alone: plain counts, and ``caught_at``, the
    time of the last lie."""

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

    def on_probation(self, now: float) -> bool:
        """Tell whether it lied not long ago."""
        return self.caught_at is not None and now < self.caught_at + PROBATION_S

    def worth(self, now: float) -> float:
        """Return what a task is worth now that was worth 1 when this was written."""
        age_s = now - self.as_of
        return math.exp2(-age_s / HALF_LIFE_S) if age_s > 0 else 1.0

    def aged(self, now: float, alarm: float) -> Standing:
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
class Record:
    """What is known of a worker where one foreman's tasks are concerned: the general standing and the foreman's own."""

    general: Standing
    own: Standing

    @classmethod
    def new(cls, worker: str, runtime: RuntimeClass, foreman: str) -> Record:
        """Begin a record of somebody of whom nothing is known."""
        return cls(
            general=Standing(worker=worker, runtime=runtime),
            own=Standing(worker=worker, runtime=runtime, foreman=foreman),
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
        """How far this foreman may trust the worker, of an aged record."""
        agreed = self.general.agreed + self.own.agreed
        return Trust(agreed=agreed, recent=agreed if self.own.alarm == NO_ALARM else self.own.recent)

    def taught(self, lesson: Lesson, now: float, *, times: int = 1) -> Record:
        """Return an aged record with a lesson added, once for each task that showed it."""
        match lesson:
            case Lesson.AGREED:
                return self._with_agreements(times)
            case Lesson.AUDITED:
                after = self._with_agreements(times)
                return attrs.evolve(after, general=attrs.evolve(after.general, audited=after.general.audited + times))
            case Lesson.MISSED:
                return attrs.evolve(self, general=attrs.evolve(self.general, missed=self.general.missed + times))
            case Lesson.DISSENTED:
                return self._caught(now, times)

    def _with_agreements(self, times: int) -> Record:
        general, own = self.general, self.own
        public = min(times, max(0, math.ceil(FOREMAN_CAP - own.contributed)))
        return Record(
            general=attrs.evolve(general, agreed=general.agreed + public),
            own=attrs.evolve(
                own,
                contributed=own.contributed + public,
                agreed=own.agreed + times - public,
                recent=own.recent + times,
            ),
        )

    def _caught(self, now: float, times: int) -> Record:
        alarming = self.trust.agreed >= ALARMING
        return Record(
            general=attrs.evolve(
                self.general,
                agreed=0.0,
                dissented=self.general.dissented + times,
                caught_at=now,
            ),
            own=attrs.evolve(
                self.own,
                agreed=0.0,
                recent=0.0,
                contributed=0.0,
                alarmed_at=now if alarming else self.own.alarmed_at,
            ),
        )


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
        return tuple([each for each in after.replicas if each.outstanding])
    return ()


def lessons(before: Task, after: Task, trusts: Mapping[str, Trust]) -> list[tuple[str, Lesson]]:
    """Return what a task's change shows of its workers, given how far all that it has are known."""
    replicas = news(before, after)
    if after.state is not TaskState.WON:
        return [(each.worker, Lesson.MISSED) for each in replicas]
    if not replicas or _certainty(after, trusts) < SURE:
        return []
    won = [each for each in after.replicas if each.digest == after.digest]
    if any(each.stopped for each in won):
        return []  # machines have different sizes: whoever got further did not lie
    return [(each.worker, _lesson(each, after)) for each in replicas if each.digest != after.digest or len(won) > 1]


def _certainty(task: Task, trusts: Mapping[str, Trust]) -> float:
    """Return how sure it is that what won is right. Not every rule asks who said it; but whether somebody lied must not
    be up to two whom nobody knows."""
    if parse_rule(task.rule).weighs_trust:
        return task.confidence
    groups: dict[bytes | None, list[Trust]] = {}
    for replica in task.replicas:
        if replica.digest is not None:
            groups.setdefault(replica.digest, []).append(trusts[replica.worker])
    return confidences(groups)[task.digest]


def _lesson(replica: Replica, task: Task) -> Lesson:
    if replica.digest != task.digest:
        return Lesson.MISSED if replica.stopped else Lesson.DISSENTED
    return Lesson.AUDITED if task.audited and replica.arrival == 0 else Lesson.AGREED


def trust_now(general: Standing | None, own: Standing | None, now: float, alarm: float) -> Trust:
    """Return the trust of the aged record that these standings make: what drawing and commitments ask of everybody."""
    if own is not None and _is_void(general, own):
        own = None
    agreed = 0.0
    for standing in (general, own):
        if standing is not None and standing.agreed:
            agreed += standing.agreed * standing.worth(now)
    if not agreed:
        return NOTHING_KNOWN
    if alarm == NO_ALARM:
        return Trust(agreed=agreed, recent=agreed)
    if own is None or own.alarm != alarm:
        return Trust(agreed=agreed)
    return Trust(agreed=agreed, recent=own.recent * own.worth(now))


def _is_void(general: Standing | None, own: Standing) -> bool:
    """Tell whether what a foreman knew of a worker is older than a lie of the worker's."""
    return general is not None and general.caught_at is not None and own.as_of <= general.caught_at
