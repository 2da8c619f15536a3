"""What foreman and workers of the growth benchmark agree on."""

KEYS = 10
"""Different keys that the map tasks yield: the reduce phase is small."""

LONG_KEY = 0
LONG_S = 3.0
"""The key whose reduce task takes its time, when all others are done."""
