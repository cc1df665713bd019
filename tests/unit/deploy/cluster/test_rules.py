"""Our rules for Kubernetes' manifests: each finds the fault that it is for, and no other."""

from collections.abc import Callable
from typing import Any

import pytest

from deploy.cluster.known import variables
from deploy.cluster.rules import faults
from tests.unit.deploy.cluster.documents import named, overlay, scaler

Documents = dict[str, dict[str, Any]]


def test_an_overlay_that_keeps_the_rules_has_no_fault() -> None:
    assert faults(list(overlay().values())) == []


def template(found: Documents) -> dict[str, Any]:
    """The pod of ingest."""
    return found["Deployment ingest"]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def main(found: Documents) -> dict[str, Any]:
    """The container of ingest."""
    return template(found)["containers"][0]  # type: ignore[no-any-return]


Planted = Callable[[Documents], object]


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (lambda d: d.pop("NetworkPolicy n"), "no NetworkPolicy refuses everything"),
        (lambda d: d.pop("Job migrate"), "there is no Job"),
        (lambda d: d.pop("Service ingest"), "Deployment ingest has no Service"),
        (lambda d: d.pop("PodDisruptionBudget alerts"), "has no PodDisruptionBudget"),
        (lambda d: d["Namespace ebbwatch"]["metadata"].pop("labels"), "enforce `restricted`"),
        (lambda d: d.update(s=named("Secret", "s")), "a secret does not belong"),
        (lambda d: template(d).update(automountServiceAccountToken=True), "mounts a token"),
        (lambda d: template(d)["securityContext"].update(runAsUser=0), "may run as root"),
        (lambda d: template(d)["securityContext"].pop("seccompProfile"), "no seccomp"),
        (lambda d: template(d).pop("initContainers"), "does not wait for the migrations"),
        (lambda d: template(d).update(terminationGracePeriodSeconds=5), "before it has drained"),
        (lambda d: main(d).pop("readinessProbe"), "has no readinessProbe on /readyz"),
        (
            lambda d: main(d)["livenessProbe"]["httpGet"].update(path="/readyz"),
            "has no livenessProbe on /livez",
        ),
        (lambda d: main(d).update(image="ebbwatch-ingest:latest"), "without a version"),
        (lambda d: main(d).update(image="localhost:5000/ebbwatch-ingest"), "without a version"),
        (lambda d: main(d)["resources"].pop("limits"), "has no memory limit"),
        (lambda d: main(d)["resources"]["requests"].pop("cpu"), "requests no cpu or memory"),
        (lambda d: main(d)["securityContext"].pop("capabilities"), "has capabilities"),
        (lambda d: main(d)["securityContext"].pop("readOnlyRootFilesystem"), "write to its root"),
        (
            lambda d: main(d)["securityContext"].update(allowPrivilegeEscalation=True),
            "may gain privileges",
        ),
        (lambda d: main(d)["volumeMounts"].pop(), "lacks /tmp or"),
        (
            lambda d: d["ConfigMap c"]["data"].update(EBBWATCH_INGEST_PROT="1"),
            "sets EBBWATCH_INGEST_PROT, which no service reads",
        ),
        (
            lambda d: d["ConfigMap c"]["data"].update(OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318"),
            "sends spans to port 4318, which no NetworkPolicy allows",
        ),
        (lambda d: d["Deployment ingest"]["spec"].pop("replicas"), "has no replica"),
    ],
)
def test_a_planted_fault_is_found(plant: Planted, expected: str) -> None:
    documents = overlay()
    plant(documents)
    found = faults(list(documents.values()))
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    ("egress", "allowed"),
    [
        ({}, True),
        ({"ports": [{"protocol": "TCP"}]}, True),
        ({"ports": [{"port": 4318}]}, True),
        ({"ports": [{"port": 4310, "endPort": 4320}]}, True),
        ({"ports": [{"port": 4310}]}, False),
        ({"ports": [{"port": 4310, "endPort": 4317}]}, False),
        ({"ports": [{"protocol": "UDP", "port": 4318}]}, False),
        ({"ports": [{"port": "otlp"}]}, False),
        ({"ports": []}, False),
    ],
)
def test_spans_need_a_port_that_is_allowed(egress: dict[str, Any], allowed: bool) -> None:
    documents = overlay()
    documents["ConfigMap c"]["data"]["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318"
    policy = named("NetworkPolicy", "c", podSelector={"a": "b"}, egress=[egress])
    assert (faults([*documents.values(), policy]) == []) is allowed


@pytest.mark.parametrize(
    ("to", "allowed"),
    [
        ([{"namespaceSelector": {}}], True),
        ([], True),
        ([{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}], False),
    ],
)
def test_spans_need_a_way_to_a_collector_inside_the_cluster(
    to: list[dict[str, Any]], allowed: bool
) -> None:
    documents = overlay()
    documents["ConfigMap c"]["data"]["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://collector:4318"
    egress = [{"to": to, "ports": [{"protocol": "TCP", "port": 4318}]}]
    policy = named("NetworkPolicy", "c", podSelector={"a": "b"}, egress=egress)
    assert (faults([*documents.values(), policy]) == []) is allowed


@pytest.mark.parametrize(
    ("topic", "most", "change", "expected"),
    [
        ("ebbwatch.activity", 3, {}, None),
        ("ebbwatch.activity", 4, {}, "4 replicas of 2 consumers for 6 partitions"),
        ("ebbwatch.activty", 3, {}, "which is none of our topics"),
        ("ebbwatch.activity", 3, {"minReplicaCount": 0}, "may scale to 0"),
        ("ebbwatch.activity", 3, {"fallback": {}}, "has no fallback"),
        ("ebbwatch.activity", 3, {"fallback": {"replicas": 9}}, "has no fallback"),
    ],
)
def test_scaling_keeps_within_the_partitions(
    topic: str, most: int, change: dict[str, Any], expected: str | None
) -> None:
    documents = overlay()
    del documents["Deployment scoring"]["spec"]["replicas"]
    scaling = scaler("scoring", topic, most)
    scaling["spec"].update(change)
    found = faults([*documents.values(), scaling])
    assert len(found) == (0 if expected is None else 1)
    assert expected is None or expected in found[0]


def test_a_scaled_deployment_sets_no_replicas_itself() -> None:
    documents = [*overlay().values(), scaler("scoring", "ebbwatch.activity", 3)]
    assert faults(documents) == ["Deployment scoring sets replicas, and so does its ScaledObject"]


def test_the_names_of_settings_are_those_that_the_services_read() -> None:
    assert {
        "DATABASE_URL",
        "KAFKA_SASL_PASSWORD",
        "EBBWATCH_SCORING_MODEL_STORE",
        "EBBWATCH_REPORTING_CURRENCY",
        "EBBWATCH_INSTANCE",
        "EBBWATCH_SECRETS_DIR",
    } <= variables("scoring")
    assert "EBBWATCH_SCORING_REPORTING_CURRENCY" not in variables("scoring")
    assert "EBBWATCH_ALERTS_PORT" not in variables("scoring")
