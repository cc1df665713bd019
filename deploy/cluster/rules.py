"""Rules for our manifests, beside their schemas: what every pod, scaler and image must have.

Each rule takes the rendered documents of an overlay and returns a line for each fault.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from deploy.cluster.known import ANY, SERVICES
from shared.contracts.topics import ALL

Document = dict[str, Any]

PROBES = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
LANES = {"scoring": 2}
"""Members of the consumer group in a process, where there are several."""
SECRETS = "/etc/ebbwatch/secrets"
DISRUPTION = "PodDisruptionBudget"
PORT_MAX = 65_535
SPANS = "OTEL_EXPORTER_OTLP_ENDPOINT"
TMP = "/tmp"  # noqa: S108 (inside the container)


def faults(documents: Sequence[Document]) -> list[str]:
    """Return the faults of an overlay by all rules."""
    return [
        *_whole(documents),
        *(fault for each in documents for fault in _pods(each)),
        *(fault for each in documents for fault in _deployment(each, documents)),
        *(fault for each in documents for fault in _scaling(each)),
        *(fault for each in documents for fault in _settings(each)),
        *(fault for each in documents for fault in _spans(each, documents)),
    ]


def label(document: Document) -> str:
    """Return what a fault names a document by."""
    return f"{document['kind']} {document['metadata']['name']}"


def of_kind(documents: Sequence[Document], kind: str) -> list[Document]:
    """Return the documents of a kind."""
    return [each for each in documents if each["kind"] == kind]


def pod_of(document: Document) -> Document | None:
    """Return the pod template's content; None for what runs no pod."""
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if document["kind"] not in ("Deployment", "Job", "CronJob"):
        return None
    template: Document = spec["template"]
    return template


def _whole(documents: Sequence[Document]) -> Iterator[str]:
    names = {each["metadata"]["name"] for each in of_kind(documents, "Deployment")}
    if names != SERVICES.keys():
        yield f"there is a Deployment for {sorted(names)} instead of {sorted(SERVICES)}"
    for kind in ("Job", "ServiceAccount", "ConfigMap", "Namespace"):
        if not of_kind(documents, kind):
            yield f"there is no {kind}"
    for each in of_kind(documents, "Namespace"):
        enforced = each["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce")
        if enforced != "restricted":
            yield f"{label(each)} does not enforce `restricted`"
    for each in of_kind(documents, "Secret"):
        yield f"{label(each)} is among the manifests: a secret does not belong into them"
    everything = [e for e in of_kind(documents, "NetworkPolicy") if not e["spec"]["podSelector"]]
    if not any(set(e["spec"]["policyTypes"]) == {"Ingress", "Egress"} for e in everything):
        yield "no NetworkPolicy refuses everything that no other allows"


def _pods(document: Document) -> Iterator[str]:
    template = pod_of(document)
    if template is None:
        return
    pod, name = template["spec"], label(document)
    if pod.get("automountServiceAccountToken") is not False:
        yield f"{name} mounts a token of the cluster's API"
    security = pod.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield f"{name} may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{name} has no seccomp profile"
    for each in (*pod.get("initContainers", ()), *pod["containers"]):
        yield from _container(f"{name}, container {each['name']}", each)


def _container(name: str, container: Document) -> Iterator[str]:
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{name} may gain privileges"
    if security.get("readOnlyRootFilesystem") is not True:
        yield f"{name} may write to its root"
    if security.get("capabilities", {}) != {"drop": ["ALL"]}:
        yield f"{name} has capabilities"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}):
        yield f"{name} has no memory limit"
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys():
        yield f"{name} requests no cpu or memory"
    tag = container["image"].rpartition("/")[2].partition(":")[2]
    if tag in ("", "latest"):
        yield f"{name} has an image without a version: {container['image']}"
    mounted = {each["mountPath"] for each in container.get("volumeMounts", ())}
    if not {TMP, SECRETS} <= mounted:
        yield f"{name} lacks {TMP} or {SECRETS}"


def _deployment(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    if document["kind"] != "Deployment":
        return
    name, template = label(document), document["spec"]["template"]
    service, pod = document["metadata"]["name"], template["spec"]
    (container,) = pod["containers"]
    for probe, path in PROBES.items():
        if container.get(probe, {}).get("httpGet", {}).get("path") != path:
            yield f"{name} has no {probe} on {path}"
    waits = [each["command"] for each in pod.get("initContainers", ())]
    if not any(f"services.{service}" in each and "--wait" in each for each in waits):
        yield f"{name} does not wait for the migrations"
    if pod.get("terminationGracePeriodSeconds", 0) < 15:  # noqa: PLR2004 (10 s, and a margin)
        yield f"{name} is killed before it has drained"
    labels = template["metadata"]["labels"].items()
    budgets = [e["spec"]["selector"]["matchLabels"] for e in of_kind(documents, DISRUPTION)]
    reached = [e["spec"]["selector"] for e in of_kind(documents, "Service")]
    for kind, selectors in ((DISRUPTION, budgets), ("Service", reached)):
        if not any(selector.items() <= labels for selector in selectors):
            yield f"{name} has no {kind}"
    scaled = {e["spec"]["scaleTargetRef"]["name"] for e in of_kind(documents, "ScaledObject")}
    replicas = document["spec"].get("replicas")
    if service in scaled and replicas is not None:
        yield f"{name} sets replicas, and so does its ScaledObject"
    if service not in scaled and not replicas:
        yield f"{name} has no replica"


def _scaling(document: Document) -> Iterator[str]:
    if document["kind"] != "ScaledObject":
        return
    name, spec = label(document), document["spec"]
    partitions = {topic.name: topic.partitions for topic in ALL}
    least, most = spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", 100)
    if least < 1:
        yield f"{name} may scale to 0: then nobody notices a silence"
    if not 1 <= spec.get("fallback", {}).get("replicas", 0) <= most:
        yield f"{name} has no fallback for a lag that cannot be read"
    members = LANES.get(spec["scaleTargetRef"]["name"], 1)
    for trigger in spec["triggers"]:
        topic = trigger["metadata"].get("topic")
        if topic not in partitions:
            yield f"{name} watches {topic}, which is none of our topics"
        elif most * members > partitions[topic]:
            yield (
                f"{name} allows {most} replicas of {members} consumers for "
                f"{partitions[topic]} partitions"
            )


def _settings(document: Document) -> Iterator[str]:
    if document["kind"] != "ConfigMap":
        return
    for key in sorted(document.get("data", {}).keys() - ANY):
        yield f"{label(document)} sets {key}, which no service reads"


def _spans(document: Document, documents: Sequence[Document]) -> Iterator[str]:
    endpoint = document.get("data", {}).get(SPANS) if document["kind"] == "ConfigMap" else None
    if endpoint is None:
        return
    address = urlsplit(endpoint)
    port = address.port or (443 if address.scheme == "https" else 80)
    if not any(first <= port <= last for first, last in _allowed_ports(documents)):
        yield f"{label(document)} sends spans to port {port}, which no NetworkPolicy allows"


def _allowed_ports(documents: Sequence[Document]) -> Iterator[tuple[int, int]]:
    """Yields the TCP ports to which the policies allow connections inside the cluster.

    Each is the first and the last of a range. Which pods a policy is for is not looked at.
    """
    for policy in of_kind(documents, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", ()):
            if any("ipBlock" in peer for peer in rule.get("to", ())):
                continue
            for each in rule.get("ports", ({},)):
                if each.get("protocol", "TCP") == "TCP":
                    first = each.get("port", 1)
                    if isinstance(first, int):  # a port may also be named by its pod
                        yield first, each.get("endPort", first if "port" in each else PORT_MAX)
