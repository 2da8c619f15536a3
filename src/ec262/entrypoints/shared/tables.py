"""Plain tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ec262.domain.protocol.account_calls import HistoryEntry
from ec262.domain.terminal import one_line


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format rows below heads, in aligned columns: numbers to the right, everything else to the left."""
    kept = [list(row) for row in rows]
    cells = [list(heads), *([one_line(str(cell)) for cell in row] for row in kept)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    right = [bool(kept) and all(isinstance(row[column], int) for row in kept) for column in range(len(heads))]
    lines = [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]
    return "\n".join(lines)


def history_table(entries: Iterable[HistoryEntry]) -> str:
    """Format movements of an account."""
    rows = [(date_time(each.at), f"{each.change:+d}", each.balance, each.text) for each in entries]
    return table(("time", "change", "credits", "reason"), rows)


def date_time(at: float | None) -> str:
    """Format Unix seconds as UTC; empty for None."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def yes_no(value: bool) -> str:  # noqa: FBT001 - the flag is the text
    """Format a flag."""
    return "yes" if value else "no"


def count(number: int, noun: str) -> str:
    """Format a count with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
