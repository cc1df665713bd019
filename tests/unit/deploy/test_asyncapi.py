"""The AsyncAPI document is current, is valid AsyncAPI 3.0, and says what the code does.

The official schema (`deploy/specs`) cannot follow references: what it misses is checked here.
"""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator  # type: ignore[import-untyped] # ships no types

from deploy.asyncapi import CHANNELS, FOLDER, document, faults, generate, main
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


def all_faults(found: Document) -> Iterator[str]:
    """Yields what AsyncAPI 3.0 does not allow, and references that lead nowhere."""
    yield from faults(found)
    for reference in references(found):
        if _at(found, reference) is None:
            yield f"{reference} leads nowhere"
    for name, operation in found["operations"].items():
        own = f"{operation['channel']['$ref']}/messages/"
        if not all(each["$ref"].startswith(own) for each in operation["messages"]):
            yield f"{name}: messages are those of its channel"
    if "prefixItems" in json.dumps(found) or "$defs" in json.dumps(found):
        yield "words that draft 7 does not have"


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
    assert list(all_faults(document())) == []


def test_the_command_refuses_what_is_no_asyncapi(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It names the place, and writes nothing."""
    monkeypatch.setattr("deploy.asyncapi.KAFKA_BINDING", "0.9.9")
    assert main([], tmp_path) == main(["--check"], tmp_path) == 1
    assert "$.channels.raw.bindings.kafka" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


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
    assert list(all_faults(found))


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
