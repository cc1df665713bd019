"""Reads YAML into values that know their line and column.

A strict part of YAML: no anchors, aliases or merge keys; keys are texts and unique. What YAML 1.1
reads as something else (`on`, `no`, a date) stays the text that was written, except numbers,
`true`, `false` and `null`.
"""

from dataclasses import dataclass
from typing import Any, Final

import yaml

from services.ingest.core.mapping.scope import Mistake
from shared.kernel.errors import Invalid

DOCUMENT_BYTES_MAX: Final = 64 * 1024
"""Bytes of a document: some hundred rules, ten times the largest that is shipped."""

_STR = "tag:yaml.org,2002:str"
_CONSTANTS: Final = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the document; `value` is a scalar, a list of nodes or a dictionary of nodes."""

    value: Any
    line: int
    """From 1."""
    column: int
    """From 1; of a text in quotes, of its first character."""
    on_one_line: bool = True
    """Whether a place within the text can be counted from `column`."""

    def place(self, at: int | None = None) -> str:
        """Return `line:column`, of the character `at` within the text where that is known."""
        shift = at if at is not None and self.on_one_line else 0
        return f"{self.line}:{self.column + shift}"


class _Strict(yaml.SafeLoader):
    """A composer without aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose as the library does, and refuse anchors and aliases."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not taken: write it out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


def read(text: str, name: str) -> Node:
    """Returns the document; Invalid with `name:line:column` as its field where it is malformed."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > DOCUMENT_BYTES_MAX:
        raise Invalid(name, f"{size:,} bytes; a mapping has at most {DOCUMENT_BYTES_MAX:,}")
    try:
        loader = _Strict(text)
        try:
            composed = loader.get_single_node()
        finally:
            loader.dispose()
        return _node(composed)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = name if mark is None else f"{name}:{mark.line + 1}:{mark.column + 1}"
        raise Invalid(place, f"not YAML: {error.problem}") from error
    except _Misplaced as error:
        mark = error.mark
        raise Invalid(f"{name}:{mark.line + 1}:{mark.column + 1}", str(error)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Invalid(name, f"not YAML: {said}") from error


class _Misplaced(Mistake):
    def __init__(self, node: yaml.Node, reason: str) -> None:
        super().__init__(reason)
        self.mark = node.start_mark


def _node(found: yaml.Node | None) -> Node:
    if found is None:
        raise ValueError("the document is empty")
    mark = found.start_mark
    if isinstance(found, yaml.ScalarNode):
        quoted = found.style in ("'", '"')
        one_line = found.style not in ("|", ">") and mark.line == found.end_mark.line
        return Node(_scalar(found), mark.line + 1, mark.column + 1 + quoted, one_line)
    if isinstance(found, yaml.SequenceNode):
        return Node([_node(each) for each in found.value], mark.line + 1, mark.column + 1)
    entries: dict[str, Node] = {}
    for key, value in found.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Misplaced(key, "a key must be a text")
        if key.value in entries:
            raise _Misplaced(key, f"`{key.value}` is there twice")
        entries[key.value] = _node(value)
    return Node(entries, mark.line + 1, mark.column + 1)


def _scalar(found: yaml.ScalarNode) -> Any:
    text: str = found.value
    if found.style is not None or found.tag == _STR:
        return text
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    for read_as in (int, float):
        try:
            number = read_as(text)
        except ValueError:
            continue
        return number if abs(number) < 10**15 else text
    return text
