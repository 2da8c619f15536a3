"""Draw the README's picture: run its job on a terminal of its own, and draw the last screen.

    .venv/bin/python docs/images/draw_run.py

The picture depends only on what the run printed: the progress bars' times vary, the result does not.
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
JOB = "examples/frequent_words.py"
COLUMNS, LINES = 88, 40


def screen_of(command: list[str]) -> str:
    """Run a command on a pseudo-terminal, and return what stands on the screen at its end.

    Raises subprocess.CalledProcessError if it fails.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as process:  # noqa: S603 - ours
        os.close(theirs)
        printed = bytearray()
        while piece := read(ours):
            printed += piece
    os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, bytes(printed))
    # A progress bar draws over itself: what follows the last carriage return of a line is what stays.
    lines = printed.decode().replace("\r\n", "\n").split("\n")
    return "\n".join(line.rpartition("\r")[2] for line in lines).rstrip()


def read(terminal: int) -> bytes:
    """Return the next bytes from a pseudo-terminal, none at its end."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO is how Linux says that the other side is closed
        return b""


def drawn(screen: str) -> str:
    """Return a terminal with this text as an SVG image: the same text, the same bytes."""
    console = Console(record=True, width=COLUMNS, file=StringIO())
    console.print(Text("$ ", "bold green") + Text(f"ec262 foreman {JOB}", "bold"))
    console.print(Text.from_ansi(screen))
    return console.export_svg(title="ec262", theme=MONOKAI, unique_id="ec262")


if __name__ == "__main__":
    screen = screen_of([sys.executable, "-m", "ec262.entrypoints.foreman", JOB])
    (FOLDER / "run.svg").write_text(drawn(screen), encoding="utf-8")
