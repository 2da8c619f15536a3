"""A dispute is read also when the foreman never heard that its workers had committed."""

from __future__ import annotations

import pytest

from ec262.domain.errors import TaskAbandoned
from ec262.domain.protocol.messages import Committed
from ec262.domain.verification.rules import parse_rule
from tests.adversaries import Liar
from tests.late_links import LOST, Hold, HoldingDialer, Stage
from tests.system import make_job, memory_system
from tests.unit.services.foreman.test_foreman_rules import under


@pytest.mark.parametrize("lost", [0, 1, 2])
async def test_a_dispute_is_read_when_a_workers_commitment_was_not_heard_of(lost: int) -> None:
    stage = Stage()
    async with memory_system(workers=3, sandboxes={0: Liar("lie")}) as system:
        await system.foreman().plan(make_job({1: "a"}))  # the workers are there
        port = sorted(system.network._doors)[lost]
        dialer = HoldingDialer(system.network.dialer(), port, [Hold(Committed, 0, LOST)], stage)
        foreman = system.foreman(under(parse_rule("majority:3:3"), attempts=1), dialer=dialer, progress=stage)
        with pytest.raises(TaskAbandoned, match="the workers' results differ in"):
            await foreman.run(make_job({1: "a b"}))
