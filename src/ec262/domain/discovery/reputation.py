"""What discovery knows of a worker from settled tasks. Claims of others do not count.

There are two records for each worker and runtime class. All foremen use the general one. It grows only from tasks whose
draw the foreman could not steer; an agreement has more weight the more independent the workers are of each other, and
the contribution of a single foreman's tasks is capped. Everything else goes into the foreman's own record, which counts
only for its own tasks.

A dissent counts for the foreman of the task. For all others it is an accusation: the foreman chose the code and sent
the work, so it could have made an honest worker dissent. The general record changes only after accusations by several
unrelated foremen in open draws; the better a worker is known, the more accusations this takes (docs/adr/0087).
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
"""Stands for the foreman in the general record."""

NO_ALARM = 0.0
"""Stands for the time of an alarm if there was none."""

HALF_LIFE_S = 30 * 24 * 3600.0
"""The time after which an agreement has half its weight."""

PROBATION_S = 30 * 24 * 3600.0
"""How long after a lie a worker is drawn only if there is no other."""

FORGOTTEN_S = 20 * HALF_LIFE_S
"""A reputation without changes for this long is forgotten: a million tasks would have the weight of one."""

FOREMAN_CAP = 20.0
"""The maximum weight of tasks that a single foreman can contribute to the general record, until they are old."""

ACCUSERS = 5
"""The minimum number of foremen of different owners that must accuse a worker before the general record changes."""

WORTH_AN_ACCUSER = 10.0
"""For each such number of agreements of the worker, one more accuser is needed: destroying a worker's record must take
more foremen than building it."""

SURE = 0.9
"""The minimum confidence at which a verdict affects the reputations of its workers."""

ALARMING = 30.0
"""A worker with this many agreements that then lies raises an alarm for the foreman of the task: other workers may be
waiting for their moment, too. The alarm affects only that foreman, because accomplices could otherwise raise it for
everyone (docs/adr/0065)."""

ALARM_S = PROBATION_S
"""The duration of an alarm."""


class Lesson(enum.Enum):
    """What a task shows about a worker."""

    AGREED = "won alongside others"
    AUDITED = "won alongside others that were drawn to check it"
    DISSENTED = "committed something other than the winning result"
    MISSED = "committed no result before the deadline, although others did or could have"


@attrs.frozen(kw_only=True)
class Reputation:
    """``agreed`` is the weight of the worker's agreements at ``as_of`` (Unix seconds); ``caught_at`` is the time of the
    last lie that counts in this record.

    Only in a foreman's own record: ``contributed`` is the weight that its tasks added to the general record; ``recent``
    is the weight of the agreements in its tasks, in either record, since the time ``alarm`` of what was then the last
    alarm; ``alarmed_at`` is the time of the last lie that raised an alarm. Only in the general record: ``dissented``,
    ``missed`` and ``audited`` are plain counts without consequences; ``partners`` are the tags of the workers with
    which the worker agreed last; ``accusers`` are the tags of the owners of foremen in whose tasks it dissented, each
    with the time."""

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
        """Tell whether the worker lied recently."""
        return self.caught_at is not None and now < self.caught_at + PROBATION_S

    def worth(self, now: float) -> float:
        """Return the weight that a task has now if its weight was 1 at ``as_of``."""
        age_s = now - self.as_of
        return math.exp2(-age_s / HALF_LIFE_S) if age_s > 0 else 1.0

    def aged(self, now: float, alarm: float) -> Reputation:
        """Return the reputation as of now: older tasks have less weight, and tasks before an alarm are not recent."""
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
    """What makes a lesson count in the general record: the ``weight`` of an agreement, from 0 to 1, and the tags of its
    ``partners``; or the tag of the ``accuser`` in whose task a worker dissented. Without either, the lesson counts only
    in the foreman's own record."""

    weight: float = 0.0
    partners: tuple[str, ...] = ()
    accuser: str = ""


OWN_ALONE = Evidence()


@attrs.frozen(kw_only=True)
class Record:
    """What is known of a worker for the tasks of one foreman: the general record and the foreman's own record."""

    general: Reputation
    own: Reputation

    @classmethod
    def new(cls, worker: str, runtime: RuntimeClass, foreman: str) -> Record:
        """Create the record of a newcomer."""
        return cls(
            general=Reputation(worker=worker, runtime=runtime),
            own=Reputation(worker=worker, runtime=runtime, foreman=foreman),
        )

    def aged(self, now: float, alarm: float) -> Record:
        """Return the record as of now, given the time of the foreman's last alarm. The foreman's own record is void
        once any foreman has caught the worker lying."""
        general, own = self.general.aged(now, NO_ALARM), self.own
        if _is_void(general, own):
            own = attrs.evolve(own, agreed=0.0, recent=0.0, contributed=0.0)
        return Record(general=general, own=own.aged(now, alarm))

    @property
    def trust(self) -> Trust:
        """How far this foreman may trust the worker; the record must be aged. If the foreman itself caught the worker,
        only its own tasks since then count."""
        agreed = self.own.agreed + (self.general.agreed if self.own.caught_at is None else 0.0)
        return Trust(agreed=agreed, recent=agreed if self.own.alarm == NO_ALARM else self.own.recent)

    def taught(self, lesson: Lesson, now: float, *, times: int = 1, evidence: Evidence = OWN_ALONE) -> Record:
        """Return an aged record with a lesson added ``times`` times, on this evidence."""
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
    """Add an accuser; with enough of them, the general record counts the worker as caught."""
    others = [each for each in general.accusers if each[0] != accuser and now < each[1] + PROBATION_S]
    accusers = (*others, (accuser, now))
    if len(accusers) < max(ACCUSERS, 1 + math.floor(general.agreed / WORTH_AN_ACCUSER)):
        return attrs.evolve(general, accusers=accusers)
    return attrs.evolve(general, agreed=0.0, caught_at=now, accusers=(), partners=())


_OVER = frozenset({TaskState.SETTLED, TaskState.REFUNDED, TaskState.LAPSED})


def news(before: Task, after: Task) -> tuple[Replica, ...]:
    """Return the replicas whose workers' reputations a change of a task may affect, each once in the task's life: the
    committed ones when the task is won or later, the others at its end. A worker that won alone is included when the
    first other worker agrees, whether or not the win was accepted before."""
    if after.state is TaskState.WON:
        if before.state is not TaskState.WON:
            return tuple([each for each in after.replicas if each.arrival is not None])
        new = tuple([each for each in after.replicas if each.arrival is not None and each.arrival >= before.committed])
        if any(each.digest == after.digest for each in new):
            supporters = tuple([each for each in before.replicas if each.digest == before.digest])
            return supporters + new if len(supporters) == 1 else new
        return new
    if after.state in _OVER and before.state not in _OVER:
        # A worker that never received the task has missed nothing.
        return tuple([each for each in after.replicas if each.is_late])
    return ()


def lessons(
    before: Task, after: Task, trusts: Mapping[str, Trust], *, anchored: bool = False
) -> list[tuple[str, Lesson]]:
    """Return what a change of a task shows about its workers, given the trust in all of them. If there are anchors, all
    trust descends from them: an agreement counts only alongside an established worker."""
    replicas = news(before, after)
    if after.state is not TaskState.WON:
        return [(each.worker, Lesson.MISSED) for each in replicas]
    if not replicas or _certainty(after, trusts) < SURE:
        return []
    won = [each for each in after.replicas if each.digest == after.digest]
    if any(each.stopped for each in won):
        return []  # machines have different sizes: a worker that computed more did not lie
    sponsors = [each.worker for each in won if not anchored or trusts[each.worker].agreed >= ESTABLISHED]
    return [
        (each.worker, _lesson(each, after))
        for each in replicas
        if each.digest != after.digest or (len(won) > 1 and any(name != each.worker for name in sponsors))
    ]


def _certainty(task: Task, trusts: Mapping[str, Trust]) -> float:
    """Return how certain it is that the winning result is right. Some rules ignore reputations, but two unknown workers
    must not be able to decide that another one lied."""
    if parse_rule(task.rule).weighs_trust:
        return task.confidence
    return certainty(task, trusts, [each.worker for each in task.replicas])


def certainty(task: Task, trusts: Mapping[str, Trust], witnesses: Collection[str]) -> float:
    """Return how certain it is that the winning result is right, given only the commitments of the ``witnesses``; 0 if
    none of them committed it."""
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
    """Return the trust of the aged record of these two reputations: a faster way for draws and commitments, which need
    the trust of every worker."""
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
    """Tell whether a foreman's own record is older than the worker's last lie in the general record."""
    return general is not None and general.caught_at is not None and own.as_of <= general.caught_at
