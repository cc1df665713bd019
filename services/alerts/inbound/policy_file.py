"""Reads a policy from a YAML file, as people write them.

YAML says less than people think: of two equal keys the last one wins, `on` is a word for true, and
a day that no calendar has is a text like any other. What was not meant is refused, by its line.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

import yaml

from services.alerts.core.policy_document import Policy
from services.alerts.inbound.policy_document import read_document
from shared.kernel.errors import Invalid

ON: Final = "on"
"""A key of our documents that YAML 1.1 takes for the truth value `true`."""


class _Strict(yaml.SafeLoader):
    """Refuses keys that are there twice or are no text; reads `on:` as the word it is."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 (the library's signature)
        """As the library's, with its keys looked at."""
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
    """The policy of a file; Invalid says what is wrong with it, and where.

    `earlier`: the file may be one of an earlier version, whose fields are taken over.
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
