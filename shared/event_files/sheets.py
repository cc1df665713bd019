"""Converts a sheet of a spreadsheet (.xlsx, .xlsb, .xls, .ods) to CSV in a process of its own.

A spreadsheet can only be read as a whole, and a small hostile one can claim any amount of memory:
the process that reads it has bounds, and a failure there is an Invalid here.
"""

import signal
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Final

from shared.event_files import sheet_to_csv
from shared.kernel.errors import Invalid

MEMORY_BYTES_MAX: Final = 4 * 1024 * 1024 * 1024
"""Memory of the process: a full sheet (1,048,576 rows) of 20 columns takes about 2 GB."""
CPU_S_MAX: Final = 600
"""Processor time of the process: a full sheet takes about a minute."""


class SheetAsCsv:
    """A temporary CSV file with the rows of one sheet; it goes with this object."""

    def __init__(self, path: Path, sheet: str | None, folder: Path | None = None) -> None:
        """Convert. `sheet` None: the only one with rows. Raises Invalid naming the file."""
        with tempfile.NamedTemporaryFile(
            suffix=".csv", prefix="sheet-", dir=folder, delete=False
        ) as file:
            self.path = Path(file.name)
            weakref.finalize(self, self.path.unlink, missing_ok=True)
            limits = [str(MEMORY_BYTES_MAX), str(CPU_S_MAX)]
            # -P: the modules beside the program must not be taken for others of their names.
            program = [sys.executable, "-P", str(Path(sheet_to_csv.__file__))]
            done = subprocess.run(  # noqa: S603 (our own program, no shell)
                [*program, str(path), sheet or "", *limits],
                stdout=file, stderr=subprocess.PIPE, check=False,
            )  # fmt: skip
        if done.returncode == -signal.SIGINT:
            raise KeyboardInterrupt  # a Ctrl-C goes to both processes
        if done.returncode == 1 and done.stderr.count(b"\n") == 1:
            raise Invalid("events", f"{path.name} {done.stderr.decode().strip()}")
        if done.returncode:
            raise Invalid(
                "events",
                f"{path.name} needs more than {MEMORY_BYTES_MAX >> 30} GiB of memory or "
                f"{CPU_S_MAX // 60} minutes as a spreadsheet: save the sheet as CSV",
            )
