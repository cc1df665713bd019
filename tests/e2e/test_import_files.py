"""A company's spreadsheet becomes customers by one command, on the real services."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.e2e.services_on_history import World
from tests.unit.scoring.training.data.workbooks import Cell, xlsx

pytestmark = pytest.mark.timeout(300)

HEADERS = ["会员卡号", "订单号", "下单时间", "实付金额（元）", "数量"]
NOW = datetime.now(UTC).replace(microsecond=0, tzinfo=None)


def _orders(prefix: str) -> list[list[Cell]]:
    """Return orders of five customers, one a week until now."""
    return [
        [f"{prefix}{n % 5:03}", f"{prefix}-{n}", NOW - timedelta(weeks=40 - n), 20.5 + n, 1]
        for n in range(40)
    ]


async def test_a_spreadsheet_with_chinese_headers_becomes_customers(
    folder: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    """GB18030 as CSV, and .xlsx: each by one command, silently."""
    rows = [HEADERS, *(list(map(str, row)) for row in _orders("会员"))]
    csv = tmp_path / "订单.csv"
    csv.write_bytes("\n".join(",".join(map(str, row)) for row in rows).encode("gb18030"))
    book = xlsx(tmp_path / "orders.xlsx", 订单=[HEADERS, *_orders("0")])
    async with World.open(folder, environ, clock="live") as world:
        for path in (csv, book):
            shown = world.services.command("ingest", "import", str(path))
            assert "customer_id = 会员卡号, ts = 下单时间, event_id = 订单号" in shown
            assert "sent 40 of 40 events of 5 customers" in shown
        await world.settled()
        create = ("tokens", "create", "--name", "reader", "--scope", "admin")
        token = world.services.command("scoring", *create).strip()
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as client:
            answer = await client.get(world.services.url("scoring") + "/v1/customers?limit=50")
        assert answer.status_code == 200, answer.text
        for customer in [*(f"会员{n:03}" for n in range(5)), *(f"0{n:03}" for n in range(5))]:
            assert f'"{customer}"' in answer.text
        customers, states = await world.states()
        assert len(customers) == len(states) == 10
        assert world.services.command("scoring", "imports", "show").count("import '") == 0
        assert await world.tasks() == [], "history raised a task"
