"""The JSON Schemas: current, deterministic, and consistent with the validation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped] # ships no types

from deploy.generated import differing
from deploy.schemas import FOLDER, generate, main
from services.ingest.core.rates import RateTable
from shared.contracts import events as types
from shared.contracts.activity import ENCODER
from shared.kernel.errors import Invalid
from tests.unit.ingest.events import ARRIVED_MS, accept, event

DATA: dict[str, dict[str, Any]] = {
    types.PURCHASE: {"amount": "1.50", "currency": "USD", "items": [{"sku": "1", "quantity": 2}]},
    types.REFUND: {"amount": "-1.50"},
    types.INTERACTION: {"kind": "page_viewed"},
    types.FEEDBACK: {"kind": "survey", "score": 7},
    types.CONTRACT: {"kind": "ended", "contract_id": "k-7", "reason": "too expensive"},
    types.PROFILE: {"language": "zh-CN", "owner": {"id": "o"}, "consent": {"email": True}},
}


def _validator(name: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_the_committed_files_are_current() -> None:
    """Remedy: `python -m deploy.schemas`."""
    assert differing(FOLDER, generate()) == []


def test_the_same_every_time() -> None:
    """The output does not depend on the hash seed of the process."""
    code = "from deploy.schemas import generate; print(generate())"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{generate()}\n"


def test_drift_is_reported_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing, changed or obsolete file is named, and written anew on request."""
    assert main(["--check"], tmp_path) == 1
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    (tmp_path / "risk.json").write_text("{}")
    (tmp_path / "old.json").write_text("{}")
    assert differing(tmp_path, generate()) == ["old.json", "risk.json"]
    assert main(["--check"], tmp_path) == 1
    assert "python -m deploy.schemas" in capsys.readouterr().err
    assert main([], tmp_path) == 0
    assert differing(tmp_path, generate()) == []


@pytest.mark.parametrize("kind", DATA)
def test_what_the_gate_accepts_fits(kind: str) -> None:
    """The raw event fits its schema, and the resulting activity fits its own."""
    sent = event(type=kind, data=DATA[kind])
    _validator(kind).validate(sent)
    got = accept(json.dumps(sent).encode(), (), ARRIVED_MS, RateTable("USD"))
    _validator("activity").validate(json.loads(ENCODER.encode(got)))


@pytest.mark.parametrize("kind", sorted(types.CONTROL_TYPES))
def test_control_events_fit(kind: str) -> None:
    """Control events have no customer and no data."""
    _validator(kind).validate(event(type=kind, subject=None, data=None))


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "x" * 257},
        {"subject": None},
        {"specversion": "0.3"},
        {"time": None},
        {"data": None},
        {"data": {"amount": 12.5}},
        {"data": {"amount": "1e3"}},
        {"data": {"amount": "12\n"}},
        {"data": {"amount": "١٢"}},
        {"data": {"currency": "usd"}},
        {"data": {"items": [{"quantity": -1}]}},
    ],
)
def test_what_the_schema_refuses_the_gate_refuses(changes: dict[str, Any]) -> None:
    """So a sender who validates gets no unexpected refusal."""
    sent = event(**changes)
    assert not _validator(types.PURCHASE).is_valid(sent)
    with pytest.raises(Invalid):
        accept(json.dumps(sent).encode(), (), ARRIVED_MS, RateTable("USD"))
