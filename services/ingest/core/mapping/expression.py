"""Compiles JMESPath expressions to Python.

The syntax is parsed by the library `jmespath`; its interpreter is replaced, since walking the tree
for every record costs many times as much (docs/decisions/0030). A property test compares both.
Beyond the library's functions there are those of `functions`.
"""

import json
import operator
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import jmespath.exceptions
import jmespath.functions
import jmespath.parser

from services.ingest.core.mapping.functions import FUNCTIONS, coalesce
from services.ingest.core.mapping.program import Code, Program
from services.ingest.core.mapping.scope import Evaluate, Mistake, Scope, suggested

EXPRESSION_CHARS_MAX: Final = 1_000
"""Characters of one expression: ten lines. Longer ones are programs, which belong elsewhere."""

DEPTH_MAX: Final = 40
"""Levels of an expression's tree."""

VALUE: Final = "value"
"""The parameter of a compiled function that an expression is evaluated on."""

INCOMPLETE: Final = "incomplete, something is missing at the end"

Node = dict[str, Any]

_EMPTY: Final[dict[str, Any]] = {}
"""Takes the place of a value that is no object and so has no fields."""

_BUILTIN = jmespath.functions.Functions()


def compile_expression(text: str) -> Evaluate:
    """Returns the function of an expression; raises Mistake.

    >>> compile_expression("a.b[0]")({"a": {"b": [7]}}, Scope(None, 0))
    7
    """
    program = Program()
    code = program.function()
    code.line(f"return {write(text, code, VALUE)}")
    return program.compiled()(code)


def write(text: str, code: Code, value: str) -> str:
    """Adds an expression to `code`, evaluated on the variable `value`.

    Returns the name of its result, which must not be assigned to; raises Mistake.
    """
    return _write(_parsed(text), code, value, 0)


def _parsed(text: str) -> Node:
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
    check_storable(parsed)
    return parsed


def check_storable(constant: Any) -> None:
    """Raises Mistake where a text in a constant cannot be stored, as a record's texts can."""
    try:
        said = json.dumps(constant, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise Mistake("half of a surrogate pair is no character") from error
    except RecursionError as error:
        raise Mistake(f"nested deeper than {DEPTH_MAX} levels") from error
    if b"\\u0000" in said:
        raise Mistake("a NUL character cannot be stored")


def is_false(value: Any) -> bool:
    """Returns whether JMESPath takes a value as false: null, false, and empty texts and lists."""
    return (not value and not isinstance(value, int | float)) or value is False


def equal(left: Any, right: Any) -> bool:
    """Returns whether two JSON values are equal; 1 is not `true`, as it is in Python."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def is_true(found: str) -> str:
    """Returns the condition that JMESPath takes a variable as true, as source: zero is true."""
    return f"{found} or ({found} == 0 and {found} is not False)"


def is_blank(value: str) -> str:
    """Returns the condition that a variable is null or a blank text, as source."""
    return f"{value} is None or (isinstance({value}, str) and not {value}.strip())"


def _write(node: Node, code: Code, value: str, depth: int) -> str:
    if depth > DEPTH_MAX:
        raise Mistake(f"nested deeper than {DEPTH_MAX} levels")
    return _WRITERS[node["type"]](node, code, value, depth + 1)


def _all(node: Node, code: Code, value: str, depth: int) -> list[str]:
    return [_write(child, code, value, depth) for child in node["children"]]


def _apart(node: Node, code: Code, depth: int) -> str:
    """Writes an expression as a function of its own, for the elements of a list."""
    inner = code.program.function()
    inner.line(f"return {_write(node, inner, VALUE, depth)}")
    return inner.name


def _field(node: Node, code: Code, value: str, _: int) -> str:
    known = code.once(f"{value} if isinstance({value}, dict) else {code.program.bind(_EMPTY)}")
    return code.once(f"{known}.get({node['value']!r})")


def _chain(node: Node, code: Code, value: str, depth: int) -> str:
    """Writes `a.b`, `a[0]` and `a | b`: each part is evaluated on the result of the last."""
    for child in node["children"]:
        value = _write(child, code, value, depth)
    return value


def _comparator(node: Node, code: Code, value: str, depth: int) -> str:
    kind = node["value"]
    left, right = _all(node, code, value, depth)
    if kind not in ("eq", "ne"):
        return code.assign(code.call(_ORDERS[kind], left, right))
    negated = "not " * (kind == "ne")
    constants = [_constant(child) for child in node["children"]]
    if None in constants or any(isinstance(each, str) for each in constants):
        return code.once(f"{negated}{left} == {right}")  # no bool equals a text or null
    return code.once(f"{negated}{code.call(equal, left, right)}")


def _ordered(decide: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool | None]:
    def compare(left: Any, right: Any) -> bool | None:
        if _comparable(left) and _comparable(right):
            try:
                return decide(left, right)
            except TypeError:  # a number and a text
                return None
        return None

    return compare


def _comparable(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


_ORDERS: Final = {
    "lt": _ordered(operator.lt),
    "gt": _ordered(operator.gt),
    "lte": _ordered(operator.le),
    "gte": _ordered(operator.ge),
}


def _current(_: Node, __: Code, value: str, ___: int) -> str:
    return value


def _literal(node: Node, code: Code, _: str, __: int) -> str:
    return code.program.bind(node["value"])


def _second_if(condition: str, node: Node, code: Code, value: str, depth: int) -> str:
    """Writes what is the second part if `condition` (of "the first is true") holds."""
    left, right = node["children"]
    found = code.assign(_write(left, code, value, depth))
    with code.block(f"if {condition.format(is_true(found))}"):
        code.line(f"{found} = {_write(right, code, value, depth)}")
    return found


def _not(node: Node, code: Code, value: str, depth: int) -> str:
    (inner,) = _all(node, code, value, depth)
    return code.assign(f"not ({is_true(inner)})")


def _at(value: Any, place: int) -> Any:
    if not isinstance(value, list) or not -len(value) <= place < len(value):
        return None
    return value[place]


def _index(node: Node, code: Code, value: str, _: int) -> str:
    return code.assign(code.call(_at, value, code.program.bind(node["value"])))


def _slice(node: Node, code: Code, value: str, _: int) -> str:
    piece = slice(*node["children"])
    if piece.step == 0:
        raise Mistake("a slice's step must not be 0")
    bound = code.program.bind(piece)
    return code.assign(f"{value}[{bound}] if isinstance({value}, list) else None")


def _project(base: Iterable[Any], right: Evaluate, scope: Scope) -> list[Any]:
    elements = list(base)
    scope.visit(len(elements))
    found = (right(element, scope) for element in elements)
    return [value for value in found if value is not None]


def _kept(base: list[Any], condition: Evaluate, scope: Scope) -> list[Any]:
    scope.visit(len(base))
    return [element for element in base if not is_false(condition(element, scope))]


def _projection(node: Node, code: Code, value: str, depth: int) -> str:
    """Writes `a[*].b`, `a[?c].b` and, over the values of an object, `a.*.b`."""
    left, right, *conditions = node["children"]
    base = _write(left, code, value, depth)
    kind, elements = "list", base
    if node["type"] == "value_projection":
        kind, elements = "dict", f"{base}.values()"
    for condition in conditions:
        elements = code.call(_kept, elements, _apart(condition, code, depth), "scope")
    called = code.call(_project, elements, _apart(right, code, depth), "scope")
    return code.assign(f"{called} if isinstance({base}, {kind}) else None")


def _flat(base: Any, scope: Scope) -> list[Any] | None:
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


def _flatten(node: Node, code: Code, value: str, depth: int) -> str:
    (inner,) = _all(node, code, value, depth)
    return code.assign(code.call(_flat, inner, "scope"))


def _multi_select(brackets: str, node: Node, code: Code, value: str, depth: int) -> str:
    """Writes `[a, b]` and `{x: a, y: b}`."""
    code.line(f"scope.visit({len(node['children'])})")
    made = code.assign("None")
    with code.block(f"if {value} is not None"):
        parts = ", ".join(_all(node, code, value, depth))
        code.line(f"{made} = {brackets[0]}{parts}{brackets[1]}")
    return made


def _pair(node: Node, code: Code, value: str, depth: int) -> str:
    (inner,) = node["children"]  # a key is no level of its own
    return f"{node['value']!r}: {_write(inner, code, value, depth - 1)}"


class _Expression:
    """An argument `&expression`, in the form that the library's functions expect."""

    expression = None

    def __init__(self, inner: Evaluate, scope: Scope) -> None:
        self._inner = inner
        self._scope = scope

    def visit(self, _: None, value: Any) -> Any:
        self._scope.visit(1)
        return self._inner(value, self._scope)


def _expref(node: Node, code: Code, _: str, depth: int) -> str:
    (inner,) = node["children"]
    return code.assign(code.call(_Expression, _apart(inner, code, depth), "scope"))


def _function(node: Node, code: Code, value: str, depth: int) -> str:
    name, arguments = node["value"], node["children"]
    ours = FUNCTIONS.get(name)
    if ours is not None:
        _check_count(name, len(arguments), ours.least, ours.most)
        if ours.call is coalesce:
            return _coalesce(node, code, value, depth)
        ours.check([_constant(child) for child in arguments])
        return code.assign(code.call(ours.call, "scope", *_all(node, code, value, depth)))
    theirs = _BUILTIN.FUNCTION_TABLE.get(name)
    if theirs is None:
        known = sorted({*FUNCTIONS, *_BUILTIN.FUNCTION_TABLE})
        raise Mistake(f"no function `{name}`; {suggested(name, known)}")
    signature = theirs["signature"]
    variadic = bool(signature) and signature[-1].get("variadic", False)
    _check_count(name, len(arguments), len(signature), None if variadic else len(signature))
    given = _all(node, code, value, depth)
    return code.assign(code.call(_builtin, "scope", repr(name), *given))


def _builtin(scope: Scope, name: str, *given: Any) -> Any:
    for each in given:
        if isinstance(each, list | str):
            scope.visit(1 + len(each) // 64)
    return _BUILTIN.call_function(name, list(given))


def _coalesce(node: Node, code: Code, value: str, depth: int) -> str:
    """Writes `coalesce`, which evaluates no more arguments than it needs."""
    first, *others = node["children"]
    found = code.assign(_write(first, code, value, depth))
    blank = code.assign(is_blank(found))
    for child in others:  # one after another, since Python bounds the depth of blocks
        with code.block(f"if {blank}"):
            code.line(f"{found} = {_write(child, code, value, depth)}")
            code.line(f"{blank} = {is_blank(found)}")
    with code.block(f"if {blank}"):
        code.line(f"{found} = None")
    return found


def _constant(node: Node) -> Any:
    """Returns the value of a literal argument; `...` where it depends on the record."""
    return node["value"] if node["type"] == "literal" else ...


def _check_count(name: str, given: int, least: int, most: int | None) -> None:
    if given < least or (most is not None and given > most):
        wanted = (
            str(least) if most == least else f"{least} to {most}" if most else f"{least} or more"
        )
        raise Mistake(f"`{name}` takes {wanted} argument{'s' * (wanted != '1')}, not {given}")


_WRITERS: Final[dict[str, Callable[[Node, Code, str, int], str]]] = {
    "field": _field,
    "subexpression": _chain,
    "index_expression": _chain,
    "pipe": _chain,
    "comparator": _comparator,
    "current": _current,
    "identity": _current,
    "literal": _literal,
    "or_expression": partial(_second_if, "not ({})"),
    "and_expression": partial(_second_if, "{}"),
    "not_expression": _not,
    "index": _index,
    "slice": _slice,
    "projection": _projection,
    "value_projection": _projection,
    "filter_projection": _projection,
    "flatten": _flatten,
    "multi_select_list": partial(_multi_select, "[]"),
    "multi_select_dict": partial(_multi_select, "{}"),
    "key_val_pair": _pair,
    "expref": _expref,
    "function_expression": _function,
}
