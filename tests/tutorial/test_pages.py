"""The tutorials that change the code, followed in a copy of the working copy; and their reading."""

import os
from pathlib import Path

import pytest

from deploy.local.stack import ROOT
from tests.tutorial.pages import apply, blocks, shows
from tests.tutorial.reader import Reader, copied

FOLDER = ROOT / "docs/tutorial"
WITH_SERVERS = {"first-event.md"}
"""Followed in `tests/e2e/test_tutorial.py`."""
PAGES = sorted(page.name for page in FOLDER.glob("*.md") if page.name not in WITH_SERVERS)


@pytest.mark.timeout(600)  # seconds: each starts several type checks, linters and test runs
@pytest.mark.parametrize("page", PAGES)
def test_a_page_leads_where_it_says(page: str, tmp_path: Path) -> None:
    with Reader(copied(tmp_path), os.environ) as reader:
        reader.follow(FOLDER / page)


def test_every_page_is_followed_somewhere() -> None:
    assert {"first-event.md", "add-a-feature.md", "add-a-sign.md", "add-a-connector.md"} == {
        *PAGES,
        *WITH_SERVERS,
    }


def test_other_output_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\nA=2\n```\n```bash\necho $A x\n```\n```text\n3 …\n```\n")
    (tmp_path / "root").mkdir()
    with pytest.raises(AssertionError, match="shows\n2 x"):
        Reader(tmp_path / "root", os.environ).follow(page)
    page.write_text(page.read_text().replace("3 …", "2 …"))
    Reader(tmp_path / "root", os.environ).follow(page)


def test_a_failing_command_is_found(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(AssertionError, match="exit 1"):
        Reader(tmp_path / "root", os.environ).run("false\necho later")


def test_a_block_that_is_not_executed_is_refused() -> None:
    with pytest.raises(ValueError, match="'toml'"):
        blocks("```toml\na = 1\n```\n")


def test_a_file_of_a_list_is_found() -> None:
    """Its path is the last of its kind, and its lines lose the indentation of the list."""
    page = "1. Save `a.yaml`, `b.yaml`, not `c.py`:\n\n   ```yaml\n   a:\n     b: 1\n   ```\n"
    (block,) = blocks(page)
    assert (block.kind, block.text, block.path) == ("yaml", "a:\n  b: 1\n", "b.yaml")


@pytest.mark.parametrize(
    ("expected", "output", "same"),
    [
        ("a … c\n", "a b c\n", True),
        ("a\n…\nc\n", "a\nb\nb\nc\n", True),
        ("…\nc\n", "c\n", True),
        ("a\n", "a", True),
        ("a … c\n", "a b\nc\n", False),
        ("a\n", "a\nb\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_an_output_is_compared_whole(expected: str, output: str, *, same: bool) -> None:
    assert shows(expected, output) is same


def test_an_output_of_gaps_is_refused() -> None:
    with pytest.raises(ValueError, match="fit anything"):
        shows("…\n", "error\n")


@pytest.mark.parametrize("old", ["b\nb\n", "a\n"])
def test_a_change_needs_its_lines_exactly_once(old: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(old)
    with pytest.raises(ValueError, match="occur"):
        apply("+++ file\n-b\n+c\n", tmp_path)


def test_a_diff_changes_each_hunk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a\nb\n\nc\n")
    apply("+++ file\n-a\n+A\n@@\n\n c\n+d\n", tmp_path)
    assert (tmp_path / "file").read_text() == "A\nb\n\nc\nd\n"
