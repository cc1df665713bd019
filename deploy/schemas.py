"""JSON Schemas of everything that crosses a service boundary, generated from the types.

    python -m deploy.schemas          writes shared/contracts/schemas/*.json
    python -m deploy.schemas --check  fails when a file there is not what would be written

For programs in other languages that publish events or read our topics. The types are the source;
the files are never edited. Ingest refuses events with faults that a schema cannot express (an
amount below zero, a date in the far future).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Literal

import msgspec

from services.ingest.core.accept import Event
from shared.contracts import activity, changes, customer_message, events, risk, treatment

FOLDER = Path(__file__).parents[1] / "shared" / "contracts" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
LEFT_OUT = {"data", "data_base64"}
"""Attributes of `Event` that depend on the type, or that ingest refuses."""


def generate() -> dict[str, str]:
    """Returns the content of every file, by its name."""
    types: dict[str, type] = {kind: _raw_event(kind) for kind in events.DATA_BY_TYPE}
    types |= {kind: _raw_event(kind) for kind in sorted(events.CONTROL_TYPES)}
    types |= {
        "activity": activity.Activity,
        "changes": changes.CustomerChanged,
        "customer_message": customer_message.MessageRequest,
        "customer_message_result": customer_message.MessageResult,
        "risk": risk.RiskAssessed,
        "treatment": treatment.TreatmentRecorded,
    }
    return {f"{name}.json": _text(name, shape) for name, shape in types.items()}


def _raw_event(kind: str) -> type:
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
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def differing(folder: Path) -> list[str]:
    """Returns names of files in `folder` that are missing, differ from the generated ones, or are
    extra."""
    wanted = generate()
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted | found if wanted.get(name) != found.get(name))


def write(folder: Path) -> None:
    """Writes the files in `folder`, and removes extra ones."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = generate()
    for path in folder.glob("*.json"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, "utf-8")


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Writes or checks; exit status 1 on drift."""
    parser = argparse.ArgumentParser(prog="python -m deploy.schemas", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on drift")
    if not parser.parse_args(argv).check:
        write(folder)
        return 0
    drifted = differing(folder)
    for name in drifted:
        print(f"{folder / name} differs from what the types describe", file=sys.stderr)
    if drifted:
        print("mend: run `python -m deploy.schemas` and commit the result", file=sys.stderr)
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
