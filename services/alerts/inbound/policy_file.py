"""Reads a policy from a YAML file, as people write them."""

from pathlib import Path

import yaml

from services.alerts.core.document import Policy, read
from shared.kernel.errors import Invalid


def read_policy(path: Path) -> Policy:
    """The policy of a file; Invalid says what is wrong with it, and where."""
    try:
        return read(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise Invalid(str(path), f"is not YAML: {wrong}") from None
