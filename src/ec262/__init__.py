"""MapReduce in Python on machines that do not trust each other.

A job is a mapper and a reducer, marked with ``@ec262.mapper`` and ``@ec262.reducer``; ``ec262.run_job(data)`` runs it
and returns a dict. ``ec262.run_worker()`` lends this machine to others.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ec262.entrypoints.foreman.api import combiner, mapper, partitioner, reducer, run_job
from ec262.entrypoints.worker.lending import run_worker
from ec262.version import __version__

if TYPE_CHECKING:
    from ec262.domain.errors import (
        ConfigurationError,
        DiscoveryError,
        DiscoveryRefused,
        DiscoveryUnavailable,
        Ec262Error,
        FunctionNotPicklable,
        InsufficientCredits,
        JobDefinitionError,
        JobError,
        KeyCollision,
        KeyNotHashable,
        NoEligibleWorkers,
        OutputFailed,
        SandboxUnavailable,
        SpillFailed,
        TaskAbandoned,
        TaskLimitExceeded,
        UserCodeFailed,
        ValueNotEncodable,
    )
    from ec262.domain.foreman.job.verification_plan import VerificationPlan
    from ec262.domain.protocol.foreman_calls import Verdict
    from ec262.domain.verification.rules import Credibility, Majority, Quorum
    from ec262.domain.work.work import Phase, TaskName

__all__ = [
    "ConfigurationError",
    "Credibility",
    "DiscoveryError",
    "DiscoveryRefused",
    "DiscoveryUnavailable",
    "Ec262Error",
    "FunctionNotPicklable",
    "InsufficientCredits",
    "JobDefinitionError",
    "JobError",
    "KeyCollision",
    "KeyNotHashable",
    "Majority",
    "NoEligibleWorkers",
    "OutputFailed",
    "Phase",
    "Quorum",
    "SandboxUnavailable",
    "SpillFailed",
    "TaskAbandoned",
    "TaskLimitExceeded",
    "TaskName",
    "UserCodeFailed",
    "ValueNotEncodable",
    "Verdict",
    "VerificationPlan",
    "__version__",
    "combiner",
    "mapper",
    "partitioner",
    "reducer",
    "run_job",
    "run_worker",
]

_RULES = {
    "Credibility": "verification.rules",
    "Majority": "verification.rules",
    "Phase": "work.work",
    "Quorum": "verification.rules",
    "TaskName": "work.work",
    "Verdict": "protocol.foreman_calls",
    "VerificationPlan": "foreman.job.verification_plan",
}
"""Names for custom verification rules. They are imported on first use, because a job's module is also loaded in places
where they are missing or not needed."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ec262.domain.{_RULES.get(name, 'errors')}"), name)
