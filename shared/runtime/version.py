"""The release of this code, and the revision that it was built from."""

import os
from typing import Final

VERSION: Final = "0.1.0"
"""The release, as in `pyproject.toml` (a test compares them)."""

REVISION_VARIABLE: Final = "EBBWATCH_REVISION"
"""Environment variable that names the revision of the source; a build of an image sets it."""

UNKNOWN: Final = "unknown"
"""The revision where no build has set it."""


def revision() -> str:
    """Returns the revision of the source, or `UNKNOWN`."""
    return os.environ.get(REVISION_VARIABLE, "") or UNKNOWN
