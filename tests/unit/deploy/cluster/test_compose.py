"""The Compose file keeps our rules, and each rule finds the fault that it is for."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from deploy.cluster.compose import faults
from deploy.local.stack import ROOT

DEPLOY = ROOT / "deploy"
COMPOSED: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())

Services = dict[str, Any]


def test_the_compose_file_keeps_the_rules() -> None:
    assert faults(COMPOSED, DEPLOY) == []


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (lambda s: s["grafana"].update(image="grafana/grafana"), "has no version"),
        (lambda s: s["grafana"].update(image="grafana/grafana:latest"), "has no version"),
        (lambda s: s["ingest"].update(image="ebbwatch-ingest:${VERSION:-main}"), "has no version"),
        (lambda s: s["kafka"].pop("mem_limit"), "kafka has no memory limit"),
        (lambda s: s["alerts"].update(ports=["8083:8083"]), "reached from other machines"),
        (lambda s: s["kafka"].update(volumes=["./gone:/x"]), "kafka mounts ./gone"),
        (lambda s: s["ingest"].pop("read_only"), "ingest may write to its root"),
        (lambda s: s["ingest"].update(cap_add=["CHOWN"]), "ingest may write to its root"),
        (lambda s: s["scoring"].pop("security_opt"), "scoring may gain privileges"),
        (
            lambda s: s["ingest"]["environment"].update(EBBWATCH_INGEST_PROT="1"),
            "ingest sets EBBWATCH_INGEST_PROT, which ingest does not read",
        ),
        (
            lambda s: s["ingest"]["environment"].update(EBBWATCH_ALERTS_PORT="1"),
            "ingest sets EBBWATCH_ALERTS_PORT, which ingest does not read",
        ),
        (
            lambda s: s["scoring"]["depends_on"]["topics"].update(condition="service_started"),
            "scoring does not wait until topics has ended",
        ),
        (
            lambda s: s["migrate-alerts"]["depends_on"].pop("postgres"),
            "migrate-alerts does not wait until postgres is healthy",
        ),
    ],
)
def test_a_planted_fault_is_found(plant: Callable[[Services], object], expected: str) -> None:
    composed = {"services": {k: copy.deepcopy(v) for k, v in COMPOSED["services"].items()}}
    plant(composed["services"])
    found = faults(composed, DEPLOY)
    assert len(found) == 1
    assert expected in found[0]


def test_a_server_without_a_health_check_is_found() -> None:
    composed = copy.deepcopy(COMPOSED)
    del composed["services"]["kafka"]["healthcheck"]
    assert faults(composed, DEPLOY) == ["kafka has no health check"]


def test_every_setting_of_the_example_is_used() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    lines = (DEPLOY / "compose" / "env.example").read_text().splitlines()
    names = [line.partition("=")[0] for line in lines if line and line[0] != "#"]
    assert len(names) == len(set(names)) >= 6
    assert [name for name in names if f"${{{name}:" not in text] == []


def test_its_prometheus_differs_by_addresses_only_from_the_one_that_alarms_are_tested_with() -> (
    None
):
    tested = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    services = COMPOSED["services"]
    for name in ("ingest", "scoring", "alerts", "alertmanager"):
        (published,) = services[name]["ports"]
        host, _, inside = published.rpartition(":")
        assert host in tested
        tested = tested.replace(host, f"{name}:{inside}")
    folder = "/etc/ebbwatch"
    assert f"./prometheus:{folder}:ro" in services["prometheus"]["volumes"]
    tested = tested.replace("- rules/", f"- {folder}/rules/")
    composed = (DEPLOY / "compose" / "prometheus.yml").read_text()
    assert yaml.safe_load(composed) == yaml.safe_load(tested)
