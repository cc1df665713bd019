"""Follows a tutorial page: types the commands, saves the files, compares the output."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.local.stack import KAFKA_CACHE, ROOT
from tests.tutorial import pages

COMMAND_S_MAX: Final = 300.0
"""Longest time for the commands of a block, in seconds; the slowest type-check or start a stack."""
AGAIN_S_MAX: Final = 60.0
"""Longest time until commands that are run again show what they are to show, in seconds."""
AGAIN_S: Final = 0.5
STOP_S_MAX: Final = 90.0
"""Longest time from Ctrl-C until a background command has ended, in seconds."""
OF_PYTEST: Final = ("PYTEST_", "COV_", "PYTHONPATH")
"""Beginnings of variables by which a test run would reach into the reader's own commands."""
BASH: Final = shutil.which("bash") or "/bin/bash"
MAKE: Final = shutil.which("make") or "/usr/bin/make"
LEFT_OUT: Final = (
    ".git", ".venv*", ".local", "build", "__pycache__", ".pytest_cache", ".hypothesis",
    ".coverage*", "node_modules",
)  # fmt: skip
"""What a copy does without. It has the caches of the type checker and the linters: the page's
commands are those of a developer who has checked before, and take a third of the time."""


def copied(folder: Path) -> Path:
    """Copy the working copy into `folder`, with this environment and Kafka's jars; return it."""
    root = folder / "ebbwatch"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (root / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        (root / ".venv" / part.name).symlink_to(part)
    # `make` then takes the environment for set up: it is the one that runs this test.
    subprocess.run([MAKE, "--touch", "setup"], cwd=root, capture_output=True, check=True)
    if (jars := KAFKA_CACHE / "jars").exists():  # beside the broker's data, which are not shared
        (root / ".local" / KAFKA_CACHE.name).mkdir(parents=True)
        (root / ".local" / KAFKA_CACHE.name / jars.name).symlink_to(jars)
    return root


class Reader:
    """Follows pages in `root`. Use as a context manager: on exit background commands have ended.

    `ports`: ports named in the pages and the free ones that are used instead of them. What an
    earlier reader in the same place set as variables is forgotten.
    """

    def __init__(
        self, root: Path, environ: Mapping[str, str], ports: Mapping[int, int] | None = None
    ) -> None:
        self._root = root
        kept = {name: text for name, text in environ.items() if not name.startswith(OF_PYTEST)}
        for name in ("CI", "EBBWATCH_DATA"):  # with them pytest says more than a reader sees
            kept.pop(name, None)
        self._environ = kept | {"PYTHONUNBUFFERED": "1"}  # what a terminal would show by now
        self._ports = ports or {}
        self._variables = root.parent / "variables"
        self._variables.write_text("")
        self._background: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._background):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(STOP_S_MAX)

    def follow(self, page: Path) -> None:
        """Do what the page asks for, in order; raise AssertionError where it shows otherwise."""
        found = self.blocks(page)
        assert any(block.kind == "text" for block in found), "a page shows some output"
        self.do(found)

    def blocks(self, page: Path) -> list[pages.Block]:
        """Return the blocks of a page with the ports of this run."""
        return pages.blocks(self._local(page.read_text()))

    def do(self, found: Sequence[pages.Block]) -> None:
        """Do what these blocks ask for, in order; AssertionError where one shows otherwise."""
        for block, after in zip(found, [*found[1:], None], strict=True):
            expected = after.text if after is not None and after.kind == "text" else None
            match block.kind:
                case "python" | "javascript" | "yaml" | "json":
                    assert block.path is not None, f"which file is this?\n{block.text}"
                    (self._root / block.path).parent.mkdir(exist_ok=True)
                    (self._root / block.path).write_text(block.text)
                case "diff":
                    pages.apply(block.text, self._root)
                case "bash":
                    self._same(block.text, self.run(block.text), expected)
                case "bash again":
                    assert expected is not None, f"until when?\n{block.text}"
                    self._again(block.text, expected)
                case "bash background":
                    assert expected is not None, f"until when?\n{block.text}"
                    self._start(block.text, expected)

    def run(self, commands: str) -> str:
        """Run commands in a shell that knows the variables of those before; return the output."""
        script = f"set -ea; . {self._variables}; {{\n{commands}\n}}; export -p >{self._variables}"
        done = subprocess.run(
            [BASH, "-c", script], cwd=self._root, env=self._environ, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=COMMAND_S_MAX,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}\n→ exit {done.returncode}:\n{done.stdout}"
        return done.stdout

    def _again(self, commands: str, expected: str) -> None:
        deadline = time.monotonic() + AGAIN_S_MAX
        while not pages.shows(expected, output := self.run(commands)):
            if time.monotonic() > deadline:
                self._same(commands, output, expected)
            time.sleep(AGAIN_S)

    def _start(self, command: str, expected: str) -> None:
        output = self._root.parent / f"background-{len(self._background)}"
        script = f". {self._variables}; exec {command}"
        with output.open("w") as file:
            process = subprocess.Popen(
                [BASH, "-c", script], cwd=self._root, env=self._environ, text=True,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        self._background.append(process)
        deadline = time.monotonic() + COMMAND_S_MAX
        while not pages.shows(expected, output.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                self._same(command, output.read_text(), expected)
            time.sleep(AGAIN_S)

    def _same(self, commands: str, output: str, expected: str | None) -> None:
        if expected is not None:
            assert pages.shows(expected, output), (
                f"{commands}\nshows\n{output}\nand not, as on the page,\n{expected}"
            )

    def _local(self, page: str) -> str:
        """Return the page with the ports of this run."""
        for written, used in self._ports.items():
            page = re.sub(rf"(?<=[:=]){written}\b", str(used), page)
        return page
