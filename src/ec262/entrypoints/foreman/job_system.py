"""Provides the system for a job: the discovery service in its settings, or the embedded system."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager

import attrs

from ec262.domain.foreman.job.job_definition import Job
from ec262.domain.ports.progress import Progress
from ec262.entrypoints.embedded.embedded import EmbeddedSystem, EmbeddedSystems
from ec262.entrypoints.foreman.bootstrap_foreman import build_foreman, build_foreman_discovery
from ec262.entrypoints.foreman.job_reading import JobTerms
from ec262.entrypoints.shared.settings import ForemanSettings, WorkerSettings
from ec262.services.foreman.foreman import Foreman

EMBEDDED_AHEAD = 7
"""Tasks that may wait for each slot of the embedded system. Its workers share one machine, so no worker idles while
another is overloaded, and tasks can be sent early."""


@attrs.frozen(kw_only=True)
class System:
    """The system that a job runs on, and the job adapted to it."""

    job: Job
    terms: JobTerms
    embedded: EmbeddedSystem | None = None

    @property
    def local(self) -> bool:
        """Whether it is the embedded system, whose workers all deserve the same trust."""
        return self.embedded is not None

    @asynccontextmanager
    async def foreman(self, progress: Progress) -> AsyncIterator[Foreman]:
        """Lend a foreman for the job. Raises ConfigurationError if an embedded system does not start, or ends during
        the job."""
        if self.embedded is None:
            async with self._foreman(self.terms.settings, None, progress) as foreman:
                yield foreman
            return
        url, token = await asyncio.to_thread(self.embedded.address)
        # Settings for another discovery service do not apply to the embedded one.
        settings = attrs.evolve(self.terms.settings, discovery=url, discovery_ca=None, invitation=None)
        async with self.embedded.watched(), self._foreman(settings, token, progress) as foreman:
            yield foreman

    @asynccontextmanager
    async def _foreman(
        self, settings: ForemanSettings, token: str | None, progress: Progress
    ) -> AsyncIterator[Foreman]:
        discovery = build_foreman_discovery(settings, token=token)
        try:
            yield build_foreman(
                settings, discovery=discovery, progress=progress, verify=self.terms.verify, local=self.local
            )
        finally:
            await discovery.close()


@contextmanager
def provided_system(job: Job, terms: JobTerms, systems: EmbeddedSystems) -> Iterator[System]:
    """Provide the system for a job; an embedded system is taken from ``systems``."""
    settings = terms.settings
    if settings.discovery is not None:
        yield System(job=job, terms=terms)
        return
    # The user's own workers may import whatever the user has installed. A missing package fails when it is imported.
    packages = tuple(name for name in job.requirement.packages if name in job.modules)
    job = attrs.evolve(job, requirement=attrs.evolve(job.requirement, packages=packages))
    count = max(settings.workers, terms.workers_needed)
    with systems.lend(embedded_workers(settings, job.modules), count) as embedded:
        yield System(job=job, terms=terms, embedded=embedded)


def embedded_workers(settings: ForemanSettings, modules: Iterable[str]) -> WorkerSettings:
    """Return the settings of the embedded system's workers. They allow everything that the foreman asks for, at any
    hour: limits for strangers do not apply to the machine's own user. They load ``modules`` at the start, because
    native code cannot be loaded later."""
    least = WorkerSettings()
    return WorkerSettings(
        slots=settings.slots,
        ahead=EMBEDDED_AHEAD,
        allow=tuple(sorted({*settings.allow, *modules})),
        sandbox=settings.sandbox,
        nice=settings.nice,
        cpu_limit=max(least.cpu_limit, settings.task_timeout),
        wall_limit=max(least.wall_limit, settings.task_timeout),
        memory_limit_mib=max(least.memory_limit_mib, settings.task_memory),
    )
