"""The runbooks: their commands exist with their options, and each has the same parts.

Their command blocks are run on a running stack in `tests/e2e/test_tutorial.py`.
"""

import importlib
import re
from typing import Final

import pytest

from deploy.local.stack import ROOT
from shared.runtime.command_line import main
from tests.alarms import rules
from tests.tutorial.pages import blocks

FOLDER: Final = ROOT / "docs/runbooks"
PAGES: Final = sorted(page.name for page in FOLDER.glob("*.md"))
PARTS: Final = ["Meaning", "Check", "Mend", "It is over when"]
COMMAND: Final = re.compile(r"python -m services\.(\w+) ([^`\n]+)")
VALUE: Final = re.compile(r'^(?:[A-Z]+|\d+|".*|\S+\.\S+)$')
"""A word of a command that is no name of an action: a placeholder, a number, a text, a field."""
COMMANDS: Final = sorted(
    {found for page in PAGES for found in COMMAND.findall((FOLDER / page).read_text())}
)


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_a_page_has_its_parts_and_something_to_run(page: str) -> None:
    text = (FOLDER / page).read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == PARTS
    assert any(block.kind == "bash" for block in blocks(text))
    named = set(re.findall(r"`(Ebbwatch\w+)`", text.partition("## Meaning")[0]))
    linked = {a.name for a in rules.alarms() if a.annotations["runbook_url"].endswith(f"/{page}")}
    assert named == linked


@pytest.mark.parametrize(("service", "arguments"), COMMANDS)
def test_a_command_exists_with_its_options(
    service: str, arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of commands that are only named, since they need a fault that is not there."""
    words = arguments.split(" | ", maxsplit=1)[0].split()
    actions: list[str] = []
    for word in words:
        if word.startswith("--") or VALUE.match(word):
            break
        actions.append(word)
    module = importlib.import_module(f"services.{service}.__main__")
    with pytest.raises(SystemExit) as ended:
        main(module.SPEC, module._add_commands, [*actions, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for option in re.findall(r"--[\w-]+", arguments):
        assert option in text, f"{service} {arguments}"
