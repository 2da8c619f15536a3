"""Published verification policies, each in the few lines that matter, to be compared with.

Each sees what one worker says after another at once, which favors it: what a real system learns of a worker while
others of its results are under way comes too late for those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import attrs

from ec262.domain.simulation.population import Actor, Dice, Population


@attrs.frozen(kw_only=True)
class Settled:
    """What a policy took for the truth, and how many workers it had compute for that."""

    answer: int
    executions: int


class Rival(Protocol):
    """A policy that decides one task after another."""

    def settle(self, population: Population, task: int) -> Settled:
        """Have workers do a task until it is decided."""
        ...


@attrs.define
class Asking:
    """Workers asked for one task, one after another, no one twice."""

    population: Population
    task: int
    executions: int = 0
    said: list[tuple[Actor, int]] = attrs.Factory(list)
    _places: set[int] = attrs.Factory(set)

    def next(self) -> tuple[Actor, int] | None:
        """Ask another until one answers; return who said what, or None if there is nobody left."""
        while (actor := self.population.draw(self._places)) is not None:
            if self.ask(actor):
                return self.said[-1]
        return None

    def ask(self, actor: Actor) -> bool:
        """Ask this worker; tell whether it answered."""
        self._places.add(actor.place)
        self.executions += 1
        answer = self.population.answer(actor, self.task)
        if answer is not None:
            self.said.append((actor, answer))
        return answer is not None

    def most_said(self) -> tuple[int, int]:
        """Return the most frequent answer, and how often it came."""
        return Counter(answer for _, answer in self.said).most_common(1)[0]

    def settled(self, answer: int) -> Settled:
        """Take an answer for the truth; whoever said another is found out."""
        for actor, other in self.said:
            if other != answer:
                self.population.found_out(actor)
        return Settled(answer=answer, executions=self.executions)


@attrs.frozen(kw_only=True)
class Voting:
    """Three workers, two equal answers: what ec262 did in 2012. Where no two are equal, three others are asked."""

    replicas: int = 3
    quorum: int = 2

    def settle(self, population: Population, task: int) -> Settled:
        """Ask three, and three more as long as no two agree."""
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
    """BOINC's adaptive replication: two equal answers are needed, but for a worker that was right ``enough`` times in a
    row beside others, which is believed alone with a probability of 1 - 1 / (how often in a row).

    Source: https://boinc.berkeley.edu/trac/wiki/AdaptiveReplication, and ``set_trust`` in BOINC's
    ``sched/sched_send.cpp`` with ``CONS_VALID_UNREPLICATED``.
    """

    dice: Dice
    enough: int = 10
    consecutive: Counter[int] = attrs.Factory(Counter)

    def trusts(self, consecutive: int) -> bool:
        """Tell by lot whether a worker is believed alone that was right so often in a row."""
        return consecutive >= self.enough and self.dice.random() > 1 / consecutive

    def settle(self, population: Population, task: int) -> Settled:
        """Ask one, and others until two agree if it is not believed."""
        asking = Asking(population, task)
        first = asking.next()
        if first is not None and self.trusts(self.consecutive[first[0].name]):
            return Settled(answer=first[1], executions=asking.executions)
        count = 0
        while count < 2 and asking.next():  # noqa: PLR2004 - the two that BOINC's quorum is by default
            answer, count = asking.most_said()
        for actor, other in asking.said:
            self.consecutive[actor.name] = self.consecutive[actor.name] + 1 if other == answer else 0
        return asking.settled(answer)


@attrs.define(kw_only=True)
class Poco:
    """iExec's Proof of Contribution: answers gain weight with their supporters' scores, and win at a share of
    1 - 1 / ``trust`` of all weights.

    Source: ``contribute``, ``checkConsensus`` and ``distributeRewards`` of the contract ``IexecPoco2Delegate``
    (https://github.com/iExecBlockchainComputing/PoCo): a score grows by 1 with every task won beside others and falls
    to two thirds with every one lost. The published rule audits nothing; with ``audits``, that share of the tasks needs
    two supporters.
    """

    dice: Dice
    trust: int = 100
    audits: float = 0.0
    scores: Counter[int] = attrs.Factory(Counter)

    def settle(self, population: Population, task: int) -> Settled:
        """Ask one after another until there is consensus."""
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
    """Return what a worker's answer is worth."""
    return max(score // 3, 3) - 1


def poco_consensus(groups: Mapping[int, int], answer: int, trust: int) -> bool:
    """Tell whether an answer has its share of the weights; one more stands for nobody."""
    return groups[answer] * trust > (1 + sum(groups.values())) * (trust - 1)
