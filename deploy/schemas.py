"""JSON Schemas of everything that crosses a service boundary, generated from the types.

    python -m deploy.schemas          writes shared/contracts/schemas/*.json
    python -m deploy.schemas --check  fails when a file there is not what would be written

For programs in other languages that publish events or read our topics. The types are the source;
the files are never edited. Ingest refuses events with faults that a schema cannot express (an
amount below zero, a date in the far future).
"""

import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from deploy import generated
from services.ingest.core.accept import Event
from shared.contracts import activity, changes, customer_message, events, risk, treatment

FOLDER = generated.CONTRACTS / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
LEFT_OUT = {"data", "data_base64"}
"""Attributes of `Event` that depend on the type, or that ingest refuses."""


def generate() -> dict[str, str]:
    """Returns the content of every file, by its name."""
    types: dict[str, type] = {kind: raw_event(kind) for kind in events.DATA_BY_TYPE}
    types |= {kind: raw_event(kind) for kind in sorted(events.CONTROL_TYPES)}
    types |= {
        "activity": activity.Activity,
        "changes": changes.CustomerChanged,
        "customer_message": customer_message.MessageRequest,
        "customer_message_result": customer_message.MessageResult,
        "risk": risk.RiskAssessed,
        "treatment": treatment.TreatmentRecorded,
    }
    return {f"{name}.json": _text(name, shape) for name, shape in types.items()}


def raw_event(kind: str) -> type:
    """Builds the type of a whole CloudEvent of one type, as upstream sends it."""
    shape = events.DATA_BY_TYPE.get(kind)
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(Event):
        if field.name == "type":
            fields.append(("type", Literal[kind]))
        elif field.name == "subject" and shape is not None:
            fields.append(("subject", events.Identifier))
        elif field.name in LEFT_OUT:
            continue
        elif field.required:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, field.type, field.default))
    if shape is not None:
        fields.append(("data", shape))
    name = "".join(word.capitalize() for word in kind.removeprefix("io.ebbwatch.").split("."))
    about = f"A CloudEvent of type `{kind}`" + (", a control event." if shape is None else ".")
    return msgspec.defstruct(f"{name}Event", fields, kw_only=True, namespace={"__doc__": about})


def _text(name: str, shape: type) -> str:
    schema = {"$schema": DIALECT, "$id": f"urn:ebbwatch:{name}"} | msgspec.json.schema(shape)
    return generated.text_of(schema, sort=False)


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Writes or checks; exit status 1 on drift."""
    return generated.command("deploy.schemas", __doc__, generate, folder, argv)


if __name__ == "__main__":
    sys.exit(main())
