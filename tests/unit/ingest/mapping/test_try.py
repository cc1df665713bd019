"""The command `try`: what a person reads about the records of a file."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.ingest.__main__ import _add_commands
from services.ingest.commands import mappings as command
from services.ingest.commands.service import SPEC
from services.ingest.inbound.raw_consumer import RawConsumer
from services.ingest.ports import StoredMapping
from shared.kernel.errors import Transient
from shared.runtime.command_line import main
from tests.unit.ingest.mapping.corpus import corpora

(SHOPIFY,) = [corpus.records for corpus in corpora() if corpus.mapping == "shopify"]


def _try(*arguments: str) -> int:
    return main(SPEC, _add_commands, ["--log-level", "WARNING", "try", *arguments])


@pytest.mark.parametrize("form", ["lines", "array", "whole"])
def test_each_form_of_a_file(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record in each line, an array, or one document over several lines."""
    file = tmp_path / "orders.json"
    records = [SHOPIFY["order"], SHOPIFY["refund"]]
    written = {
        "lines": "".join(json.dumps(record) + "\n\n" for record in records),
        "array": json.dumps(records, indent=2),
        "whole": json.dumps(records[0], indent=2),
    }
    file.write_text(written[form])
    assert _try("--mapping", "shopify", str(file)) == command.DONE
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == str(file)
    assert shown[1] == (
        "     1  purchase  customer 207119551  2026-02-28 21:09:01Z  409.94 USD  2 items  "
        "id order-5551001"
    )
    count = 1 if form == "whole" else 2
    named = "1 record" if count == 1 else "2 records"
    assert shown[-1] == f"{named}: 1 purchase; 0 refused, {count - 1} ignored"
    if count > 1:
        assert shown[2] == "     2  ignored  refund by itself"


def test_a_byte_order_mark_is_not_part_of_the_record(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    file = tmp_path / "orders.json"
    file.write_text(json.dumps(SHOPIFY["order"]), encoding="utf-8-sig")
    assert _try("--mapping", "shopify", str(file)) == command.DONE


def test_a_file_that_is_missing_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Like a missing mapping."""
    assert _try("--mapping", "shopify", str(tmp_path / "orders.json")) == command.FAILED
    assert f"there is no file {tmp_path / 'orders.json'}" in capsys.readouterr().err


def test_what_a_new_version_leaves_is_named() -> None:
    """`put` again with another topic would otherwise end the reading of the first unnoticed."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    former = StoredMapping("erp", 1, "", ("a", "b"), ("shop",), now, "me")
    left = command._left([former], ("b", "c"), ())
    assert list(left) == ["the topic a", "the source shop"]
    assert not list(command._left([], ("a",), ("shop",)))


def test_refused_records_are_shown_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status differs from that of a command that failed."""
    file = tmp_path / "orders.ndjson"
    bad = SHOPIFY["order"] | {"total_price": "12,5"}
    file.write_text(f"{json.dumps(bad)}\n{{oops\n{json.dumps(SHOPIFY['cancelled order'])}\n")
    assert _try("--mapping", "shopify", str(file)) == command.REFUSED
    shown = capsys.readouterr().out
    assert "     1  refused  data.amount: rule 'order': malformed; send a decimal" in shown
    assert "     2  refused  value: not JSON" in shown
    assert "        refund  customer 207119552" in shown
    assert "3 records: 1 purchase, 1 refund; 2 refused, 0 ignored" in shown
    assert _try("--json", "--mapping", "shopify", str(file)) == command.REFUSED
    first, _, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["refused"][0]["field"] == "data.amount"
    assert [event["id"] for event in third["events"]] == ["order-5551003", "cancelled-5551003"]


def test_a_mapping_with_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them are shown, each with its place; nothing is tried."""
    mapping = tmp_path / "mine.yaml"
    mapping.write_text("mapping: mine\nrules:\n  - rule: r\n    type: sale\n  - rule: r\n")
    assert _try("--mapping", str(mapping), "nowhere.json") == command.FAILED
    reported = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in reported] == [
        "mine.yaml:4:11:",
        "mine.yaml:5:5:",
        "mine.yaml:5:11:",
    ]


@pytest.mark.parametrize(
    ("mapping", "content", "reason"),
    [
        ("shopfy", "{}", "there are cloudevents, debezium, ga4"),
        ("shopify", "[{]", "not a JSON array"),
    ],
)
def test_what_cannot_be_tried(
    mapping: str, content: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error names what to do."""
    file = tmp_path / "orders.json"
    file.write_text(content)
    assert _try("--mapping", mapping, str(file)) == command.FAILED
    assert reason in capsys.readouterr().err


def test_a_file_that_is_too_large(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One document has a bound; lines have none."""
    monkeypatch.setattr(command, "FILE_BYTES_MAX", 2_000)
    file = tmp_path / "orders.json"
    file.write_text(json.dumps([SHOPIFY["order"]] * 5, indent=1))
    assert _try("--mapping", "shopify", str(file)) == command.FAILED
    assert "write one record in each line" in capsys.readouterr().err
    file.write_text((json.dumps(SHOPIFY["order"]) + "\n") * 5)
    assert _try("--mapping", "shopify", str(file)) == command.DONE


@pytest.mark.parametrize(
    ("answer", "said"),
    [({"b"}, "warning: there is no topic b yet"), (Transient("Kafka: away"), "exist is unknown")],
)
async def test_a_topic_that_is_not_there_is_warned_of(
    answer: set[str] | Transient, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mappings put` asks the broker; one that is away holds nothing up."""

    async def missing(_: RawConsumer, topics: tuple[str, ...]) -> set[str]:
        assert topics == ("a", "b")
        if isinstance(answer, Transient):
            raise answer
        return answer

    monkeypatch.setattr(RawConsumer, "missing", missing)
    (warning,) = [line async for line in command._absent(("a", "b"))]
    assert said in warning
