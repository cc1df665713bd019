"""Reads a policy from a YAML file, and refuses likely mistakes with their line.

YAML accepts more than people expect: of two equal keys the last one wins, `on` means true, and a
day that no calendar has is an ordinary text.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from services.alerts.core.policy_document import Policy
from services.alerts.inbound.policy_document import read_document
from shared.kernel.errors import Invalid

ON: Final = "on"
"""A key of policy documents that YAML 1.1 reads as the value `true`."""


class _Strict(yaml.SafeLoader):
    """A loader that refuses duplicate and non-text keys, and reads `on:` as text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 (the library's signature)
        """Construct a mapping as the library does, after checking its keys."""
        self.flatten_mapping(node)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value.lower() == ON:
                key.tag = "tag:yaml.org,2002:str"
                key.value = ON
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                shown = getattr(key, "value", "")
                raise _fault(key, f"the key `{shown}` is no text: write it in quotes")
            if key.value in seen:
                raise _fault(key, f"the key `{key.value}` is there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _fault(node: yaml.Node, why: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, why, node.start_mark)


def read_policy(path: Path, *, earlier: bool = False) -> Policy:
    """Return the policy of a file; Invalid names what is wrong with it, and where.

    `earlier`: the file may be of an earlier version, which is converted.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Strict)  # noqa: S506 (a safe one)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise Invalid(str(path), f"is not a policy in YAML: {place}{wrong.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as wrong:
        raise Invalid(str(path), f"is not YAML: {wrong}") from None
    return read_document(document, earlier=earlier)
