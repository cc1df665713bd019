"""Which modules of ours a program loads, and which packages of others, read from the source."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("services", "shared", "deploy")

ON_DEMAND = (".commands.", "shared.event_files.", "shared.report.")
"""Imports inside functions of these modules belong to one operator's command or another, not to
the service: they count only where everything is asked for."""


def packages(*roots: str, everything: bool = False, at_start: bool = False) -> dict[str, str]:
    """Return the top-level packages of others that `roots` import, each with one importer.

    Imports for type checking do not count. `everything` adds the imports of single commands;
    `at_start` leaves out all that are inside of functions.
    """
    found: dict[str, str] = {}
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in seen or _file(name) is None:
            continue
        seen.add(name)
        of_a_command = any(part in f"{name}." for part in ON_DEMAND)
        lazily = not at_start and (everything or not of_a_command)
        for imported in imports(name, lazily=lazily):
            top = imported.split(".")[0]
            if top in OURS:
                parts = imported.split(".")
                waiting += [".".join(parts[:n]) for n in range(1, len(parts) + 1)]
            elif top not in sys.stdlib_module_names:
                found.setdefault(top, name)
    return found


def modules(*folders: str) -> list[str]:
    """Return every module in folders, by its dotted name, but the migrations."""
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "versions" not in path.parts
    ]


def imports(module: str, *, lazily: bool) -> list[str]:
    """Return what a module of ours imports, with the names after `from`: they may be modules."""
    path = _file(module)
    assert path is not None, f"there is no module {module}"
    return [name for name, inside in _found(path) if lazily or not inside]


@cache
def _found(path: Path) -> tuple[tuple[str, bool], ...]:
    return tuple(_walk(ast.parse(path.read_text(encoding="utf-8")), inside=False))


def _walk(node: ast.AST, *, inside: bool) -> Iterator[tuple[str, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((each.name, inside) for each in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.module, "relative imports are banned"
            yield from ((f"{child.module}.{each.name}", inside) for each in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, inside=inside or function)


def _file(module: str) -> Path | None:
    base = ROOT / Path(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.exists():
            return path
    return None


@cache
def distributions() -> dict[str, set[str]]:
    """Return by top-level package the distributions that may have it, in normal form."""
    return {
        package: {name.lower().replace("_", "-") for name in names}
        for package, names in packages_distributions().items()
    }


@cache
def pinned(requirements: str) -> frozenset[str]:
    """Return the distributions that `requirements/NAME.txt` pins, in normal form."""
    lines = (ROOT / "requirements" / f"{requirements}.txt").read_text().splitlines()
    return frozenset(
        line.split("==")[0].split("[")[0].lower().replace("_", "-")
        for line in lines
        if "==" in line and not line.startswith((" ", "#"))
    )


def missing(requirements: str, needed: dict[str, str]) -> list[str]:
    """Return a line for each package that `requirements/NAME.txt` does not provide."""
    return [
        f"{importer} imports {package}, which requirements/{requirements}.txt does not pin"
        for package, importer in sorted(needed.items())
        if not distributions().get(package, {package}) & pinned(requirements)
    ]


def idle(requirements: str, needed: dict[str, str]) -> list[str]:
    """Return what `requirements/NAME.in` itself names and nothing that is needed comes from."""
    used = {name for package in needed for name in distributions().get(package, set())}
    lines = (ROOT / "requirements" / f"{requirements}.in").read_text().splitlines()
    named = [line.split("#")[0].split("[")[0].strip() for line in lines]
    return [name for name in named if name and not name.startswith("-r") and name not in used]
