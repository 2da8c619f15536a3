"""The use cases: they know ports, never adapters."""
