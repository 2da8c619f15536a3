"""Start a supervisor process; apart from ``embedded`` so that a command can do it before it imports all the rest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def is_needed(*, discovery: str | None, config: str | None, environ: Mapping[str, str]) -> bool:
    """Tell whether a job needs an embedded system, as far as the flags, the environment and the settings file say: a
    job's own code may name a discovery service, too. What is wrong with the file, the settings tell."""
    if discovery or environ.get("EC262_DISCOVERY"):
        return False
    file = config or environ.get("EC262_CONFIG")
    if not file:
        return True
    import tomllib

    try:
        return "discovery" not in tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def launch_supervisor() -> subprocess.Popen[bytes]:
    """Start a supervisor, which gets ready and waits for its order; it ends when its standard input closes."""
    # -P: the folder that the user stands in is not to shadow the standard library of these processes.
    # A session of its own: Ctrl-C at the terminal is for the foreman, which then ends the system in good order.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ec262.entrypoints.embedded.supervisor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
