"""Reads the corpus: sample records of each source, written after its documentation.

A file of `samples/` has `records` by name and, under `gives`, what each becomes: a list of events
by their fields, or `{"ignored": rule}`, or `{"refused": field}`. `variants` are changes of one
record with what they change in its first event: `set` and `drop` name places such as
`line_items.0.sku`; `table` gives one record for each of its rows. All expectations are written by
hand; nothing here computes one.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parent / "samples"


@dataclass(frozen=True, slots=True)
class Case:
    """One record with the expected result."""

    mapping: str
    name: str
    record: Any
    expected: Any

    def __str__(self) -> str:
        return f"{self.mapping}: {self.name}"


@dataclass(frozen=True, slots=True)
class Corpus:
    """A file of samples."""

    mapping: str
    records: dict[str, Any]
    cases: tuple[Case, ...]


@cache
def corpora() -> tuple[Corpus, ...]:
    """Return every file's samples."""
    found = []
    for path in sorted(SAMPLES.glob("*.json")):
        written = json.loads(path.read_text("utf-8"))
        records = written["records"]
        found.append(Corpus(written["mapping"], records, tuple(_cases(written))))
    return tuple(found)


def _cases(written: dict[str, Any]) -> Iterator[Case]:
    mapping, records, gives = written["mapping"], written["records"], written["gives"]
    assert set(records) == set(gives), "each record has its expectation"
    for name, record in records.items():
        yield Case(mapping, name, record, gives[name])
    for variant in written["variants"]:
        of = variant["of"]
        if "table" in variant:
            for value, change in variant["table"]:
                record = _changed(records[of], {variant["field"]: value}, variant.get("drop", ()))
                label = f"{of}, {variant['field']} {json.dumps(value, ensure_ascii=False)[:60]}"
                yield Case(mapping, label, record, _expected(gives[of], change))
            continue
        record = _changed(records[of], variant.get("set", {}), variant.get("drop", ()))
        label = f"{of}, {variant['why']}"
        yield Case(mapping, label, record, _expected(gives[of], variant["gives"]))


def _expected(base: Any, change: Any) -> Any:
    """Return the base expectation with a change of its first event, or another expectation.

    A null in a change leaves the field out.
    """
    if isinstance(change, list) or not change.keys().isdisjoint({"refused", "ignored"}):
        return change
    first, *rest = base
    merged = {name: value for name, value in (first | change).items() if value is not None}
    return [merged, *rest]


def _changed(record: Any, put: dict[str, Any], drop: Any) -> Any:
    changed = copy.deepcopy(record)
    for path, value in put.items():
        inner, last = _walk(changed, path)
        inner[last] = value
    for path in drop:
        inner, last = _walk(changed, path)
        del inner[last]
    return changed


def _walk(record: Any, path: str) -> tuple[Any, Any]:
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in way:
        record = record[step]
    return record, last
