"""A worker's requests to discovery about single tasks, sent in batches."""

from __future__ import annotations

from collections.abc import Sequence

from ec262.domain.errors import DiscoveryRefused, refusal
from ec262.domain.ports.discovery import WorkerDiscovery
from ec262.domain.protocol.limits import MAX_BATCH
from ec262.domain.protocol.worker_calls import (
    Assignment,
    AssignmentQuery,
    Commitment,
    CommitResults,
    GiveUp,
    TaskRefusal,
)
from ec262.domain.terminal import one_line
from ec262.services.calls.batching import Batcher

PAUSE_S = 0.003
"""Pause between two calls that report the end of tasks; meanwhile, a worker with many slots has more to report."""

STRANGERS_PAUSE_S = 0.2
"""Pause between two calls about strangers' claims: they must not use up this worker's rate limit at discovery."""

NO_ANSWER = "discovery's reply does not mention this task"


class WorkerBatches:
    """Each method asks about one task, and raises DiscoveryRefused or DiscoveryUnavailable as a single call would."""

    def __init__(self, discovery: WorkerDiscovery) -> None:
        self._discovery = discovery
        self.assignment: Batcher[str, Assignment] = Batcher(self._assignments, most=MAX_BATCH)
        self.claim: Batcher[str, Assignment] = Batcher(
            self._assignments, most=MAX_BATCH, pause_s=lambda: STRANGERS_PAUSE_S
        )
        """Asks for an assignment claimed by a peer that has proved none so far."""
        self.commit: Batcher[Commitment, None] = Batcher(self._commit, most=MAX_BATCH, pause_s=_pause_s)
        self.give_up: Batcher[str, None] = Batcher(self._give_up, most=MAX_BATCH, pause_s=_pause_s)

    async def _assignments(self, tasks: Sequence[str]) -> list[Assignment | Exception]:
        reply = await self._discovery.assignments(AssignmentQuery(tasks=_each_once(tasks)))
        found = {assignment.task: assignment for assignment in reply.assignments}
        refused = _errors(reply.refused)
        return [found.get(task) or refused.get(task) or DiscoveryRefused(NO_ANSWER) for task in tasks]

    async def _commit(self, commitments: Sequence[Commitment]) -> list[Exception | None]:
        reply = await self._discovery.commit(CommitResults(commitments=tuple(commitments)))
        return _settled([commitment.task for commitment in commitments], reply.tasks, reply.refused)

    async def _give_up(self, tasks: Sequence[str]) -> list[Exception | None]:
        reply = await self._discovery.give_up(GiveUp(tasks=_each_once(tasks)))
        return _settled(tasks, reply.tasks, reply.refused)


def _pause_s() -> float:
    return PAUSE_S


def _each_once(tasks: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tasks))


def _settled(tasks: Sequence[str], done: Sequence[str], refused: Sequence[TaskRefusal]) -> list[Exception | None]:
    """Return None for each task that is done, and the error for each of the others."""
    done_tasks, why = set(done), _errors(refused)
    return [None if task in done_tasks else why.get(task) or DiscoveryRefused(NO_ANSWER) for task in tasks]


def _errors(refused: Sequence[TaskRefusal]) -> dict[str, DiscoveryRefused]:
    return {one.task: refusal(one.error, one_line(one.message)) for one in refused}
