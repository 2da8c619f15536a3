"""How long a user waits after typing the first command: the embedded system's start, measured apart from its speed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

EXAMPLE = Path(__file__).parents[2] / "examples" / "humpty_dumpty.py"
FOREMAN = ["-m", "ec262.entrypoints.foreman"]
AIM_S = 1.5


@attrs.frozen(kw_only=True)
class ColdStart:
    """Seconds from typing a command until its first line of output, and until its end."""

    command: str
    first_result_s: float
    whole_s: float


def cold_starts(repetitions: int) -> list[ColdStart]:
    """Start Humpty Dumpty ``repetitions`` times, with the command and as a script."""
    commands = {"ec262 foreman humpty_dumpty.py": [*FOREMAN, "--quiet"], "python humpty_dumpty.py": []}
    return [cold_start(name, arguments) for _ in range(repetitions) for name, arguments in commands.items()]


def cold_start(name: str, arguments: Sequence[str]) -> ColdStart:
    """Start Humpty Dumpty once."""
    began = time.perf_counter()
    line = [sys.executable, *arguments, str(EXAMPLE)]
    # Compiled modules are kept, as in an installed package: only the very first start compiles them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        first_result_s = time.perf_counter() - began
        rest = process.stdout.read()
    whole_s = time.perf_counter() - began
    assert process.returncode == 0
    assert b"Humpty" in first + rest
    return ColdStart(command=name, first_result_s=first_result_s, whole_s=whole_s)
