"""The house rules hold in this working copy. What each asks for is in `rules.py`."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import pytest

from tests.architecture import rules
from tests.architecture.rules import Finding

ROOT = Path(__file__).parents[2]
PRODUCT = ("services", "shared")
CODE = (*PRODUCT, "deploy", "tests")
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
TARGETS = (
    "demo", "test", "up", "check", "setup", "unit", "integration", "e2e", "chaos", "bench",
    "evaluate", "clean", "help", "requirements", "schemas",
)  # fmt: skip

Rule = Callable[[PurePosixPath, str], Iterator[Finding]]


@cache
def files() -> dict[PurePosixPath, str]:
    """Every text file of the working copy that git does not ignore, by its relative path."""
    ignored = {
        line.strip("/\n ")
        for line in (ROOT / ".gitignore").read_text().splitlines()
        if line.endswith("/")
    } | {".git"}
    found = {}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in ignored]
        for name in names:
            if name in ignored:  # in a worktree .git is a file with a path in it
                continue
            path = Path(folder, name)
            try:
                found[PurePosixPath(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return found


def python_files() -> dict[PurePosixPath, str]:
    """The Python code."""
    return {
        path: text
        for path, text in files().items()
        if path.suffix == ".py" and path.parts[0] in CODE
    }


def report(rule: Rule, chosen: dict[PurePosixPath, str]) -> None:
    """Fail with every finding of the rule."""
    assert chosen, "there is nothing to look at: has a folder been renamed?"
    findings = [str(finding) for path, text in chosen.items() for finding in rule(path, text)]
    assert not findings, "\n" + "\n".join(findings)


@pytest.mark.parametrize(
    "rule",
    [
        rules.file_length,
        rules.function_length,
        rules.module_docstring,
        rules.pure_core,
        rules.one_clock,
    ],
)
def test_code_keeps_the_rule(rule: Rule) -> None:
    report(rule, python_files())


def test_no_modules_import_one_another_in_a_circle() -> None:
    product = {path: text for path, text in python_files().items() if path.parts[0] in PRODUCT}
    assert product, "there is nothing to look at: has a folder been renamed?"
    found = [str(finding) for finding in rules.import_circles(product)]
    assert not found, "\n" + "\n".join(found)


def test_requirements_are_pinned_and_name_no_place() -> None:
    found = {path: text for path, text in files().items() if path.match("requirements/*.txt")}
    report(rules.pinned_requirements, found)


def test_no_file_names_a_registry_or_a_machine() -> None:
    here = {
        PurePosixPath("tests/architecture") / name for name in ("rules.py", "test_rules_catch.py")
    }
    report(rules.no_places, {path: text for path, text in files().items() if path not in here})


def test_make_help_names_every_target() -> None:
    makefile = PurePosixPath("Makefile")
    report(rules.documented_targets, {makefile: files()[makefile]})
    make = shutil.which("make")
    assert make, "install make"
    shown = subprocess.run([make, "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    plain = re.sub(r"\x1b\[\d*m", "", shown.stdout)
    listed = {line.split()[0] for line in plain.splitlines() if line.strip()}
    assert set(TARGETS) <= listed, f"missing in the Makefile: {set(TARGETS) - listed}"


def test_import_rules_hold() -> None:
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
