"""The release of this package. It is separate from ``ec262``, whose API imports modules that need it."""

from __future__ import annotations

__version__ = "0.1.0"
