"""Constants that the foreman and the workers of the growth benchmark share."""

KEYS = 10
"""Distinct keys that the map tasks yield: the reduce phase is small."""

LONG_KEY = 0
LONG_S = 3.0
"""The key whose reduce task is slow and still runs when all others are done."""
