"""Whether an agreement or a dissent counts in the general record. This depends on how the workers are related to each
other and to the foreman, and on their own general records."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import attrs

from ec262.domain.discovery.pool.steering import House, independence, related
from ec262.domain.discovery.reputation import OWN_ALONE, SURE, Evidence, Lesson, Reputation, certainty
from ec262.domain.discovery.tasks import Task
from ec262.domain.discovery.unit_of_work import UnitOfWork
from ec262.domain.protocol.networks import address_block
from ec262.domain.verification.credibility import ESTABLISHED, Trust


@attrs.frozen
class Witnesses:
    """The houses of the workers and foremen of tasks with an open draw, and the pool's anchors."""

    _houses: Mapping[str, House]
    _anchors: Collection[str]

    @classmethod
    def of(cls, uow: UnitOfWork, tasks: Collection[Task], anchors: Collection[str]) -> Witnesses:
        """Look up the participants of these tasks."""
        hosts = {each.worker: each.address.host for task in tasks if not task.steered for each in task.replicas}
        foremen = {task.foreman for task in tasks if not task.steered}
        if not foremen:
            return cls({}, anchors)
        houses = {
            member.worker: House(owner=member.owner, block=member.block) for member in uow.pool.find({*hosts, *foremen})
        }
        for name in sorted({*hosts, *foremen}.difference(houses)):
            account = uow.accounts.get(name)
            block = address_block(hosts[name], hosts[name]) if name in hosts else ""
            houses[name] = House(owner=account.owner if account else name, block=block)
        return cls(houses, anchors)

    def evidence(self, worker: str, lesson: Lesson, task: Task, general: Mapping[str, Reputation]) -> Evidence:
        """Return how much a task's lesson counts in the general record, given the general records of its workers."""
        if task.steered or lesson is Lesson.MISSED:
            return OWN_ALONE
        if lesson is Lesson.DISSENTED:
            return self._accusation(worker, task, general)
        others = {
            each.worker: self._houses[each.worker]
            for each in task.replicas
            if each.digest == task.digest and each.worker != worker and self._vouches(each.worker, general)
        }
        weight = independence(self._houses[worker], others, self._houses[task.foreman], general[worker].partners)
        return Evidence(weight=weight, partners=tuple(sorted({house.tag for house in others.values()})))

    def _vouches(self, worker: str, general: Mapping[str, Reputation]) -> bool:
        return not self._anchors or general[worker].agreed >= ESTABLISHED

    def _accusation(self, worker: str, task: Task, general: Mapping[str, Reputation]) -> Evidence:
        """Return whether a dissent is an accusation: the supporters who are independent of the foreman and of each
        other leave no doubt, judged by their general records. With anchors, one of these supporters must be an
        anchor."""
        foreman = self._houses[task.foreman]
        if worker in self._anchors or related(self._houses[worker], foreman):
            return OWN_ALONE
        supporters = {each.worker for each in task.replicas if each.digest == task.digest}
        strangers = {name for name in supporters if not related(self._houses[name], foreman)}
        if self._anchors and not strangers.intersection(self._anchors):
            return OWN_ALONE
        others = {each.worker for each in task.replicas if each.digest not in {None, task.digest}}
        best = {self._houses[name].block: name for name in sorted(strangers, key=lambda name: general[name].agreed)}
        trusts = {name: Trust(agreed=reputation.agreed) for name, reputation in general.items()}
        sure = certainty(task, trusts, others.union(best.values())) >= SURE
        return Evidence(accuser=foreman.tag) if sure and len(best) > 1 else OWN_ALONE
