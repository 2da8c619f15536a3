"""Connections to a database, and statements on them."""
