"""The 2012 API with people around it: what its tests share."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ec262.adapters.memory.clock import ManualClock
from ec262.adapters.memory.entropy import SeededEntropy
from ec262.adapters.memory.unit_of_work_2012 import MemoryStore2012
from ec262.domain.legacy_2012.constants_2012 import Constants2012
from ec262.domain.legacy_2012.parameters_2012 import LEAVE_S, Ending, Registration
from ec262.domain.legacy_2012.tasks_2012 import Accepted2012, Rejected, Task2012
from ec262.domain.legacy_2012.unit_of_work_2012 import UnitOfWork2012Factory
from ec262.services.legacy_2012.service_2012 import Discovery2012

FOREMAN = "10.0.0.1"
STRANGER = "10.9.9.9"


def worker(number: int) -> str:
    """The address of a test's worker; they are in order."""
    return f"10.1.{number // 256}.{number % 256}"


@attrs.frozen(kw_only=True)
class Town2012:
    """A service, the time, and words for what clients do."""

    service: Discovery2012
    clock: ManualClock
    unit_of_work: UnitOfWork2012Factory

    def join(self, *numbers: int, ttl_s: int = 60) -> None:
        """Workers register, each at port 4000 and its number."""
        for number in numbers:
            self.service.register(worker(number), Registration(port=4000 + number, ttl_s=ttl_s))

    def leave(self, number: int) -> None:
        """A worker leaves the pool."""
        self.service.register(worker(number), Registration(port=4000 + number, ttl_s=LEAVE_S))

    def buy(self, wanted: int = 1, *, foreman: str = FOREMAN) -> Sequence[Task2012]:
        """A foreman buys tasks."""
        return self.service.buy(foreman, wanted)

    def end(
        self, task: Task2012, valid: str | None, missing: str | None = None, *, foreman: str | None = None
    ) -> Accepted2012 | Rejected:
        """A task's foreman, or somebody else, ends it."""
        ending = Ending(task=task.id, valid=valid, missing=missing)
        return self.service.end(foreman or task.foreman, ending)

    def credits(self, addr: str = FOREMAN) -> int:
        """What a client has."""
        return self.service.client(addr).credits

    def pool(self) -> list[str]:
        """Who could be drawn."""
        with self.unit_of_work() as uow:
            return [each.addr for each in uow.clients.pool(self.clock.now)]


def build_town(
    constants: Constants2012 | None = None, *, workers: int = 0, unit_of_work: UnitOfWork2012Factory | None = None
) -> Town2012:
    """A town over a storage, in memory if none is given, with workers 1 to ``workers`` in the pool."""
    clock = ManualClock(1_795_330_724.75)
    storage = unit_of_work or MemoryStore2012().unit_of_work
    service = Discovery2012(unit_of_work=storage, clock=clock, entropy=SeededEntropy(), constants=constants)
    town = Town2012(service=service, clock=clock, unit_of_work=storage)
    town.join(*range(1, workers + 1))
    return town
