"""Ways in for links between ids: what is accepted, what is refused, what is sent."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.ingest.commands.import_links import import_links
from services.ingest.core.rates import RateTable
from shared.contracts.events import IDENTITY, Identity
from shared.kernel.errors import Invalid
from tests.unit.ingest.events import ARRIVED_MS, accept
from tests.unit.ingest.fakes import FakeOutlet, FixedClock

RATES = RateTable("USD")
CHANGED_S = ARRIVED_MS / 1000 - 60
"""When the files were changed last, Unix seconds: before they are read."""


def statement(subject: str = "mo-web", **data: Any) -> bytes:
    """Build a statement as a sender writes it."""
    return json.dumps(
        {"specversion": "1.0", "type": IDENTITY, "source": "crm", "id": "s-1",
         "time": "2026-03-01T09:00:00Z", "subject": subject, "data": data}
    ).encode()  # fmt: skip


def test_a_statement_reaches_the_activity_topic() -> None:
    """Its ids are as they came."""
    found = accept(statement(ids=["mo-store"], primary="mo-web"), (), ARRIVED_MS, RATES)
    assert found.data.identity == Identity(ids=["mo-store"], primary="mo-web")
    assert found.subject == "mo-web"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({}, "data.ids"),
        ({"ids": ["null"]}, "data.ids[0]"),
        ({"ids": ["a", " "]}, "data.ids[1]"),
        ({"ids": ["a"], "primary": "undefined"}, "data.primary"),
        ({"ids": ["a"] * 51}, "data.ids"),
        ({"ids": ["客" * 200]}, "data.ids[0]"),
        ({"kind": "contact", "ids": ["a", "b"]}, "data.ids"),
        ({"kind": "contact"}, "data.ids"),
        ({"kind": "unlinked", "primary": "a"}, "data"),
        ({"kind": "same", "ids": ["a"]}, "data.kind"),
    ],
)
def test_what_is_no_statement_is_refused(data: dict[str, Any], field: str) -> None:
    """The reason names the field."""
    with pytest.raises(Invalid) as refused:
        accept(statement(**data), (), ARRIVED_MS, RATES)
    assert refused.value.field == field


async def test_a_file_of_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each row is a statement; faulty rows are printed; the same file has the same ids."""
    path = tmp_path / "links.csv"
    path.write_text("\ufeffCustomer_ID,other_id\nmo-web,mo-store\nann,null\nbo,bo-card\n", "utf-8")
    os.utime(path, (CHANGED_S, CHANGED_S))
    sent = []
    for _ in range(2):
        outlet = FakeOutlet()
        assert await import_links([path], "crm", "raw", outlet, FixedClock()) == 1
        sent.append([(r.key, json.loads(r.value or b"")) for r in outlet.sent])
    assert sent[0] == sent[1]
    assert [key for key, _ in sent[0]] == [b"mo-web", b"bo"]
    assert sent[0][0][1]["data"] == {"ids": ["mo-store"], "primary": "mo-web"}
    assert "links.csv, row 3: data.ids[0]" in capsys.readouterr().err


async def test_a_file_of_contacts(tmp_path: Path) -> None:
    """Other columns: people at accounts."""
    path = tmp_path / "contacts.csv"
    path.write_text("account_id,contact_id\nacme,li\n", "utf-8")
    os.utime(path, (CHANGED_S, CHANGED_S))
    outlet = FakeOutlet()
    assert await import_links([path], "crm", "raw", outlet, FixedClock()) == 0
    (record,) = outlet.sent
    assert json.loads(record.value or b"")["data"] == {"kind": "contact", "ids": ["acme"]}


async def test_another_file_is_refused(tmp_path: Path) -> None:
    """The reason names the columns that are needed; bytes that are no text are no file."""
    path = tmp_path / "orders.csv"
    path.write_text("order,amount\n1,2\n", "utf-8")
    with pytest.raises(Invalid, match="customer_id and other_id"):
        await import_links([path], "crm", "raw", FakeOutlet(), FixedClock())
    path.write_bytes(b"customer_id,other_id\n\xff\xfe,b\n")
    with pytest.raises(Invalid, match="cannot be read"):
        await import_links([path], "crm", "raw", FakeOutlet(), FixedClock())
