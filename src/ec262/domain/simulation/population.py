"""Simulated workers: honest ones, several kinds of saboteurs, and machines that are slow or vanish."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import attrs
from attrs import validators as v

TRUTH = 0
"""The right answer to every task. All others are wrong."""

LIE = 1
"""The answer on which colluding saboteurs agree. Each higher answer belongs to a single worker."""

SLOWNESS = 8.0
"""How many times as long a slow machine takes."""

VANISHING = 0.1
"""The share of its tasks that a vanishing machine never finishes."""

_MASK = (1 << 64) - 1
_share = [v.ge(0.0), v.le(1.0)]


class Dice(Protocol):
    """The source of all randomness, such as Python's ``random.Random``."""

    def random(self) -> float:
        """Return a number from 0 up to but not including 1."""
        ...

    def randrange(self, stop: int, /) -> int:
        """Return an integer from 0 up to but not including ``stop``."""
        ...


@attrs.frozen(kw_only=True)
class Scenario:
    """What kinds of ``workers`` there are.

    ``saboteurs`` is the share of workers that lie in a share ``lie_rate`` of all tasks; with a ``common_coin``, they
    lie in the same tasks. If they are ``colluding``, they all give the same wrong answer, otherwise each gives its own.
    A saboteur is honest in its first ``sleep`` tasks. With ``renames``, it takes a new name when one of its lies is
    found. ``lazies`` is the share of workers that never compute and commit an old result instead. ``slow`` and
    ``vanishing`` are shares, too.

    ``farmers`` are saboteurs that buy tasks from each other to gain a reputation. ``slanderers`` buy tasks in which
    they outvote one honest worker after another or send it different work. In a ``flood``, each saboteur opens this
    many new accounts in its address block every ten minutes, all of which always lie. ``anchors`` is the share of
    workers that are anchors; they are chosen from the honest ones.
    """

    name: str
    title: str = ""
    workers: int = attrs.field(default=200, validator=v.ge(1))
    saboteurs: float = attrs.field(default=0.0, validator=_share)
    lie_rate: float = attrs.field(default=1.0, validator=_share)
    colluding: bool = True
    common_coin: bool = True
    sleep: int = attrs.field(default=0, validator=v.ge(0))
    renames: bool = False
    lazies: float = attrs.field(default=0.0, validator=_share)
    slow: float = attrs.field(default=0.0, validator=_share)
    vanishing: float = attrs.field(default=0.0, validator=_share)
    farmers: bool = False
    slanderers: bool = False
    flood: int = attrs.field(default=0, validator=v.ge(0))
    anchors: float = attrs.field(default=0.0, validator=_share)

    @property
    def has_plots(self) -> bool:
        """Whether saboteurs do more than compute."""
        return self.farmers or self.slanderers or self.flood > 0


SCENARIOS = (
    Scenario(name="always", title="f = 0.20, always lie", saboteurs=0.2),
    Scenario(name="tenth", title="f = 0.20, lie in one of ten tasks", saboteurs=0.2, lie_rate=0.1),
    Scenario(
        name="tenth-apart",
        title="f = 0.20, lie in one of ten tasks, each by its own coin",
        saboteurs=0.2,
        lie_rate=0.1,
        common_coin=False,
    ),
    Scenario(name="sleepers", title="f = 0.20, honest for 500 tasks each", saboteurs=0.2, sleep=500),
    Scenario(name="naps", title="f = 0.20, honest for 100 tasks each", saboteurs=0.2, sleep=100),
    Scenario(name="few", title="f = 0.05, always lie", saboteurs=0.05),
    Scenario(name="renamed", title="f = 0.20, a new name after each lie found", saboteurs=0.2, renames=True),
    Scenario(name="nobody", title="nobody lies"),
    Scenario(
        name="loners",
        title="f = 0.20, always lie, each with its own answer",
        saboteurs=0.2,
        colluding=False,
        common_coin=False,
    ),
    Scenario(name="lazy", title="one in five commits an old result", lazies=0.2),
    Scenario(
        name="machines",
        title="f = 0.20, always lie; others slow or vanishing",
        saboteurs=0.2,
        slow=0.2,
        vanishing=0.2,
    ),
    Scenario(name="farmers", title="f = 0.20, buy each other a reputation", saboteurs=0.2, farmers=True),
    Scenario(
        name="farmers-asleep",
        title="f = 0.20, buy each other a reputation, honest for 100 tasks each",
        saboteurs=0.2,
        farmers=True,
        sleep=100,
    ),
    Scenario(name="slanderers", title="f = 0.20, give others a bad reputation", saboteurs=0.2, slanderers=True),
    Scenario(name="flood", title="f = 0.20, five new accounts each every ten minutes", saboteurs=0.2, flood=5),
    Scenario(
        name="everything",
        title="f = 0.20, farm, slander and flood",
        saboteurs=0.2,
        farmers=True,
        slanderers=True,
        flood=5,
    ),
    Scenario(
        name="anchored",
        title="f = 0.40, farm, slander and flood; one worker in twenty is an anchor",
        saboteurs=0.4,
        farmers=True,
        slanderers=True,
        flood=5,
        anchors=0.05,
    ),
)


@attrs.define(eq=False, kw_only=True)
class Actor:
    """A simulated worker. ``name`` is unique among all names ever taken. ``pace`` is how many times the usual time the
    worker takes. ``done`` is the number of tasks that it has received."""

    name: int
    place: int
    saboteur: bool
    lazy: bool
    vanishes: bool
    pace: float
    done: int = 0
    lied: bool = False


class Population:
    """The workers of a scenario. All randomness comes from the dice, except the saboteurs' common coin, which is the
    same for all policies that are tested with the same ``salt``."""

    def __init__(self, scenario: Scenario, dice: Dice, *, salt: int) -> None:
        self.scenario = scenario
        self._dice = dice
        self._salt = salt
        count = scenario.workers
        places = list(range(count))
        for at in range(count - 1, 0, -1):
            other = dice.randrange(at + 1)
            places[at], places[other] = places[other], places[at]
        saboteurs = round(scenario.saboteurs * count)
        lazies = saboteurs + round(scenario.lazies * count)
        slow = {place for place in range(count) if dice.random() < scenario.slow}
        self.actors = [
            Actor(
                name=place,
                place=place,
                saboteur=rank < saboteurs,
                lazy=saboteurs <= rank < lazies,
                vanishes=dice.random() < scenario.vanishing,
                pace=(0.5 + dice.random()) * (SLOWNESS if place in slow else 1.0),
            )
            for place, rank in enumerate(places)
        ]
        self.names = count

    def anchors(self) -> list[Actor]:
        """Return the workers that the operator vouches for."""
        honest = [actor for actor in self.actors if not (actor.saboteur or actor.lazy or actor.vanishes)]
        return honest[: round(self.scenario.anchors * len(self.actors))]

    def newcomers(self) -> list[Actor]:
        """Return the accounts that a flood opens now, under new names."""
        crowd = []
        for actor in self.actors:
            for _ in range(self.scenario.flood if actor.saboteur else 0):
                crowd.append(attrs.evolve(actor, name=self.names, done=self.scenario.sleep))
                self.names += 1
        return crowd

    @property
    def woken(self) -> int:
        """The number of saboteurs that have lied."""
        return sum(actor.lied for actor in self.actors)

    def draw(self, without: Collection[int] = ()) -> Actor | None:
        """Return a random worker that is at none of these places, or None if there is no other."""
        if len(without) >= len(self.actors):
            return None
        while True:
            place = self._dice.randrange(len(self.actors))
            if place not in without:
                return self.actors[place]

    def answer(self, actor: Actor, task: int) -> int | None:
        """Let a worker compute a task. Return its answer, or None if it never answers."""
        done, actor.done = actor.done, actor.done + 1
        if actor.vanishes and self._dice.random() < VANISHING:
            return None
        if actor.lazy:
            return LIE + 1 + actor.name
        if actor.saboteur and done >= self.scenario.sleep and self._lies(task):
            actor.lied = True
            return LIE if self.scenario.colluding else LIE + 1 + actor.name
        return TRUTH

    def _lies(self, task: int) -> bool:
        chance = _coin(task, self._salt) if self.scenario.common_coin else self._dice.random()
        return chance < self.scenario.lie_rate

    def found_out(self, actor: Actor) -> Actor:
        """Record that an actor's wrong answer was found. Return the actor that is in its place afterwards."""
        if not (self.scenario.renames and actor.saboteur) or self.actors[actor.place] is not actor:
            return self.actors[actor.place]
        heir = attrs.evolve(actor, name=self.names, done=0)
        self.names += 1
        self.actors[actor.place] = heir
        return heir


def _coin(task: int, salt: int) -> float:
    """Return a pseudorandom number from 0 to 1 that depends only on the task and the salt: splitmix64 (Steele, Lea and
    Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014)."""
    bits = (task * 0x9E3779B97F4A7C15 + salt * 0xD1B54A32D192ED03 + 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return (bits ^ (bits >> 31)) / (1 << 64)
