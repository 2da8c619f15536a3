"""Memory for work that foremen send: reserved before it is received, shared among those who send."""

from __future__ import annotations

import asyncio

import attrs

from ec262.domain.errors import MessageTooLarge
from ec262.services.worker_policy import WorkerPolicy


@attrs.define(eq=False)
class _Sender:
    """Work that is arriving, or that waits to be sent."""

    task: str
    block: str
    size_bytes: int
    turn: asyncio.Future[None]


class Intake:
    """Counts the memory that work takes, from the moment its size is known until its task ends.

    Work waits unreceived while there is no memory for it. Of each task one copy arrives at a time, whatever number of
    connections send it, and the peers of one address block together may have ``max_payload_bytes`` arriving.
    """

    def __init__(self, policy: WorkerPolicy) -> None:
        self._policy = policy
        self._held_bytes = 0
        self._arriving: dict[str, _Sender] = {}
        self._waiting: list[_Sender] = []

    @property
    def room_bytes(self) -> int:
        """How much more work may be taken or announced now."""
        return self._policy.max_pending_bytes - self._held_bytes - self._arriving_bytes()

    def room_bytes_for(self, task: str) -> int:
        """How much work of this task may be taken now: what was reserved for it counts as free."""
        arriving = self._arriving.get(task)
        return self.room_bytes + (arriving.size_bytes if arriving is not None else 0)

    async def reserve(self, task: str, block: str, size_bytes: int) -> None:
        """Reserve memory for the work of a task, until ``release``; wait for it at most ``room_s``.

        Raises MessageTooLarge if there is none by then.
        """
        turn = asyncio.get_running_loop().create_future()
        sender = _Sender(task=task, block=block, size_bytes=size_bytes, turn=turn)
        self._waiting.append(sender)
        self._admit()
        try:
            async with asyncio.timeout(self._policy.room_s):
                await turn
        except BaseException as error:
            if sender in self._waiting:
                self._waiting.remove(sender)
                self._admit()
            elif turn.done() and not turn.cancelled():
                self.release(task)
            if isinstance(error, TimeoutError):
                raise MessageTooLarge(
                    f"task {task}: no memory for {size_bytes} bytes of work within {self._policy.room_s:g} s"
                ) from None
            raise

    def release(self, task: str) -> None:
        """Give back what was reserved for a task: its work has arrived, or will not."""
        del self._arriving[task]
        self._admit()

    def hold(self, size_bytes: int) -> None:
        """Count work that has arrived."""
        self._held_bytes += size_bytes

    def free(self, size_bytes: int) -> None:
        """Count work as gone."""
        self._held_bytes -= size_bytes
        self._admit()

    def _admit(self) -> None:
        """Let those send who may, in the order of asking. Who waits for memory is not overtaken; who waits for another
        connection with its task, or for its own block, holds up nobody else."""
        for sender in list(self._waiting):
            if sender.task in self._arriving or not self._fits_block(sender):
                continue
            if sender.size_bytes > self.room_bytes:
                return
            self._waiting.remove(sender)
            self._arriving[sender.task] = sender
            if not sender.turn.done():
                sender.turn.set_result(None)

    def _fits_block(self, sender: _Sender) -> bool:
        of_block = sum(other.size_bytes for other in self._arriving.values() if other.block == sender.block)
        return not of_block or of_block + sender.size_bytes <= self._policy.max_payload_bytes

    def _arriving_bytes(self) -> int:
        return sum(sender.size_bytes for sender in self._arriving.values())
