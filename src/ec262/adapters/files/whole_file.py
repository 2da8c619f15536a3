"""Files that appear under their name when they are whole."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class WholeFile:
    """A new file for ``path``, open for writing as ``file``; ``publish`` gives it the name.

    What the name stood for stays as it is until then, and is replaced then. The new file takes over its mode, and its
    owner and group if possible; a symbolic link stays one. Without ``publish`` nothing is left, whatever ends this
    process: the file has no name before. File systems without nameless files (O_TMPFILE), as NFS, get one named
    ``.ec262-....partial`` beside the other, which is left if this process is killed with kill -9.

    Use it as a context manager. Raises OSError: at once if the file cannot be written there.
    """

    def __init__(self, path: Path) -> None:
        self._target = Path(os.path.realpath(path))  # unlike resolve(), it leaves links in a circle to the system
        self._partial = self._target.with_name(f".ec262-{secrets.token_hex(8)}.partial")
        before = _status(self._target)
        if before is not None and not os.access(self._target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        mode = 0o666 if before is None else 0o600
        descriptor = _open_nameless(self._target.parent, mode)
        self._nameless = descriptor is not None
        if descriptor is None:
            descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        self.file = os.fdopen(descriptor, "wb")
        if before is not None:
            _take_over(descriptor, before)

    def publish(self) -> None:
        """Let the file appear. Raises OSError."""
        self.file.flush()
        if self._nameless:
            with suppress(FileExistsError):
                self._link(self._target)
                return
            self._link(self._partial)  # a link replaces nothing, a renamed file does
        self._partial.replace(self._target)

    def _link(self, path: Path) -> None:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # With a descriptor of a folder Python calls linkat, which can follow the link in /proc.
            os.link(f"/proc/self/fd/{self.file.fileno()}", path.name, dst_dir_fd=folder, follow_symlinks=True)
        finally:
            os.close(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # flushing has reported what could not be written
            self.file.close()
        if not self._nameless:
            self._partial.unlink(missing_ok=True)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _open_nameless(folder: Path, mode: int) -> int | None:
    """Open a new file without a name; return None if the file system has none, or it could get no name later."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").exists():
        return None
    try:
        return os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:  # the latter two of old kernels
            return None
        raise


def _take_over(descriptor: int, before: os.stat_result) -> None:
    mode = stat.S_IMODE(before.st_mode)
    try:
        os.fchown(descriptor, before.st_uid, before.st_gid)
    except PermissionError:
        mode &= ~stat.S_IRWXG  # the group is another one now
    os.fchmod(descriptor, mode)
