"""What the API server is asked about, and that neither a warning nor a refusal is overlooked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deploy.cluster import apiserver
from deploy.images.tools import ImagesError
from tests.unit.deploy.cluster.documents import deployment, named, pod

Document = dict[str, Any]


def _documents() -> list[Document]:
    job = named("Job", "migrate", template={"spec": pod()})
    cron = named("CronJob", "retrain", jobTemplate={"spec": {"template": {"spec": pod()}}})
    service = deployment("ingest")
    service["spec"]["selector"] = {"matchLabels": {"component": "ingest"}}
    found = [service, job, cron, named("Service", "ingest")]
    for each in found:
        each["metadata"]["namespace"] = "ebbwatch"
    return found


def test_each_pod_is_asked_about_by_itself() -> None:
    found = apiserver.pods(_documents())
    names = [each["metadata"]["name"] for each in found]
    assert names == ["deployment-ingest", "job-migrate", "cronjob-retrain"]
    assert {each["metadata"]["namespace"] for each in found} == {"ebbwatch"}
    assert all(each["kind"] == "Pod" and "containers" in each["spec"] for each in found)


class Recorded(apiserver.ApiServer):
    """An API server that admits what `admits` lets through."""

    def __init__(self, admits: Sequence[str]) -> None:
        self.made: list[Document] = []
        self.admitted: list[Document] = []
        self._admits = admits

    def make(self, documents: Sequence[Document]) -> None:
        self.made += documents

    def admit(self, documents: Sequence[Document]) -> None:
        for reason, document in apiserver.planted(_documents()).items():
            if document in documents and reason not in self._admits:
                raise apiserver.Refused(f"Error from server: {reason}")
        self.admitted += documents


def test_a_server_that_refuses_every_planted_fault_passes() -> None:
    documents = [named("Namespace", "ebbwatch"), *_documents()]
    server = Recorded(admits=())
    apiserver.check(server, {"small": documents})
    assert server.made == [named("Namespace", "ebbwatch")]
    assert server.admitted == [*_documents(), *apiserver.pods(_documents())]


@pytest.mark.parametrize("reason", apiserver.planted(_documents()))
def test_a_server_that_admits_a_planted_fault_does_not(reason: str) -> None:
    with pytest.raises(ImagesError, match="admits what it should refuse"):
        apiserver.check(Recorded(admits=[reason]), {"small": _documents()})


@pytest.mark.parametrize(
    ("shown", "refusal"),
    [
        ("", "0 of 2 admitted"),
        ("Error from server (BadRequest): unknown field", "unknown field"),
        ("pod/a\nWarning: would violate PodSecurity", "would violate"),
        ("pod/a", "1 of 2 admitted"),
        ("Warning: deprecated\npod/a\npod/b", "deprecated"),
    ],
)
def test_a_refusal_or_a_warning_is_raised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shown: str, refusal: str
) -> None:
    monkeypatch.setattr(apiserver, "output", lambda *_, **__: shown)
    server = apiserver.ApiServer(tmp_path / "kubeconfig", tmp_path)
    with pytest.raises(apiserver.Refused, match=refusal):
        server.admit([named("Pod", "a"), named("Pod", "b")])


def test_documents_that_are_named_are_admitted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(apiserver, "output", lambda *_, **__: "pod/a\ndeployment.apps/b\n")
    server = apiserver.ApiServer(tmp_path / "kubeconfig", tmp_path)
    server.admit([named("Pod", "a"), named("Deployment", "b")])
    assert (tmp_path / "asked.yaml").read_text().count("kind:") == 2
