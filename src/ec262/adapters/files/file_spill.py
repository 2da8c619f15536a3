"""Spills in files without a name: whatever ends this process, kill -9 included, nothing is left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from ec262.domain.errors import ConfigurationError, SpillFailed

LARGE_FILES = Path("/var/tmp")  # noqa: S108 - the files there have no name and mode 0600
"""Where large temporary files belong (Filesystem Hierarchy Standard, 5.15): unlike /tmp it is on disk nearly always."""


class FileSpill:
    """A Spill in a temporary file that only this process can open: it has mode 0600, and its name is gone at once.

    ``parent`` is the folder for it; None means that for large temporary files. Raises SpillFailed if no file can be
    made there.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent or place_for_large_files()
        try:
            self._file = tempfile.TemporaryFile(dir=self._parent, buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise self._failed(error) from error
        self._size = 0

    def append(self, data: bytes) -> int:
        """Keep these bytes; return where they begin."""
        start = self._size
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._file.fileno(), view, self._size)
                self._size += written
                view = view[written:]
        except OSError as error:
            raise self._failed(error) from error
        return start

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""
        pieces: list[bytes] = []
        try:
            while start < stop:
                pieces.append(os.pread(self._file.fileno(), stop - start, start))
                start += len(pieces[-1])
                if not pieces[-1]:
                    raise SpillFailed(f"temporary data in {self._parent} are not there any more")
        except OSError as error:
            raise self._failed(error) from error
        return b"".join(pieces)

    def close(self) -> None:
        """Forget everything; the space on disk is free then."""
        self._file.close()

    def _failed(self, error: OSError) -> SpillFailed:
        return SpillFailed(
            f"data beyond the job's memory cannot be put away in {self._parent}: {error.strerror}; "
            "set TMPDIR to a folder with room, or --memory to more"
        )


def place_for_large_files() -> Path:
    """Return what TMPDIR says, and without that the system's place for large temporary files."""
    named = os.environ.get("TMPDIR")
    if named:
        return Path(named)
    return LARGE_FILES if os.access(LARGE_FILES, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())


def room_for_large_files(*, least_bytes: int = 1) -> tuple[Path, int]:
    """Return the folder for large temporary files, and how many bytes are free there. Raises ConfigurationError if no
    file can be written there, or if fewer than ``least_bytes`` are free."""
    folder: Path | None = None
    try:
        folder = place_for_large_files()
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"room?")
            probe.flush()
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            f"cannot write large temporary files in {folder or 'any folder'} ({reason}): "
            f"set TMPDIR to a folder that exists, is writable and has room"
        ) from error
    if free_bytes < least_bytes:
        raise ConfigurationError(
            f"only {free_bytes >> 20} MiB are free for large temporary files in {folder}, and at least "
            f"{-(-least_bytes >> 20)} MiB are needed: make room there, or set TMPDIR to a folder that has it"
        )
    return folder, free_bytes
