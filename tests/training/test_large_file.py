"""A file of events that does not fit into the memory is read all the same."""

import subprocess
import sys
from pathlib import Path

BOUNDED = """
import resource, sys
from pathlib import Path
from shared.event_files.faults import Rejects
from shared.event_files.reader import EventFile
limit = int(sys.argv[2]) << 20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
print(sum(map(len, EventFile(Path(sys.argv[1]), rejects=Rejects("x")).frames())))
"""


def test_a_file_larger_than_the_memory_is_read(tmp_path: Path) -> None:
    """1.5 million rows, 90 MB, whose columns alone would take more than the limit leaves."""
    path = tmp_path / "large.csv"
    count = 1_500_000
    with path.open("w") as file:
        file.write("order_id,customer_id,order_date,amount,note\n")
        for n in range(count):
            file.write(f"A{n:09},customer-{n % 9_973},2024-03-{n % 28 + 1:02} 10:00:00,{n}.50,-\n")
    done = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(path), "1500"],
        capture_output=True, text=True, check=False, env={"POLARS_MAX_THREADS": "2"},
    )  # fmt: skip
    assert done.stdout.strip() == str(count), done.stderr[-2_000:]
