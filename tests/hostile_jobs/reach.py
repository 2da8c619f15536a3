"""What hostile jobs have in common: how they reach for what is hidden from honest ones."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

Target = dict[str, Any]
Payload = Callable[[str, Target], Any]

PAYLOADS: dict[str, Payload] = {}


def payload(function: Payload) -> Payload:
    PAYLOADS[function.__name__] = function
    return function


def module(name: str) -> Any:
    """Import a module, or find it where the sandbox's own code holds it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        for holder in list(sys.modules.values()):
            found = getattr(holder, name, None)
            if isinstance(found, ModuleType):
                return found
        raise


def libc() -> Any:
    library = module("ctypes").CDLL(None, use_errno=True)
    library.syscall.restype = module("ctypes").c_long
    return library


def call(number: int, *arguments: Any) -> int:
    """Make a system call; return what it does, or the negative error number."""
    result = libc().syscall(number, *arguments)
    return int(result) if result != -1 else -int(module("ctypes").get_errno())
