"""Find out which import starts a thread: the others of a process are missing in what is forked from it, with whatever
locks they hold."""

from __future__ import annotations

import builtins
import os
import sys
from types import TracebackType
from typing import Any, Self


class ThreadWatch:
    """While it is entered, watches imports: ``culprits`` are the modules that were being imported when the first thread
    was started, the innermost last."""

    def __init__(self) -> None:
        self._import = builtins.__import__
        self._under_way: list[str] = []
        self._found = False
        self.culprits: list[str] = []

    def __enter__(self) -> Self:
        builtins.__import__ = self._watched
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        builtins.__import__ = self._import

    def _watched(
        self,
        name: str,
        globals: Any = None,  # noqa: A002 - the built-in function's own names
        locals: Any = None,  # noqa: A002 - likewise
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        package = f"{(globals or {}).get('__package__')}." if level else ""
        full_name = f"{package}{name}".rstrip(".")
        loads = full_name not in sys.modules
        if loads:
            self._look()
        self._under_way.append(full_name)
        try:
            return self._import(name, globals, locals, fromlist, level)
        finally:
            if loads:
                self._look()
            self._under_way.pop()

    def _look(self) -> None:
        if not self._found and others():
            self._found = True
            self.culprits = list(self._under_way)


def others() -> list[str]:
    """Return the names of the threads beside the first."""
    names = []
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208 - pathlib is not worth its import here
        if int(thread) != os.getpid():
            with open(f"/proc/self/task/{thread}/comm") as file:  # noqa: PTH123 - likewise
                names.append(file.read().strip())
    return names
