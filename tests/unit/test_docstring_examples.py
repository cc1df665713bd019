"""The examples in docstrings print the documented output."""

import doctest
import importlib
import io
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("services", "shared", "deploy")
    for path in (ROOT / folder).rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(name: str) -> None:
    module = importlib.import_module(name)
    runner, report = doctest.DocTestRunner(), io.StringIO()
    for case in doctest.DocTestFinder().find(module):
        runner.run(case, out=report.write)
    assert runner.tries, "no example was found, though the file has one"
    assert not runner.failures, report.getvalue()
