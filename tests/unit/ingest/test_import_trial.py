"""A dry run of `import`: a table for a person, one JSON object for a machine."""

import json
from pathlib import Path

import pytest

from services.ingest.__main__ import _add_commands
from services.ingest.commands.service import SPEC
from shared.runtime.command_line import main

ORDERS = """订单号,客户编号,下单时间,金额
1,张三,2026-01-02 08:30,199.00
2,c-2,2026-01-03,8
3,c-3,no,1
"""


def _run(path: Path, option: str) -> int:
    return main(SPEC, _add_commands, ["import", option, "--time-zone", "UTC", str(path)])


def test_a_person_reads_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are aligned, with wide characters too; rejected rows have their reason."""
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS, "gb18030")
    assert _run(path, "--dry-run") == 3
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index("the first 2 of 2 events (times are UTC):")
    assert lines[begin + 1 : begin + 4] == [
        "  time                 customer  type       amount  id  more",
        "  2026-01-02 08:30:00  张三      purchase  199 USD  1",
        "  2026-01-03 00:00:00  c-2       purchase    8 USD  2",
    ]
    assert lines[begin + 4].startswith("rejected: orders.csv row 3: ")
    assert "nothing was sent" in lines[-2]


def test_a_machine_reads_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` alone is a dry run, and prints nothing else."""
    path = tmp_path / "orders.csv"
    path.write_text(ORDERS, "utf-8")
    assert _run(path, "--json") == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["events"], found["customers"]) == (2, 2)
    assert [event["id"] for event in found["first"]] == ["1", "2"]
    assert [(each["file"], each["row"]) for each in found["rejected"]] == [("orders.csv", 3)]
    assert found["columns"]["orders.csv"]["customer_id"] == "客户编号"
