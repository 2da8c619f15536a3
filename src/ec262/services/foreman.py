"""The foreman's use cases: plan a job, and run it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from ec262.domain.commands import PoolQuery, PoolStatus
from ec262.domain.errors import NoEligibleWorkers
from ec262.domain.job import Job
from ec262.domain.plan import Plan, plan_job
from ec262.services.job_data import JobData
from ec262.services.job_execution import ForemanPolicy, ForemanPorts, JobExecution

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LAST_PAUSE_S = 0.02, 1.0
"""Pauses between two looks at the pool while it has too few workers: doubled from the first to the last."""


class Foreman:
    """Runs jobs, any number of them one after the other, for one account."""

    def __init__(self, ports: ForemanPorts, policy: ForemanPolicy) -> None:
        self._ports = ports
        self._policy = policy

    async def plan(self, job: Job) -> Plan:
        """Say how a job with at least one row would be cut, and what it would cost. Nothing is bought.

        Raises InsufficientCredits, NoEligibleWorkers (after waiting for them), DiscoveryError.
        """
        account = await self._ports.discovery.open_account(self._policy.invitation)
        pool = await self._wait_for_workers(job)
        replicas = self._policy.run.rule.replicas
        plan = plan_job(
            job.rows.sizes,
            slots=pool.slots,
            purse=account.credits,
            replicas=replicas,
            partition_bytes=self._policy.memory.partition_bytes,
            reduce_tasks=job.reduce_tasks,
        )
        logger.info(
            "plan: %d map and %d reduce tasks for %d of %d credits, %d workers with %d free slots",
            plan.map_tasks, plan.reduce_tasks, plan.price, plan.purse, pool.workers, pool.slots,
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
        """Run a job that has rows, and have its result written without ever holding all of it: as canonical lines of
        [key, value], ordered by the keys' canonical bytes. ``write`` is called once, in a thread. Every failure but
        those of ``write`` is an Ec262Error."""
        data = self._data(job, as_lines=True)
        try:
            await self._execute(job, data)
            await data.write(write)
        finally:
            data.close()

    def _data(self, job: Job, *, as_lines: bool = False) -> JobData:
        return JobData(job, self._ports.spills, self._policy.memory, as_lines=as_lines)

    async def _execute(self, job: Job, data: JobData) -> None:
        await JobExecution(self._ports, self._policy, job, await self.plan(job), data).run()

    async def _wait_for_workers(self, job: Job) -> PoolStatus:
        """Return the pool as soon as a task's replicas could be assigned."""
        query = PoolQuery(requirement=job.requirement)
        patience_s = self._policy.run.patience_s
        give_up_at, pause_s, told = self._ports.clock() + patience_s, FIRST_PAUSE_S, ""
        while True:
            pool = await self._ports.discovery.pool(query)
            need = self._policy.run.rule.replicas
            if pool.workers >= need:
                return pool
            lacking = f"{need} workers are needed, {pool.workers} can be had"
            if pool.explanation:
                lacking += f" ({pool.explanation})"
            if self._ports.clock() >= give_up_at:
                raise NoEligibleWorkers(f"no luck for {patience_s:g} s: {lacking}")
            if pause_s >= LAST_PAUSE_S and lacking != told:
                logger.warning("waiting: %s", lacking)
                told = lacking
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
