"""The committed OpenAPI documents are what the services answer, and hold together."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from deploy.openapi import FOLDER, SERVICES
from shared.runtime.version import VERSION
from tests.unit.deploy.references import references

WAYS = {"get", "put", "post", "patch", "delete"}


def _document(service: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{service}.json").read_text("utf-8"))
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, ways in document["paths"].items():
        for way in ways.keys() & WAYS:
            yield f"{way} {path}", ways[way]


def test_the_committed_files_are_current_wherever_they_are_made() -> None:
    """No setting changes them, nothing has to run, and the order of a process does not matter."""
    odd = {"PYTHONHASHSEED": "1", "EBBWATCH_INGEST_PORT": "none", "EBBWATCH_ALERTS_CLOCK": "none"}
    kept = {name: said for name, said in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "deploy.openapi", "--check"],
        env=kept | odd, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("service", SERVICES)
def test_a_document_holds_together(service: str) -> None:
    """It is OpenAPI 3.1; references lead somewhere; an operation has a name and says who may."""
    document = _document(service)
    schemathesis.openapi.from_dict(document).validate()
    assert document["info"]["title"] == f"Ebbwatch {service}"
    assert document["info"]["version"] == VERSION
    for reference in set(references(document)):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in document["components"][kind], reference
    names = [operation["operationId"] for _, operation in _operations(document)]
    assert len(names) == len(set(names)) >= 20
    open_ones = {name for name, each in _operations(document) if "x-scopes" not in each}
    assert all("callback" in name or "webhooks" in name for name in open_ones), open_ones
