"""Workers' reputations within a transaction: looked up before a decision, updated once tasks have shown something."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from ec262.domain.discovery.pool.pool import Pool
from ec262.domain.discovery.reputation import (
    ALARM_S,
    EVERYBODY,
    NO_ALARM,
    OWN_ALONE,
    PROBATION_S,
    Evidence,
    Lesson,
    Record,
    Reputation,
    lessons,
    news,
    trust_now,
)
from ec262.domain.discovery.selection import Company
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import UnitOfWork
from ec262.domain.verification.credibility import ANCHORED, Trust
from ec262.domain.verification.rules import VerificationRule
from ec262.domain.verification.task_state import TaskState
from ec262.domain.work.runtime import RuntimeClass
from ec262.services.discovery.witnesses import Witnesses


def company(uow: UnitOfWork, pool: Pool, rule: VerificationRule, *, foreman: str, now: float) -> Company:
    """Look up what a rule needs to know about a pool."""
    anchors = uow.anchors.all()
    caught = {each.worker for each in uow.reputations.caught_since(now - PROBATION_S, [foreman])}
    trusts: dict[str, Trust] = {}
    if rule.weighs_trust:
        found = uow.reputations.find([member.worker for member in pool.members], [foreman])
        known = _Records.of(uow, found, [foreman], now, anchors)
        trusts = {member.worker: known.trust(member.worker, member.runtime, foreman) for member in pool.members}
    return Company(
        pool=pool,
        trusts=trusts,
        probation=frozenset(caught.difference(anchors)),
        anchored=any(member.worker in anchors for member in pool.members),
    )


def trust_in(uow: UnitOfWork, worker: str, tasks: Collection[Task], now: float) -> dict[str, Trust]:
    """Return, by task, how far its foreman may trust a worker."""
    if not tasks:
        return {}
    foremen = sorted({task.foreman for task in tasks})
    known = _Records.of(uow, uow.reputations.find([worker], foremen), foremen, now, uow.anchors.all())
    return {task.id: known.trust(worker, task.runtime, task.foreman) for task in tasks}


def caught_since_drawn(uow: UnitOfWork, tasks: Collection[Task]) -> dict[str, frozenset[str]]:
    """Return, for each task without a final win, which of its workers were caught lying since they were drawn. Tasks
    without such workers are left out."""
    drawn = {
        task.id: {replica.worker: replica.drawn_at for replica in task.replicas}
        for task in tasks
        if task.state in {TaskState.OPEN, TaskState.PROVISIONAL}
    }
    if not drawn:
        return {}
    foremen = {task.id: task.foreman for task in tasks}
    first = min(at for workers in drawn.values() for at in workers.values())
    lies: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    for each in uow.reputations.caught_since(first, sorted(set(foremen.values()))):
        lies[each.foreman].append((each.worker, each.caught_at or 0.0))
    liars = {
        task: frozenset(
            worker
            for worker, at in (*lies[EVERYBODY], *lies[foremen[task]])
            if worker in workers and at >= workers[worker]
        )
        for task, workers in drawn.items()
    }
    return {task: workers for task, workers in liars.items() if workers}


def doubtful(uow: UnitOfWork, tasks: Iterable[Task]) -> set[str]:
    """Return the tasks with a provisional win by a worker that was caught lying since it was drawn."""
    lone = {task.id: task for task in tasks if task.state is TaskState.PROVISIONAL}
    return {
        name
        for name, liars in caught_since_drawn(uow, lone.values()).items()
        if any(each.worker in liars for each in lone[name].replicas if each.digest == lone[name].digest)
    }


def learn(uow: UnitOfWork, changes: Iterable[tuple[Task, Task]], now: float) -> None:
    """Record what changed tasks, as pairs (before, after), show about their workers. Call it once per transaction.

    Whether a winning result is right is judged by what was known before all of these changes. Lies are recorded last,
    so that agreements of the same moment do not survive them.
    """
    alike: defaultdict[tuple[RuntimeClass, str], list[tuple[Task, Task]]] = defaultdict(list)
    for before, after in changes:
        if news(before, after):
            alike[after.runtime, after.foreman].append((before, after))
    if not alike:
        return
    workers = {kind: {each.worker for _, task in group for each in task.replicas} for kind, group in alike.items()}
    named = {(worker, runtime) for (runtime, _), names in workers.items() for worker in names}
    foremen = sorted({foreman for _, foreman in alike})
    anchors = uow.anchors.all()
    known = _Records.of(uow, uow.reputations.locked(named, foremen), foremen, now, anchors)
    witnesses = Witnesses.of(uow, [after for group in alike.values() for _, after in group], anchors)
    counts: Counter[tuple[Lesson, tuple[str, RuntimeClass, str]]] = Counter()
    weighed: list[tuple[Lesson, tuple[str, RuntimeClass, str], int, Evidence]] = []
    for (runtime, foreman), group in alike.items():
        names = workers[runtime, foreman]
        trusts = {worker: known.trust(worker, runtime, foreman) for worker in names}
        for before, after in group:
            shown = lessons(before, after, trusts, anchored=bool(anchors))
            if not shown:
                continue
            general = {} if after.steered else {name: known.general(name, runtime) for name in names}
            for worker, lesson in shown:
                evidence = witnesses.evidence(worker, lesson, after, general)
                if evidence == OWN_ALONE:
                    counts[lesson, (worker, runtime, foreman)] += 1
                else:
                    weighed.append((lesson, (worker, runtime, foreman), 1, evidence))
    weighed += [(lesson, whose, times, OWN_ALONE) for (lesson, whose), times in counts.items()]
    for lesson, whose, times, evidence in sorted(weighed, key=lambda item: item[0] is Lesson.DISSENTED):
        known.put(known.get(*whose).taught(lesson, now, times=times, evidence=evidence))
    uow.reputations.save(known.changed())


@attrs.define
class _Records:
    """Aged reputations, and the changes made to them."""

    _now: float
    _alarms: Mapping[str, float]
    _anchors: Collection[str]
    _reputations: dict[tuple[str, RuntimeClass, str], Reputation]
    _changed: dict[tuple[str, RuntimeClass, str], Reputation] = attrs.Factory(dict)

    @classmethod
    def of(
        cls,
        uow: UnitOfWork,
        found: Sequence[Reputation],
        foremen: Collection[str],
        now: float,
        anchors: Collection[str],
    ) -> _Records:
        reputations = {(each.worker, each.runtime, each.foreman): each for each in found}
        return cls(now, uow.reputations.alarms(foremen, now - ALARM_S) if found else {}, anchors, reputations)

    def _alarm(self, foreman: str) -> float:
        return self._alarms.get(foreman, NO_ALARM)

    def get(self, worker: str, runtime: RuntimeClass, foreman: str) -> Record:
        new = Record.new(worker, runtime, foreman)
        general = self._reputations.get((worker, runtime, EVERYBODY), new.general)
        own = self._reputations.get((worker, runtime, foreman), new.own)
        return Record(general=general, own=own).aged(self._now, self._alarm(foreman))

    def trust(self, worker: str, runtime: RuntimeClass, foreman: str) -> Trust:
        if worker in self._anchors:
            return ANCHORED
        general = self._reputations.get((worker, runtime, EVERYBODY))
        own = self._reputations.get((worker, runtime, foreman))
        return trust_now(general, own, self._now, self._alarm(foreman))

    def general(self, worker: str, runtime: RuntimeClass) -> Reputation:
        """Return the general record as it is now; an anchor counts as much as the operator's word."""
        known = self._reputations.get((worker, runtime, EVERYBODY)) or Reputation(worker=worker, runtime=runtime)
        known = known.aged(self._now, NO_ALARM)
        return attrs.evolve(known, agreed=ANCHORED.agreed) if worker in self._anchors else known

    def put(self, record: Record) -> None:
        for reputation in (record.general, record.own):
            key = reputation.worker, reputation.runtime, reputation.foreman
            self._reputations[key] = self._changed[key] = reputation

    def changed(self) -> list[Reputation]:
        return list(self._changed.values())
