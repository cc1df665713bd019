"""What of the Compose file is started here: its own services, as they are, on a local stack."""

import copy
from typing import Any

import pytest
import yaml

from deploy.cluster import started
from deploy.images import build
from deploy.local.stack import ROOT

COMPOSED: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
ENVIRON = {"DATABASE_URL": "postgresql://local", "EBBWATCH_INGEST_PORT": "15001"}


@pytest.fixture(autouse=True)
def _revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "revision", lambda: "0123456789abcdef")


def test_our_services_and_jobs_start_and_nothing_of_others() -> None:
    services = started.fitted(COMPOSED, ENVIRON)["services"]
    assert services.keys() == {"ingest", "scoring", "alerts", *started.JOBS}
    assert services["scoring"]["image"] == "localhost/ebbwatch-scoring:0123456789ab"
    assert not any({"build", "ports"} & each.keys() for each in services.values())


def test_order_rights_limits_and_commands_are_those_of_the_file() -> None:
    before = copy.deepcopy(COMPOSED)
    services = started.fitted(COMPOSED, ENVIRON)["services"]
    assert before == COMPOSED
    kept = ("command", "read_only", "cap_drop", "cap_add", "mem_limit", "user", "volumes", "tmpfs")
    for name, each in services.items():
        given = COMPOSED["services"][name]
        assert {k: each[k] for k in kept if k in each} == {k: given[k] for k in kept if k in given}
    assert services["topics"]["depends_on"] == {}
    assert services["scoring"]["depends_on"] == COMPOSED["services"]["scoring"]["depends_on"]


def test_settings_of_the_local_stack_replace_those_of_the_file() -> None:
    made = started.fitted(COMPOSED, ENVIRON)
    environment = made["services"]["ingest"]["environment"]
    assert environment == COMPOSED["services"]["ingest"]["environment"] | ENVIRON
    assert made["volumes"].keys() == {"models"}
