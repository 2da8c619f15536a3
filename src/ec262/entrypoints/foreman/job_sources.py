"""Tells ec262's source files from the job's, and finds source lines for tracebacks."""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Collection
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def is_ours(file: str) -> bool:
    """Tell whether a source file belongs to ec262."""
    return file.startswith(str(PACKAGE) + os.sep)


def loaded_files() -> frozenset[str]:
    """Return the source files that this process has loaded: the job's own are among them."""
    return frozenset(file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None)))


def with_source_lines(report: str, files: Collection[str]) -> str:
    """Add the source lines to a traceback that was written where the job's files could not be read.

    A stranger may have written it, so only ``files`` are read.
    """
    lines: list[str] = []
    written = report.splitlines()
    for number, line in enumerate(written):
        lines.append(line)
        following = written[number + 1] if number + 1 < len(written) else ""
        source = _source_of(line, files)
        if source and not following.startswith("    "):
            lines.append(f"    {source}")
    return "\n".join(lines)


def _source_of(line: str, files: Collection[str]) -> str:
    """Return the source line that a ``File "...", line N`` line of a traceback refers to, or an empty string."""
    head, _, rest = line.strip().partition('", line ')
    number = rest.partition(",")[0]
    file = head.removeprefix('File "')
    if file == head or file not in files or not number.isdecimal():
        return ""
    return linecache.getline(file, int(number)).strip()
