"""What foremen do to a discovery service, with their own tasks, those of others and some that never were."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import rule

from ec262.domain.errors import DiscoveryRefused, LimitReached, PurchaseTooExpensive
from ec262.domain.protocol.foreman_calls import (
    AddReplicas,
    BuyDisputes,
    BuyTasks,
    DeliveryReport,
    DeliveryReports,
    PoolQuery,
    Purchase,
    Verdict,
    VerdictQuery,
)
from ec262.domain.verification.task_state import TaskState
from tests.discovery_town import REQUIREMENT, more_replicas, order
from tests.property.discovery_machine import (
    NO_CRASH,
    TEXTS,
    UNKNOWN,
    Crash,
    batches,
    crashes,
    digest_of,
    indices,
)
from tests.property.discovery_model import QUORUMS
from tests.property.discovery_records import Job
from tests.property.discovery_worker_rules import WorkerRules


class ForemanRules(WorkerRules):
    """Tasks and replicas are bought, looked at, disputed, and their winners reported."""

    # --- buying -----------------------------------------------------------------------------------------------------

    @rule(
        index=st.integers(0, 2),
        count=st.integers(1, 3),
        spec=st.sampled_from(["majority:3", "majority:3", "majority:3", *QUORUMS]),
        deadline_s=st.sampled_from([1.0, 60.0, 600.0]),
        crash=crashes,
    )
    def buy(self, index: int, count: int, spec: str, deadline_s: float, crash: Crash) -> None:
        command = order(self.new_id(), tasks=count, rule=spec, deadline_s=deadline_s)
        self.place(self.token(index), command, crash)

    @rule(index=st.integers(0, 1), said=st.lists(st.sampled_from(TEXTS), min_size=3, max_size=6), crash=crashes)
    def buy_and_have_computed(self, index: int, said: list[str], crash: Crash) -> None:
        self.place(self.token(index), order(self.new_id(), tasks=2), crash)
        for name in (0, 1):
            for token, text in zip(self.team(name), said[3 * name :], strict=False):
                self.commit(token, [(self.task(name), text)], NO_CRASH)

    @rule(
        names=st.lists(indices, min_size=1, max_size=3),
        index=indices,
        mine=st.integers(0, 3),
        replicas=st.sampled_from([1, 1, 2, 5]),
        crash=crashes,
    )
    def add(self, names: list[int], index: int, mine: int, replicas: int, crash: Crash) -> None:
        names = self.likely(names, lambda job: job.state is TaskState.OPEN) if mine else names
        owner = self.owner_of(names[0]) if mine else None
        token = owner or self.token(index)
        tasks = sorted({self.task(name) for name in names})
        deadline_s = 700.0 if replicas == 1 else 1.0
        command = more_replicas(*tasks, purchase=self.new_id(), replicas=replicas, deadline_s=deadline_s)
        self.place(token, command, crash)

    @rule(which=indices, index=indices, mine=st.booleans(), change=st.integers(0, 4), crash=crashes)
    def order_again(self, which: int, index: int, mine: bool, change: int, crash: Crash) -> None:  # noqa: FBT001 - drawn
        if self.commands:
            token, command = self.commands[-1 - which % len(self.commands)]
            if change == 0:
                command = attrs.evolve(command, deadline_s=command.deadline_s + 1)
            self.place(token if mine else self.token(index), command, crash)

    def new_id(self) -> str:
        return f"purchase-{len(self.commands)}"

    def place(self, token: str, command: BuyTasks | AddReplicas, crash: Crash) -> None:
        """Make a purchase, a new one or one that was made before."""
        self.commands.append((token, command))
        reply = self.ask(lambda: self.ordered(token, command), crash)
        known = self.expect(lambda: self.model.check_purchase(token, command, self.now))
        if isinstance(reply, DiscoveryRefused):
            self.check_no_purchase(token, command, reply, known)
            return
        assert not isinstance(known, DiscoveryRefused), known
        if known is None:
            known = self.model.purchased(token, command, reply, self.now)
            self.tasks = list(dict.fromkeys([task.task for task in reply.tasks] + self.tasks))
            self.remember_secrets(known.tasks)
        self.overhear(token, reply)
        assert (reply.price, reply.credits, reply.shortfall) == (known.price, known.credits, known.shortfall)
        assert tuple(task.task for task in reply.tasks) == known.tasks
        self.check_parts(reply)

    def ordered(self, token: str, command: BuyTasks | AddReplicas) -> Purchase:
        foremen = self.service.foremen
        if isinstance(command, BuyTasks):
            return foremen.buy(token, command)
        return foremen.add_replicas(token, command)

    def check_no_purchase(
        self, token: str, command: BuyTasks | AddReplicas, refusal: DiscoveryRefused, known: object
    ) -> None:
        if isinstance(command, AddReplicas) and known is None:  # the price depends on who was drawn
            assert isinstance(refusal, PurchaseTooExpensive | LimitReached)
        else:
            assert type(refusal) is type(known), (refusal, known)
        if isinstance(refusal, PurchaseTooExpensive):
            assert refusal.need > refusal.have == self.model.credits(self.model.looking(token).account)

    def check_parts(self, reply: Purchase) -> None:
        for task in reply.tasks:
            job = self.model.jobs[task.task]
            drawn = [part.worker for part in job.parts if part.purchase == reply.purchase]
            assert sorted(replica.worker for replica in task.replicas) == sorted(drawn)
            assert task.deadline_s == max(0.0, job.deadline - self.now)

    # --- looking ----------------------------------------------------------------------------------------------------

    @rule(index=st.integers(0, 3), names=batches, everything=st.booleans())
    def look_around(self, index: int, names: list[int], everything: bool) -> None:  # noqa: FBT001 - drawn
        token = self.token(index)
        self.look_at_tasks(token, self.tasks if everything else [self.task(name) for name in names])
        self.look_at_pool(token)

    def look_at_pool(self, token: str) -> None:
        def free() -> list[int]:
            me = self.model.looking(token).account
            return [count for worker, count in self.model.free(self.now).items() if worker != me]

        query = PoolQuery(requirement=REQUIREMENT)
        status = self.compare(token, lambda: self.service.foremen.pool(token, query), free, NO_CRASH)
        assert status is None or (status.workers, status.slots) == (len(self.expected), sum(self.expected))

    def look_at_tasks(self, token: str, tasks: list[str]) -> None:
        query = VerdictQuery(tasks=tuple(tasks))
        reply = self.compare(
            token,
            lambda: self.service.foremen.verdicts(token, query),
            lambda: self.model.own(self.model.looking(token).account, tasks),
            NO_CRASH,
        )
        if reply is not None:
            self.judge(reply.verdicts, self.expected)
            unknown = len(reply.verdicts) < len(set(tasks))
            assert query.has_news(reply) == (not tasks or unknown or any(job.decided for job in self.expected))

    def judge(self, verdicts: Sequence[Verdict], jobs: Sequence[Job]) -> None:
        """Verdicts tell what the model knows; what was told once of a task that is paid stays."""
        assert [verdict.task for verdict in verdicts] == [job.name for job in jobs]
        for verdict, job in zip(verdicts, jobs, strict=True):
            assert (verdict.state, verdict.committed) == (job.state, len(job.committed))
            assert (verdict.outstanding, verdict.decided) == (job.outstanding, job.decided)
            assert verdict.digest == (digest_of(job.name, job.winner) if job.winner is not None else None)
            assert {winner.worker for winner in verdict.winners} == job.winners
            disputed = job.committed if job.state is TaskState.DISPUTED else []
            shown = {(part.worker, digest_of(job.name, part.text or "")) for part in disputed}
            assert {(result.worker, result.digest) for result in verdict.results} == shown
            assert (verdict.key is not None) == bool(job.winners or disputed)
            if verdict.key is not None:
                before = self.told.setdefault(job.name, verdict)
                assert (before.key, before.digest, before.results) == (verdict.key, verdict.digest, verdict.results)
                assert set(before.winners) <= set(verdict.winners)

    # --- afterwards -------------------------------------------------------------------------------------------------

    @rule(index=indices, names=batches, mine=st.integers(0, 3), crash=crashes)
    def dispute(self, index: int, names: list[int], mine: int, crash: Crash) -> None:
        names = self.likely(names, lambda job: job.state is TaskState.OPEN and job.decided) if mine else names
        tasks = [self.task(name) for name in names]
        owner = self.owner_of(names[0]) if mine and names else None
        token = owner or self.token(index)
        reply = self.compare(
            token,
            lambda: self.service.foremen.dispute(token, BuyDisputes(tasks=tuple(tasks))),
            lambda: self.model.dispute(token, tasks),
            crash,
        )
        if reply is not None:
            self.judge(reply.verdicts, self.expected)

    @rule(index=indices, items=st.lists(st.tuples(indices, indices), max_size=4), mine=st.integers(0, 3), crash=crashes)
    def report(self, index: int, items: list[tuple[int, int]], mine: int, crash: Crash) -> None:
        names, positions = [name for name, _ in items], [position for _, position in items]
        names = self.likely(names, lambda job: bool(job.winners)) if mine else names
        named = [(self.task(name), self.worker_of(name, at)) for name, at in zip(names, positions, strict=True)]
        owner = self.owner_of(names[0]) if mine and names else None
        token = owner or self.token(index)
        reports = tuple(DeliveryReport(task=task, worker=worker) for task, worker in named)
        self.compare(
            token,
            lambda: self.service.foremen.report(token, DeliveryReports(reports=reports)),
            lambda: self.model.report(token, named),
            crash,
        )

    def worker_of(self, name: int, position: int) -> str:
        job = self.job(name)
        return job.parts[position % len(job.parts)].worker if job is not None else UNKNOWN
