"""Rewrites an Avro schema of a registry into one that is safe to decode with.

The decoder is compiled code without a bound on nesting, so a schema that holds itself is unrolled
to a fixed depth; a list of values that take no bytes could have any length, so it is refused. Docs,
defaults and aliases are left out, and logical types get names of ours (`avro.READERS`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

LEVELS_MAX: Final = 32
"""How often a type may hold itself in a record: a tree of categories has five levels."""

DEPTH_MAX: Final = 400
"""Types within types, each level of one that holds itself included: twelve in each of the levels;
the decoder's recursion is well within a thread's stack."""

NODES_MAX: Final = 20_000
"""Types and fields of a rewritten schema: those of large companies have some thousands."""

PREFIX: Final = "ebbwatch-"
"""Of the names of our logical types: the library's own readers have none of our bounds."""

TOO_DEEP: Final = "too-deep"
COUNTED: Final = "counted"
SINGLE: Final = "single"
LOGICAL: Final = {
    "long": (
        *(f"timestamp-{unit}" for unit in ("millis", "micros", "nanos")),
        *(f"local-timestamp-{unit}" for unit in ("millis", "micros", "nanos")),
        "time-micros",
    ),
    "int": ("date", "time-millis"),
    "bytes": ("decimal",),
    "fixed": ("decimal", "uuid"),
}
"""Logical types that are read as such; of others the underlying value is."""

_PRIMITIVES: Final = frozenset(
    {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
)


class Unsafe(ValueError):  # noqa: N818 (a word of the domain)
    """The schema cannot be used; the text is the reason."""


def rewritten(schema: Any, references: Sequence[Any]) -> Any:
    """Returns the schema, with the named types of its references; raises Unsafe.

    `references`: parsed schemas, those that others need first.
    """
    try:
        return _Rewriter(schema, references).done()
    except RecursionError as error:
        raise Unsafe("the schema is nested too deep") from error
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise Unsafe(f"malformed near {error!s:.100}") from error


class _Rewriter:
    """Rewrites one schema. A type that holds itself is written anew for each level."""

    def __init__(self, schema: Any, references: Sequence[Any]) -> None:
        self._types: dict[str, tuple[dict[str, Any], str]] = {}
        """Each named type, with the namespace of what is in it."""
        for each in (*references, schema):
            for name, found, space in _named(each, ""):
                self._types.setdefault(name, (found, space))
        self._schema = schema
        self._nodes = self._depth = 0
        self._written: dict[tuple[str, int], tuple[str, bool]] = {}
        """Name in the rewritten schema by (type, level), and whether it takes no bytes."""
        self._open: set[tuple[str, int]] = set()

    def done(self) -> Any:
        return self._type(self._schema, "", 0, counted=False)[0]

    def _type(self, given: Any, space: str, level: int, *, counted: bool) -> tuple[Any, bool]:
        """Returns a type, and whether a value of it may take no bytes.

        `counted`: it is within a list or a map, so its records are counted while decoding.
        """
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise Unsafe(f"more than {NODES_MAX:,} types and fields")
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise Unsafe(f"the schema is nested too deep: more than {DEPTH_MAX} types")
        made = self._rewritten(given, space, level, counted=counted)
        self._depth -= 1
        return made

    def _rewritten(self, given: Any, space: str, level: int, *, counted: bool) -> tuple[Any, bool]:
        if isinstance(given, list):
            return [self._type(each, space, level, counted=counted)[0] for each in given], False
        if isinstance(given, str):
            if given in _PRIMITIVES:
                return _primitive({"type": given}), given == "null"
            return self._named(_full(given, space), level, counted=counted)
        kind = given["type"]
        if isinstance(kind, dict | list):
            return self._type(kind, space, level, counted=counted)
        if kind in _PRIMITIVES:
            return _primitive(given), kind == "null"
        if kind in ("array", "map"):
            part = "items" if kind == "array" else "values"
            inner, empty = self._type(given[part], space, level, counted=True)
            if empty and kind == "array":
                raise Unsafe("a list of values that take no bytes could have any length")
            return {"type": kind, part: inner}, False
        if kind in ("record", "error", "enum", "fixed"):
            return self._named(_full(given["name"], given.get("namespace", space)), level,
                               counted=counted)  # fmt: skip
        return self._named(_full(kind, space), level, counted=counted)

    def _named(self, name: str, level: int, *, counted: bool) -> tuple[Any, bool]:
        if name not in self._types:
            raise Unsafe(f"the type {name!r:.100} is not in it, nor in its references")
        given, space = self._types[name]
        while (name, level) in self._open:
            level += 1
        if level > LEVELS_MAX:
            return {"type": "null", "logicalType": PREFIX + TOO_DEEP}, False
        place = (f"{name} {counted}", level)
        if place in self._written:
            return self._written[place]
        label = f"T{len(self._written)}"
        self._written[place] = (label, False)
        kind = given["type"]
        made: dict[str, Any] = {"type": "record" if kind == "error" else kind, "name": label}
        empty = False
        if kind == "enum":
            made["symbols"] = given["symbols"]
        elif kind == "fixed":
            made["size"] = size = int(given["size"])
            if size < 0:
                raise Unsafe(f"the type {name!r:.100} has the size {size}")
            empty = not size
            _logical(given, made)
        else:
            self._open.add((name, level))
            made["fields"], empty = self._fields(given, space, level, counted=counted)
            self._open.remove((name, level))
            if counted:
                made["logicalType"] = PREFIX + COUNTED
        self._written[place] = (label, empty)
        return made, empty

    def _fields(
        self, given: dict[str, Any], space: str, level: int, *, counted: bool
    ) -> tuple[list[Any], bool]:
        found, empty = [], True
        for field in given["fields"]:
            inner, nothing = self._type(field["type"], space, level, counted=counted)
            if nothing and counted:
                # Otherwise a few bytes of a list could become any number of values.
                raise Unsafe(f"the field {field['name']!r:.100} takes no bytes, within a list")
            found.append({"name": field["name"], "type": inner})
            empty = empty and nothing
        return found, empty


def _primitive(given: dict[str, Any]) -> Any:
    kind = given["type"]
    made = {"type": kind}
    if kind == "float":
        made["logicalType"] = PREFIX + SINGLE
    else:
        _logical(given, made)
    return made if len(made) > 1 else kind


def _logical(given: dict[str, Any], made: dict[str, Any]) -> None:
    logical = given.get("logicalType")
    if logical in LOGICAL.get(given["type"], ()):
        made["logicalType"] = f"{PREFIX}{logical}"
        if logical == "decimal":
            made["scale"] = given.get("scale", 0)


def _full(name: str, space: str | None) -> str:
    """Returns a type's full name, with its namespace."""
    return name if "." in name or not space else f"{space}.{name}"


def _named(given: Any, space: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yields the named types of a schema, with the namespace that holds within each."""
    if isinstance(given, list):
        for each in given:
            yield from _named(each, space)
    elif isinstance(given, dict):
        kind = given["type"]
        if kind in ("record", "error", "enum", "fixed"):
            name = _full(given["name"], given.get("namespace", space))
            space = name.rpartition(".")[0]
            yield name, given, space
            for field in given.get("fields", ()):
                yield from _named(field["type"], space)
        elif isinstance(kind, dict | list):
            yield from _named(kind, space)
        elif kind in ("array", "map"):
            yield from _named(given["items" if kind == "array" else "values"], space)
