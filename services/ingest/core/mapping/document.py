"""Reads a mapping's document and compiles it; each mistake has its line and column."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from services.ingest.core.mapping import fields, tree
from services.ingest.core.mapping.expression import compile_expression
from services.ingest.core.mapping.fields import Build
from services.ingest.core.mapping.scope import Evaluate, Mistake, suggested
from services.ingest.core.mapping.tree import Node
from shared.contracts.events import DATA_BY_TYPE, ID_LENGTH_MAX
from shared.kernel.errors import Invalid
from shared.kernel.zones import zone

RULES_MAX: Final = 100
"""Rules of one mapping: each is tried on every record."""

MISTAKES_MAX: Final = 20
"""Mistakes that are reported at once."""

NAME_CHARS_MAX: Final = 80
BOUND_MAX: Final = 50
"""Topics, or HTTP sources, that one mapping is for."""
READS: Final = ("json", "cloudevents", "debezium")
PREFIX: Final = "io.ebbwatch."

_HEAD: Final = (
    "mapping",
    "description",
    "source",
    "topics",
    "http",
    "reads",
    "time_zone",
    "apply",
    "otherwise",
    "defaults",
    "rules",
)
_PARTS: Final = ("id", "time", "customer", "source", "backfill")
"""What every event has, as expressions; `source` and `backfill` may be absent."""
_RULE: Final = ("rule", "match", "each", "type", "ignore", "once", *_PARTS)


class Mistakes(Invalid):
    """A document that cannot be used; `all` has every mistake, this one is the first."""

    def __init__(self, found: list[Invalid]) -> None:
        super().__init__(found[0].field, found[0].reason)
        self.all = tuple(found)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of event that a record may hold."""

    name: str
    match: Evaluate | None
    each: Evaluate | None
    event_type: str | None
    """None: what matches is ignored."""
    shape: type[msgspec.Struct] | None
    parts: Mapping[str, Evaluate]
    once: bool
    build: Build | None


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A mapping, ready to be applied."""

    name: str
    description: str
    source: str
    topics: tuple[str, ...]
    http: tuple[str, ...]
    reads: str
    zone: ZoneInfo | None
    first_only: bool
    """Only the first matching rule applies; otherwise all that match."""
    ignores_others: bool
    """Records that no rule matches are ignored; otherwise they are refused."""
    rules: tuple[Rule, ...]


def compile_mapping(text: str, name: str) -> CompiledMapping:
    """Returns the mapping of a YAML document; raises Mistakes, or Invalid where it is not YAML.

    `name`: the file or where else the document comes from, as the beginning of each place.
    """
    root = tree.read(text, name)
    reader = _Reader(name)
    made = reader.mapping(root)
    if reader.mistakes:
        raise Mistakes(sorted(reader.mistakes, key=_place))
    if made is None:
        raise AssertionError("a document without mistakes is compiled")
    return made


def _place(mistake: Invalid) -> tuple[int, int]:
    line, column = mistake.field.rsplit(":", 2)[1:]
    return int(line), int(column)


class _Reader:
    """Compiles one document, collecting mistakes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.mistakes: list[Invalid] = []

    def mapping(self, root: Node) -> CompiledMapping | None:
        if not isinstance(root.value, dict):
            self.wrong(root, "", "a mapping is an object with the keys `mapping` and `rules`")
            return None
        self._known(root, "", _HEAD)
        name = self._text(root, "mapping", NAME_CHARS_MAX)
        source = self._text(root, "source", ID_LENGTH_MAX, default=name or "")
        defaults = self._defaults(root)
        rules = tuple(self._rules(root, defaults))
        place = None
        if (given := root.value.get("time_zone")) is not None:
            try:
                place = zone(str(given.value))
            except Invalid as error:
                self.wrong(given, "time_zone", error.reason)
        return CompiledMapping(
            name=name or "",
            description=self._text(root, "description", 1_000, default="") or "",
            source=source or "",
            topics=self._names(root, "topics"),
            http=self._names(root, "http"),
            reads=self._choice(root, "reads", READS),
            zone=place,
            first_only=self._choice(root, "apply", ("first", "all")) == "first",
            ignores_others=self._choice(root, "otherwise", ("refuse", "ignore")) == "ignore",
            rules=rules,
        )

    def wrong(self, node: Node, path: str, reason: str, at: int | None = None) -> None:
        if len(self.mistakes) < MISTAKES_MAX:
            said = f"{path}: {reason}" if path else reason
            self.mistakes.append(Invalid(f"{self._name}:{node.place(at)}", said))

    def _known(self, node: Node, path: str, known: tuple[str, ...]) -> None:
        for key, value in node.value.items():
            if key not in known:
                where = f"{path}.{key}".lstrip(".")
                self.wrong(value, where, f"unknown; {suggested(key, known)}")

    def _text(self, node: Node, key: str, chars_max: int, default: str | None = None) -> str | None:
        found = node.value.get(key)
        if found is None:
            if default is None:
                self.wrong(node, key, "missing")
            return default
        if not isinstance(found.value, str) or not 1 <= len(found.value) <= chars_max:
            self.wrong(found, key, f"must be a text of 1 to {chars_max} characters")
            return default
        text: str = found.value
        return text

    def _choice(self, node: Node, key: str, choices: tuple[str, ...]) -> str:
        found = node.value.get(key)
        if found is not None and found.value not in choices:
            self.wrong(found, key, f"must be one of {', '.join(choices)}")
        return choices[0] if found is None else str(found.value)

    def _names(self, node: Node, key: str) -> tuple[str, ...]:
        found = node.value.get(key)
        if found is None:
            return ()
        if not isinstance(found.value, list) or len(found.value) > BOUND_MAX:
            self.wrong(found, key, f"must be a list of at most {BOUND_MAX} names")
            return ()
        for each in found.value:
            if not isinstance(each.value, str) or not 1 <= len(each.value) <= ID_LENGTH_MAX:
                self.wrong(each, key, f"must be a text of 1 to {ID_LENGTH_MAX} characters")
        return tuple(str(each.value) for each in found.value)

    def _defaults(self, root: Node) -> dict[str, Node]:
        found = root.value.get("defaults")
        if found is None:
            return {}
        if not isinstance(found.value, dict):
            self.wrong(found, "defaults", "must be an object of fields and expressions")
            return {}
        known = {name for shape in DATA_BY_TYPE.values() for name in fields.names(shape)}
        self._known(found, "defaults", (*_PARTS, *sorted(known)))
        return dict(found.value)

    def _rules(self, root: Node, defaults: dict[str, Node]) -> Iterator[Rule]:
        found = root.value.get("rules")
        if found is None or not isinstance(found.value, list) or not found.value:
            self.wrong(found or root, "rules", "must be a list of at least one rule")
            return
        if len(found.value) > RULES_MAX:
            self.wrong(found, "rules", f"{len(found.value)} rules, at most {RULES_MAX}")
            return
        seen: set[str] = set()
        for index, node in enumerate(found.value):
            path = f"rules[{index}]"
            if not isinstance(node.value, dict):
                self.wrong(node, path, "a rule is an object with `rule`, `type`, `id` and others")
                continue
            name = node.value.get("rule")
            label = str(name.value) if name is not None else ""
            if name is None or not label or len(label) > NAME_CHARS_MAX:
                self.wrong(node, f"{path}.rule", "missing: give the rule a short name")
            elif label in seen:
                self.wrong(name, f"{path}.rule", f"{label!r} is the name of another rule too")
            seen.add(label)
            made = self._rule(node, path, label, defaults)
            if made is not None:
                yield made

    def _rule(self, node: Node, path: str, label: str, defaults: dict[str, Node]) -> Rule | None:
        given: dict[str, Node] = node.value
        match = self._optional(given, path, "match")
        if (ignore := given.get("ignore")) is not None:
            if ignore.value is not True:
                self.wrong(ignore, f"{path}.ignore", "must be true")
            self._known(node, path, ("rule", "match", "ignore"))
            return Rule(label, match, None, None, None, {}, once=False, build=None)
        kind = given.get("type")
        types = {name.removeprefix(PREFIX): name for name in DATA_BY_TYPE}
        if kind is None or str(kind.value).removeprefix(PREFIX) not in types:
            self.wrong(kind or node, f"{path}.type", f"must be one of {', '.join(types)}")
            return None
        event_type = types[str(kind.value).removeprefix(PREFIX)]
        shape = DATA_BY_TYPE[event_type]
        self._known(node, path, (*_RULE, *fields.names(shape)))
        once = given.get("once")
        if once is not None and not isinstance(once.value, bool):
            self.wrong(once, f"{path}.once", "must be true or false")
        whole = defaults | given
        parts: dict[str, Evaluate] = {}
        for part in _PARTS:
            made = self._optional(whole, path, part)
            if made is not None:
                parts[part] = made
            elif part in ("id", "time", "customer") and part not in whole:
                self.wrong(node, f"{path}.{part}", "missing: give an expression")
        return Rule(
            name=label,
            match=match,
            each=self._optional(given, path, "each"),
            event_type=event_type,
            shape=shape,
            parts=parts,
            once=once is not None and once.value is True,
            build=self._build(whole, node, path, shape),
        )

    def _build(
        self, whole: dict[str, Node], node: Node, path: str, shape: type[msgspec.Struct]
    ) -> Build:
        """Compiles the fields of the data; `whole`: the rule's entries with the defaults."""
        data = {name: whole[name] for name in fields.names(shape) if name in whole}
        for name in fields.required(shape):
            if name not in data:
                self.wrong(node, f"{path}.{name}", "missing: give an expression")
        return fields.compile_object(shape, Node(data, node.line, node.column), path, self)

    def _optional(self, given: Mapping[str, Node], path: str, key: str) -> Evaluate | None:
        found = given.get(key)
        return None if found is None else self.value(found, f"{path}.{key}")

    def value(self, node: Node, path: str) -> Evaluate:
        """Compiles an expression, or a constant: a number, true, false or `{value: …}`."""
        value = node.value
        if isinstance(value, str):
            try:
                return compile_expression(value)
            except Mistake as error:
                self.wrong(node, path, str(error), error.at)
                return _nothing
        if isinstance(value, dict) and set(value) == {"value"}:
            value = value["value"].value
        if isinstance(value, dict | list) or value is None:
            self.wrong(node, path, "must be an expression, a number, true, false or {value: …}")
            return _nothing
        return lambda _, __: value


def _nothing(_: Any, __: Any) -> None:
    """Evaluates to null, in place of an expression with a mistake."""
