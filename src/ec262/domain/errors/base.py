"""The root of the tree."""

from __future__ import annotations

from ec262.domain.terminal import printable


class Ec262Error(Exception):
    """Root of the tree. The text is a sentence for people; control characters in it are replaced, because parts of it
    may come from a peer."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*[printable(each) if isinstance(each, str) else each for each in arguments])
