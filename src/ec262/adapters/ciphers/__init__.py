"""Ciphers for results."""
