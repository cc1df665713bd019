"""Reads a policy from a YAML file, as people write them."""

from pathlib import Path

import yaml

from services.alerts.core.document import Policy, read, upgrade
from shared.kernel.errors import Invalid


def read_policy(path: Path, *, earlier: bool = False) -> Policy:
    """The policy of a file; Invalid says what is wrong with it, and where.

    `earlier`: the file may be one of an earlier version, whose fields are taken over.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        return read(upgrade(document) if earlier else document)
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise Invalid(str(path), f"is not YAML: {wrong}") from None
