"""Rows from input files, and results as lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import attrs

from ec262.domain.errors import JobDefinitionError, NotCanonical
from ec262.domain.values import canonical


def read_rows(paths: Sequence[str], file_format: str) -> Iterator[tuple[Any, Any]]:
    """Yield (key, value) rows.

    ``lines``: key (path, line number from 1), value the line without its end. ``file``: key the path, value the text
    with its line ends as they are. ``jsonl``: each line is a JSON list [key, value]; types beyond JSON may be spelt as
    in ec262's own output. Text is UTF-8. Raises JobDefinitionError naming the file, and the line where there is one.
    """
    form = FORMATS[file_format]
    for path in paths:
        try:
            with Path(path).open(encoding="utf-8", newline=form.newline) as file:
                yield from form.rows(path, file, 1)
        except UnicodeDecodeError as error:
            raise not_text(path, error) from error
        except OSError as error:
            raise unreadable(path, error) from error


def not_text(path: str, error: UnicodeDecodeError, *, offset: int = 0) -> JobDefinitionError:
    """Return the error for a file with bytes that are not UTF-8, found in a portion that begins at ``offset``."""
    return JobDefinitionError(f"{path} is not UTF-8 text: {error.reason} at byte {offset + error.start}")


def unreadable(path: str, error: OSError) -> JobDefinitionError:
    """Return the error for a file that cannot be read."""
    return JobDefinitionError(f"cannot read {path}: {error.strerror or error}")


def _lines(path: str, file: TextIO, first: int) -> Iterator[tuple[Any, Any]]:
    for number, line in enumerate(file, first):
        yield (path, number), line.removesuffix("\n")


def _whole(path: str, file: TextIO, _first: int) -> Iterator[tuple[Any, Any]]:
    yield path, file.read()


def _jsonl(path: str, file: TextIO, first: int) -> Iterator[tuple[Any, Any]]:
    for number, line in enumerate(file, first):
        if not line.strip():
            continue
        match _parse(line, f"{path}, line {number}"):
            case [key, value]:
                yield key, value
            case other:
                raise JobDefinitionError(
                    f"{path}, line {number}: expected a list [key, value], found {type(other).__name__}"
                )


def _parse(line: str, where: str) -> Any:
    try:
        return canonical.decode(line.strip().encode())
    except NotCanonical:
        pass
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise JobDefinitionError(f"{where}: not JSON: {error}") from error


@attrs.frozen
class Format:
    """How text becomes rows: ``rows`` is given the file's path, text, and the number of the text's first line;
    ``newline`` is what ``open`` is to make of line ends. Where rows are lines, a file can be cut between them."""

    rows: Callable[[str, TextIO, int], Iterator[tuple[Any, Any]]]
    newline: str | None = None
    by_line: bool = True


FORMATS = {"lines": Format(_lines), "file": Format(_whole, newline="", by_line=False), "jsonl": Format(_jsonl)}
"""What ``read_rows`` reads."""
