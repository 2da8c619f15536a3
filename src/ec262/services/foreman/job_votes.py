"""The votes that a job's verdicts were made of: asked for once, when all is over."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.domain.foreman.run.job_history import TaskHistory
from ec262.domain.ports.discovery import ForemanDiscovery
from ec262.domain.protocol.foreman_calls import Verdict, VerdictQuery
from ec262.domain.protocol.limits import MAX_BATCH


async def with_votes(history: Sequence[TaskHistory], discovery: ForemanDiscovery) -> tuple[TaskHistory, ...]:
    """Put discovery's last word on each purchase, with its votes, in place of the verdict that the foreman acted on.
    What discovery has forgotten keeps that. Raises DiscoveryError."""
    asked = [purchase.task for task in history for purchase in task.purchases]
    verdicts: dict[str, Verdict] = {}
    for start in range(0, len(asked), MAX_BATCH):
        query = VerdictQuery(tasks=tuple(asked[start : start + MAX_BATCH]), votes=True)
        verdicts |= {verdict.task: verdict for verdict in (await discovery.verdicts(query)).verdicts}
    return tuple(
        attrs.evolve(
            task,
            purchases=tuple(
                attrs.evolve(purchase, verdict=verdicts.get(purchase.task, purchase.verdict))
                for purchase in task.purchases
            ),
        )
        for task in history
    )
