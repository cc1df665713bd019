"""Hostile files: whatever the bytes are, the reader yields events or raises Invalid."""

import gzip
import random
import zipfile
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from shared.event_files.faults import Rejects
from shared.event_files.options import ReadOptions
from shared.event_files.reader import EventFile
from shared.kernel.errors import Invalid
from tests.unit.scoring.training.data.workbooks import xlsx

LINE = "c{n},A{order},2024-03-{day:02} 10:00,￥{n}.50,ok\n"
TEXT = "会员卡号,订单号,下单时间,金额,备注\n" + "".join(
    LINE.format(n=n, order=n // 2, day=n % 28 + 1) for n in range(40)
)
JSON = '{"customer_id": "a", "ts": "2024-01-01", "amount": "2,5", "id": 1}\n' * 20
TRIES = 150
PIECES = (
    b"\0", b'"', b"\n", b"\r", b",", b";", b"=cmd|' /C calc'!A0", b"\xff", b"\xe5", b"{", b"[",
    b"1e999", b"9" * 400, b"-", b"\x1f\x8b", b"PK\x03\x04", "\u202e".encode(), b"'" * 70,
)  # fmt: skip


def seeds(folder: Path) -> dict[str, bytes]:
    book = xlsx(folder / "seed.xlsx", a=[["customer", "date", "amount"],
                                         ["a", datetime(2024, 1, 1), 1.5]])  # noqa: DTZ001  # fmt: skip
    packed = folder / "seed.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("orders.csv", TEXT)
    return {
        "utf-8": TEXT.encode(), "gb18030": TEXT.encode("gb18030"), "utf-16": TEXT.encode("utf-16"),
        "json": JSON.encode(), "gzip": gzip.compress(TEXT.encode(), mtime=0),
        "zstd": pa.compress(TEXT.encode(), "zstd", asbytes=True),
        "zip": packed.read_bytes(), "xlsx": book.read_bytes(),
    }  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice([0, 0, 1, 8, 60]))
        data = data[:at] + chance.choice([*PIECES, chance.randbytes(3), b""]) + data[end:]
    return data


@pytest.mark.parametrize(
    "kind", ["utf-8", "gb18030", "utf-16", "json", "gzip", "zstd", "zip", "xlsx"]
)
def test_no_file_breaks_the_reader(tmp_path: Path, kind: str) -> None:
    chance = random.Random(f"event files, {kind}")  # noqa: S311 (no secret)
    seed = seeds(tmp_path)[kind]
    read = 0
    for _ in range(TRIES if kind != "xlsx" else 15):
        path = tmp_path / "hostile.csv"
        path.write_bytes(mutated(seed, chance))
        lines = chance.random() < 0.5
        rejects = Rejects(path.name) if chance.random() < 0.5 else None
        try:
            file = EventFile(path, ReadOptions(lines_of_one_order=lines), rejects=rejects)
            read += sum(map(len, file.frames()))
        except Invalid as fault:
            assert fault.reason
    assert read or kind in {"gzip", "zstd", "zip", "xlsx", "utf-16"}
