"""Paths that no other user of this machine may change."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def open_to_others(path: Path) -> Path | None:
    """Return what of a path another user than this one, and the machine's owner, could change or replace; None if
    nothing. Raises OSError if there is no such path.

    Where there are no Unix permissions, what is in a user's own profile is taken to be safe.
    """
    if os.name != "posix":
        return None
    owners = {0, os.geteuid()}
    for way in (path.absolute(), path.resolve()):
        for part in (way, *way.parents):
            status = part.lstat()
            mode = 0 if stat.S_ISLNK(status.st_mode) else status.st_mode  # a link has none of its own
            sticky = part != way and mode & stat.S_ISVTX  # what is in there belongs to its owner
            if status.st_uid not in owners or (mode & _OTHERS_WRITE and not sticky):
                return part
    return None
