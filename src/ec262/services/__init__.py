"""Use cases, written against ports and never against adapters."""
