"""Batching and retrying of calls to discovery."""
