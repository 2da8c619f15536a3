"""The release of this package; apart from ``ec262`` itself, whose API imports what needs it."""

from __future__ import annotations

__version__ = "0.1.0"
