"""``--report``: runs a job and writes the evidence for its verdicts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from ec262.adapters.files.receipt_files import check_report_path, write_report
from ec262.domain.errors import Ec262Error
from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.foreman.receipts import job_receipt
from ec262.services.foreman.foreman import Foreman

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Report:
    """Writes the receipt of one job; ``verify`` is the rule that the user requested."""

    def __init__(self, path: str, *, number: int, verify: str) -> None:
        """Each job of a process has its own file; ``number`` counts the jobs. Raises ConfigurationError."""
        given = Path(path)
        check_report_path(given)
        self._path = given if number == 1 else given.with_stem(f"{given.stem}-{number}")
        self._verify = verify

    async def run(self, foreman: Foreman, job: Job, run: Callable[[Foreman, Job], Awaitable[T]]) -> T:
        """Run a job and write its receipt, even if the job fails."""
        try:
            result = await run(foreman, job)
        except Ec262Error:
            await self._write(foreman, job)
            raise
        await self._write(foreman, job)
        return result

    async def _write(self, foreman: Foreman, job: Job) -> None:
        try:
            receipt = job_receipt(await foreman.history(), verify=self._verify, seed=job.seed, local=foreman.local)
            written = await asyncio.to_thread(write_report, receipt, self._path)
        except Ec262Error as error:
            # The result is worth more than its receipt.
            logger.warning("the report could not be written: %s", error)
        else:
            logger.info("report written to %s", " and ".join(map(str, written)))
