"""Text of strangers, before it reaches a terminal or a log.

A terminal acts on control characters (C0, and C1 from U+0080 to U+009F), and characters that change the direction of
text make it look like another text. A line end begins a line that looks like one of our own.
"""

from __future__ import annotations

_KEPT = "\n\t"


def printable(text: str) -> str:
    """Return a stranger's text with everything replaced that could act on a terminal; line ends and tabs stay."""
    if text.isprintable():
        return text
    unprintable = {ord(char) for char in set(text) if not char.isprintable() and char not in _KEPT}
    return text.translate(dict.fromkeys(unprintable, "\N{REPLACEMENT CHARACTER}"))


def one_line(text: str) -> str:
    """Return a stranger's text as ``printable`` does, on one line."""
    return printable(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


def indented(text: str) -> str:
    """Return a stranger's text as ``printable`` does, its second and later lines indented: none looks like a line of
    its own."""
    return printable(text).replace("\n", "\n    ")
