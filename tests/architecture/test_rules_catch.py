"""Each house rule finds a planted violation and leaves honest code alone."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.architecture import rules
from tests.architecture.rules import Finding
from tests.architecture.test_house_rules import LINT_IMPORTS, ROOT

Rule = Callable[[PurePosixPath, str], Iterator[Finding]]

CORE = "services/scoring/core/risk.py"
HANDLER = "services/scoring/handlers/assess_customers.py"

PLANTED = [
    (rules.file_length, HANDLER, "x = 1\n" * 401),
    (rules.function_length, HANDLER, "def f():\n" + "    x = 1\n" * 60),
    (rules.function_length, HANDLER, "class A:\n  async def f():\n" + "    x = 1\n" * 60),
    (rules.module_docstring, HANDLER, "x = 1\n"),
    (rules.pure_core, CORE, "import random\n"),
    (rules.pure_core, CORE, "from os import environ\n"),
    (rules.pure_core, CORE, "import os.path\n"),
    (rules.pure_core, CORE, "def f(path):\n    return open(path)\n"),
    (rules.pure_core, CORE, "print('x')\n"),
    (rules.pure_core, CORE, "import numpy as np\nr = np.random.default_rng(1)\n"),
    (rules.pure_core, CORE, "from uuid import uuid4\n"),
    (rules.pure_core, "shared/kernel/values.py", "from datetime import date\nx = date.today()\n"),
    (rules.pure_core, "shared/contracts/risk.py", "import logging\n"),
    (rules.one_clock, HANDLER, "from datetime import UTC, datetime\nx = datetime.now(UTC)\n"),
    (rules.one_clock, HANDLER, "import datetime as dt\nx = dt.datetime.utcnow()\n"),
    (rules.one_clock, HANDLER, "from datetime import datetime as d\nf = field(factory=d.now)\n"),
    (rules.one_clock, "shared/kafka/worker.py", "import time\nx = time.time()\n"),
    (rules.one_clock, "shared/kafka/worker.py", "from time import monotonic\n"),
    (rules.pinned_requirements, "requirements/dev.txt", "httpx==1.0\n"),
    (rules.pinned_requirements, "requirements/dev.txt", "httpx>=1 --hash=sha256:00\n"),
    (rules.pinned_requirements, "requirements/dev.txt", "--index-url https://example.org\n"),
    (rules.pinned_requirements, "requirements/dev.txt", "httpx @ file:///x.whl --hash=sha256:00\n"),
    (rules.no_places, "README.md", "see https://pypi.org/project/x\n"),
    (rules.no_places, "deploy/local/kafka/pom.xml", "<url>https://repo1.maven.org/maven2</url>\n"),
    (rules.no_places, "deploy/x.py", "DATA = Path('/home/ann/data')\n"),
    (rules.documented_targets, "Makefile", "demo: setup\n\tpython -m demo\n"),
]

HONEST = [
    (rules.file_length, HANDLER, "x = 1\n" * 400),
    (rules.function_length, HANDLER, "def f():\n" + "    x = 1\n" * 59),
    (rules.module_docstring, "services/__init__.py", ""),
    (rules.pure_core, CORE, "def f(now, time, open_days):\n    return now - time + open_days\n"),
    (rules.pure_core, CORE, "from datetime import datetime\nx = datetime.fromisoformat('')\n"),
    (rules.pure_core, HANDLER, "import os\n"),
    (rules.one_clock, HANDLER, "def f(clock):\n    return clock.now()\n"),
    (rules.one_clock, "shared/runtime/clock.py", "import time\nx = time.monotonic()\n"),
    (rules.one_clock, "deploy/demo/run.py", "import time\nx = time.monotonic()\n"),
    (rules.pinned_requirements, "requirements/x.txt", "a==1 \\\n  --hash=sha256:00\n  # via b\n"),
    (rules.no_places, "README.md", "https://example.org/work/ and ./root/ and /var/tmp/\n"),
    (rules.documented_targets, "Makefile", "X := 1\ndemo: setup ## The demo\n\tpython\n"),
]


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_planted_violation_is_found_with_its_mend(rule: Rule, path: str, text: str) -> None:
    findings = list(rule(PurePosixPath(path), text))
    assert findings
    assert all(len(finding.mend) > len("fix this") for finding in findings)


@pytest.mark.parametrize(("rule", "path", "text"), HONEST)
def test_honest_code_passes(rule: Rule, path: str, text: str) -> None:
    assert not list(rule(PurePosixPath(path), text))


@pytest.mark.parametrize(
    "line",
    [
        "from services.a import b",
        "from services.a.b import X",
        "import services.a.b",
        "def f():\n    from services.a import b",
        "if TYPE_CHECKING:\n    from services.a.b import X",
    ],
)
def test_a_circle_of_imports_is_found(line: str) -> None:
    modules = {
        PurePosixPath("services/a/__init__.py"): "",
        PurePosixPath("services/a/b.py"): "from services.a.c import Y",
        PurePosixPath("services/a/c.py"): "from services import a\nfrom shared.d import Z",
        PurePosixPath("shared/d.py"): "import os",
    }
    assert not list(rules.import_circles(modules))
    modules[PurePosixPath("shared/d.py")] = line
    (found,) = rules.import_circles(modules)
    assert all(name in found.mend for name in ("services.a.b", "services.a.c", "shared.d"))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("shared/kernel/errors.py", "import services.ingest"),
        ("services/ingest/core/planted.py", "import services.alerts.core"),
        ("services/scoring/core/planted.py", "import shared.runtime.clock"),
        ("shared/contracts/planted.py", "import socket"),
        ("services/alerts/handlers/planted.py", "import services.alerts.inbound"),
    ],
)
def test_import_linter_finds_a_planted_import(tmp_path: Path, file: str, line: str) -> None:
    for name in ("services", "shared"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as planted:
        planted.write(f"\n{line}\n")
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN" in done.stdout
