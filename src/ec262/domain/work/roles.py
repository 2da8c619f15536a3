"""The functions that a job can have."""

from __future__ import annotations

ROLES = ("mapper", "reducer", "combiner", "partitioner")
