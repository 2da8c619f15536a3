"""Which modules are a job's own, and which are installed.

The job's own are beside its file, or anywhere else on the import path: they travel by value. What is installed, in this
Python or a site-packages folder, travels by name.
"""

from __future__ import annotations

import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_WORKERS_OWN = {"cloudpickle", "ec262"}

ALWAYS_THERE = sys.stdlib_module_names | _WORKERS_OWN
"""Top-level modules that every worker has, or knows better than the foreman that it does not allow."""

_INSTALLED = tuple(
    Path(folder).resolve()
    for folder in {
        *map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)


def own_modules() -> list[ModuleType]:
    """Return the modules loaded that are the job's own, but ``__main__``."""
    return [
        module
        for name, module in list(sys.modules.items())
        if module is not None and top(name) not in {"__main__", *_WORKERS_OWN} and not is_installed(name)
    ]


def top(module: str) -> str:
    """Return the name of the top-level package or module that a module is in."""
    return module.partition(".")[0]


def is_installed(name: str | None) -> bool:
    """Whether a loaded module belongs to this Python or is installed, and so is not the job's own."""
    module = sys.modules.get(top(name or ""))
    if module is None or name == "__main__":  # None: made at run time, as a namedtuple's methods are
        return False
    file = getattr(module, "__file__", None)
    if file is not None:
        return _is_file_installed(file)
    folders = getattr(module, "__path__", None)  # of a namespace package; what else has no file is built in
    return folders is None or _is_any_installed(folders)


def is_own(name: str) -> bool:
    """Whether a module, loaded or not, could be imported here and is the job's own."""
    name = top(name)
    if name in sys.modules:
        return not is_installed(name)
    spec = _found(name, None)
    if spec is None or spec.origin in {"built-in", "frozen"}:
        return False
    return not _is_any_installed(spec.submodule_search_locations or [spec.origin or ""])


def exists(module: str) -> bool:
    """Whether a module is loaded, or could be imported here. Nothing is imported for that."""
    folders: Sequence[str] | None = None
    parts = module.split(".")
    for number in range(1, len(parts) + 1):
        name = ".".join(parts[:number])
        loaded = sys.modules.get(name)
        if loaded is not None:
            folders = getattr(loaded, "__path__", ())
            continue
        spec = _found(name, folders)
        if spec is None:
            return False
        folders = spec.submodule_search_locations or ()
    return True


def _found(name: str, folders: Sequence[str] | None) -> ModuleSpec | None:
    """Find a module as an import would: in the folders of the package that it is in, None for a top-level one."""
    for finder in sys.meta_path:
        with suppress(ImportError, ValueError, AttributeError):
            spec = finder.find_spec(name, folders)
            if spec is not None:
                return spec
    return None


def _is_any_installed(folders: Iterable[str]) -> bool:
    return any(map(_is_file_installed, folders))


@lru_cache(maxsize=4096)
def _is_file_installed(file: str) -> bool:
    path = Path(file).resolve()
    return any(path.is_relative_to(folder) for folder in _INSTALLED)
