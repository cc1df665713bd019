"""Rules of language and names as functions: text in, findings out. No file is opened here."""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath

from tests.architecture.rules import Finding, parsed

DIALECT = frozenset(
    {
        "whom", "whoever", "whomever", "whose", "somebody", "nobody", "anybody",
        "tell", "tells", "told", "say", "says", "said", "hears", "wants",
    }
)  # fmt: skip
DIALECT_PER_1000_MAX = 1.0
"""Of the words of docstrings and comments together: plain English needs one now and then."""
MEND = (
    "name the actor and what it does (docs/glossary.md): publish, send, return, report, contain, "
    "need; 'customers with a rising band', not 'whose band rises'"
)
FIRST_LINE_MAX = 100
RIDDLES = re.compile(
    r"^(Of (it|them|whom|which)|And|Whom|Whose|To whom|What it is for)\b|What it is for:"
)
SUBJECT = re.compile(
    r"^(feat|fix|docs|refactor|test|perf|build|ci|chore|style|revert|merge)(\([a-z0-9,-]+\))?!?: \S"
)
SUBJECT_MAX = 72

Rule = Callable[[PurePosixPath, str], Iterator[Finding]]


@cache
def prose(text: str) -> tuple[tuple[int, str], ...]:
    """First line and text of each docstring (and attribute docstring) and comment."""
    return tuple(_prose(text))


def _prose(text: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")
    for node in ast.walk(parsed(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno, node.value.value


def words(text: str) -> int:
    """The number of words of a module's prose."""
    return sum(len(re.findall(r"[A-Za-z]+", each)) for _, each in prose(text))


def dialect(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """Each word of the dialect in docstrings and comments."""
    for first, each in prose(text):
        for number, line in enumerate(each.split("\n")):
            for word in re.findall(r"[A-Za-z]+", line):
                if word.lower() in DIALECT:
                    yield Finding(f"{path}:{first + number}", f"'{word}': {MEND}")


def first_lines(path: PurePosixPath, text: str) -> Iterator[Finding]:
    """A docstring begins with a sentence of at most 100 characters that is no fragment."""
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            whole = ast.get_docstring(node) or ""
            line = whole.partition("\n")[0]
            place = f"{path}:{getattr(node, 'lineno', 1)}"
            if len(line) > FIRST_LINE_MAX:
                yield Finding(place, f"first line of the docstring over {FIRST_LINE_MAX}: shorten")
            if RIDDLES.search(whole):
                yield Finding(place, "begin with what the thing does: a subject and a verb")


def names_twice(classes: Mapping[str, Iterable[tuple[str, bool]]]) -> Iterator[Finding]:
    """A class name is used once; a protocol may share the name of what implements it.

    `classes`: by name, the files and whether the class is a protocol.
    """
    for name, found in classes.items():
        real = [place for place, protocol in found if not protocol]
        services = {PurePosixPath(place).parts[1] for place in real}
        if len(real) > 1 and len(services) < len(real):
            yield Finding(", ".join(real), f"{name} is a name twice: name each for what it is")


def commit_subject(subject: str) -> Iterator[Finding]:
    """`type(scope): what`, at most 72 characters; git's own merge subjects are exempt."""
    if subject.startswith("Merge "):
        return
    if len(subject) > SUBJECT_MAX or not SUBJECT.match(subject):
        yield Finding(
            subject, f"write `type(scope): what` in at most {SUBJECT_MAX}: git commit --amend"
        )
