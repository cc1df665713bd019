"""Mappings against arbitrary records: nothing is raised, and what is accepted can be stored."""

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.ingest.core.mapping.apply import Context, Mapped, map_value
from services.ingest.core.mapping.document import CompiledMapping, compile_mapping
from services.ingest.core.rates import RateTable
from shared.contracts.activity import DECODER, ENCODER
from shared.contracts.events import ID_LENGTH_MAX
from shared.kernel.errors import Invalid
from tests.unit.ingest.events import ARRIVED_MS
from tests.unit.ingest.mapping.corpus import corpora

SHIPPED = sorted(Path("services/ingest/mappings").glob("*.yaml"))
CONTEXT = Context(ARRIVED_MS, RateTable("USD"))

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["9999-12-31T23:59:59-14:00", "0001-01-01", "1e99", "\0", "x" * 300]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@cache
def mappings() -> tuple[CompiledMapping, ...]:
    return tuple(compile_mapping(path.read_text("utf-8"), path.name) for path in SHIPPED)


@cache
def records() -> tuple[tuple[CompiledMapping, Any], ...]:
    by_name = {mapping.name: mapping for mapping in mappings()}
    return tuple((by_name[c.mapping], r) for c in corpora() for r in c.records.values())


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [path] if path else []
    for key, each in inner:
        here = (*path, key)
        found += _places(each, here) if isinstance(each, dict | list) else [here]
    return found


def _sound(mapped: Mapped) -> None:
    """Check what holds for any result."""
    assert (mapped.ignored is None) or not (mapped.events or mapped.refusals)
    for event, _ in mapped.events:
        assert DECODER.decode(ENCODER.encode(event)) == event
        assert 1 <= len(event.id) <= ID_LENGTH_MAX
        assert "\0" not in event.id + event.subject + event.source
        assert b"\\u0000" not in ENCODER.encode(event)
    for refusal in mapped.refusals:
        assert refusal.field
        assert refusal.reason


@given(st.data())
def test_a_record_with_anything_in_it(data: st.DataObject) -> None:
    """One or two values of a real record are replaced by arbitrary ones."""
    mapping, record = data.draw(st.sampled_from(records()))
    changed = copy.deepcopy(record)
    for _ in range(data.draw(st.integers(1, 2))):
        places = _places(changed)
        *way, last = data.draw(st.sampled_from(places))
        inner = changed
        for step in way:
            inner = inner[step]
        inner[last] = data.draw(JSON)
    _sound(map_value(mapping, json.dumps(changed).encode(), CONTEXT))


@given(JSON, st.sampled_from(range(len(SHIPPED))))
def test_any_json_at_all(record: Any, which: int) -> None:
    """A record that has nothing to do with the mapping."""
    _sound(map_value(mappings()[which], json.dumps(record).encode(), CONTEXT))


@given(st.binary(max_size=60) | JSON.map(lambda x: json.dumps(x).encode()))
def test_any_bytes(value: bytes) -> None:
    """What is not JSON is refused."""
    for mapping in mappings():
        _sound(map_value(mapping, value, CONTEXT))


@given(st.data())
def test_any_document_is_a_mapping_or_a_mistake(data: st.DataObject) -> None:
    """A shipped document with pieces cut out, doubled or replaced never does anything else."""
    text = data.draw(st.sampled_from(SHIPPED)).read_text("utf-8")
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 200)))
    middle = data.draw(st.text(max_size=20) | st.just(text[begin:end] * 2))
    try:
        compile_mapping(text[:begin] + middle + text[end:], "m.yaml")
    except Invalid as refusal:
        assert refusal.field.startswith("m.yaml")
        assert refusal.reason
