"""Adapters of the ``Sandbox`` port, and ``runner``, the code that all of them run inside."""
