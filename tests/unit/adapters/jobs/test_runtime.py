"""What this process says of its runtime."""

from __future__ import annotations

import importlib.util
import platform
import sys

import cloudpickle
import pytest

from ec262.adapters.jobs.local_runtime import local_python, runtime_class
from ec262.domain.values import canonical


def test_local_python_is_this_one() -> None:
    tag = local_python()
    assert tag.implementation == sys.implementation.name
    assert tag.magic.to_bytes(2, "little") + b"\r\n" == importlib.util.MAGIC_NUMBER
    assert f"{tag.cloudpickle}." == cloudpickle.__version__[: len(tag.cloudpickle) + 1]
    assert tag.version == platform.python_version().rpartition(".")[0]


def test_patch_releases_of_cloudpickle_are_one_runtime_class(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = []
    for version in ("3.1.0", "3.1.13", "3.2.0"):
        monkeypatch.setattr(cloudpickle, "__version__", version)
        tags.append(local_python())
    first, patched, minor = tags
    assert first == patched != minor
    assert patched.cloudpickle == "3.1"


def test_runtime_class_is_of_this_machine_and_the_sandbox() -> None:
    runtime = runtime_class("linux")
    assert (runtime.python, runtime.machine, runtime.sandbox) == (local_python(), platform.machine(), "linux")
    assert runtime.canonical_format == canonical.FORMAT
