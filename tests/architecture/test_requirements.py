"""What a service serves with is in its requirement file, and what only commands need is not."""

from pathlib import Path

import pytest

from tests.architecture import imports
from tests.architecture.imports import idle, missing, modules, packages, pinned

SERVICES = ("ingest", "scoring", "alerts")
COMMANDS = {
    "import": ("services/ingest",),
    "training": ("services/scoring",),
    "alerts": ("services/alerts",),
}
"""Requirement file of every command of a service, and the folders whose code it is for."""
CLUSTER = {"dask", "distributed"}
"""For training on a cluster alone: `requirements/cluster.txt`."""
HEAVY = ("polars", "pyarrow", "scikit-learn", "pandas")
"""Between 50 and 180 MB each, and only commands read files or fit models."""


def _served(service: str) -> dict[str, str]:
    """Return the packages of a service's command line, and of the service that it loads."""
    return packages(f"services.{service}.__main__", f"services.{service}.main")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_only_what_its_file_pins(service: str) -> None:
    needed = _served(service)
    assert {"aiokafka", "asyncpg", "fastapi", "sqlalchemy"} <= needed.keys()
    assert missing(service, needed) == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_pins_nothing_that_it_does_not_import(service: str) -> None:
    assert idle(service, _served(service)) == []
    assert not pinned(service) & set(HEAVY)


@pytest.mark.parametrize("service", SERVICES)
def test_a_common_command_starts_without_what_only_the_service_needs(service: str) -> None:
    """So `migrate` and `tokens` start in half the time."""
    needed = packages(f"services.{service}.__main__", at_start=True)
    assert {"sqlalchemy", "uvloop"} <= needed.keys()
    assert not needed.keys() & {"aiokafka", "aiohttp", "lightgbm", "scipy", "matplotlib"}


def test_alerts_draws_only_when_a_report_is_asked_for() -> None:
    """30 MB less in each process until then."""
    needed = packages("services.alerts.main", at_start=True)
    assert "aiokafka" in needed
    assert "matplotlib" not in needed


@pytest.mark.parametrize("requirements", COMMANDS)
def test_every_command_imports_only_what_its_file_pins(requirements: str) -> None:
    needed = packages(*modules(*COMMANDS[requirements]), everything=True)
    only_here = {name: by for name, by in needed.items() if name not in CLUSTER}
    assert missing(requirements, only_here) == []


def test_every_file_is_part_of_the_environment_of_developers() -> None:
    for name in (*SERVICES, *COMMANDS, "cluster"):
        assert pinned(name) <= pinned("dev"), name


def test_an_import_that_no_file_pins_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services/__main__.py").write_text("def serve():\n    import polars\n")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/small.txt").write_text("numpy==2.0 \\\n    --hash=x\n")
    (tmp_path / "requirements/small.in").write_text("-r base.in\nnumpy  # arithmetic\n")
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    needed = packages("services.__main__")
    assert missing("small", needed) == [
        "services.__main__ imports polars, which requirements/small.txt does not pin"
    ]
    assert idle("small", needed) == ["numpy"]
