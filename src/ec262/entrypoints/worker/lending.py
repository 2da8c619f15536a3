"""Lending this machine from Python: ``ec262.run_worker``."""

from __future__ import annotations

from typing import Any


def run_worker(port: int = 11235, **settings: Any) -> None:
    """Lend this machine: serve tasks on a TCP port until SIGTERM or Ctrl-C.

    ``settings`` are those of the ``worker`` command, such as ``discovery`` (unless it is in ``EC262_DISCOVERY``),
    ``slots`` or ``advertise``.
    """
    from ec262.entrypoints.worker.__main__ import serve

    serve({"port": port, **settings})
