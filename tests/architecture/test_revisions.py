"""The migrations of a service form one line: two heads stop every start of the service."""

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parents[1].name for path in ROOT.glob("services/*/store/versions"))


@pytest.mark.parametrize("service", SERVICES)
def test_one_line_of_revisions(service: str) -> None:
    """One base, one head; a file's number is its revision's."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "shared/postgres/alembic"))
    config.set_main_option("version_locations", str(ROOT / f"services/{service}/store/versions"))
    config.set_main_option("path_separator", "newline")
    scripts = ScriptDirectory.from_config(config)
    mend = "point the newer one's down_revision at the other, and number its file after it"
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1, mend
    for script in scripts.walk_revisions():
        number = Path(script.path).name.partition("_")[0]
        assert script.revision == f"{service}_{number}", mend
