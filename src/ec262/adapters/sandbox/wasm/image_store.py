"""Where prepared guests are kept: what the first worker of a user on a machine has made serves the others.

A precompiled module is machine code that the host's process runs, and an image is what all jobs start from: both are
taken from nowhere that another user can write to.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import attrs
import platformdirs

from ec262.adapters.files.private_paths import open_to_others
from ec262.adapters.sandbox.wasm.bundle import build_bundle
from ec262.adapters.sandbox.wasm.guests import NOT_INSTALLED, Guest
from ec262.adapters.sandbox.wasm.host_process import GuestRefused, order_done
from ec262.domain.errors import SandboxUnavailable

logger = logging.getLogger(__name__)

ENVIRONMENT = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC0"}
"""All that jobs see, as in the Linux sandbox."""

_BUNDLE = "ec262.zip"
_HOME = "usr/local"
_START = "import sys; from ec262.adapters.sandbox.wasm.guest.task import get_ready; get_ready(sys.argv[1:])"

_FORMAT = 1
"""To be raised when what the files hold changes in a way that no digest below tells."""

_UNUSED_S = 14 * 24 * 3600.0


@attrs.frozen(kw_only=True)
class Prepared:
    """A guest that is ready: its precompiled ``module`` and its ``image``, both files in ``folder``."""

    module: Path
    image: Path
    folder: Path
    temporary: bool
    """Whether the folder is only for this sandbox: ``remove`` ends it."""
    new: bool
    """Whether both files were made just now."""

    def mark_used(self) -> None:
        """Have other workers not take it for forgotten."""
        for path in (self.module, self.image):
            with suppress(OSError):
                os.utime(path)

    def remove(self) -> None:
        """Remove what was made for this sandbox alone."""
        if self.temporary:
            shutil.rmtree(self.folder, ignore_errors=True)


async def prepare(guest: Guest, packages: Sequence[str], *, anew: bool, timeout_s: float) -> Prepared:
    """Return a guest with these packages loaded, made now, or, unless ``anew``, earlier. Raises SandboxUnavailable."""
    bundle = build_bundle(packages)
    folder, temporary = _private_folder()
    try:
        module = folder / f"{_digest(guest.module_sha256, engine_version(), platform.machine())}.module"
        image = folder / f"{_digest(module.name, guest.stdlib_sha256, *packages, bundle)}.image"
        found = {path for path in (module, image) if _is_ours(path) and not anew}
        prepared = Prepared(module=module, image=image, folder=folder, temporary=temporary, new=not found)
        prepared.mark_used()
        if len(found) < 2:  # noqa: PLR2004 - both
            guest.check()
            _purge(folder)
            if module not in found:
                await _compile(guest, module, timeout_s=timeout_s)
            try:
                await _freeze(guest, packages, bundle, module, image, timeout_s=timeout_s)
            except SandboxUnavailable as error:
                if module not in found or isinstance(error, GuestRefused):
                    raise
                logger.info("the stored module cannot be used: %s", error)
                await _compile(guest, module, timeout_s=timeout_s)
                await _freeze(guest, packages, bundle, module, image, timeout_s=timeout_s)
    except BaseException as error:
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise SandboxUnavailable(f"the portable sandbox cannot be prepared: {error}") from error
        raise
    return prepared


async def _compile(guest: Guest, module: Path, *, timeout_s: float) -> None:
    logger.info("compiling Python %s for this machine, once", guest.version)
    order = {"act": "precompile", "wasm": str(guest.files()[0])}
    await _make(module, order, "module", timeout_s=timeout_s)


async def _freeze(
    guest: Guest, packages: Sequence[str], bundle: bytes, module: Path, image: Path, *, timeout_s: float
) -> None:
    library = guest.files()[1]
    with _lent_file(bundle, module.parent) as lent:
        files = {_BUNDLE: str(lent)} | ({f"{_HOME}/lib/{library.name}": str(library)} if library else {})
        order = {
            "act": "freeze",
            "module": str(module),
            "files": files,
            "environment": ENVIRONMENT | {"PYTHONHOME": f"/{_HOME}", "PYTHONPATH": f"/{_BUNDLE}"},
            "arguments": ["python", "-s", "-S", "-B", "-c", _START, *packages],
        }
        await _make(image, order, "image", timeout_s=timeout_s)


async def _make(path: Path, order: Mapping[str, object], name: str, *, timeout_s: float) -> None:
    """Have a file made; it appears when it is whole. Two workers may do this at the same time."""
    with _lent_file(b"", path.parent) as new:
        await order_done({**order, name: str(new)}, timeout_s=timeout_s)
        new.replace(path)


@contextmanager
def _lent_file(content: bytes, folder: Path) -> Iterator[Path]:
    """Lend a file in a folder; in the end it is gone, or has another name."""
    descriptor, name = tempfile.mkstemp(dir=folder, suffix=".new")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _private_folder() -> tuple[Path, bool]:
    """Return a folder that only this user can write to, and whether it is a new one for this sandbox alone."""
    folder = Path(platformdirs.user_cache_dir("ec262")) / "wasm"
    try:
        for place in (folder.parent, folder):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        culprit = open_to_others(folder)
        if culprit is None and os.access(folder, os.W_OK):
            return folder, False
        reason = f"others can write to {culprit}" if culprit else "it is read-only"
    except OSError as error:
        reason = str(error)
    logger.warning("guests cannot be kept in %s (%s): they are rebuilt at every start", folder, reason)
    return Path(tempfile.mkdtemp(prefix="ec262-wasm-")), True


def _is_ours(path: Path) -> bool:
    return path.is_file() and open_to_others(path) is None


def _purge(folder: Path) -> None:
    """Remove what no worker has used for long, and what one has left unfinished."""
    for path in folder.iterdir():
        with suppress(OSError):
            age_s = time.time() - path.stat().st_mtime
            if path.suffix in {".module", ".image", ".new"} and age_s > _UNUSED_S:
                path.unlink()


def engine_version() -> str:
    """Return the version of the engine's package. Raises SandboxUnavailable.

    Its major version is the engine's own, the rest need not be: 50.0.1 contains the engine 50.0.0.
    """
    try:
        return version("wasmtime")
    except PackageNotFoundError as error:
        raise SandboxUnavailable(NOT_INSTALLED) from error


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256(bytes([_FORMAT]))
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()[:32]
