"""Text from strangers, made safe for terminals and logs.

Terminals act on control characters (C0, and C1 from U+0080 to U+009F), and characters that change the direction of text
can disguise it. Text after a line end can pass for a line of our own.
"""

from __future__ import annotations

_KEPT = "\n\t"


def printable(text: str) -> str:
    """Replace everything in a stranger's text that a terminal could act on, except line ends and tabs."""
    if text.isprintable():
        return text
    unprintable = {ord(char) for char in set(text) if not char.isprintable() and char not in _KEPT}
    return text.translate(dict.fromkeys(unprintable, "\N{REPLACEMENT CHARACTER}"))


def one_line(text: str) -> str:
    """Make a stranger's text printable, on one line."""
    return printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


def indented(text: str) -> str:
    """Make a stranger's text printable, and indent all lines but the first, so that none passes for a line of our
    own."""
    return printable(text).replace("\n", "\n    ")
