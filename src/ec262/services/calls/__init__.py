"""Calls to discovery: batched, and retried."""
