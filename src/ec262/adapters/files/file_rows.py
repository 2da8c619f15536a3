"""Input files that are too large to be held: they are cut by offset, and a task's rows are read when it is sent."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs

from ec262.adapters.files.inputs import FORMATS, not_text, unreadable
from ec262.domain.errors import JobDefinitionError
from ec262.domain.foreman.data.cuts import MAX_PIECES, Cuts
from ec262.domain.foreman.data.row import MAX_ROW_BYTES, row_too_large
from ec262.domain.values import canonical
from ec262.domain.values.pairs import encode_pairs

LEAST_PIECE_BYTES = 4 << 10
READ_BYTES = 1 << 20
KEY_BYTES = 30
"""What a row takes when it travels, beside its text and its file's path: about so much."""


@attrs.frozen
class InputFiles:
    """Files, in this order, as the data of a job; the format is one of ``inputs.FORMATS``."""

    paths: tuple[str, ...]
    file_format: str


@attrs.frozen
class _File:
    """A file as it was when it was looked at first; if it is another one later, so are its rows."""

    path: str
    identity: tuple[int, int, int, int]

    @classmethod
    def of(cls, path: str, status: os.stat_result) -> _File:
        return cls(path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))

    @property
    def size(self) -> int:
        return self.identity[2]

    def check(self, file: BinaryIO) -> None:
        if _File.of(self.path, os.fstat(file.fileno())) != self:
            raise JobDefinitionError(
                f"{self.path} has changed since the job began: leave it unchanged while the job runs, or use a copy"
            )


class FileRows:
    """A Rows over files that can be read at any place. They are read once to find where to cut, so that what is wrong
    with their text is told before anything is bought; but that lines are JSON shows when they are sent."""

    def __init__(self, files: Sequence[_File], file_format: str) -> None:
        self._files = files
        self._format = FORMATS[file_format]
        self._grain = max(LEAST_PIECE_BYTES, 2 * sum(file.size for file in files) // MAX_PIECES)
        self._count = 0
        self._cuts: Cuts[tuple[int, int, int]] = Cuts((0, 0, 1))
        """A place is the number of the file, the offset in it, and the number of the line there."""
        for number, file in enumerate(files):
            self._survey(number, file)

    @property
    def count(self) -> int:
        """How many rows there are; of JSON lines, the empty ones count as well."""
        return self._count

    @property
    def sizes(self) -> Sequence[int]:
        """About how many bytes each piece takes when it travels."""
        return self._cuts.sizes

    def payload(self, pieces: range) -> bytes:
        """Return the rows of these pieces as they travel."""
        portions = [rows for piece in pieces for rows in self._read(piece)]
        return b"".join((b"[", b",".join(portions), b"]"))

    def close(self) -> None:
        """Do nothing: files are only open while they are read."""

    # --- finding where to cut -----------------------------------------------------------------------------------------

    def _survey(self, number: int, file: _File) -> None:
        with _opened(file) as opened:
            if self._format.by_line:
                self._survey_lines(number, file, opened)
            else:
                _check_text(file, opened)
                if file.size > MAX_ROW_BYTES:
                    raise row_too_large(canonical.encode(file.path), file.size)
                self._count += 1
                self._cuts.add(file.size + len(file.path) + KEY_BYTES, (number + 1, 0, 1))

    def _survey_lines(self, number: int, file: _File, opened: BinaryIO) -> None:
        offset, line = 0, 1
        while offset < file.size:
            block = opened.read(self._grain)
            if not block.endswith(b"\n"):
                rest = opened.readline(MAX_ROW_BYTES + 1)
                if len(rest) > MAX_ROW_BYTES:
                    raise row_too_large(canonical.encode((file.path, line)), len(rest))
                block += rest
            try:
                block.decode()
            except UnicodeDecodeError as error:
                raise not_text(file.path, error, offset=offset) from error
            offset += len(block)
            lines = _lines_in(block)
            line += lines
            end = (number, offset, line) if offset < file.size else (number + 1, 0, 1)
            self._count += lines
            self._cuts.add(len(block) + lines * (len(file.path) + KEY_BYTES), end)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self, piece: int) -> Iterator[bytes]:
        """Yield the rows of a piece, file by file, with commas between."""
        (first, start, line), (last, stop, _) = self._cuts.span(range(piece, piece + 1))
        for number in range(first, last + (stop > 0)):
            file = self._files[number]
            with _opened(file) as opened:
                opened.seek(start)
                data = opened.read((stop if number == last else file.size) - start)
                file.check(opened)
            if rows := self._encoded(file.path, data.decode(), line):
                yield b",".join(rows)
            start, line = 0, 1

    def _encoded(self, path: str, text: str, line: int) -> list[bytes]:
        pairs = list(self._format.rows(path, io.StringIO(text, newline=self._format.newline), line))
        rows = list(map(b"[%b,%b]".__mod__, zip(*encode_pairs(pairs), strict=True)))
        for row in rows:
            if len(row) > MAX_ROW_BYTES:
                raise row_too_large(canonical.encode((path, line)), len(row))
        return rows


def file_rows(files: InputFiles, *, more_than: int) -> FileRows | None:
    """Return the rows of files with more than so many bytes, None if there are fewer, or not all of them are plain
    files. Raises JobDefinitionError if one cannot be read, or is no text."""
    found: list[_File] = []
    for path in files.paths:
        try:
            status = Path(path).stat()
        except OSError as error:
            raise unreadable(path, error) from error
        if not stat.S_ISREG(status.st_mode):
            return None
        found.append(_File.of(path, status))
    return FileRows(found, files.file_format) if sum(file.size for file in found) > more_than else None


@contextmanager
def _opened(file: _File) -> Iterator[BinaryIO]:
    """Open a file that is as it was. Raises JobDefinitionError if it is not, or cannot be read."""
    try:
        with Path(file.path).open("rb") as opened:
            file.check(opened)
            yield opened
    except OSError as error:
        raise unreadable(file.path, error) from error


def _check_text(file: _File, opened: BinaryIO) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while True:
        block = opened.read(READ_BYTES)
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise not_text(file.path, error, offset=offset - waiting) from error
        offset += len(block)
        if not block:
            return


def _lines_in(block: bytes) -> int:
    """Return the number of lines as text mode counts them: they end with a line feed, a carriage return, or both."""
    ends = block.count(b"\n") + block.count(b"\r") - block.count(b"\r\n")
    return ends + (not block.endswith((b"\n", b"\r")))
