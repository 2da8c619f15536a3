"""The versions that CI installs: those of constraints.txt, and the lowest that are declared."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.minimums import ROOT, declared, minimum

PINS = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())


def test_constraints_are_names_and_versions_only() -> None:
    """In particular no addresses. Hashes do not work here: see ADR 75."""
    strange = {pin for pin in PINS.items() if not re.fullmatch(r"[\w.-]+==[\w.]+", "==".join(pin))}
    assert strange == set()
    assert list(PINS) == sorted(PINS, key=str.lower)


@pytest.mark.parametrize("requirement", list(declared()), ids=str)
def test_declared_dependencies_are_pinned_to_allowed_versions(requirement: Requirement) -> None:
    pins = {canonicalize_name(name): version for name, version in PINS.items()}
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])
    assert requirement.specifier.contains(minimum(requirement))


def test_a_requirement_without_a_lower_bound_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'attrs<27' in pyproject\.toml has no lower bound: add one"):
        minimum(Requirement("attrs<27"))


@pytest.mark.parametrize(
    ("name", "safe"),
    [("starlette", "1.3"), ("cryptography", "50"), ("requests", "2.34"), ("urllib3", "2.7"), ("h11", "0.16")],
)
def test_no_version_with_a_published_advisory_is_allowed(name: str, safe: str) -> None:
    [requirement] = [each for each in declared() if each.name == name]
    assert minimum(requirement) == safe
