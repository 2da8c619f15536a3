"""A rule, and the code with the rule broken: some test must fail then, or nothing guards the rule."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Mutant:
    """``rule`` is a sentence of the design. In ``file``, where ``old`` stands exactly once, ``new`` breaks it; one of
    ``tests`` (arguments to pytest, separated by spaces) fails then. Paths are from the top of the tree."""

    rule: str
    file: str
    old: str
    new: str
    tests: str
