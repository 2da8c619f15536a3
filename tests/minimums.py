"""Print the lowest versions that pyproject.toml declares, as constraints for pip: ``python -m tests.minimums``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
BENCH = "bench"
"""The extra that CI does not install."""


def declared() -> Iterator[Requirement]:
    """Yield what the package and its extras require, but for benchmarks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: texts for name, texts in project["optional-dependencies"].items() if name != BENCH}
    for texts in (project["dependencies"], *extras.values()):
        requirements = map(Requirement, texts)
        yield from (each for each in requirements if each.name != project["name"])


def minimum(requirement: Requirement) -> str:
    """Return the lowest version that is allowed. Raises ValueError if there is no lower bound."""
    for part in requirement.specifier:
        if part.operator in {">=", "=="}:
            return part.version
    raise ValueError(f"'{requirement}' in pyproject.toml has no lower bound: add one (>=)")


if __name__ == "__main__":
    for each in declared():
        print(f"{each.name}=={minimum(each)}")
