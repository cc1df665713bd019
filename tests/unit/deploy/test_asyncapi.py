"""The AsyncAPI document is current, is well-formed AsyncAPI 3.0, and says what the code does.

No Python package carries the JSON Schema of AsyncAPI 3.0, so its rules about what we use of it are
written here.
"""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped] # ships no types

from deploy.asyncapi import CHANNELS, FOLDER, document, generate, main
from deploy.generated import differing
from services.alerts.settings import AlertsSettings
from services.ingest.core.rates import RateTable
from services.ingest.settings import IngestSettings
from services.scoring.settings import ScoringSettings
from shared.contracts import activity, changes, risk, topics, treatment
from shared.contracts.dead_letter import DeadLetter, Origin
from shared.contracts.feature_row import NAMES, VERSION, FeatureRow
from shared.runtime.settings import HttpSettings
from tests.unit.deploy.references import references
from tests.unit.ingest.events import ARRIVED_MS, accept, event

Document = dict[str, Any]
AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)

FIELDS = {
    "document": {
        "asyncapi", "id", "info", "defaultContentType", "channels", "operations", "components",
    },
    "channel": {"address", "description", "messages", "bindings"},
    "operation": {"action", "channel", "title", "tags", "messages"},
    "message": {"name", "summary", "contentType", "headers", "payload", "bindings"},
}  # fmt: skip
"""The fields of AsyncAPI 3.0 that we use, by the object that has them."""


def faults(found: Document) -> Iterator[str]:
    """Yields what AsyncAPI 3.0 does not allow in a document."""
    yield from _unknown("document", "/", found)
    if found.get("asyncapi") != "3.0.0":
        yield "asyncapi: 3.0.0 is wanted"
    if not {"title", "version"} <= found.get("info", {}).keys():
        yield "info: title and version are required"
    for reference in references(found):
        if _at(found, reference) is None:
            yield f"{reference} leads nowhere"
    for name, channel in found.get("channels", {}).items():
        yield from _unknown("channel", name, channel)
        yield from _binding(name, channel["bindings"]["kafka"])
    for name, operation in found.get("operations", {}).items():
        yield from _unknown("operation", name, operation)
        yield from _operation(name, operation)
    for name, message in found["components"]["messages"].items():
        yield from _unknown("message", name, message)
        for part in ("headers", "payload"):
            yield from _schema(f"{name}.{part}", message.get(part, {}))
    for name, schema in found["components"]["schemas"].items():
        yield from _schema(name, schema)


def _unknown(kind: str, name: str, given: Document) -> Iterator[str]:
    for field in given.keys() - FIELDS[kind]:
        yield f"{kind} {name}: no field {field}"


def _binding(name: str, binding: Document) -> Iterator[str]:
    configuration = binding["topicConfiguration"]
    if not (isinstance(binding["partitions"], int) and binding["partitions"] > 0):
        yield f"{name}: partitions are a number"
    if not set(configuration["cleanup.policy"]) <= {"compact", "delete"}:
        yield f"{name}: cleanup.policy is a list of compact, delete"
    if not isinstance(configuration.get("retention.ms", 0), int):
        yield f"{name}: retention.ms is a number"


def _operation(name: str, operation: Document) -> Iterator[str]:
    if operation.get("action") not in {"send", "receive"}:
        yield f"{name}: action is send or receive"
    channel = operation.get("channel", {}).get("$ref", "")
    if not channel.startswith("#/channels/"):
        yield f"{name}: a channel is required"
    if not all(each["$ref"].startswith(f"{channel}/messages/") for each in operation["messages"]):
        yield f"{name}: messages are those of its channel"


def _schema(name: str, schema: Document) -> Iterator[str]:
    for wrong in Draft7Validator(Draft7Validator.META_SCHEMA).iter_errors(schema):
        yield f"{name}: {wrong.message}"
    if "prefixItems" in json.dumps(schema) or "$defs" in json.dumps(schema):
        yield f"{name}: words that draft 7 does not have"


def _at(found: Document, reference: str) -> object:
    place: Any = found
    for step in reference.removeprefix("#/").split("/"):
        place = place.get(step) if isinstance(place, dict) else None
    return place


def test_the_committed_file_is_current() -> None:
    """Remedy: `python -m deploy.asyncapi`."""
    assert differing(FOLDER, generate()) == []
    assert main(["--check"]) == 0


def test_it_is_asyncapi() -> None:
    assert list(faults(document())) == []


PLANTED: dict[str, Callable[[Document], object]] = {
    "version": lambda d: d.update(asyncapi="2.6.0"),
    "title": lambda d: d["info"].pop("title"),
    "misspelt field": lambda d: d["channels"]["risk"].update(adress="x"),
    "lost schema": lambda d: d["components"]["schemas"].pop("RiskAssessed"),
    "lost message": lambda d: d["components"]["messages"].pop("activity"),
    "lost channel": lambda d: d["channels"].pop("changes"),
    "action": lambda d: d["operations"]["scoringSendsRisk"].update(action="publish"),
    "foreign message": lambda d: d["operations"]["scoringSendsRisk"]["messages"].append(
        {"$ref": "#/channels/activity/messages/activity"}
    ),
    "retention as text": lambda d: d["channels"]["raw"]["bindings"]["kafka"][
        "topicConfiguration"
    ].update({"retention.ms": "604800000"}),
    "type": lambda d: d["components"]["schemas"]["Lapse"].update(type="number of days"),
    "words of a later draft": lambda d: d["components"]["schemas"]["FeatureRow"].update(
        prefixItems=[]
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_found(name: str) -> None:
    found = copy.deepcopy(document())
    PLANTED[name](found)
    assert list(faults(found))


def test_every_topic_is_there_with_its_settings() -> None:
    """Partitions, retention and compaction are those that topics are created with."""
    assert [channel.topic for channel in CHANNELS] == list(topics.ALL)
    for channel in document()["channels"].values():
        (topic,) = [each for each in topics.ALL if each.name == channel["address"]]
        binding = channel["bindings"]["kafka"]
        assert binding["partitions"] == topic.partitions
        settings = dict(binding["topicConfiguration"])
        policy = settings.pop("cleanup.policy")
        assert policy == [topic.settings.get("cleanup.policy", "delete")]
        wanted = {k: v for k, v in topic.settings.items() if k != "cleanup.policy"}
        assert {name: str(value) for name, value in settings.items()} == wanted


@pytest.mark.parametrize(
    ("service", "settings"),
    [("ingest", IngestSettings), ("scoring", ScoringSettings), ("alerts", AlertsSettings)],
)
def test_a_service_sends_and_receives_on_the_topics_of_its_settings(
    service: str, settings: type[HttpSettings]
) -> None:
    by_default = settings.model_construct()
    named = {getattr(by_default, f) for f in type(by_default).model_fields if f.endswith("_topic")}
    named |= set(getattr(by_default, "raw_topics", ()))
    shown = {c.topic.name for c in CHANNELS if service in c.senders + c.receivers}
    assert shown == named


def _validator(schema: str) -> Draft7Validator:
    return Draft7Validator({"$ref": f"#/components/schemas/{schema}"} | document())


def test_what_the_services_write_fits() -> None:
    """The schemas of the document take what our encoders write, and refuse what no reader takes."""
    row = FeatureRow(VERSION, [1.0] * len(NAMES[VERSION]))
    assessed = risk.RiskAssessed(
        customer_id="c-1", revision=1, assessed_at=AT, probability=0.5, horizon_days=90,
        band="high", method="model", model_version="m-1", feature_set=1, reasons=[],
        purchases=3, currency="USD", feature_row=row,
    )  # fmt: skip
    changed = changes.CustomerChanged(customer_id="c-1", sequence=1, kind="tier_changed", at=AT)
    treated = treatment.TreatmentRecorded(customer_id="c-1", kind="held_out", at=AT)
    accepted = accept(json.dumps(event()).encode(), (), ARRIVED_MS, RateTable("USD"))
    for written in (assessed, changed, treated):
        value = json.loads(msgspec.json.encode(written))
        check = _validator(type(written).__name__)
        check.validate(value)
        assert not check.is_valid(value | {"customer_id": 7})
    _validator("Activity").validate(json.loads(activity.ENCODER.encode(accepted)))
    _validator("PurchaseEvent").validate(event())
    short = json.loads(msgspec.json.encode(assessed)) | {"feature_row": [VERSION]}
    assert not _validator("RiskAssessed").is_valid(short)


def test_headers_of_a_dead_letter_are_described() -> None:
    origin = Origin(topics.RAW.name, 0, 7)
    letter = DeadLetter(b"k", b"v", (), origin, "ingest", "data", "wrong", ARRIVED_MS)
    headers = document()["components"]["messages"]["deadLetter"]["headers"]
    assert [name for name, _ in letter.to_headers()] == list(headers["properties"])
    assert set(headers["required"]) <= set(headers["properties"])
