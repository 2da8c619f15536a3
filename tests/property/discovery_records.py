"""What the model of discovery keeps of tasks, accounts, leases, purchases and invitations."""

from __future__ import annotations

import attrs

from ec262.domain.protocol.foreman_calls import AddReplicas, BuyTasks
from ec262.domain.verification.task_state import TaskState

CLAIM_S = 30
CLAIM_FRACTION = 0.1
RUNNING = {TaskState.OPEN, TaskState.WON}


@attrs.define
class Part:
    """A worker's part in a task."""

    worker: str
    purchase: str
    drawn_at: float
    text: str | None = None
    given_up: bool = False
    fetched: bool = False
    paid: bool = False

    @property
    def outstanding(self) -> bool:
        return self.text is None and not self.given_up

    def busy(self, now: float, deadline: float) -> bool:
        claim_s = min(CLAIM_S, CLAIM_FRACTION * (deadline - self.drawn_at))
        return self.outstanding and (self.fetched or now < self.drawn_at + claim_s)


@attrs.define
class Job:
    """A task."""

    name: str
    foreman: str
    quorum: int
    deadline: float
    forgotten_at: float
    parts: list[Part]
    state: TaskState = TaskState.OPEN
    winner: str | None = None

    def part(self, worker: str) -> Part | None:
        return next((part for part in self.parts if part.worker == worker), None)

    @property
    def running(self) -> bool:
        return self.state in RUNNING

    @property
    def escrow(self) -> int:
        return sum(not part.paid for part in self.parts) if self.running else 0

    @property
    def committed(self) -> list[Part]:
        return [part for part in self.parts if part.text is not None]

    @property
    def winners(self) -> set[str]:
        return {part.worker for part in self.parts if part.paid and self.winner is not None}

    @property
    def outstanding(self) -> int:
        return sum(part.outstanding for part in self.parts) if self.running else 0

    @property
    def lost(self) -> bool:
        """Whether its dispute can be bought."""
        return self.state is TaskState.OPEN and not self.outstanding and bool(self.committed)

    @property
    def decided(self) -> bool:
        return self.state is not TaskState.OPEN or self.outstanding == 0


@attrs.define
class Holder:
    """An account."""

    account: str
    frozen: bool = False


@attrs.define
class Lease:
    """A place in the pool; ``fits`` says whether it has the Python that everybody asks for."""

    slots: int
    expires_at: float
    fits: bool


@attrs.frozen
class Bought:
    """A purchase that was made, with the reply that it must always have."""

    account: str
    command: BuyTasks | AddReplicas
    price: int
    credits: int
    shortfall: str
    tasks: tuple[str, ...]
    forgotten_at: float


@attrs.define
class Offer:
    """An invitation."""

    credits: int
    uses: int
    redeemed: set[str] = attrs.Factory(set)
