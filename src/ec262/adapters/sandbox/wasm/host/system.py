"""The operating system that a guest sees: the calls of WASI (preview 1) that an interpreter cannot do without.

There is nothing behind them but memory. A few files can be read, standard input is the task, what is written to
standard output is the answer. The clock shows the work that was done, random bytes follow from the task, and sleeping
takes no time, so that all honest machines see the same. Every other call is refused.

The guest's numbers are a stranger's: memory is only touched through the engine, which checks what lies within.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from typing import Protocol

SUCCESS, BADF, FAULT, INVAL, PERM = 0, 8, 21, 28, 63
"""Error numbers of WASI."""

_UNKNOWN, _DIRECTORY, _REGULAR = 0, 3, 4
_SET, _CURRENT, _END = 0, 1, 2
_REALTIME, _MONOTONIC = 0, 1
_CLOCK_EVENT = 0
_ABSOLUTE = 1
_CREATE, _WANT_DIRECTORY = 1, 2
_WRITE_RIGHT = 1 << 6

_INPUT, _OUTPUT, _ERRORS, _ROOT = range(4)

_IOVEC = struct.Struct("<II")
_SIZE, _LONG = struct.Struct("<I"), struct.Struct("<Q")
_FDSTAT = struct.Struct("<BxHxxxxQQ")
_FILESTAT = struct.Struct("<QQBxxxxxxxQQQQQ")
_PRESTAT = struct.Struct("<BxxxI")
_SUBSCRIPTION = struct.Struct("<QBxxxxxxxIxxxxQQHxxxxxx")
_EVENT = struct.Struct("<QHBxxxxxQHxxxxxx")

_BEGINNING_NS = 946_684_800 * 10**9
"""The clock of a task starts with the year 2000 (UTC)."""
_MAX_IOVECS = 1024
_MAX_PATH_BYTES = 4096
_MAX_TAKEN_BYTES = 1 << 20
"""Written with one call; the guest has to ask again for the rest, as everywhere."""
_MAX_DRAWN_BYTES = 1 << 16
_MAX_OPEN = 256
_MAX_ERRORS_BYTES = 4000


class Exited(Exception):
    """The guest has ended itself, with this ``status``."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Memory(Protocol):
    """The guest's memory. Both raise IndexError or ValueError for what is not all within."""

    def read(self, start: int, size: int) -> bytes:
        """Return a copy of ``size`` bytes."""
        ...

    def write(self, start: int, data: bytes) -> None:
        """Put data there."""
        ...


class _File:
    """An open file."""

    def __init__(self, content: memoryview | None) -> None:
        self.content = content
        """None for a directory."""
        self.place = 0


class GuestSystem:
    """What one guest can call. ``on_output`` gets what it writes to standard output."""

    def __init__(
        self,
        memory: Memory,
        *,
        files: Mapping[str, memoryview],
        environment: Mapping[str, str],
        arguments: tuple[str, ...],
        worked_ns: Callable[[], int],
        on_output: Callable[[bytes], None],
    ) -> None:
        """``files`` are by path, without a leading slash; ``worked_ns`` tells how much work was done, as time."""
        self._memory = memory
        self._files = files
        self._folders = {""} | {path[:end] for path in files for end in range(len(path)) if path[end] == "/"}
        self._strings = {
            "args": [argument.encode() + b"\0" for argument in arguments],
            "environ": [f"{name}={value}\0".encode() for name, value in environment.items()],
        }
        self._worked_ns = worked_ns
        self._on_output = on_output
        self._input = memoryview(b"")
        self._slept_ns = 0
        self._salt, self._drawn = b"", 0
        self._open: dict[int, _File] = {_ROOT: _File(None)}
        self.errors = bytearray()
        """What it wrote to standard error, as far as there is room."""

    def give(self, data: bytes, *, salt: bytes) -> None:
        """Let it read ``data`` from standard input; from now on random bytes follow from ``salt``."""
        self._input = memoryview(data)
        self._salt, self._drawn = salt, 0

    # --- what it was started with -------------------------------------------------------------------------------------

    def args_sizes_get(self, count: int, size: int) -> int:
        return self._tell_sizes("args", count, size)

    def args_get(self, pointers: int, texts: int) -> int:
        return self._tell_strings("args", pointers, texts)

    def environ_sizes_get(self, count: int, size: int) -> int:
        return self._tell_sizes("environ", count, size)

    def environ_get(self, pointers: int, texts: int) -> int:
        return self._tell_strings("environ", pointers, texts)

    def proc_exit(self, status: int) -> None:
        raise Exited(status)

    # --- time and chance ----------------------------------------------------------------------------------------------

    def clock_res_get(self, _clock: int, out: int) -> int:
        return self._put(out, _LONG, 1)

    def clock_time_get(self, clock: int, _precision: int, out: int) -> int:
        return self._put(out, _LONG, self._now_ns(clock))

    def random_get(self, out: int, size: int) -> int:
        for start in range(0, size, _MAX_DRAWN_BYTES):
            self._drawn += 1
            stream = hashlib.shake_128(self._salt + _LONG.pack(self._drawn))
            self._memory.write(out + start, stream.digest(min(size - start, _MAX_DRAWN_BYTES)))
        return SUCCESS

    def poll_oneoff(self, subscriptions: int, events: int, count: int, out: int) -> int:
        """Sleep: the clock moves on to the first time that is asked for. There is nothing else to wait for."""
        if not 0 < count <= _MAX_IOVECS:
            return INVAL
        asked = []
        for number in range(count):
            place = subscriptions + number * _SUBSCRIPTION.size
            asked.append(_SUBSCRIPTION.unpack(self._memory.read(place, _SUBSCRIPTION.size)))
        if any(kind != _CLOCK_EVENT for _, kind, *_ in asked):
            return PERM
        waits = [
            (max(0, timeout - self._now_ns(clock)) if flags & _ABSOLUTE else timeout, data)
            for data, _, clock, timeout, _, flags in asked
        ]
        wait, data = min(waits)
        self._slept_ns += wait
        self._put(events, _EVENT, data, SUCCESS, _CLOCK_EVENT, 0, 0)
        return self._put(out, _SIZE, 1)

    def sched_yield(self) -> int:
        return SUCCESS

    # --- files --------------------------------------------------------------------------------------------------------

    def fd_prestat_get(self, number: int, out: int) -> int:
        return self._put(out, _PRESTAT, 0, 1) if number == _ROOT else BADF

    def fd_prestat_dir_name(self, number: int, out: int, size: int) -> int:
        if number != _ROOT or size < 1:
            return BADF
        self._memory.write(out, b"/")
        return SUCCESS

    def path_open(  # noqa: PLR0917 - what it takes is not ours to say
        self, folder: int, _look: int, path: int, size: int, how: int, rights: int, _more: int, _flags: int, out: int
    ) -> int:
        name = self._path(folder, path, size)
        if name in self._files and not (how & (_CREATE | _WANT_DIRECTORY) or rights & _WRITE_RIGHT):
            file = _File(self._files[name])
        elif name in self._folders:
            file = _File(None)
        else:
            return PERM
        free = next((number for number in range(_ROOT + 1, _MAX_OPEN) if number not in self._open), None)
        if free is None:
            return PERM
        self._open[free] = file
        return self._put(out, _SIZE, free)

    def path_filestat_get(self, folder: int, _look: int, path: int, size: int, out: int) -> int:
        name = self._path(folder, path, size)
        if name in self._folders:
            return self._put_stat(out, _DIRECTORY, 0)
        if name in self._files:
            return self._put_stat(out, _REGULAR, len(self._files[name]))
        return PERM

    def fd_close(self, number: int) -> int:
        return BADF if number > _ROOT and self._open.pop(number, None) is None else SUCCESS

    def fd_fdstat_get(self, number: int, out: int) -> int:
        kind = self._kind(number)
        return BADF if kind is None else self._put(out, _FDSTAT, kind, 0, (1 << 64) - 1, 0)

    def fd_filestat_get(self, number: int, out: int) -> int:
        kind = self._kind(number)
        if kind is None:
            return BADF
        content = self._open[number].content if kind == _REGULAR else None
        return self._put_stat(out, kind, len(content or b""))

    def fd_read(self, number: int, vectors: int, count: int, out: int) -> int:
        if number == _INPUT:
            taken, self._input = self._fill(vectors, count, self._input)
            return self._put(out, _SIZE, taken)
        file = self._open.get(number)
        if file is None or file.content is None:
            return BADF
        taken, _ = self._fill(vectors, count, file.content[file.place :])
        file.place += taken
        return self._put(out, _SIZE, taken)

    def fd_pread(self, number: int, vectors: int, count: int, place: int, out: int) -> int:
        file = self._open.get(number)
        if file is None or file.content is None:
            return BADF
        return self._put(out, _SIZE, self._fill(vectors, count, file.content[max(0, place) :])[0])

    def fd_seek(self, number: int, offset: int, whence: int, out: int) -> int:
        file = self._open.get(number)
        if file is None or file.content is None:
            return BADF
        offset -= (offset >> 63) << 64  # the one number that may be negative
        start = {_SET: 0, _CURRENT: file.place, _END: len(file.content)}.get(whence)
        if start is None or not 0 <= start + offset <= len(file.content):
            return INVAL
        file.place = start + offset
        return self._put(out, _LONG, file.place)

    def fd_tell(self, number: int, out: int) -> int:
        return self.fd_seek(number, 0, _CURRENT, out)

    def fd_write(self, number: int, vectors: int, count: int, out: int) -> int:
        if number not in {_OUTPUT, _ERRORS}:
            return PERM
        data = b""
        for start, size in self._vectors(vectors, count):
            data += self._memory.read(start, min(size, _MAX_TAKEN_BYTES - len(data)))
        if number == _OUTPUT:
            self._on_output(data)
        else:
            self.errors += data[: _MAX_ERRORS_BYTES - len(self.errors)]
        return self._put(out, _SIZE, len(data))

    # --- how it is done -----------------------------------------------------------------------------------------------

    def _now_ns(self, clock: int) -> int:
        worked = self._worked_ns()
        if clock == _REALTIME:
            return _BEGINNING_NS + worked + self._slept_ns
        return worked + (self._slept_ns if clock == _MONOTONIC else 0)

    def _kind(self, number: int) -> int | None:
        if _INPUT <= number <= _ERRORS:
            return _UNKNOWN
        file = self._open.get(number)
        if file is None:
            return None
        return _DIRECTORY if file.content is None else _REGULAR

    def _path(self, folder: int, path: int, size: int) -> str:
        """Return a path as files are known by here; one that no file has if it is none."""
        if folder != _ROOT or size > _MAX_PATH_BYTES:
            return "?"
        name = self._memory.read(path, size).decode("utf-8", "replace")
        return name.strip("/") if name != "." else ""

    def _vectors(self, vectors: int, count: int) -> list[tuple[int, int]]:
        if not 0 <= count <= _MAX_IOVECS:
            raise ValueError("too many buffers")
        return list(_IOVEC.iter_unpack(self._memory.read(vectors, count * _IOVEC.size)))

    def _fill(self, vectors: int, count: int, data: memoryview) -> tuple[int, memoryview]:
        """Put data into the guest's buffers; return how much went in, and the rest."""
        taken = 0
        for start, size in self._vectors(vectors, count):
            part = data[:size]
            self._memory.write(start, bytes(part))
            taken += len(part)
            data = data[len(part) :]
        return taken, data

    def _put(self, place: int, form: struct.Struct, *values: int) -> int:
        self._memory.write(place, form.pack(*values))
        return SUCCESS

    def _put_stat(self, place: int, kind: int, size: int) -> int:
        return self._put(place, _FILESTAT, 1, 1, kind, 1, size, 0, 0, 0)

    def _tell_sizes(self, name: str, count: int, size: int) -> int:
        strings = self._strings[name]
        self._put(count, _SIZE, len(strings))
        return self._put(size, _SIZE, sum(map(len, strings)))

    def _tell_strings(self, name: str, pointers: int, texts: int) -> int:
        for number, text in enumerate(self._strings[name]):
            self._put(pointers + number * _SIZE.size, _SIZE, texts)
            self._memory.write(texts, text)
            texts += len(text)
        return SUCCESS
