"""Rows from input files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ec262.domain import canonical
from ec262.domain.errors import JobDefinitionError, NotCanonical


def read_rows(paths: Sequence[str], file_format: str) -> Iterator[tuple[Any, Any]]:
    """Yield (key, value) rows.

    ``lines``: key (path, line number from 1), value the line without its end. ``file``: key the path, value the text
    with its line ends as they are. ``jsonl``: each line is a JSON list [key, value]; types beyond JSON may be spelt as
    in ec262's own output. Text is UTF-8. Raises JobDefinitionError naming the file, and the line where there is one.
    """
    for path in paths:
        try:
            yield from _READERS[file_format](path)
        except UnicodeDecodeError as error:
            raise JobDefinitionError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
        except OSError as error:
            raise JobDefinitionError(f"cannot read {path}: {error.strerror or error}") from error


def _lines(path: str) -> Iterator[tuple[Any, Any]]:
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            yield (path, number), line.removesuffix("\n")


def _whole(path: str) -> Iterator[tuple[Any, Any]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        yield path, file.read()


def _jsonl(path: str) -> Iterator[tuple[Any, Any]]:
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
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


_READERS = {"lines": _lines, "file": _whole, "jsonl": _jsonl}

FORMATS = tuple(_READERS)
"""What ``read_rows`` reads."""


def result_lines(result: Iterable[tuple[Any, Any]]) -> Iterator[str]:
    """Yield a result as JSON lines of [key, value], line ends included; types beyond JSON are spelt canonically."""
    for key, value in result:
        yield canonical.encode([key, value]).decode() + "\n"
