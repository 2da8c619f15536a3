"""What the documents say about the code, checked against the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ec262.adapters.sql.migrations import versions
from ec262.domain.protocol import messages, wire
from ec262.domain.values import canonical
from ec262.entrypoints.discovery.routes import COMMON_ERRORS, ROUTES, STATUS

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NEVER_RAISED = {"not_registered"}
"""Codes that a client understands and this release's service does not send."""


def table_rows(document: str, first_cell: str) -> list[list[str]]:
    """Return the rows below the first table head of a document that begins with this cell."""
    lines = iter((ROOT / document).read_text(encoding="utf-8").splitlines())
    head = next(line for line in lines if line.startswith(f"| {first_cell} |"))
    columns = head.count("|")
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.split("|")[1:columns]])
    return rows[1:]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (document.parent / name).resolve() if name else document
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_architecture_names_modules_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    code = ROOT / "src/ec262"
    known = {path.relative_to(code).as_posix() for path in code.rglob("*.py")}
    for name in re.findall(r"`([a-z0-9_/]+\.py)`", text):
        assert any(f"/{path}".endswith(f"/{name}") for path in known), name


@pytest.mark.parametrize("section", ["Three paths", "The pure machines"])
def test_architecture_names_functions_that_exist(section: str) -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src/ec262").rglob("*.py"))
    names = re.findall(r"`([\w./]+)`", text.partition(f"\n## {section}\n")[2].partition("\n## ")[0])
    assert names
    for name in names:
        last = name.rpartition(".")[2]
        assert last == "py" or re.search(rf"(def|class) {last}\b|^{last}\b.* = ", code, flags=re.MULTILINE), name


@pytest.mark.parametrize("layer", ["domain", "services", "adapters", "entrypoints"])
def test_the_picture_of_the_architecture_has_every_group(layer: str) -> None:
    picture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("```")[1]
    groups = {path.parent.name for path in (ROOT / "src/ec262" / layer).glob("*/__init__.py")}
    assert {group for group in groups if f"{group}/" not in picture} == set()


def test_every_module_says_what_it_is_for() -> None:
    modules = sorted((ROOT / "src/ec262").rglob("*.py"))
    assert [path for path in modules if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []


def test_no_folder_has_more_than_about_a_dozen_modules() -> None:
    folders = {path.parent for path in (ROOT / "src/ec262").rglob("*.py")} - {Path(versions.__file__).parent}
    assert {
        folder.name for folder in folders if len([*folder.glob("[!_]*.py"), *folder.glob("__main__.py")]) > 14
    } == set()


def test_protocol_lists_the_routes_and_their_refusals() -> None:
    told = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[3])) for row in table_rows("docs/protocol.md", "call")}
    known = {f"{route.method} {route.path}": {*route.errors, *route.item_errors} for route in ROUTES}
    assert told == {call: {error.code for error in errors} for call, errors in known.items()}


def test_protocol_lists_the_errors_and_their_statuses() -> None:
    told = {row[0].strip("`"): row[1] for row in table_rows("docs/protocol.md", "code")}
    known = {error.code: str(status) for error, status in STATUS.items() if error.code not in NEVER_RAISED}
    assert known.items() <= told.items()
    common = {row[0].strip("`") for row in table_rows("docs/protocol.md", "code") if "(any call)" in row[2]}
    assert common == {error.code for error in COMMON_ERRORS}


def test_protocol_lists_the_messages_and_their_fields() -> None:
    told = {
        row[0].strip("`"): {name for cell in row[2:] for name in re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", cell))}
        for row in table_rows("docs/protocol.md", "`kind`")
    }
    assert told == {name: set(kind.readers) for name, kind in wire._KINDS.items()}
    assert messages.PROTOCOL_VERSIONS == (3,)


@pytest.mark.parametrize("row", table_rows("docs/canonical.md", "value"), ids=lambda row: row[2])
def test_canonical_examples(row: list[str]) -> None:
    value = eval(row[2].strip("`"))  # noqa: S307 - our own document
    encoded = row[3].strip("`").encode()
    assert canonical.encode(value) == encoded
    decoded = canonical.decode(encoded)
    assert type(decoded) is type(value)
    assert canonical.encode(decoded) == encoded
