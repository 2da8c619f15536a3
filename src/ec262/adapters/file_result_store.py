"""Results in files: what waits to be delivered does not weigh on the worker's memory."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import attrs

from ec262.domain.errors import ResultNotStored
from ec262.domain.ports.result_store import StoredResult
from ec262.domain.shapes import ID_PATTERN

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class _Entry:
    ciphertext_bytes: int
    size_bytes: int
    forgotten_at: float


class FileResultStore:
    """A ResultStore in a private folder (mode 0700) of its own, which ``close`` removes.

    Each task has one file, ciphertext and log one behind the other. Together they take at most ``capacity_bytes``.
    ``parent`` is where the folder is made; None means the system's place for temporary files.
    """

    def __init__(self, *, capacity_bytes: int, parent: Path | None = None) -> None:
        self._capacity_bytes = capacity_bytes
        self._parent = parent
        self._folder: Path | None = None
        self._entries: dict[str, _Entry] = {}
        # Everything below runs in this one thread, in order: also when a caller is cancelled while it waits, no file
        # appears behind the back of a later purge or close.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ec262-results")

    async def put(self, task: str, result: StoredResult, *, forgotten_at: float) -> None:
        """Keep a result until ``forgotten_at``."""
        if not re.fullmatch(ID_PATTERN, task):
            raise ValueError(f"{task!r} is no task id")
        await self._in_thread(lambda: self._put(task, result, forgotten_at))

    async def get(self, task: str) -> StoredResult | None:
        """Return a task's result, or None."""
        return await self._in_thread(lambda: self._get(task))

    async def purge(self, now: float) -> None:
        """Drop the results whose time is over."""
        await self._in_thread(lambda: self._purge(now))

    async def close(self) -> None:
        """Drop everything, the folder too."""
        await self._in_thread(self._remove)

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _put(self, task: str, result: StoredResult, forgotten_at: float) -> None:
        size_bytes = len(result.ciphertext) + len(result.log)
        others = sum(entry.size_bytes for name, entry in self._entries.items() if name != task)
        if others + size_bytes > self._capacity_bytes:
            raise ResultNotStored(f"the store of results is full ({self._capacity_bytes} bytes)")
        try:
            self._write(task, result)
        except OSError as error:
            raise ResultNotStored(f"a result cannot be kept: {error.strerror}") from error
        self._entries[task] = _Entry(
            ciphertext_bytes=len(result.ciphertext), size_bytes=size_bytes, forgotten_at=forgotten_at
        )

    def _write(self, task: str, result: StoredResult) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="ec262-results-", dir=self._parent))
        partial = self._folder / f"{task}.partial"
        try:
            with partial.open("wb") as file:
                file.write(result.ciphertext)
                file.write(result.log)
            partial.replace(self._folder / task)
        finally:
            partial.unlink(missing_ok=True)

    def _get(self, task: str) -> StoredResult | None:
        entry = self._entries.get(task)
        if entry is None or self._folder is None:
            return None
        try:
            content = (self._folder / task).read_bytes()
        except OSError:
            return None
        return StoredResult(ciphertext=content[: entry.ciphertext_bytes], log=content[entry.ciphertext_bytes :])

    def _purge(self, now: float) -> None:
        for task in [task for task, entry in self._entries.items() if entry.forgotten_at <= now]:
            del self._entries[task]
            if self._folder is not None:
                with contextlib.suppress(OSError):
                    (self._folder / task).unlink()

    def _remove(self) -> None:
        self._entries.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
