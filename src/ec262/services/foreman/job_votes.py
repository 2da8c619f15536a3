"""The votes behind a job's verdicts: requested once, at the end."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.domain.foreman.run.job_history import TaskHistory
from ec262.domain.ports.discovery import ForemanDiscovery
from ec262.domain.protocol.foreman_calls import Verdict, VerdictQuery
from ec262.domain.protocol.limits import MAX_BATCH


async def with_votes(history: Sequence[TaskHistory], discovery: ForemanDiscovery) -> tuple[TaskHistory, ...]:
    """Replace each purchase's verdict, on which the foreman acted, by discovery's latest one with its votes. Where
    discovery has forgotten a task, the old verdict stays. Raises DiscoveryError."""
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
