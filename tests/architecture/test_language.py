"""Docstrings, comments, names and commit subjects are plain. What each asks is in `language.py`."""

import ast
import shutil
import subprocess
from collections import defaultdict
from pathlib import PurePosixPath

import pytest

from tests.architecture import language
from tests.architecture.rules import parsed
from tests.architecture.test_house_rules import ROOT, python_files, report

SUBJECTS_SINCE = "2026-11-30T15:00:00+00:00"
"""When the rule for commit subjects began; older commits keep what they have."""
HERE = PurePosixPath("tests/architecture")


def code() -> dict[PurePosixPath, str]:
    """All Python files but those that list the words."""
    return {path: text for path, text in python_files().items() if path.parent != HERE}


def test_prose_keeps_to_plain_words() -> None:
    findings = [str(each) for path, text in code().items() for each in language.dialect(path, text)]
    total = sum(language.words(text) for text in code().values())
    rate = 1000 * len(findings) / total
    assert rate <= language.DIALECT_PER_1000_MAX, f"{rate:.2f} of 1,000 words:\n" + "\n".join(
        findings
    )


def test_docstrings_begin_with_what_the_thing_does() -> None:
    report(language.first_lines, code())


def test_a_class_name_is_used_once() -> None:
    classes: defaultdict[str, list[tuple[str, bool]]] = defaultdict(list)
    for path, text in code().items():
        if path.parts[0] != "tests":
            for node in ast.walk(parsed(text)):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    protocol = any("Protocol" in ast.unparse(base) for base in node.bases)
                    classes[node.name].append((str(path), protocol))
    findings = [str(each) for each in language.names_twice(classes)]
    assert not findings, "\n" + "\n".join(findings)


def test_commit_subjects_are_short_and_typed() -> None:
    if not (ROOT / ".git").exists():
        return  # an exported tree has no commits
    git = shutil.which("git")
    assert git, "install git"
    here = f"safe.directory={ROOT}"  # whatever user owns the working copy
    shown = subprocess.run(
        [git, "-c", here, "log", "--no-merges", f"--since={SUBJECTS_SINCE}", "--format=%s"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    findings = [
        str(each)
        for subject in shown.stdout.splitlines()
        for each in language.commit_subject(subject)
    ]
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (language.dialect, '"""The customer to whom it is sent."""\n'),
        (language.dialect, "x = 1  # nobody reads it\n"),
        (language.dialect, 'x = 1\n"""What the store tells."""\n'),
        (language.first_lines, '"""Of it, the newest."""\n'),
        (language.first_lines, 'def f():\n    """Adds.\n\n    What it is for: sums."""\n'),
        (language.first_lines, f'"""{"x" * 101}"""\n'),
    ],
)
def test_planted_prose_is_found(rule: language.Rule, text: str) -> None:
    assert list(rule(PurePosixPath("services/a.py"), text))


@pytest.mark.parametrize("rule", [language.dialect, language.first_lines])
def test_plain_prose_passes(rule: language.Rule) -> None:
    text = '"""Sends messages to endpoints."""\nx = "nobody"  # names are no prose\n'
    assert not list(rule(PurePosixPath("services/a.py"), text))


@pytest.mark.parametrize(
    ("subject", "right"),
    [
        ("fix(alerts): close tasks of erased customers", True),
        ("merge: plain words in scoring", True),
        ("Merge branch 'x'", True),
        ("close tasks of erased customers", False),
        ("fix(alerts): " + "x" * 60, False),
    ],
)
def test_commit_subjects_keep_their_form(subject: str, *, right: bool) -> None:
    assert (not list(language.commit_subject(subject))) == right


def test_a_name_twice_is_found() -> None:
    place = "services/alerts/core/a.py"
    twice = {"Found": [(place, False), ("services/alerts/core/b.py", False)]}
    implemented = {"Tasks": [("services/alerts/ports.py", True), (place, False)]}
    assert list(language.names_twice(twice))
    assert not list(language.names_twice(implemented))
