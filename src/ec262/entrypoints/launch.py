"""Start a supervisor process; apart from ``embedded`` so that a command can do it before it imports all the rest."""

from __future__ import annotations

import subprocess
import sys


def launch_supervisor() -> subprocess.Popen[bytes]:
    """Start a supervisor, which gets ready and waits for its order; it ends when its standard input closes."""
    # -P: the folder that the user stands in is not to shadow the standard library of these processes.
    # A session of its own: Ctrl-C at the terminal is for the foreman, which then ends the system in good order.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "ec262.entrypoints.supervisor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
