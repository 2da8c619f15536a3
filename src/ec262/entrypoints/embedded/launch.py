"""Start a supervisor process. Separate from ``embedded``, so that a command can do this before its other imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def is_needed(*, discovery: str | None, config: str | None, environ: Mapping[str, str]) -> bool:
    """Tell whether a job needs an embedded system according to the flags, the environment and the settings file; the
    job's own code may still name a discovery service. Errors in the file are reported when settings are loaded."""
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
    """Start a supervisor, which prepares itself and waits for its order; it ends when its standard input closes."""
    # -P: the current folder must not shadow the standard library of these processes.
    # Its own session: Ctrl-C at the terminal goes to the foreman only, which then shuts the system down.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ec262.entrypoints.embedded.supervisor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
