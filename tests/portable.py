"""Whether the portable sandbox can be tested here: jobs are pickled by this Python, and the guest has to read them."""

from __future__ import annotations

import sys

import pytest

from ec262.adapters.jobs.local_runtime import local_python
from ec262.adapters.sandbox.wasm.wasm_sandbox import WasmSandbox
from ec262.domain.errors import SandboxUnavailable


def reason_to_skip() -> str:
    """Say why it cannot; nothing if it can."""
    try:
        tag = WasmSandbox().runtime.python
    except SandboxUnavailable as error:
        return str(error)
    here = local_python()
    return "" if tag == here else f"the newest guest is {tag}, and this is {sys.version.split()[0]}"


needs_guest = pytest.mark.skipif(bool(reason_to_skip()), reason=reason_to_skip())
