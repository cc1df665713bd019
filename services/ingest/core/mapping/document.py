"""Reads a mapping's document and compiles it; each mistake has its line and column."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from services.ingest.core.mapping import fields, tree
from services.ingest.core.mapping.event import (
    PARTS,
    Condition,
    ReadEvent,
    Select,
    write_event,
    write_select,
)
from services.ingest.core.mapping.expression import VALUE, check_storable, write
from services.ingest.core.mapping.program import Code, Program
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
"""Topics, or HTTP sources, that one mapping is for, and keys that it unwraps."""
READS: Final = ("json", "cloudevents", "debezium")
PREFIX: Final = "io.ebbwatch."

_HEAD: Final = (
    "mapping",
    "description",
    "source",
    "topics",
    "http",
    "reads",
    "unwrap",
    "time_zone",
    "apply",
    "otherwise",
    "defaults",
    "rules",
)
_RULE: Final = ("rule", "match", "each", "type", "ignore", "once", *PARTS)


class Mistakes(Invalid):
    """A document that cannot be used; `all` has every mistake, this one is the first."""

    def __init__(self, found: list[Invalid]) -> None:
        super().__init__(found[0].field, found[0].reason)
        self.all = tuple(found)


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of event that a record may hold."""

    name: str
    each: Evaluate | None = None
    read: ReadEvent | None = None
    event_type: str | None = None
    """None, as `read`: what matches is ignored."""
    once: bool = False


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A mapping, ready to be applied."""

    name: str
    description: str
    source: str
    topics: tuple[str, ...]
    http: tuple[str, ...]
    reads: str
    unwrap: tuple[str, ...]
    """Keys of an object around one record or a list of them, such as `{"orders": [...]}`."""
    zone: ZoneInfo | None
    ignores_others: bool
    """Records that no rule matches are ignored; otherwise they are refused."""
    rules: tuple[Rule, ...]
    select: Select


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
        select = self._select(root)
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
            unwrap=self._names(root, "unwrap"),
            zone=place,
            ignores_others=self._choice(root, "otherwise", ("refuse", "ignore")) == "ignore",
            rules=rules,
            select=select,
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
        try:
            check_storable(text)
        except Mistake as error:
            self.wrong(found, key, str(error))
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
        self._known(found, "defaults", (*PARTS, *sorted(known)))
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

    def _select(self, root: Node) -> Select:
        """Compiles the conditions of all rules to one function."""
        first_only = self._choice(root, "apply", ("first", "all")) == "first"
        conditions, rules = [], root.value.get("rules")
        for index, node in enumerate(
            rules.value if rules and isinstance(rules.value, list) else ()
        ):
            given = node.value if isinstance(node.value, dict) else {}
            name = str(given["rule"].value) if "rule" in given else ""
            last = first_only or "ignore" in given
            conditions.append(Condition(name, given.get("match"), f"rules[{index}]", last))
        program = Program()
        code = program.function()
        write_select(conditions, self, code)
        if self.mistakes:
            return lambda _, __: ([], None)  # what was written may be incomplete
        return program.compiled()(code)

    def _rule(self, node: Node, path: str, label: str, defaults: dict[str, Node]) -> Rule | None:
        given: dict[str, Node] = node.value
        if (ignore := given.get("ignore")) is not None:
            if ignore.value is not True:
                self.wrong(ignore, f"{path}.ignore", "must be true")
            self._known(node, path, ("rule", "match", "ignore"))
            return Rule(label)
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
        for name in ("id", "time", "customer", *fields.required(shape)):
            if name not in whole:
                self.wrong(node, f"{path}.{name}", "missing: give an expression")
        program = Program()
        read = program.function()
        write_event(Node(whole, node.line, node.column), shape, path, self, read)
        each = None
        if "each" in given:
            each = program.function()
            each.line(f"return {self.value(given['each'], f'{path}.each', each, VALUE)}")
        if self.mistakes:
            return None  # what was written may be incomplete
        compiled = program.compiled()
        return Rule(
            name=label,
            each=None if each is None else compiled(each),
            read=compiled(read),
            event_type=event_type,
            once=once is not None and once.value is True,
        )

    def value(self, node: Node, path: str, code: Code, value: str) -> str:
        """Writes an expression, or a constant: a number, true, false or `{value: …}`."""
        constant = node.value
        if isinstance(constant, str):
            try:
                return write(constant, code, value)
            except Mistake as error:
                self.wrong(node, path, str(error), error.at)
                return value
        if isinstance(constant, dict) and set(constant) == {"value"}:
            constant = constant["value"].value
        if isinstance(constant, dict | list) or constant is None:
            self.wrong(node, path, "must be an expression, a number, true, false or {value: …}")
            return value
        try:
            check_storable(constant)
        except Mistake as error:
            self.wrong(node, path, str(error))
        return code.program.bind(constant)
