"""Routes take times, zones and cursors by the types that are validated in one place."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROUTES = sorted(
    path
    for path in ROOT.glob("services/*/inbound/**/*.py")
    if "http" in path.as_posix().partition("/inbound/")[2]
)
UNCHECKED = {"datetime", "AwareDatetime", "NaiveDatetime", "date"}
BODIES = ("Body", "In", "New", "Set", "Rotation", "Definition")
"""How classes begin or end that a request brings, where no route names them itself."""


def names(annotation: ast.expr | None) -> set[str]:
    """The names in an annotation."""
    return (
        {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
        if annotation
        else set()
    )


def taken(tree: ast.Module) -> set[str]:
    """The names in the parameters of routes, and in the classes among them, bases included."""
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    waiting = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list
        for arg in (*node.args.args, *node.args.kwonlyargs)
        for name in names(arg.annotation)
    ]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if (node := classes.get(name)) is not None:
            waiting += [name for base in node.bases for name in names(base)]
            waiting += [
                name
                for field in node.body
                if isinstance(field, ast.AnnAssign)
                for name in names(field.annotation)
            ]
    return found


def findings(source: str) -> list[str]:
    """Parameters of routes, and fields of what they take, whose types are not the checked ones."""
    found = []
    tree = ast.parse(source)
    bodies = taken(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef) and node.decorator_list:
            for arg in (*node.args.args, *node.args.kwonlyargs):
                if bad := names(arg.annotation) & UNCHECKED:
                    found.append(f"{node.name}({arg.arg}): {bad}: use shared.http.fields.Instant")
                if arg.arg == "cursor" and "Cursor" not in names(arg.annotation):
                    found.append(f"{node.name}(cursor): use shared.http.paging.Cursor")
        elif isinstance(node, ast.ClassDef) and (
            node.name in bodies or node.name.startswith(BODIES) or node.name.endswith(BODIES)
        ):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and (
                    bad := names(field.annotation) & UNCHECKED
                ):
                    found.append(f"{node.name}: {bad}: use shared.http.fields.Instant")
    return found


@pytest.mark.parametrize("path", ROUTES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_routes_take_checked_types(path: Path) -> None:
    """A new route that does not is found here."""
    assert findings(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "class SnoozeBody:\n    until: datetime | None = None",
        "class Absence:\n    until: datetime\n\n"
        "@app.put('/x')\nasync def x(given: Absence) -> None: ...",
        "@app.get('/x')\nasync def x(since: AwareDatetime) -> None: ...",
        "@app.get('/x')\nasync def x(cursor: str | None = None) -> None: ...",
    ],
)
def test_the_rule_catches(source: str) -> None:
    """What it is for."""
    assert len(findings(source)) == 1
