"""The AsyncAPI 3.0 document of the topics, generated from `shared/contracts`.

    python -m deploy.asyncapi          writes shared/contracts/asyncapi/topics.json
    python -m deploy.asyncapi --check  fails when it is not what would be written

Either fails when the document does not fit the official schema of AsyncAPI 3.0 (`deploy/specs`).

It holds each topic with its partitions and retention, its messages with key and headers, and which
service reads or writes it. Topics and types are the source; the file is never edited.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
from jsonschema import Draft7Validator  # type: ignore[import-untyped] # ships no types
from jsonschema.exceptions import best_match  # type: ignore[import-untyped] # likewise

from deploy import generated
from deploy.schemas import raw_event
from shared.contracts import activity, changes, events, headers, risk, topics, treatment
from shared.contracts.topics import Topic
from shared.runtime.version import VERSION

FOLDER = generated.CONTRACTS / "asyncapi"
FILE: Final = "topics.json"
OFFICIAL: Final = Path(__file__).with_name("specs") / "asyncapi-3.0.0.json"
KAFKA_BINDING: Final = "0.5.0"

FAULT_CHARS_MAX: Final = 120
"""Length of a fault's text: the end of the schema's own, which may begin with a whole object."""

STRUCTURED: Final = headers.CLOUDEVENTS_JSON
JSON: Final = "application/json"
TEXT: Final = {"type": "string"}

ABOUT: Final = """\
What the services read and write. A topic without `retention.ms` is compacted: it keeps the newest
message of each key. Every message may arrive twice; each topic states how a reader recognises it.
Readers ignore fields that they do not know: docs/upgrading.md has the rules of compatibility.
Names of topics are the defaults of the services' settings. scoring and alerts keep their positions
in PostgreSQL, ingest keeps that of the raw topic as the group `ebbwatch-ingest`.\
"""


class Sent(NamedTuple):
    """One kind of message on a topic. `shape` None: a tombstone, or any bytes."""

    name: str
    about: str
    key: str
    """What the record key is; empty: there is none."""
    shape: type | None = None
    media: str = JSON
    headers: Mapping[str, str] = {}
    """Meaning of each header, by name; all are optional but those in `required`."""
    required: tuple[str, ...] = ()


def _camel(words: Iterable[str]) -> str:
    first, *rest = words
    return first + "".join(word.capitalize() for word in rest)


class Channel(NamedTuple):
    """A topic with its messages, and the services that send or receive them."""

    topic: Topic
    about: str
    messages: tuple[Sent, ...]
    senders: tuple[str, ...]
    receivers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name in the document: the topic's without `ebbwatch.`, as `deadLetter`."""
        return _camel(self.topic.name.removeprefix("ebbwatch.").split("-"))


TRACE: Final = {
    headers.TRACEPARENT: "W3C trace context of what caused it, where that is known",
    headers.TRACESTATE: "What the senders' tracing systems add to it",
}
CUSTOMER: Final = "customer id, UTF-8"
RAW_HEADERS: Final = TRACE | {
    headers.CONTENT_TYPE: f"`{STRUCTURED}` in structured mode",
    f"{headers.CLOUDEVENTS_PREFIX}type": (
        "In binary mode the type; each other attribute has a `ce_` header of its own, and the "
        "value is the content of `data`"
    ),
    headers.BACKFILL: "The import it belongs to: it builds state and never leads to a task",
    headers.SOURCE: "The HTTP source it came from, whose mapping is applied",
    headers.ARRIVED: "Of a replay: Unix ms at which the record first arrived",
    headers.REPLAY_OF: "Of a replay: number of the dead letter",
}
LETTER_HEADERS: Final = {
    headers.DEAD_STAGE: "The service that refused it: `ingest`, `scoring` or `alerts`",
    headers.DEAD_FIELD: "Path of the field that is wrong",
    headers.DEAD_REASON: "What is wrong with it",
    headers.DEAD_ORIGIN: "`topic/partition/offset` at which it first arrived",
    headers.ARRIVED: "Unix ms at which it first arrived",
}
ERASED: Final = {
    headers.ERASURE_REQUEST: "The request that erased the customer; absent: merged, or not to be "
    "profiled",
    headers.ERASURE_AT: "When the erasure was requested, RFC 3339 UTC",
}


def _raw() -> tuple[Sent, ...]:
    kinds = (*events.DATA_BY_TYPE, *sorted(events.CONTROL_TYPES))
    return tuple(
        Sent(
            _camel(kind.removeprefix("io.ebbwatch.").split(".")) + "Event",
            f"CloudEvent of type `{kind}`",
            CUSTOMER if kind in events.DATA_BY_TYPE else "",
            raw_event(kind),
            STRUCTURED,
            RAW_HEADERS,
        )
        for kind in kinds
    )


CHANNELS: Final = (
    Channel(
        topics.RAW,
        "Events as upstream systems publish them; a topic with a mapping takes records of any form "
        "(docs/mappings.md). Repeated: the same `source` and `id`. Key by customer keeps order.",
        _raw(),
        ("ingest",),
        ("ingest",),
    ),
    Channel(
        topics.ACTIVITY,
        "Accepted events in one flat shape. Repeated: the same `subject`, `source` and `id`.",
        (
            Sent(
                "activity",
                "An accepted event. A control event (tick, end of a backfill) has no key and is in "
                "every partition; one of type `io.ebbwatch.erasure` asks to forget the customer.",
                CUSTOMER,
                activity.Activity,
                headers=TRACE,
            ),
        ),
        ("ingest", "scoring"),
        ("scoring", "alerts"),
    ),
    Channel(
        topics.DEAD_LETTER,
        "Records that could not be accepted, with the reason. Repeated: the same "
        f"`{headers.DEAD_ORIGIN}`.",
        (
            Sent(
                "deadLetter",
                "The refused record as it came, its first 4 MiB where it is larger. Each of its "
                f"headers is kept under its name with the prefix `{headers.DEAD_HEADER_PREFIX}`.",
                "the refused record's own key",
                media="application/octet-stream",
                headers=LETTER_HEADERS,
                required=(
                    headers.DEAD_STAGE,
                    headers.DEAD_FIELD,
                    headers.DEAD_REASON,
                    headers.DEAD_ORIGIN,
                ),
            ),
        ),
        ("ingest", "scoring", "alerts"),
        ("ingest",),
    ),
    Channel(
        topics.RISK,
        "The newest assessment of each customer. Repeated or older: a `revision` that is not above "
        "the last one seen.",
        (
            Sent(
                "riskAssessed", "An assessment that is news", CUSTOMER, risk.RiskAssessed,
                headers=TRACE,
            ),
            Sent("riskEnded", "Tombstone: there is no assessment now", CUSTOMER, headers=ERASED),
        ),
        ("scoring",),
        ("alerts",),
    ),
    Channel(
        topics.TREATMENT,
        "What was done about a customer. Repeated: the same customer, `kind`, `at` and `task_id`.",
        (
            Sent(
                "treatmentRecorded", "One fact about a task or a customer held out", CUSTOMER,
                treatment.TreatmentRecorded, headers=TRACE,
            ),
        ),
        ("alerts",),
        ("scoring",),
    ),
    Channel(
        topics.CHANGES,
        "Changes of customers' classifications. Repeated: a `sequence` that is not above the last "
        "one seen; merges have 0 and may be repeated without effect.",
        (
            Sent(
                "customerChanged", "A change of a customer", CUSTOMER, changes.CustomerChanged,
                headers=TRACE,
            ),
            Sent(
                "changesEnded", "Tombstone: nothing older of the customer follows", CUSTOMER,
                headers=ERASED, required=(headers.ERASURE_REQUEST, headers.ERASURE_AT),
            ),
        ),
        ("scoring",),
        ("alerts",),
    ),
)  # fmt: skip


def document() -> dict[str, Any]:
    """Returns the whole document."""
    messages = {each.name: each for channel in CHANNELS for each in channel.messages}
    shapes = [each.shape for each in messages.values() if each.shape is not None]
    found, schemas = msgspec.json.schema_components(
        shapes, ref_template="#/components/schemas/{name}"
    )
    payloads: dict[type | None, Any] = dict(zip(shapes, found, strict=True))
    return {
        "asyncapi": "3.0.0",
        "id": "urn:ebbwatch",
        "info": {"title": "Ebbwatch topics", "version": VERSION, "description": ABOUT},
        "defaultContentType": JSON,
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {
            f"{service}{_title(action)}s{_title(channel.name)}": _operation(
                channel, service, action
            )
            for channel in CHANNELS
            for action, services in _ways(channel)
            for service in services
        },
        "components": {
            "messages": {
                name: _message(each, payloads.get(each.shape)) for name, each in messages.items()
            },
            "schemas": {name: draft_7(shape) for name, shape in schemas.items()},
        },
    }


def draft_7(schema: Any) -> Any:
    """Returns a schema in the words of AsyncAPI's own, those of JSON Schema draft 7."""
    if isinstance(schema, list):
        return [draft_7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: draft_7(each) for name, each in schema.items()}
    if "prefixItems" in found:
        rest = found.pop("items", None)
        found["items"] = found.pop("prefixItems")
        if rest is not None:
            found["additionalItems"] = rest
    return found


def _channel(channel: Channel) -> dict[str, Any]:
    settings = {"cleanup.policy": "delete"} | channel.topic.settings
    configuration: dict[str, Any] = {
        name: int(value) if value.isdecimal() else value for name, value in settings.items()
    }
    configuration["cleanup.policy"] = settings["cleanup.policy"].split(",")
    binding = {
        "topic": channel.topic.name,
        "partitions": channel.topic.partitions,
        "topicConfiguration": configuration,
        "bindingVersion": KAFKA_BINDING,
    }
    return {
        "address": channel.topic.name,
        "description": channel.about,
        "messages": {
            each.name: {"$ref": f"#/components/messages/{each.name}"} for each in channel.messages
        },
        "bindings": {"kafka": binding},
    }


def _ways(
    channel: Channel,
) -> tuple[tuple[Literal["send", "receive"], tuple[str, ...]], ...]:
    return (("send", channel.senders), ("receive", channel.receivers))


def _operation(channel: Channel, service: str, action: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "title": f"{service} {action}s {channel.topic.name}",
        "tags": [{"name": service}],
        "messages": [
            {"$ref": f"#/channels/{channel.name}/messages/{each.name}"} for each in channel.messages
        ],
    }


def _message(each: Sent, payload: Any) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": each.name,
        "summary": each.about,
        "contentType": each.media,
        "bindings": {"kafka": {"bindingVersion": KAFKA_BINDING}},
    }
    if each.key:
        shown["bindings"]["kafka"]["key"] = TEXT | {"description": each.key}
    if each.headers:
        properties = {name: TEXT | {"description": said} for name, said in each.headers.items()}
        shown["headers"] = {"type": "object", "properties": properties}
        if each.required:
            shown["headers"]["required"] = list(each.required)
    if payload is not None:
        shown["payload"] = draft_7(payload)
    elif each.media == JSON:
        shown["payload"] = {"type": "null"}
    else:
        shown["payload"] = TEXT | {"contentEncoding": "binary"}
    return shown


def _title(name: str) -> str:
    return name[0].upper() + name[1:]


def generate() -> dict[str, str]:
    """Returns the content of the file, by its name."""
    return {FILE: generated.text_of(document())}


def faults(found: Mapping[str, Any]) -> Iterator[str]:
    """Yields where a document does not fit the official schema of AsyncAPI 3.0, and why."""
    official = Draft7Validator(json.loads(OFFICIAL.read_text("utf-8")))
    for error in official.iter_errors(found):
        closest = best_match([error])
        yield f"{closest.json_path}: {closest.message[-FAULT_CHARS_MAX:]}"


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Writes or checks; exit status 1 on drift, or when it is no AsyncAPI 3.0."""
    if wrong := list(faults(document())):
        print("\n".join(("this is no AsyncAPI 3.0:", *wrong)), file=sys.stderr)
        return 1
    return generated.command("deploy.asyncapi", __doc__, generate, folder, argv)


if __name__ == "__main__":
    sys.exit(main())
