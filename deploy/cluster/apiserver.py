"""Asks a real API server of Kubernetes what it thinks of the manifests (`make apiserver-check`).

The server and its etcd run on loopback, without nodes: nothing is scheduled. Namespace and
ServiceAccount are made, everything else is a server's dry run, with admission by the namespace's
Pod Security level. Each pod is asked about by itself, too, since a Deployment is admitted whatever
its pods are. Then planted faults must be refused.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from deploy.cluster import rules
from deploy.images.tools import ImagesError, output
from deploy.local.process import Server
from deploy.local.waiting import LOOPBACK, answers, free_port, until

READY_S_MAX = 120.0
"""Longest wait for the API server, in seconds: 10 on two idle cores."""
MADE = ("Namespace", "ServiceAccount")
"""Kinds without which the server refuses the others: made, not tried."""
KEY_BITS = 2048


class Refused(ImagesError):  # noqa: N818 (names what happened)
    """The API server refuses a document, or warns of it; the message has its words."""


class ApiServer:
    """A running API server, by `kubectl` with the settings in the file `config`."""

    def __init__(self, config: Path, folder: Path) -> None:
        self._environ = {**os.environ, "KUBECONFIG": str(config), "HOME": str(folder)}
        self._file = folder / "asked.yaml"

    def ready(self) -> bool:
        """Returns whether it serves."""
        command = "kubectl get --raw /readyz --request-timeout 5s"
        return output(command, environ=self._environ, may_fail=True).strip() == "ok"

    def make(self, documents: Sequence[rules.Document]) -> None:
        """Makes documents."""
        self._apply(documents, "")

    def admit(self, documents: Sequence[rules.Document]) -> None:
        """Raises Refused unless all documents would be taken without a warning."""
        self._apply(documents, "--dry-run=server")

    def _apply(self, documents: Sequence[rules.Document], option: str) -> None:
        self._file.write_text(yaml.safe_dump_all(documents, allow_unicode=True))
        command = f"kubectl create {option} --validate=strict --filename {self._file}"
        shown = output(f"{command} --output name", environ=self._environ, may_fail=True)
        admitted = [line for line in shown.splitlines() if line.count("/") == 1 and " " not in line]
        if len(admitted) != len(documents) or len(shown.splitlines()) != len(documents):
            refusals = sorted(set(shown.splitlines()) - set(admitted))
            raise Refused("\n".join([f"{len(admitted)} of {len(documents)} admitted:", *refusals]))


@contextmanager
def running(binary: Path, folder: Path) -> Iterator[ApiServer]:
    """Runs etcd and the API server on new data; yields the latter when it is ready."""
    etcd = shutil.which("etcd")
    if etcd is None:
        raise ImagesError("etcd is not here: apt-get install --no-install-recommends etcd-server")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    store, port = free_port(), free_port()
    servers = [
        _server("etcd", [etcd, *_etcd_options(folder, store)], folder),
        _server("apiserver", [str(binary), *_options(folder, store, port)], folder),
    ]
    try:
        servers[0].start()
        if not until(lambda: answers(store), limit_s=READY_S_MAX):
            raise ImagesError(f"etcd does not start:\n{servers[0].tail()}")
        servers[1].start()
        found = ApiServer(folder / "kubeconfig", folder)
        if not until(found.ready, limit_s=READY_S_MAX):
            raise ImagesError(f"the API server does not get ready:\n{servers[1].tail()}")
        yield found
    finally:
        for server in reversed(servers):
            server.stop()


def _server(name: str, command: list[str], folder: Path) -> Server:
    return Server(name, command, folder, folder, dict(os.environ))


def _etcd_options(folder: Path, port: int) -> list[str]:
    clients, peers = (f"http://{LOOPBACK}:{each}" for each in (port, free_port()))
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    ]


def _options(folder: Path, store: int, port: int) -> list[str]:
    """Returns the API server's options; writes its key, its one user and that user's settings."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    _private(folder / "accounts.key", pem.decode())
    token = secrets.token_hex(16)
    _private(folder / "tokens.csv", f"{token},checker,1,system:masters\n")
    named = {"cluster": "here", "user": "checker"}
    server = {"server": f"https://{LOOPBACK}:{port}", "insecure-skip-tls-verify": True}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": server}],
        "users": [{"name": "checker", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": named}],
        "current-context": "here",
    }
    _private(folder / "kubeconfig", yaml.safe_dump(config))
    return [
        f"--etcd-servers=http://{LOOPBACK}:{store}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",  # it needs an address that others reach
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={folder / 'accounts.key'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
    ]


def _private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def pods(documents: Sequence[rules.Document]) -> list[rules.Document]:
    """Returns the pods that Deployments, Jobs and CronJobs would start, one of each."""
    found = []
    for each in documents:
        if (template := rules.pod_of(each)) is not None:
            name, space = each["metadata"]["name"], each["metadata"]["namespace"]
            metadata = {"name": f"{each['kind'].lower()}-{name}", "namespace": space}
            found.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
            found[-1]["spec"] = template["spec"]
    return found


def planted(documents: Sequence[rules.Document]) -> dict[str, rules.Document]:
    """Returns faults that the server must refuse, by what is wrong with each."""
    deployment = rules.of_kind(documents, "Deployment")[0]
    pod = pods(documents)[0]
    unknown, unmatched, privileged = deepcopy(deployment), deepcopy(deployment), deepcopy(pod)
    unknown["spec"]["replica"] = 1
    unmatched["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] = "another"
    privileged["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    return {
        'unknown field "spec.replica"': unknown,
        "`selector` does not match": unmatched,
        'violates PodSecurity "restricted': privileged,
    }


def check(server: ApiServer, overlays: dict[str, list[rules.Document]]) -> None:
    """Asks about every overlay; raises Refused, or ImagesError where a fault is admitted."""
    everything = next(iter(overlays.values()))
    for kind in MADE:
        server.make(rules.of_kind(everything, kind))
    for name, documents in overlays.items():
        left = [each for each in documents if each["kind"] not in MADE]
        server.admit(left)
        started = pods(documents)
        server.admit(started)
        print(f"overlay {name}: {len(left)} documents and {len(started)} pods admitted")
    for reason, document in planted(everything).items():
        try:
            server.admit([document])
        except Refused as refused:
            if reason not in str(refused):
                raise
        else:
            raise ImagesError(f"the API server admits what it should refuse: {reason}")
    print(f"{len(planted(everything))} planted faults refused")
