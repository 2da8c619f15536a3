"""Connections that hold messages back, or lose them: what slow and broken links do."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import attrs

from ec262.adapters.memory.transport import MemoryDialer
from ec262.domain.errors import PeerLost
from ec262.domain.ports.progress import JobStatus
from ec262.domain.ports.transport import Admit, Connection
from ec262.domain.protocol.address import WorkerAddress
from ec262.domain.protocol.messages import Message
from ec262.domain.work.work import Phase

REDUCING, NEARLY_OVER, NEVER = "once reduce tasks run", "once a reduce task is done", "never"
LOST = "the message is lost, those behind it arrive"
MOMENTS = (REDUCING, NEARLY_OVER, NEVER)


@attrs.frozen
class Hold:
    """Hold back the ``nth`` message of a kind until a moment."""

    kind: type[Message]
    nth: int
    moment: str


class Stage:
    """Where the job is; a Progress."""

    def __init__(self) -> None:
        self._reached: dict[str, asyncio.Event] = {moment: asyncio.Event() for moment in MOMENTS}

    def show(self, status: JobStatus) -> None:
        if status.phase is Phase.REDUCE:
            if status.running:
                self._reached[REDUCING].set()
            if status.done:
                self._reached[NEARLY_OVER].set()

    def close(self) -> None:
        """Nothing is shown."""

    async def wait(self, moment: str) -> None:
        await self._reached[moment].wait()
        await asyncio.sleep(0)


class Held:
    """A Connection that holds messages back."""

    def __init__(self, connection: Connection, holds: Iterable[Hold], stage: Stage) -> None:
        self._connection = connection
        self._holds = tuple(holds)
        self._stage = stage
        self._seen: Counter[type[Message]] = Counter()
        self._sending = asyncio.Lock()
        self.peer = connection.peer
        self.proven = False
        self.close = connection.close

    async def send(self, message: Message, *, timeout_s: float) -> None:
        try:
            async with self._sending, asyncio.timeout(timeout_s):
                if not await self._hold_back(message):
                    await self._connection.send(message, timeout_s=timeout_s)
        except TimeoutError:
            await self._connection.close()
            raise PeerLost("the peer takes nothing") from None

    async def receive(self, *, max_payload_bytes: int, timeout_s: float | None, admit: Admit | None = None) -> Message:
        while True:
            message = await self._connection.receive(
                max_payload_bytes=max_payload_bytes, timeout_s=timeout_s, admit=admit
            )
            if not await self._hold_back(message):
                return message

    async def _hold_back(self, message: Message) -> bool:
        """Wait as long as this message is held back; return whether it is lost."""
        number = self._seen[type(message)]
        self._seen[type(message)] += 1
        for hold in self._holds:
            if hold.kind is type(message) and hold.nth == number:
                if hold.moment == LOST:
                    return True
                await self._stage.wait(hold.moment)
        return False


class HoldingDialer:
    """Dials; connections to the worker at ``port`` hold messages back."""

    def __init__(self, dialer: MemoryDialer, port: int, holds: Iterable[Hold], stage: Stage) -> None:
        self._dialer = dialer
        self._port = port
        self._holds = tuple(holds)
        self._stage = stage

    async def connect(self, address: WorkerAddress, *, timeout_s: float) -> Connection:
        connection = await self._dialer.connect(address, timeout_s=timeout_s)
        return Held(connection, self._holds, self._stage) if address.port == self._port else connection
