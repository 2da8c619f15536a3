"""Published verification policies, each reduced to its essential lines, for comparison.

Each policy sees one answer after another, which favors it: in a real system, what is learned about a worker comes too
late for the tasks that it is already computing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import attrs

from ec262.domain.simulation.population import Actor, Dice, Population


@attrs.frozen(kw_only=True)
class Settled:
    """The answer that a policy accepted, and how many workers computed the task for it."""

    answer: int
    executions: int


class Rival(Protocol):
    """A policy that decides tasks one after another."""

    def settle(self, population: Population, task: int) -> Settled:
        """Have workers compute a task until it is decided."""
        ...


@attrs.define
class Asking:
    """Asks workers for one task, one after another, none of them twice."""

    population: Population
    task: int
    executions: int = 0
    said: list[tuple[Actor, int]] = attrs.Factory(list)
    _places: set[int] = attrs.Factory(set)

    def next(self) -> tuple[Actor, int] | None:
        """Ask more workers until one answers. Return the worker and its answer, or None if no worker is left."""
        while (actor := self.population.draw(self._places)) is not None:
            if self.ask(actor):
                return self.said[-1]
        return None

    def ask(self, actor: Actor) -> bool:
        """Ask this worker, and return whether it answered."""
        self._places.add(actor.place)
        self.executions += 1
        answer = self.population.answer(actor, self.task)
        if answer is not None:
            self.said.append((actor, answer))
        return answer is not None

    def most_said(self) -> tuple[int, int]:
        """Return the most frequent answer and how often it was given."""
        return Counter(answer for _, answer in self.said).most_common(1)[0]

    def settled(self, answer: int) -> Settled:
        """Accept an answer. Workers that gave another one are found out."""
        for actor, other in self.said:
            if other != answer:
                self.population.found_out(actor)
        return Settled(answer=answer, executions=self.executions)


@attrs.frozen(kw_only=True)
class Voting:
    """Three workers and two equal answers: the rule of ec262 in 2012. If no two are equal, three other workers are
    asked."""

    replicas: int = 3
    quorum: int = 2

    def settle(self, population: Population, task: int) -> Settled:
        """Ask three workers, and three more as long as no two agree."""
        executions = 0
        while True:
            asking = Asking(population, task)
            for _ in range(self.replicas):
                asking.next()
            executions += asking.executions
            answer, count = asking.most_said()
            if count >= self.quorum:
                return attrs.evolve(asking.settled(answer), executions=executions)


@attrs.define(kw_only=True)
class Boinc:
    """BOINC's adaptive replication: two equal answers are needed, unless the worker has agreed with others at least
    ``enough`` times in a row. Then it is trusted on its own with a probability of 1 - 1 / (how often in a row).

    Source: https://boinc.berkeley.edu/trac/wiki/AdaptiveReplication, and ``set_trust`` in BOINC's
    ``sched/sched_send.cpp`` with ``CONS_VALID_UNREPLICATED``.
    """

    dice: Dice
    enough: int = 10
    consecutive: Counter[int] = attrs.Factory(Counter)

    def trusts(self, consecutive: int) -> bool:
        """Decide randomly whether to trust a worker on its own that has agreed with others this often in a row."""
        return consecutive >= self.enough and self.dice.random() > 1 / consecutive

    def settle(self, population: Population, task: int) -> Settled:
        """Ask one worker and, if it is not trusted on its own, others until two agree."""
        asking = Asking(population, task)
        first = asking.next()
        if first is not None and self.trusts(self.consecutive[first[0].name]):
            return Settled(answer=first[1], executions=asking.executions)
        count = 0
        while count < 2 and asking.next():  # noqa: PLR2004 - BOINC's default quorum
            answer, count = asking.most_said()
        for actor, other in asking.said:
            self.consecutive[actor.name] = self.consecutive[actor.name] + 1 if other == answer else 0
        return asking.settled(answer)


@attrs.define(kw_only=True)
class Poco:
    """iExec's Proof of Contribution: answers gain weight with their supporters' scores, and win with a share of
    1 - 1 / ``trust`` of all weights.

    Source: ``contribute``, ``checkConsensus`` and ``distributeRewards`` of the contract ``IexecPoco2Delegate``
    (https://github.com/iExecBlockchainComputing/PoCo): a score grows by 1 with each task won
    together with others and falls to two thirds with each one lost. The published rule audits nothing; with ``audits``,
    this share of the tasks needs two supporters.
    """

    dice: Dice
    trust: int = 100
    audits: float = 0.0
    scores: Counter[int] = attrs.Factory(Counter)

    def settle(self, population: Population, task: int) -> Settled:
        """Ask workers one after another until there is consensus."""
        asking = Asking(population, task)
        least = 2 if self.audits and self.dice.random() < self.audits else 1
        groups: dict[int, int] = {}
        supporters: Counter[int] = Counter()
        answer = None
        while answer is None and (said := asking.next()) is not None:
            actor, latest = said
            groups[latest] = groups.get(latest, 1) * poco_weight(self.scores[actor.name])
            supporters[latest] += 1
            if supporters[latest] >= least and poco_consensus(groups, latest, self.trust):
                answer = latest
        if answer is None:
            answer = max(groups, key=groups.__getitem__)
        if len(asking.said) > 1:
            for actor, other in asking.said:
                score = self.scores[actor.name]
                self.scores[actor.name] = score + 1 if other == answer else score * 2 // 3
        return asking.settled(answer)


def poco_weight(score: int) -> int:
    """Return the weight of a worker's answer."""
    return max(score // 3, 3) - 1


def poco_consensus(groups: Mapping[int, int], answer: int, trust: int) -> bool:
    """Return whether an answer has the required share of all weights, to which 1 is added, as in the contract."""
    return groups[answer] * trust > (1 + sum(groups.values())) * (trust - 1)
