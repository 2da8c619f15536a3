"""Results in files without a name: what waits to be delivered does not weigh on the worker's memory, and whatever ends
the worker, kill -9 included, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import attrs

from ec262.adapters.files.file_spill import place_for_large_files
from ec262.domain.errors import ResultNotStored
from ec262.domain.ports.result_store import StoredResult
from ec262.domain.protocol.shapes import ID_PATTERN

T = TypeVar("T")

logger = logging.getLogger(__name__)

FULL_FILES = 64
"""A file that has this part of the capacity takes no more: so many there are at most, and a process may have few open.
Most results of a file are forgotten at about the same time, as they came."""


class _File:
    """A file that holds results one behind the other. It has mode 0600, and its name is gone at once."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed by close()
        self.size_bytes = self.live_bytes = 0
        self.results = 0

    def append(self, *parts: bytes) -> int:
        """Keep a result; return where it begins. Raises OSError; then the file is as it was."""
        start = end = self.size_bytes
        self._file.seek(start)
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    written = self._file.write(view)
                    view = view[written:]
                    end += written
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(start)
            raise
        self.size_bytes = end
        self.live_bytes += end - start
        self.results += 1
        return start

    def forget(self, size_bytes: int) -> None:
        """Count a result as kept no more; its room is free when the file is closed."""
        self.live_bytes -= size_bytes
        self.results -= 1

    @property
    def dead_bytes(self) -> int:
        """What is taken by results that are forgotten."""
        return self.size_bytes - self.live_bytes

    def read(self, start: int, size_bytes: int) -> bytes:
        """Return what was kept there. Raises OSError."""
        self._file.seek(start)
        pieces: list[bytes] = []
        while size_bytes:
            pieces.append(self._file.read(size_bytes))
            size_bytes -= len(pieces[-1])
            if not pieces[-1]:
                raise OSError("the file has become shorter")
        return b"".join(pieces)

    def close(self) -> None:
        """Forget everything; the space on disk is free then."""
        self._file.close()


@attrs.frozen(kw_only=True)
class _Entry:
    file: _File
    start: int
    ciphertext_bytes: int
    size_bytes: int
    forgotten_at: float


class FileResultStore:
    """A ResultStore in files that only this process can open.

    They take at most ``capacity_bytes``. The room of a file is free when all its results are forgotten, or when it is
    needed: then the others move. ``parent`` is the folder for them; None means that for large temporary files.
    """

    def __init__(self, *, capacity_bytes: int, parent: Path | None = None) -> None:
        self._capacity_bytes = capacity_bytes
        self._parent = parent
        self._entries: dict[str, _Entry] = {}
        self._spared: dict[str, None] = {}  # results that may be dropped, the first spared first
        self._filling: _File | None = None
        # Everything below runs in this one thread, in order: also when a caller is cancelled while it waits, no result
        # appears behind the back of a later purge or close.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ec262-results")

    async def put(self, task: str, result: StoredResult, *, forgotten_at: float) -> None:
        """Keep a result until ``forgotten_at``."""
        if not re.fullmatch(ID_PATTERN, task):
            raise ValueError(f"{task!r} is not a task id")
        await self._in_thread(lambda: self._put(task, result, forgotten_at))

    async def get(self, task: str) -> StoredResult | None:
        """Return a task's result, or None."""
        return await self._in_thread(lambda: self._get(task))

    async def spare(self, task: str) -> None:
        """Let a result be dropped when room is needed."""
        await self._in_thread(lambda: self._spare(task))

    async def purge(self, now: float) -> None:
        """Drop the results whose time is over."""
        await self._in_thread(lambda: self._purge(now))

    async def close(self) -> None:
        """Drop everything."""
        await self._in_thread(self._remove)

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)

    def _put(self, task: str, result: StoredResult, forgotten_at: float) -> None:
        size_bytes = len(result.ciphertext) + len(result.log)
        folder = self._parent
        try:
            folder = folder or place_for_large_files()  # which may find none
            self._drop_spared(task, size_bytes)
            while self._taken(besides=task) + size_bytes > self._capacity_bytes:
                if not self._empty_a_file(folder):
                    raise ResultNotStored(f"the result store is full ({self._capacity_bytes} bytes)")
            file = self._file_with_room(folder)
            start = file.append(result.ciphertext, result.log)
        except OSError as error:
            logger.warning("results cannot be kept in %s: %s", folder or "any folder", error.strerror or error)
            raise ResultNotStored(f"a result cannot be kept: {error.strerror or error}") from error
        self._forget(task)
        self._entries[task] = _Entry(
            file=file,
            start=start,
            ciphertext_bytes=len(result.ciphertext),
            size_bytes=size_bytes,
            forgotten_at=forgotten_at,
        )

    def _spare(self, task: str) -> None:
        if task in self._entries:
            self._spared[task] = None

    def _drop_spared(self, task: str, size_bytes: int) -> None:
        """Drop as many results as make room for another one, if there are enough that can be spared."""
        others = {name: entry.size_bytes for name, entry in self._entries.items() if name != task}
        excess = sum(others.values()) + size_bytes - self._capacity_bytes
        if excess > sum(others[name] for name in self._spared if name in others):
            return
        for name in [name for name in self._spared if name in others]:
            if excess <= 0:
                return
            excess -= others[name]
            self._forget(name)

    def _taken(self, *, besides: str) -> int:
        files = {entry.file for name, entry in self._entries.items() if name != besides}
        return sum(file.size_bytes for file in files)

    def _empty_a_file(self, folder: Path) -> bool:
        """Free the file that has most that is forgotten, by moving its other results; False if nothing is forgotten:
        whoever has a few results kept for long must not keep the room of all."""
        file = max({entry.file for entry in self._entries.values()}, key=lambda file: file.dead_bytes, default=None)
        if file is None or not file.dead_bytes:
            return False
        if file is self._filling:
            self._filling = None
        for task, entry in list(self._entries.items()):
            if entry.file is file:
                target = self._file_with_room(folder)
                start = target.append(file.read(entry.start, entry.size_bytes))
                spared = task in self._spared
                self._forget(task)
                self._entries[task] = attrs.evolve(entry, file=target, start=start)
                if spared:
                    self._spared[task] = None
        return True

    def _file_with_room(self, folder: Path) -> _File:
        if self._filling is None or self._filling.size_bytes >= self._capacity_bytes / FULL_FILES:
            self._filling = _File(folder)
        return self._filling

    def _get(self, task: str) -> StoredResult | None:
        entry = self._entries.get(task)
        if entry is None:
            return None
        try:
            content = entry.file.read(entry.start, entry.size_bytes)
        except OSError:
            return None
        return StoredResult(ciphertext=content[: entry.ciphertext_bytes], log=content[entry.ciphertext_bytes :])

    def _purge(self, now: float) -> None:
        for task in [task for task, entry in self._entries.items() if entry.forgotten_at <= now]:
            self._forget(task)

    def _forget(self, task: str) -> None:
        self._spared.pop(task, None)
        entry = self._entries.pop(task, None)
        if entry is None:
            return
        entry.file.forget(entry.size_bytes)
        if not entry.file.results:
            self._drop(entry.file)

    def _drop(self, file: _File) -> None:
        file.close()
        if file is self._filling:
            self._filling = None

    def _remove(self) -> None:
        for task in list(self._entries):
            self._forget(task)
        if self._filling is not None:  # nothing could be written to it
            self._drop(self._filling)
