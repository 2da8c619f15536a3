"""The foreman's use cases: plan a job, and run it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from ec262.domain.errors import NoEligibleWorkers
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.job.plan import Plan, plan_job, rules_for
from ec262.domain.foreman.job.verification_plan import adds_workers
from ec262.domain.foreman.run.job_history import TaskHistory
from ec262.domain.foreman.run.job_run import JobRun
from ec262.domain.pauses import growing
from ec262.domain.protocol.foreman_calls import PoolQuery, PoolStatus
from ec262.domain.verification.rules import VerificationRule
from ec262.domain.work.work import Phase, TaskName
from ec262.services.foreman.data.job_data import JobData
from ec262.services.foreman.foreman_policy import ForemanPolicy, ForemanPorts
from ec262.services.foreman.job_execution import JobExecution
from ec262.services.foreman.job_votes import with_votes

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LAST_PAUSE_S = 0.02, 1.0
"""The shortest and the longest pause between checks of the pool while it has too few workers; each is longer than the
one before."""


class Foreman:
    """Runs jobs for one account, one after the other."""

    def __init__(self, ports: ForemanPorts, policy: ForemanPolicy) -> None:
        self._ports = ports
        self._policy = policy
        self._machine: JobRun | None = None

    async def plan(self, job: Job) -> Plan:
        """Return how a job with at least one row would be cut, and what it would cost. Nothing is bought.

        Raises InsufficientCredits, NoEligibleWorkers (after waiting for them), DiscoveryError; ConfigurationError if
        the rule is not meant for strangers' workers; JobDefinitionError if the user's own rule is invalid.
        """
        rules = self._rules()
        account = await self._ports.discovery.open_account(self._policy.invitation)
        pool, team = await self._wait_for_workers(job, rules)
        plan = plan_job(
            job.rows.sizes,
            slots=pool.slots if self._policy.slots is None else min(pool.slots, self._policy.slots),
            purse=account.credits,
            replicas=team,
            adds_workers=any(map(adds_workers, rules)),
            partition_bytes=self._policy.memory.partition_bytes,
            map_tasks=job.map_tasks,
            reduce_tasks=job.reduce_tasks,
        )
        logger.info(
            "plan: %d (up to %d) map and %d reduce tasks%s, %d workers with %d free slots",
            plan.map_tasks, plan.most_map_tasks, plan.reduce_tasks,
            "" if self._policy.local else f" for {plan.price} of {plan.purse} credits",
            pool.workers, pool.slots,
        )  # fmt: skip
        return plan

    async def run(self, job: Job) -> dict[Any, Any]:
        """Run a job; return its result, ordered by the keys' canonical bytes. Every failure is an Ec262Error."""
        if not job.rows.sizes:
            return {}
        data = self._data(job)
        try:
            await self._execute(job, data)
            return await data.result()
        finally:
            data.close()

    async def run_to(self, job: Job, write: Callable[[Iterable[bytes]], None]) -> None:
        """Run a job that has rows, and write its result without ever holding all of it: as canonical lines of [key,
        value], ordered by the keys' canonical bytes. ``write`` is called once, in a thread. Every failure is an
        Ec262Error, except for those of ``write``."""
        data = self._data(job, as_lines=True)
        try:
            await self._execute(job, data)
            await data.write(write)
        finally:
            data.close()

    def _data(self, job: Job, *, as_lines: bool = False) -> JobData:
        return JobData(
            job,
            self._ports.spills,
            self._policy.memory,
            limits=self._policy.limits,
            entropy=self._ports.entropy,
            as_lines=as_lines,
        )

    async def _execute(self, job: Job, data: JobData) -> None:
        execution = JobExecution(self._ports, self._policy, job, await self.plan(job), data)
        self._machine = execution.machine
        await execution.run()

    @property
    def local(self) -> bool:
        """Whether the whole system runs on this machine, so that credits do not matter."""
        return self._policy.local

    @property
    def mapped(self) -> bool:
        """Whether the map phase of the last job, which must have ended, yielded anything."""
        return self._machine is not None and self._machine.total > 0

    async def history(self) -> tuple[TaskHistory, ...]:
        """Return what became of the tasks of the last job, finished or not: each purchase with its workers, discovery's
        latest verdict and its votes. Raises DiscoveryError."""
        if self._machine is None:
            return ()
        return await with_votes(self._machine.history(), self._ports.discovery)

    def _rules(self) -> tuple[VerificationRule, ...]:
        """Return the rules that would verify the first task of each phase: plans are based on them."""
        return tuple(self._policy.run.rule_of(TaskName(phase=phase, index=0)) for phase in Phase)

    async def _wait_for_workers(self, job: Job, rules: Sequence[VerificationRule]) -> tuple[PoolStatus, int]:
        """Wait until a task could be assigned; return the pool, and how many workers a task needs."""
        patience_s = self._policy.run.patience_s
        began, logged = self._ports.clock(), ""
        pauses = growing(FIRST_PAUSE_S, LAST_PAUSE_S, self._ports.entropy)
        while True:
            pool, team, lacking = await self._look(job, rules)
            if not lacking:
                return pool, team
            if pool.explanation:
                lacking += f" ({pool.explanation})"
            waited_s = self._ports.clock() - began
            if waited_s >= patience_s:
                raise NoEligibleWorkers(f"not enough eligible workers after {patience_s:g} s: {lacking}")
            if waited_s >= LAST_PAUSE_S and lacking != logged:
                logger.warning("waiting for workers: %s", lacking)
                logged = lacking
            await asyncio.sleep(next(pauses))

    async def _look(self, job: Job, rules: Sequence[VerificationRule]) -> tuple[PoolStatus, int, str]:
        """Return the pool, how many workers a task needs, and what is missing, empty if nothing is."""
        teams: dict[VerificationRule, int] = {}
        for rule in dict.fromkeys(rules):
            # Only discovery knows the workers' reputations.
            spec = rule.spec if rule.weighs_trust else None
            pool = await self._ports.discovery.pool(PoolQuery(requirement=job.requirement, rule=spec))
            teams[rule] = rule.team() if pool.team is None else pool.team
        rule, team = max(teams.items(), key=itemgetter(1))
        if pool.workers >= team:
            return pool, team, ""
        if not rule.weighs_trust:
            return pool, team, f"{team} needed, {pool.workers} available"
        lacking = f"{team} needed by {rule.spec} until their reputation is better, {pool.workers} available"
        others = rules_for(pool.workers)
        return pool, team, f"{lacking}: use {' or '.join(others)}" if others else lacking
