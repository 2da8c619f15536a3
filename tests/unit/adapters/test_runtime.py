"""What this process says of its runtime."""

from __future__ import annotations

import importlib.util
import platform
import sys

import cloudpickle

from ec262.adapters.runtime import local_python, runtime_class
from ec262.domain import canonical


def test_local_python_is_this_one() -> None:
    tag = local_python()
    assert tag.implementation == sys.implementation.name
    assert tag.magic.to_bytes(2, "little") + b"\r\n" == importlib.util.MAGIC_NUMBER
    assert tag.cloudpickle == cloudpickle.__version__
    assert tag.version == platform.python_version().rpartition(".")[0]


def test_runtime_class_is_of_this_machine_and_the_sandbox() -> None:
    runtime = runtime_class("linux")
    assert (runtime.python, runtime.machine, runtime.sandbox) == (local_python(), platform.machine(), "linux")
    assert runtime.canonical_format == canonical.FORMAT
