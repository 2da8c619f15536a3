"""Resources that many peers share, so that none of them can take all."""

from __future__ import annotations

import asyncio

import attrs

from ec262.domain.errors import MessageTooLarge


@attrs.define(eq=False)
class _Claim:
    """What a task's peer has reserved, or waits for."""

    task: str
    block: str
    size: int
    turn: asyncio.Future[None]


class Shares:
    """A number of bytes or places. A task has one reservation at a time, however many connections ask for it, and the
    peers of one address block may reserve at most ``of_block`` together. A request that cannot be granted yet waits for
    at most ``wait_s``.
    """

    def __init__(self, total: int, *, of_block: int, wait_s: float | None = None) -> None:
        self._total = total
        self._of_block = of_block
        self._wait_s = wait_s
        self._held = 0
        self._reserved: dict[str, _Claim] = {}
        self._waiting: list[_Claim] = []

    @property
    def room(self) -> int:
        """How much is neither reserved nor held."""
        return self._total - self._held - self._reserved_size()

    def room_for(self, task: str) -> int:
        """How much is available to a task, including what is reserved for it."""
        reserved = self._reserved.get(task)
        return self.room + (reserved.size if reserved is not None else 0)

    async def reserve(self, task: str, block: str, size: int) -> None:
        """Reserve ``size`` for a task, until ``release``. Raises MessageTooLarge after ``wait_s`` without room."""
        turn = asyncio.get_running_loop().create_future()
        claim = _Claim(task=task, block=block, size=size, turn=turn)
        self._waiting.append(claim)
        self._admit()
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as error:
            if claim in self._waiting:
                self._waiting.remove(claim)
                self._admit()
            elif turn.done() and not turn.cancelled():
                self.release(task)
            if isinstance(error, TimeoutError):
                raise MessageTooLarge(
                    f"task {task}: no memory for {size} bytes became free within {self._wait_s or 0:g} s"
                ) from None
            raise

    def release(self, task: str) -> None:
        """Give back what is reserved for a task."""
        del self._reserved[task]
        self._admit()

    def hold(self, size: int) -> None:
        """Take ``size`` without a reservation."""
        self._held += size

    def free(self, size: int) -> None:
        """Give back what was held."""
        self._held -= size
        self._admit()

    def _admit(self) -> None:
        """Grant what can be granted, in order of arrival. A claim that waits for room is not overtaken. A claim that
        waits for its task or its block does not hold up others."""
        for claim in list(self._waiting):
            if claim.turn.done() or claim.task in self._reserved or not self._fits_block(claim):
                continue
            if claim.size > self.room:
                return
            self._waiting.remove(claim)
            self._reserved[claim.task] = claim
            claim.turn.set_result(None)

    def _fits_block(self, claim: _Claim) -> bool:
        of_block = sum(other.size for other in self._reserved.values() if other.block == claim.block)
        return not of_block or of_block + claim.size <= self._of_block

    def _reserved_size(self) -> int:
        return sum(claim.size for claim in self._reserved.values())
