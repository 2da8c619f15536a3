"""Implementations of the domain's ports: real ones, and in-memory twins for tests."""
