"""The Python code that a guest is given: what runs jobs, and the packages that the volunteer allows."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ec262.domain.errors import SandboxUnavailable

_LIBRARIES = ("attr", "attrs", "cloudpickle")
_OURS = (
    "adapters/__init__.py",
    "adapters/sandbox/*.py",
    "domain/*.py",
    "domain/errors/*.py",
    "domain/values/*.py",
    "domain/work/*.py",
)
_GUESTS = ("__init__.py", "guest/*.py")
_LEFT_OUT = {"test", "tests", "__pycache__"}
_SAME_TIME = (1980, 1, 1, 0, 0, 0)


def build_bundle(packages: Sequence[str]) -> bytes:
    """Return a zip archive of sources, the same bytes for the same sources. Raises SandboxUnavailable naming a package
    that is not installed."""
    here = Path(__file__).parent
    root = here.parents[3]
    files = {"ec262/__init__.py": b""}  # its own front door would load half of the program
    for folder, patterns in ((root / "ec262", _OURS), (here, _GUESTS)):
        for path in (path for pattern in patterns for path in folder.glob(pattern)):
            files[path.relative_to(root).as_posix()] = path.read_bytes()
    for package in (*_LIBRARIES, *packages):
        files.update(_sources(package))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
        for name, content in sorted(files.items()):
            bundle.writestr(zipfile.ZipInfo(name, _SAME_TIME), content)
    return archive.getvalue()


def _sources(package: str) -> Iterator[tuple[str, bytes]]:
    """Yield the names and contents of a package's or a module's Python files."""
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package.partition(".")[0])
    if spec is None:
        raise SandboxUnavailable(f"the package {package!r}, which jobs are to be allowed to import, is not installed")
    if spec.submodule_search_locations is None:
        path = Path(spec.origin or "")
        if path.suffix == ".py":
            yield path.name, path.read_bytes()
        return
    for folder in map(Path, spec.submodule_search_locations):
        for path in folder.rglob("*.py"):
            inner = path.relative_to(folder.parent)
            if not _LEFT_OUT.intersection(inner.parts):
                yield inner.as_posix(), path.read_bytes()
