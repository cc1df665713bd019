"""The house rules as functions: text in, findings out. No file is opened here.

`tests/architecture/test_house_rules.py` applies them to the whole working copy, and
`test_rules_catch.py` proves that each catches what it is for.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

FILE_LINES_MAX = 400
"""What one sitting can read."""
FUNCTION_LINES_MAX = 60
"""What one screen can show."""

CLOCK_HOME = PurePosixPath("shared/runtime/clock.py")
CLOCKS = (
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.gmtime",
    "time.localtime",
)
NOT_IN_CORES = (
    *CLOCKS,
    "time",
    "random",
    "secrets",
    "numpy.random",
    "uuid.uuid1",
    "uuid.uuid4",
    "os",
    "io.open",  # but not io.BytesIO: bytes that a library reads as a file
    "io.FileIO",
    "pathlib",
    "shutil",
    "socket",
    "subprocess",
    "threading",
    "asyncio",
    "logging",
    "structlog",
    "builtins.open",
    "builtins.print",
    "builtins.input",
)
"""What makes a result depend on more than its arguments, or has an effect besides it."""


PURE_OF_VENDORS = frozenset({"api.py", "crypto.py", "cards.py"})
"""In the folder of a CRM: what needs no connection."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: where, and what to do about it."""

    place: str
    mend: str

    def __str__(self) -> str:
        return f"{self.place}: {self.mend}"


@cache
def parsed(text: str) -> ast.Module:
    """The syntax tree of a module, made once for all rules; none changes it."""
    return ast.parse(text)


def file_length(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """A Python file has at most 400 lines."""
    count = text.count("\n")
    if count > FILE_LINES_MAX:
        yield Finding(
            str(path),
            f"{count} lines, at most {FILE_LINES_MAX}: split it by subject, one per file",
        )


def function_length(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """A function has at most 60 lines, docstring included."""
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                yield Finding(
                    f"{path}:{node.lineno}",
                    f"{node.name} has {count} lines, at most {FUNCTION_LINES_MAX}: give its "
                    "steps names and make them functions",
                )


def module_docstring(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """A module with code has a docstring."""
    tree = parsed(text)
    if tree.body and not ast.get_docstring(tree):
        yield Finding(
            f"{path}:1", "begin with a docstring: what the module does, what it never does"
        )


def pure_core(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """Cores, contracts and the kernel: no clock, randomness, input, output or log."""
    if is_core(path):
        for line, name in uses(text, NOT_IN_CORES):
            yield Finding(
                f"{path}:{line}",
                f"{name} in a core: take the value (the time, the random number, the content) "
                "as an argument and do this in a handler or an adapter",
            )


def one_clock(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """Services and shared code read the clock only through `shared.runtime.clock.Clock`."""
    if path.parts[0] in {"services", "shared"} and path != CLOCK_HOME and not is_core(path):
        for line, name in uses(text, CLOCKS):
            yield Finding(
                f"{path}:{line}",
                f"{name} reads the clock: take `now` as an argument, or a "
                "shared.runtime.clock.Clock in a handler or an adapter",
            )


def is_core(path: PurePosixPath) -> bool:
    """Whether a file belongs to what must be pure."""
    parts = path.parts
    if parts[:2] in {("shared", "kernel"), ("shared", "contracts")}:
        return True
    vendor = parts[:3] == ("services", "alerts", "connectors") and path.name in PURE_OF_VENDORS
    return parts[0] == "services" and (vendor or "core" in parts[2:-1])


def uses(text: str, banned: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and full name of each use of a banned name or of anything below it.

    Imports are followed: `from datetime import datetime as d` makes `d.now` datetime's.
    """
    tree = parsed(text)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from match(node.lineno, alias.name, banned)
                first = alias.name.split(".")[0]
                known[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield from match(node.lineno, full, banned)
                known[alias.asname or alias.name] = full
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            yield from match(node.lineno, dotted(node, known), banned)


def match(line: int, name: str, banned: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """The use, if the name is banned or lies in a banned module."""
    if any(name == each or name.startswith(f"{each}.") for each in banned):
        yield line, name


def dotted(node: ast.expr, known: dict[str, str]) -> str:
    """The full name of an expression like `dt.datetime.now`; empty for anything else."""
    if isinstance(node, ast.Name):
        # A name that no import brought is a local one or Python's own.
        return known.get(node.id, f"builtins.{node.id}")
    if isinstance(node, ast.Attribute) and (base := dotted(node.value, known)):
        return f"{base}.{node.attr}"
    return ""


def pinned_requirements(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """A requirement file pins every version with hashes and names no place to fetch from."""
    mend = "write it anew with `make requirements`"
    entries = re.sub(r"\\\n", " ", text).splitlines()
    for number, entry in enumerate(entries, start=1):
        line = entry.partition(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        if "://" in line or line.startswith("-") or " @ " in line:
            yield Finding(f"{path} entry {number}", f"names a place or an option: {mend}")
        elif "==" not in line or "--hash=sha256:" not in line:
            yield Finding(f"{path} entry {number}", f"not pinned with hashes: {mend}")


REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|repo1?\.maven\.(apache\.)?org|registry\.npmjs\.org|"
    r"registry\.yarnpkg\.com|\w+\.docker\.io"
)
MACHINE_PATHS = re.compile(r"(?<![\w.}/-])/(?:root|work|home/[a-z]\w*|Users/[A-Za-z]\w*)/")


def no_places(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """No file names the host of a package registry or a path of one machine."""
    for number, line in enumerate(text.splitlines(), start=1):
        if REGISTRIES.search(line):
            yield Finding(
                f"{path}:{number}",
                "names a package registry: name the package, each machine knows where to fetch",
            )
        if MACHINE_PATHS.search(line):
            yield Finding(
                f"{path}:{number}", "a path of one machine: make it relative or a setting"
            )


def documented_targets(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """`make help` describes every target of the Makefile that is not a file."""
    for number, line in enumerate(text.splitlines(), start=1):
        target = re.match(r"([a-z][a-z0-9-]*):(?!=)", line)
        if target and not re.search(r"## \S", line):
            yield Finding(
                f"{path}:{number}", f"{target[1]} is not in `make help`: end the line with ## text"
            )


def import_circles(modules: dict[PurePosixPath, str]) -> Iterator[Finding]:
    """No modules import one another in a circle, not even for type hints only.

    `modules`: every module by its path from the root. An import inside a function or under
    `TYPE_CHECKING` counts like any other.
    """
    names = {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path for path in modules
    }
    arrows = {
        name: {found for found in imported(modules[path]) if found in names and found != name}
        for name, path in names.items()
    }
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        circle = error.args[1]
        yield Finding(
            str(names[circle[0]]),
            f"modules import one another in a circle, {' <- '.join(circle)}: move what several "
            "of them need into a module of its own",
        )


def imported(text: str) -> Iterator[str]:
    """Names that may be modules: each imported name, alone and below its module."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
