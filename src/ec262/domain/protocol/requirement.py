"""What a worker must have to be drawn."""

from __future__ import annotations

import attrs

from ec262.domain.protocol.shapes import package_list
from ec262.domain.work.runtime import PythonTag


@attrs.frozen(kw_only=True)
class Requirement:
    """What a worker must have to be drawn: the foreman's Python, and packages that jobs can import (top-level
    names)."""

    python: PythonTag
    packages: tuple[str, ...] = attrs.field(default=(), validator=package_list)
