"""However rows are cut by time, and in whatever order workers come and go: the shuffle gives the same bytes."""

from __future__ import annotations

import asyncio
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ec262.adapters.memory.spill import MemorySpill
from ec262.domain.foreman.data.memory_budget import MemoryBudget
from ec262.domain.foreman.job.plan import plan_job
from ec262.domain.values import canonical
from ec262.domain.work.outcome import Pairs, encode_outcome
from ec262.domain.work.work import Phase, TaskName
from tests.system import make_job, new_job_data


async def shuffled(lengths: list[int], slots: int, budget: MemoryBudget, random: Random | None) -> bytes:
    """Return the rows of the reduce phase: cut by time in a random order, or as one task."""
    job = make_job({number: "x" * length for number, length in enumerate(lengths)})
    data = new_job_data(job, MemorySpill, budget)
    plan = plan_job(data.sizes, slots=slots, purse=10_000, replicas=1, map_tasks=None if random else 1)
    waiting: list[TaskName] = []
    waiting += data.cut_map(plan, waiting.extend)
    ready: list[tuple[TaskName, bytes]] = []
    while waiting or ready:
        if waiting and (not ready or random is None or random.random() < 0.7):
            name = waiting.pop(random.randrange(len(waiting)) if random else 0)
            async with data.payload(name) as rows:
                ready.append((name, rows))
            continue
        name, rows = ready.pop(random.randrange(len(ready)) if random else 0)
        yielded = [(len(value) % 5, key) for key, value in canonical.decode(rows)]
        if random:
            data.took(name, random.choice([0.0, 0.01, 1.0, 1e6]))
        keep = data.set_aside if random and random.random() < 0.2 else data.keep
        await keep(name, encode_outcome(Pairs(pairs=tuple(sorted(yielded)))))
    await data.shuffle()
    (name,) = data.cut(Phase.REDUCE, 1)
    async with data.payload(name) as rows:
        data.close()
        return rows


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=150),
    st.integers(1, 30),
    st.sampled_from([MemoryBudget(), MemoryBudget(2000)]),
    st.randoms(use_true_random=False),
)
def test_any_sizing_gives_the_same_rows_to_reduce(
    lengths: list[int], slots: int, budget: MemoryBudget, random: Random
) -> None:
    expected = asyncio.run(shuffled(lengths, 1, MemoryBudget(), None))
    assert asyncio.run(shuffled(lengths, slots, budget, random)) == expected
