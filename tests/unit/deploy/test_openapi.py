"""The committed OpenAPI documents are what the services answer, and hold together."""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # ships no types

from deploy.openapi import FOLDER, SERVICES
from shared.runtime.version import VERSION
from tests.unit.deploy.references import references

WAYS = {"get", "put", "post", "patch", "delete"}


def _document(service: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{service}.json").read_text("utf-8"))
    return found


def faults(document: dict[str, Any]) -> Iterator[str]:
    """Yields what OpenAPI 3.1 does not allow: by its official schema, and JSON Schema's own."""
    try:
        schemathesis.openapi.from_dict(document).validate()
    except ValueError as error:
        yield str(error)
    for name, schema in document["components"]["schemas"].items():
        for wrong in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
            yield f"{name}: {wrong.message}"


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
    assert list(faults(document)) == []
    assert document["info"]["title"] == f"Ebbwatch {service}"
    assert document["info"]["version"] == VERSION
    for reference in set(references(document)):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in document["components"][kind], reference
    names = [operation["operationId"] for _, operation in _operations(document)]
    assert len(names) == len(set(names)) >= 20
    open_ones = {name for name, each in _operations(document) if "x-scopes" not in each}
    assert all("callback" in name or "webhooks" in name for name in open_ones), open_ones


PLANTED: dict[str, Callable[[dict[str, Any]], object]] = {
    "title": lambda d: d["info"].pop("title"),
    "path": lambda d: d["paths"].update(audit={}),
    "misspelt field": lambda d: d["paths"]["/v1/audit"]["get"].update(respones={}),
    "place of a parameter": lambda d: d["paths"]["/v1/audit"]["get"]["parameters"][0].update(
        {"in": "body"}
    ),
    "answer": lambda d: d["paths"]["/v1/audit"]["get"]["responses"].update({"200": {}}),
    "type": lambda d: d["components"]["schemas"]["Problem"].update(type="number of days"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found(name: str) -> None:
    found = copy.deepcopy(_document("alerts"))
    PLANTED[name](found)
    assert list(faults(found))
