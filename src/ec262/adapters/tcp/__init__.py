"""Messages over TCP in TLS 1.3, the worker's self-signed certificate pinned by its fingerprint."""
