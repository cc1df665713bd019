"""Documents that keep every rule of `deploy.cluster`, for tests that break one each."""

from typing import Any

from deploy.cluster.known import SERVICES
from deploy.cluster.rules import PROBES, SECRETS, TMP


def pod(*containers: dict[str, Any]) -> dict[str, Any]:
    """A pod that keeps the rules."""
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
    }


def container(name: str, **more: Any) -> dict[str, Any]:
    """A container that keeps the rules."""
    return {
        "name": name,
        "image": f"ebbwatch-{name}:0.1.0",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"memory": "256Mi"},
        },
        "volumeMounts": [{"mountPath": path} for path in (TMP, SECRETS)],
        **more,
    }


def named(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """A document with a name and a specification."""
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


def deployment(service: str) -> dict[str, Any]:
    """A Deployment that keeps the rules."""
    probes = {probe: {"httpGet": {"path": path}} for probe, path in PROBES.items()}
    waits = container(
        service, command=["python", "-m", f"services.{service}", "migrate", "--wait", "9"]
    )
    template = {
        "metadata": {"labels": {"component": service}},
        "spec": {**pod(container(service, **probes)), "initContainers": [waits]},
    }
    return named("Deployment", service, replicas=1, template=template)


def scaler(service: str, topic: str, most: int) -> dict[str, Any]:
    """A ScaledObject that keeps the rules, for a service without replicas of its own."""
    return named(
        "ScaledObject",
        service,
        scaleTargetRef={"name": service},
        minReplicaCount=1,
        maxReplicaCount=most,
        fallback={"replicas": 1},
        triggers=[{"metadata": {"topic": topic}}],
    )


def overlay() -> dict[str, dict[str, Any]]:
    """A whole overlay that keeps the rules, by kind and name."""
    namespace = {
        "kind": "Namespace",
        "metadata": {
            "name": "ebbwatch",
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    documents = [
        namespace,
        {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"KAFKA_BOOTSTRAP_SERVERS": "k"}},
        named("ServiceAccount", "a"),
        named("NetworkPolicy", "n", podSelector={}, policyTypes=["Ingress", "Egress"]),
        named("Job", "migrate", template={"spec": pod(container("alerts"))}),
    ]
    for service in SERVICES:
        labels = {"component": service}
        documents += [
            deployment(service),
            named("Service", service, selector=labels),
            named("PodDisruptionBudget", service, selector={"matchLabels": labels}),
        ]
    return {f"{each['kind']} {each['metadata']['name']}": each for each in documents}
