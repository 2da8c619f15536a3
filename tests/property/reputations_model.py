"""What settled tasks show of workers, and what becomes of tasks that one worker decided alone: the protocol
written down once more, plainly, as lists of what happened. Each worker has an owner and an address block of its own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import attrs

from ec262.domain.discovery import reputation
from ec262.domain.discovery.ledger import SERVICE
from ec262.domain.discovery.pool.steering import REMEMBERED, House
from ec262.domain.discovery.reputation import ALARM_S, ALARMING, EVERYBODY, FOREMAN_CAP, HALF_LIFE_S, PROBATION_S, SURE
from ec262.domain.verification.credibility import ANCHORED, ESTABLISHED, NOTHING_KNOWN, Trust, confidences
from ec262.domain.verification.rules import Ballot, Finding, parse_rule
from ec262.domain.verification.task_state import TaskState

RUNNING = {TaskState.OPEN, TaskState.PROVISIONAL, TaskState.WON}


@attrs.frozen
class Agreement:
    """A task was won beside others at a time: what that is worth to everybody, and what its foreman adds to that."""

    at: float
    foreman: str
    public: float
    private: float = 0.0
    recent: float = 1.0


@attrs.define
class Memory:
    """All that happened to a worker since everybody knew of a lie, by whom it was caught, and how often what happened
    ever."""

    agreements: list[Agreement] = attrs.Factory(list)
    caught: dict[str, float] = attrs.Factory(dict)
    accusers: dict[str, float] = attrs.Factory(dict)
    partners: list[str] = attrs.Factory(list)
    counts: Counter[str] = attrs.Factory(Counter)

    def sum(self, now: float, what: str, foreman: str | None = None, since: float = -math.inf) -> float:
        return math.fsum(
            getattr(each, what) * 0.5 ** ((now - each.at) / HALF_LIFE_S)
            for each in self.agreements
            if foreman in {None, each.foreman} and each.at > since
        )

    def general(self, now: float) -> float:
        return self.sum(now, "public")


@attrs.define
class Part:
    worker: str
    drawn_at: float
    text: str | None = None
    trust: Trust = NOTHING_KNOWN
    given_up: bool = False
    fetched: bool = False
    paid: bool = False
    told: bool = False
    """Whether it is known what it showed of its worker."""

    @property
    def outstanding(self) -> bool:
        return self.text is None and not self.given_up


@attrs.define
class Job:
    """A task; ``ballots`` are the parts that were committed to, in order. ``released`` says that its foreman has had
    the key."""

    name: str
    foreman: str
    rule: str
    audited: bool
    steered: bool
    deadline: float
    parts: list[Part]
    ballots: list[Part] = attrs.Factory(list)
    state: TaskState = TaskState.OPEN
    winner: str | None = None
    confidence: float = 0.0
    released: bool = False

    def part(self, worker: str) -> Part | None:
        return next((part for part in self.parts if part.worker == worker), None)

    @property
    def outstanding(self) -> int:
        return sum(part.outstanding for part in self.parts) if self.state in RUNNING else 0

    @property
    def escrow(self) -> int:
        return sum(not part.paid for part in self.parts) if self.state in RUNNING else 0

    @property
    def weighs(self) -> bool:
        return parse_rule(self.rule).weighs_trust

    @property
    def supporters(self) -> list[Part]:
        return [part for part in self.ballots if part.text == self.winner]

    def stands_alone(self, part: Part) -> bool:
        """Tell whether a part won without any other: it shows nothing before another agrees."""
        return self.supporters == [part]


class Model:
    """Foremen, workers, tasks and what is known; times are Unix seconds and only grow."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.memories: dict[str, Memory] = {}
        self.alarms: dict[str, float] = {}
        self.balances: Counter[str] = Counter()
        self.anchors: set[str] = set()

    def memory(self, worker: str) -> Memory:
        return self.memories.setdefault(worker, Memory())

    def move(self, debit: str, credit: str, amount: int) -> None:
        self.balances[debit] -= amount
        self.balances[credit] += amount

    # --- what is known ----------------------------------------------------------------------------------------------

    def trust(self, worker: str, foreman: str, now: float) -> Trust:
        if worker in self.anchors:
            return ANCHORED
        memory = self.memory(worker)
        agreed = memory.sum(now, "private", foreman)
        if foreman not in memory.caught:
            agreed += memory.general(now)
        alarm = self.alarms.get(foreman)
        if alarm is None or now - alarm > ALARM_S:
            return Trust(agreed=agreed, recent=agreed)
        return Trust(agreed=agreed, recent=memory.sum(now, "recent", foreman, since=alarm))

    def trust_of_all(self, worker: str, now: float) -> Trust:
        return ANCHORED if worker in self.anchors else Trust(agreed=self.memory(worker).general(now))

    def caught_since(self, part: Part, foreman: str) -> bool:
        caught = self.memory(part.worker).caught
        return any(caught.get(name, -math.inf) >= part.drawn_at for name in (EVERYBODY, foreman))

    def learn(self, jobs: Collection[Job], now: float) -> None:
        """Whether what won is right is judged by what was known before; lies come last."""
        agreed: list[tuple[Part, Job, list[str], float]] = []
        lied: list[tuple[Part, Job, bool]] = []
        bosses = list(dict.fromkeys(job.foreman for job in jobs))
        for job in sorted(jobs, key=lambda job: bosses.index(job.foreman)):
            if job.state is not TaskState.WON:
                continue
            news = [part for part in job.ballots if not part.told and not job.stands_alone(part)]
            for part in news:
                part.told = True
            if not news or self.certainty(job, now) < SURE:
                continue
            for part in news:
                if part.text != job.winner:
                    lied.append((part, job, self.binds_all(part, job, now)))
                    continue
                others = [each.worker for each in job.supporters if each is not part]
                if self.anchors and all(self.trust(each, job.foreman, now).agreed < ESTABLISHED for each in others):
                    continue
                agreed.append((part, job, *self.worth_to_all(part, job, others, now)))
        for part, job, partners, worth in agreed:
            self.agree(part, job, now, partners, worth)
        for part, job, binds_all in lied:
            self.lie(part.worker, job.foreman, now, binds_all=binds_all)

    def worth_to_all(self, part: Part, job: Job, others: list[str], now: float) -> tuple[list[str], float]:
        """Return who agreed, and what it is worth to everybody that they did: half with each time that the least
        familiar of them was among the last partners."""
        known = [each for each in others if not self.anchors or self.trust_of_all(each, now).agreed >= ESTABLISHED]
        if job.steered or not known:
            return [], 0.0
        tags = sorted([House(owner=each).tag for each in known])
        return tags, max(0.5 ** self.memory(part.worker).partners.count(House(owner=each).tag) for each in known)

    def binds_all(self, part: Part, job: Job, now: float) -> bool:
        """Tell whether everybody has to take a dissent as an accusation."""
        supporters = [each.worker for each in job.supporters]
        if job.steered or part.worker in self.anchors or len(supporters) < 2:
            return False
        if self.anchors and not self.anchors.intersection(supporters):
            return False
        groups: dict[str | None, list[Trust]] = {}
        for each in job.ballots:
            groups.setdefault(each.text, []).append(self.trust_of_all(each.worker, now))
        return confidences(groups)[job.winner] >= SURE

    def certainty(self, job: Job, now: float) -> float:
        if job.weighs:
            return job.confidence
        groups: dict[str | None, list[Trust]] = {}
        for part in job.ballots:
            groups.setdefault(part.text, []).append(self.trust(part.worker, job.foreman, now))
        return confidences(groups)[job.winner]

    def agree(self, part: Part, job: Job, now: float, partners: list[str], worth: float) -> None:
        memory = self.memory(part.worker)
        public = min(worth, max(0.0, FOREMAN_CAP - memory.sum(now, "public", job.foreman)))
        private = 1.0 if job.foreman in memory.caught else 1.0 - public
        memory.agreements.append(Agreement(now, job.foreman, public, private))
        if public:
            memory.partners = (memory.partners + partners)[-REMEMBERED:]
        memory.counts["audited"] += job.audited and part is job.ballots[0]

    def lie(self, worker: str, foreman: str, now: float, *, binds_all: bool) -> None:
        memory = self.memory(worker)
        if self.trust(worker, foreman, now).agreed >= ALARMING and worker not in self.anchors:
            self.alarms[foreman] = now
        memory.agreements = [
            attrs.evolve(each, private=0.0, recent=0.0) if each.foreman == foreman else each
            for each in memory.agreements
        ]
        memory.caught[foreman] = now
        memory.counts["dissented"] += 1
        if not binds_all:
            return
        memory.accusers = {name: at for name, at in memory.accusers.items() if now < at + PROBATION_S} | {foreman: now}
        if len(memory.accusers) >= max(reputation.ACCUSERS, 1 + memory.general(now) // reputation.WORTH_AN_ACCUSER):
            memory.agreements, memory.partners, memory.accusers = [], [], {}
            memory.caught[EVERYBODY] = now

    # --- tasks ------------------------------------------------------------------------------------------------------

    def bought(self, job: Job) -> None:
        self.jobs[job.name] = job
        self.move(f"user:{job.foreman}", f"escrow:{job.name}", len(job.parts))

    def added(self, job: Job, parts: Sequence[Part], deadline: float) -> None:
        job.parts += parts
        job.deadline = max(job.deadline, deadline)
        self.move(f"user:{job.foreman}", f"escrow:{job.name}", len(parts))

    def commit(self, worker: str, items: Sequence[tuple[str, str]], now: float) -> list[str]:
        """Return the tasks that take it."""
        taken: list[str] = []
        changed: dict[str, Job] = {}
        for name, text in items:
            job = self.jobs[name]
            part = job.part(worker)
            if part is None or (part.text or text) != text:
                continue
            if part.text is None and (part.given_up or job.state not in RUNNING):
                continue
            taken.append(name)
            if part.text is None:
                part.text = text
                job.ballots.append(part)
                changed[name] = job
                if job.weighs:
                    part.trust = self.trust(worker, job.foreman, now)
                self.adjudicate(job)
        self.learn([changed[name] for name in sorted(changed)], now)
        return taken

    def adjudicate(self, job: Job) -> None:
        if job.state is not TaskState.WON:
            for part in job.parts:
                if job.weighs and self.caught_since(part, job.foreman):
                    part.trust = NOTHING_KNOWN
            found = self.finding(job)
            if found.digest is None:
                if job.state is TaskState.PROVISIONAL:
                    self.reopen(job)
                return
            job.state = TaskState.PROVISIONAL if found.alone else TaskState.WON
            job.winner, job.confidence = found.digest.decode(), found.confidence
        if job.state is TaskState.WON:
            self.pay(job, job.supporters)

    def finding(self, job: Job) -> Finding:
        ballots = [Ballot(digest=(part.text or "").encode(), trust=part.trust) for part in job.ballots]
        return parse_rule(job.rule).find(ballots, outstanding=job.outstanding, audited=job.audited)

    def reopen(self, job: Job) -> None:
        job.state, job.winner, job.confidence = TaskState.OPEN, None, 0.0
        job.audited = job.released = True

    def pay(self, job: Job, parts: Iterable[Part]) -> None:
        for part in parts:
            if not part.paid:
                part.paid = True
                self.move(f"escrow:{job.name}", f"user:{part.worker}", 1)

    def give_up(self, worker: str, name: str) -> None:
        job = self.jobs[name]
        part = job.part(worker)
        if part is not None and part.text is None and job.state in RUNNING:
            part.given_up = True

    def accept(self, foreman: str, names: Iterable[str], now: float) -> None:
        jobs = [self.jobs[name] for name in names]
        mine = [job for job in jobs if job.foreman == foreman and job.state is TaskState.PROVISIONAL]
        for job in mine:
            self.doubt(job)
            if job.state is TaskState.PROVISIONAL:
                job.state = TaskState.WON
                self.pay(job, job.supporters)

    def doubt(self, job: Job) -> None:
        """Open it again if its only supporter was caught since."""
        (supporter,) = job.supporters
        if self.caught_since(supporter, job.foreman):
            self.reopen(job)
            supporter.trust = NOTHING_KNOWN

    def dispute(self, foreman: str, name: str) -> None:
        job = self.jobs[name]
        if job.foreman == foreman and job.state is TaskState.OPEN and not job.outstanding and job.ballots:
            left = job.escrow - len(job.ballots)
            self.pay(job, job.ballots)
            self.move(f"escrow:{job.name}", SERVICE, left)
            job.state = TaskState.DISPUTED

    def apply_deadlines(self, now: float) -> None:
        for job in self.jobs.values():
            if job.state not in RUNNING or now < job.deadline:
                continue
            for part in job.parts:
                self.memory(part.worker).counts["missed"] += part.outstanding and part.fetched
            if job.state is TaskState.PROVISIONAL:
                self.doubt(job)
            if job.state is TaskState.PROVISIONAL:
                self.pay(job, job.supporters)
            left = job.escrow
            if job.state is TaskState.OPEN:
                job.state = TaskState.LAPSED if job.released else TaskState.REFUNDED
            else:
                job.state = TaskState.SETTLED
            unused = sum(part.fetched and part.text is None for part in job.parts)
            kept = (unused + 1) // 2 if job.state is TaskState.REFUNDED else left
            self.move(f"escrow:{job.name}", SERVICE, kept)
            self.move(f"escrow:{job.name}", f"user:{job.foreman}", left - kept)
