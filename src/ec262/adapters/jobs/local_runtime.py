"""Which runtime this process is: what a job's pickle needs, and with whom results can be compared."""

from __future__ import annotations

import importlib.util
import platform
import sys

import cloudpickle

from ec262.domain.values import canonical
from ec262.domain.work.runtime import PythonTag, RuntimeClass


def cloudpickle_series() -> str:
    """Return cloudpickle's major and minor version ("3.1"): patch releases load each other's pickles."""
    return ".".join(cloudpickle.__version__.split(".")[:2])


def local_python() -> PythonTag:
    """Return what must be equal elsewhere for functions pickled here to load there."""
    return PythonTag(
        implementation=sys.implementation.name,
        magic=int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little"),
        cloudpickle=cloudpickle_series(),
        version=f"{sys.version_info.major}.{sys.version_info.minor}",
    )


def runtime_class(sandbox: str) -> RuntimeClass:
    """Return the runtime class of this machine with the sandbox adapter of that name."""
    return RuntimeClass(
        python=local_python(), machine=platform.machine(), sandbox=sandbox, canonical_format=canonical.FORMAT
    )
