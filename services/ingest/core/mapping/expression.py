"""Compiles JMESPath expressions into Python closures.

The syntax is parsed by the library `jmespath`; its interpreter is replaced, since walking the tree
for every record costs several times as much (docs/decisions/0023). A property test compares both.
Beyond the library's functions there are those of `functions`.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

import jmespath.exceptions
import jmespath.functions
import jmespath.parser

from services.ingest.core.mapping.functions import FUNCTIONS, coalesce
from services.ingest.core.mapping.scope import Evaluate, Mistake, Scope, suggested

EXPRESSION_CHARS_MAX: Final = 1_000
"""Characters of one expression: ten lines. Longer ones are programs, which belong elsewhere."""

DEPTH_MAX: Final = 40
"""Levels of an expression's tree."""

INCOMPLETE: Final = "incomplete, something is missing at the end"

Node = dict[str, Any]

_BUILTIN = jmespath.functions.Functions()


def compile_expression(text: str) -> Evaluate:
    """Returns the closure of an expression; raises Mistake.

    >>> compile_expression("a.b[0]")({"a": {"b": [7]}}, Scope(None, 0))
    7
    """
    if len(text) > EXPRESSION_CHARS_MAX:
        raise Mistake(f"{len(text):,} characters, at most {EXPRESSION_CHARS_MAX:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PendingDeprecationWarning)
            parsed: Node = jmespath.parser.Parser().parse(text).parsed
    except PendingDeprecationWarning as error:
        raise Mistake("between backticks stands JSON: write a text as 'text'") from error
    except jmespath.exceptions.EmptyExpressionError as error:
        raise Mistake("empty: write an expression, or leave the field out") from error
    except jmespath.exceptions.IncompleteExpressionError as error:
        raise Mistake(f"not JMESPath: {INCOMPLETE}", len(text)) from error
    except jmespath.exceptions.LexerError as error:
        raise Mistake(f"not JMESPath: {error.message}", error.lexer_position) from error
    except jmespath.exceptions.ParseError as error:
        said = f"`{error.token_value}` is unexpected here" if error.token_value else INCOMPLETE
        raise Mistake(f"not JMESPath: {said}", error.lex_position) from error
    except (ValueError, RecursionError) as error:
        raise Mistake(f"not JMESPath: {error}") from error
    return _compile(parsed, 0)


def is_false(value: Any) -> bool:
    """Returns whether JMESPath takes a value as false: null, false, and empty texts and lists."""
    return (not value and not isinstance(value, int | float)) or value is False


def equal(left: Any, right: Any) -> bool:
    """Returns whether two JSON values are equal; 1 is not `true`, as it is in Python."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def _compile(node: Node, depth: int) -> Evaluate:
    if depth > DEPTH_MAX:
        raise Mistake(f"nested deeper than {DEPTH_MAX} levels")
    return _MAKERS[node["type"]](node, depth + 1)


def _children(node: Node, depth: int) -> list[Evaluate]:
    return [_compile(child, depth) for child in node["children"]]


def _field(node: Node, _: int) -> Evaluate:
    name = node["value"]

    def get(value: Any, _: Scope) -> Any:
        return value.get(name) if isinstance(value, dict) else None

    return get


def _chain(node: Node, depth: int) -> Evaluate:
    """Compiles `a.b`, `a[0]` and `a | b`: each part is evaluated on the result of the last."""
    parts = _children(node, depth)
    if len(parts) == 2 and all(child["type"] == "field" for child in node["children"]):  # noqa: PLR2004 (a pair)
        outer, inner = (child["value"] for child in node["children"])

        def pair(value: Any, _: Scope) -> Any:
            found = value.get(outer) if isinstance(value, dict) else None
            return found.get(inner) if isinstance(found, dict) else None

        return pair

    def chain(value: Any, scope: Scope) -> Any:
        for part in parts:
            value = part(value, scope)
        return value

    return chain


def _comparator(node: Node, depth: int) -> Evaluate:
    left, right = _children(node, depth)
    kind, (first, second) = node["value"], node["children"]
    if kind == "eq" and first["type"] == "field" and isinstance(_constant(second), str):
        return _field_is(first["value"], second["value"])
    if kind == "eq":
        return lambda value, scope: equal(left(value, scope), right(value, scope))
    if kind == "ne":
        return lambda value, scope: not equal(left(value, scope), right(value, scope))
    decide = _ORDERS[kind]

    def compare(value: Any, scope: Scope) -> Any:
        one, other = left(value, scope), right(value, scope)
        if _comparable(one) and _comparable(other):
            try:
                return decide(one, other)
            except TypeError:  # a number and a text
                return None
        return None

    return compare


def _field_is(name: str, text: str) -> Evaluate:
    """Compiles `name == 'text'`, the usual condition, without further calls."""
    return lambda value, _: isinstance(value, dict) and value.get(name) == text


def _comparable(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": lambda one, other: one < other,
    "gt": lambda one, other: one > other,
    "lte": lambda one, other: one <= other,
    "gte": lambda one, other: one >= other,
}


def _current(_: Node, __: int) -> Evaluate:
    return lambda value, _: value


def _literal(node: Node, _: int) -> Evaluate:
    constant = node["value"]
    return lambda _, __: constant


def _or(node: Node, depth: int) -> Evaluate:
    left, right = _children(node, depth)

    def either(value: Any, scope: Scope) -> Any:
        found = left(value, scope)
        return found if found or not is_false(found) else right(value, scope)

    return either


def _and(node: Node, depth: int) -> Evaluate:
    left, right = _children(node, depth)

    def both(value: Any, scope: Scope) -> Any:
        found = left(value, scope)
        return right(value, scope) if found or not is_false(found) else found

    return both


def _not(node: Node, depth: int) -> Evaluate:
    (inner,) = _children(node, depth)
    return lambda value, scope: is_false(inner(value, scope))


def _index(node: Node, _: int) -> Evaluate:
    place = node["value"]

    def at(value: Any, _: Scope) -> Any:
        if not isinstance(value, list) or not -len(value) <= place < len(value):
            return None
        return value[place]

    return at


def _slice(node: Node, _: int) -> Evaluate:
    piece = slice(*node["children"])
    if piece.step == 0:
        raise Mistake("a slice's step must not be 0")
    return lambda value, _: value[piece] if isinstance(value, list) else None


def _project(base: Any, right: Evaluate, scope: Scope) -> list[Any]:
    scope.visit(len(base))
    found = (right(element, scope) for element in base)
    return [value for value in found if value is not None]


def _projection(node: Node, depth: int) -> Evaluate:
    left, right = _children(node, depth)

    def project(value: Any, scope: Scope) -> Any:
        base = left(value, scope)
        return _project(base, right, scope) if isinstance(base, list) else None

    return project


def _value_projection(node: Node, depth: int) -> Evaluate:
    left, right = _children(node, depth)

    def project(value: Any, scope: Scope) -> Any:
        base = left(value, scope)
        return _project(base.values(), right, scope) if isinstance(base, dict) else None

    return project


def _filter_projection(node: Node, depth: int) -> Evaluate:
    left, right, condition = _children(node, depth)

    def project(value: Any, scope: Scope) -> Any:
        base = left(value, scope)
        if not isinstance(base, list):
            return None
        scope.visit(len(base))
        kept = [element for element in base if not is_false(condition(element, scope))]
        return _project(kept, right, scope)

    return project


def _flatten(node: Node, depth: int) -> Evaluate:
    (inner,) = _children(node, depth)

    def flatten(value: Any, scope: Scope) -> Any:
        base = inner(value, scope)
        if not isinstance(base, list):
            return None
        flat: list[Any] = []
        for element in base:
            scope.visit(len(element) if isinstance(element, list) else 1)
            if isinstance(element, list):
                flat += element
            else:
                flat.append(element)
        return flat

    return flatten


def _multi_select_list(node: Node, depth: int) -> Evaluate:
    parts = _children(node, depth)

    def select(value: Any, scope: Scope) -> Any:
        scope.visit(len(parts))
        return None if value is None else [part(value, scope) for part in parts]

    return select


def _multi_select_dict(node: Node, depth: int) -> Evaluate:
    parts = [(pair["value"], _compile(pair["children"][0], depth)) for pair in node["children"]]

    def select(value: Any, scope: Scope) -> Any:
        scope.visit(len(parts))
        return None if value is None else {name: part(value, scope) for name, part in parts}

    return select


class _Expression:
    """An argument `&expression`, in the form that the library's functions expect."""

    expression = None

    def __init__(self, inner: Evaluate, scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    def visit(self, _: None, value: Any) -> Any:
        self._scope.visit(1)
        return self._inner(value, self._scope)


def _expref(node: Node, depth: int) -> Evaluate:
    (inner,) = _children(node, depth)
    return lambda _, scope: _Expression(inner, scope)


def _function(node: Node, depth: int) -> Evaluate:
    name, arguments = node["value"], _children(node, depth)
    ours = FUNCTIONS.get(name)
    if ours is not None:
        _check_count(name, len(arguments), ours.least, ours.most)
        if ours.call is coalesce:
            return _first_of(arguments)
        ours.check([_constant(child) for child in node["children"]])
        return _calling(ours.call, arguments)
    theirs = _BUILTIN.FUNCTION_TABLE.get(name)
    if theirs is None:
        known = sorted({*FUNCTIONS, *_BUILTIN.FUNCTION_TABLE})
        raise Mistake(f"no function `{name}`; {suggested(name, known)}")
    signature = theirs["signature"]
    variadic = bool(signature) and signature[-1].get("variadic", False)
    _check_count(name, len(arguments), len(signature), None if variadic else len(signature))

    def call(value: Any, scope: Scope) -> Any:
        given = [argument(value, scope) for argument in arguments]
        for each in given:
            if isinstance(each, list | str):
                scope.visit(1 + len(each) // 64)
        return _BUILTIN.call_function(name, given)

    return call


def _first_of(parts: Sequence[Evaluate]) -> Evaluate:
    """Compiles `coalesce`, which evaluates no more arguments than it needs."""

    def first(value: Any, scope: Scope) -> Any:
        for part in parts:
            found = part(value, scope)
            if found is not None and not (isinstance(found, str) and not found.strip()):
                return found
        return None

    return first


def _calling(call: Callable[..., Any], arguments: Sequence[Evaluate]) -> Evaluate:
    """Returns a call without a loop for one and for two arguments, the usual cases."""
    if len(arguments) == 1:
        (only,) = arguments
        return lambda value, scope: call(scope, only(value, scope))
    if len(arguments) == 2:  # noqa: PLR2004 (a pair)
        first, second = arguments
        return lambda value, scope: call(scope, first(value, scope), second(value, scope))
    return lambda value, scope: call(scope, *[part(value, scope) for part in arguments])


def _constant(node: Node) -> Any:
    """Returns the value of a literal argument; `...` where it depends on the record."""
    return node["value"] if node["type"] == "literal" else ...


def _check_count(name: str, given: int, least: int, most: int | None) -> None:
    if given < least or (most is not None and given > most):
        wanted = (
            str(least) if most == least else f"{least} to {most}" if most else f"{least} or more"
        )
        raise Mistake(f"`{name}` takes {wanted} argument{'s' * (wanted != '1')}, not {given}")


_MAKERS: Final[dict[str, Callable[[Node, int], Evaluate]]] = {
    "field": _field,
    "subexpression": _chain,
    "index_expression": _chain,
    "pipe": _chain,
    "comparator": _comparator,
    "current": _current,
    "identity": _current,
    "literal": _literal,
    "or_expression": _or,
    "and_expression": _and,
    "not_expression": _not,
    "index": _index,
    "slice": _slice,
    "projection": _projection,
    "value_projection": _value_projection,
    "filter_projection": _filter_projection,
    "flatten": _flatten,
    "multi_select_list": _multi_select_list,
    "multi_select_dict": _multi_select_dict,
    "expref": _expref,
    "function_expression": _function,
}
