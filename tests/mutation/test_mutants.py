"""The list of mutants does not rot, and the laboratory tells the living from the dead."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest

from tests.mutation.__main__ import ALL, TREE
from tests.mutation.laboratory import Laboratory, NoVerdict, check, named_tests
from tests.mutation.mutant import Mutant


@pytest.mark.parametrize("file", sorted({mutant.file for mutant in ALL}))
def test_every_mutant_still_finds_what_it_breaks(file: str) -> None:
    for mutant in ALL:
        if mutant.file == file:
            compile(check(mutant, TREE), file, "exec")


@pytest.mark.parametrize("file", sorted({name.partition("::")[0] for name in named_tests(ALL)}))
def test_the_tests_that_mutants_name_are_there(file: str) -> None:
    text = (TREE / file).read_text(encoding="utf-8")
    for name in named_tests(ALL):
        path, _, test = name.partition("::")
        assert path != file or f"def {test.partition('[')[0]}(" in text or not test, name


def test_no_rule_is_listed_twice() -> None:
    assert [rule for rule, count in Counter((mutant.rule, mutant.file) for mutant in ALL).items() if count > 1] == []


# --- the laboratory -------------------------------------------------------------------------------------------------

RULE = Mutant(
    rule="two and two are four",
    file="src/ec262/sums.py",
    old="return 4",
    new="return 5",
    tests="tests/test_sums.py::test_sums",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with one rule and two tests, one of which looks away."""
    package, tests = tmp_path / "src/ec262", tmp_path / "tests"
    package.mkdir(parents=True)
    tests.mkdir()
    (package / "__init__.py").touch()
    (package / "sums.py").write_text("def two_and_two():\n    return 4\n", encoding="utf-8")
    (tests / "test_sums.py").write_text(
        "from ec262.sums import two_and_two\n"
        "def test_sums():\n    assert two_and_two() == 4\n"
        "def test_nothing():\n    assert two_and_two()\n",
        encoding="utf-8",
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return tmp_path


def test_a_mutant_that_a_test_notices_is_killed_and_others_survive(tree: Path) -> None:
    before = (tree / RULE.file).read_bytes()
    overlooked = attrs.evolve(RULE, tests="tests/test_sums.py::test_nothing")
    unreadable = attrs.evolve(RULE, new="return (")
    fates = Laboratory(tree, jobs=1).judge([RULE, overlooked, unreadable])
    assert [next(fates).killer, next(fates).killer] == ["tests/test_sums.py::test_sums", ""]
    with pytest.raises(NoVerdict, match="cannot be run"):
        next(fates)
    assert (tree / RULE.file).read_bytes() == before


def test_a_tree_whose_tests_already_fail_is_reported(tree: Path) -> None:
    (tree / RULE.file).write_text("def two_and_two():\n    return 4 + 1\n", encoding="utf-8")
    with pytest.raises(NoVerdict, match="do not pass"):
        next(Laboratory(tree, jobs=1).judge([attrs.evolve(RULE, old="4 + 1", new="6")]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"old": "return 3"}, "stands 0 times"),
        ({"old": "t"}, "stands 3 times"),
        ({"new": "return 4"}, "nothing is changed"),
        ({"file": "src/ec262/other.py"}, "there is no file"),
    ],
)
def test_a_mutant_that_changes_nothing_is_reported_before_any_test_runs(
    tree: Path, change: dict[str, str], reason: str
) -> None:
    with pytest.raises(NoVerdict, match=reason):
        next(Laboratory(tree, jobs=1).judge([RULE, attrs.evolve(RULE, **change)]))
