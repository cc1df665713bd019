"""Defines what a message template may contain, and an engine that supports nothing else.

Jinja2 is a language, and a template comes from outside. A message needs names, conditions, loops
over lists, comparisons and a few filters; no calls, macros, imports, blocks or arithmetic on
anything but numbers. Allowed templates end soon and make little text, whatever their input. Nothing
is evaluated while a template is read.
"""

import math
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Final, Literal

from jinja2 import ChainableUndefined, Template, TemplateError, nodes
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.alerts.connectors.core import escape

TEXT_LENGTH_MAX: Final = 8_000
"""Characters of any intermediate or final text of a template; a CRM's large text fields hold
32,000."""
ITEMS_MAX: Final = 100
"""Iterations of one loop: a task has at most some tens of reasons and steps."""
LOOPS_NESTED_MAX: Final = 2
DEPTH_MAX: Final = 40
"""Levels of a template's tree: far from the depth at which Python's own parser gives up."""
NUMBER_MAX: Final = 1e15
"""Bound of the numbers that a template computes with: whole ones stay exact."""

WORK_MAX: Final = 200_000
"""Bound of the cost of filling one record: nodes of loops' bodies, once for each iteration, and
pieces of `CHARS_OF_WORK` characters of each intermediate text. A record of 100 fields with all
steps in each costs a tenth of it; all of it takes some tenths of a second, in which the process
does nothing else."""
CHARS_OF_WORK: Final = 100
"""Characters that cost about as much as a node."""

REASON_LENGTH_MAX: Final = 200
"""Characters of the reason of a failure; the engine's message may contain the task's values."""

Medium = Literal["text", "markdown", "address"]
"""The medium of a template's text, which decides how foreign text is escaped."""

_LOOP: Final = "bounded"
"""The filter around the list of a loop. Templates cannot name it."""
_PIECE: Final = "piece"
"""The filter around each part of a concatenation. Templates cannot name it."""

_PLAIN: Final[tuple[type[nodes.Node], ...]] = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.If, nodes.For,
    nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Concat,
    nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Slice, nodes.Getattr, nodes.Getitem,
    nodes.Const, nodes.Filter, nodes.Test, nodes.Keyword, nodes.Neg, nodes.Pos,
    nodes.Add, nodes.Sub, nodes.Mul, nodes.Div,
)  # fmt: skip
_NO_NUMBERS: Final = (nodes.List, nodes.Tuple, nodes.Dict, nodes.Concat, nodes.Compare, nodes.Not)
"""Nodes that are never a number, whatever the task is."""


class TooMuch(TemplateError):  # noqa: N818 (a word, like Invalid)
    """Raised for a template that makes more than a message can hold."""


class Work:
    """The rest of the work that filling one record may take."""

    def __init__(self) -> None:
        self._left = WORK_MAX

    def spend(self, amount: int) -> None:
        """Take an amount from the rest; raise TooMuch where nothing is left."""
        self._left -= amount
        if self._left < 0:
            raise TooMuch("takes too long: shorter loops, or fewer filters in them")


_WORK: Final[ContextVar[Work]] = ContextVar("work")
"""The work of the template that is being filled; filters have no other access to it."""


def compiled(text: str, medium: Medium = "text") -> Template:
    """Compile a template for a medium; raise TemplateError where it is not allowed."""
    try:
        return _ENVIRONMENTS[medium].from_string(read(text))
    except TemplateError:
        raise
    except Exception as wrong:  # noqa: BLE001 (of Python's compiler: nested too deeply for it)
        raise TemplateError(str(wrong)[:REASON_LENGTH_MAX]) from None


def read(text: str) -> nodes.Template:
    """Parse and check a template. Raises TemplateError, in words, for what is not allowed."""
    try:
        tree = ENVIRONMENT.parse(text)
        _check(tree, 0, 0)
    except RecursionError:
        raise TemplateError("is nested too deeply") from None
    except (ValueError, OverflowError, MemoryError) as wrong:
        raise TemplateError(str(wrong)[:REASON_LENGTH_MAX]) from None
    return tree


def render(template: Any, known: Any, work: Work) -> str:
    """Return a compiled template's text.

    Raises TooMuch where it would be longer than `TEXT_LENGTH_MAX`, or take more than what is left
    of `work`.
    """
    token = _WORK.set(work)
    try:
        return _generated(template, known)
    finally:
        _WORK.reset(token)


def _generated(template: Any, known: Any) -> str:
    parts: list[str] = []
    length = 0
    for part in template.generate(known):
        length += len(part)
        if length > TEXT_LENGTH_MAX:
            raise TooMuch(f"more than {TEXT_LENGTH_MAX} characters")
        parts.append(part)
    return "".join(parts)


def _check(node: nodes.Node, depth: int, loops: int) -> None:
    """Check a node and all below it; `loops`: the number of loops around this node."""
    if depth > DEPTH_MAX:
        raise TemplateError("is nested too deeply")
    if not isinstance(node, _PLAIN) or type(node) not in _PLAIN:
        raise TemplateError(f"{_named(node)} is not allowed in a message")
    if isinstance(node, nodes.For):
        loops += 1
        if node.recursive or loops > LOOPS_NESTED_MAX:
            raise TemplateError(f"at most {LOOPS_NESTED_MAX} loops in one another, none recursive")
    for child in node.iter_child_nodes():
        _check(child, depth + 1, loops)
    _check_one(node)


def _check_one(node: nodes.Node) -> None:
    match node:
        case nodes.Const(value=value):
            if isinstance(value, (int, float)) and not abs(value) <= NUMBER_MAX:
                raise TemplateError("a number is too large")
        case nodes.Getattr(attr=name):
            if name.startswith("_"):
                raise TemplateError(f"{name} cannot be asked for")
        case nodes.Filter(name=name):
            if name not in FILTERS or node.dyn_args or node.dyn_kwargs:
                raise TemplateError(f"no filter {name}; there are {', '.join(sorted(FILTERS))}")
        case nodes.Test(name=name):
            if name not in TESTS or node.dyn_args or node.dyn_kwargs:
                raise TemplateError(f"no test {name}; there are {', '.join(sorted(TESTS))}")
        case nodes.Add() | nodes.Sub() | nodes.Mul() | nodes.Div():
            _check_sides(node)
        case nodes.For():
            size = nodes.Const(_size(node), lineno=node.lineno)
            node.iter = _around(node.iter, _LOOP, size)
        case nodes.Concat():
            node.nodes = [_around(part, _PIECE) for part in node.nodes]
        case _:
            pass


def _check_sides(node: nodes.BinExpr) -> None:
    sides = (node.left, node.right)
    fixed = [each.value for each in sides if isinstance(each, nodes.Const)]
    numbers = all(isinstance(each, (int, float)) for each in fixed)
    if len(fixed) > 1 or not numbers or any(isinstance(each, _NO_NUMBERS) for each in sides):
        raise TemplateError(f"{node.operator} is for numbers, one of them of the task's")


def _around(node: nodes.Node, name: str, *arguments: nodes.Node) -> nodes.Filter:
    return nodes.Filter(node, name, list(arguments), [], None, None, lineno=node.lineno)


def _size(node: nodes.Node) -> int:
    """Return the number of nodes from here down."""
    return 1 + sum(_size(child) for child in node.iter_child_nodes())


_WORDS: Final[dict[type[nodes.Node], str]] = {
    nodes.Call: "a call", nodes.Pow: "**", nodes.Mod: "%", nodes.FloorDiv: "//",
}  # fmt: skip


def _named(node: nodes.Node) -> str:
    return _WORDS.get(type(node), type(node).__name__.lower())


def _bounded(value: Any, size: int = 1) -> Iterator[Any]:
    """Yield the items of a loop: a list of the task's, cut to what a message can show.

    Each iteration costs `size`.
    """
    if isinstance(value, Undefined) or value is None:
        return
    if not isinstance(value, (list, tuple)):
        raise TemplateError("a loop goes over a list")
    if len(value) > ITEMS_MAX:
        raise TooMuch(f"a loop over more than {ITEMS_MAX} items")
    work = _WORK.get()
    for item in value:
        work.spend(size)
        yield item


def _text(value: Any) -> str:
    """Return the value as text, within the bound."""
    text = str(value)
    if len(text) > TEXT_LENGTH_MAX:
        raise TooMuch(f"more than {TEXT_LENGTH_MAX} characters")
    _WORK.get().spend(1 + len(text) // CHARS_OF_WORK)
    return text


def _of_text(change: Callable[[str], str]) -> Callable[[Any], str]:
    return lambda value: _text(change(_text(value)))


def _join(value: Any, between: Any = "", attribute: str | None = None) -> str:
    parts = list(_bounded(value))
    if attribute is not None:
        parts = [ENVIRONMENT.getattr(part, _public(attribute)) for part in parts]
    texts, gap = [_text(part) for part in parts], _text(between)
    if sum(map(len, texts)) + len(gap) * len(texts) > TEXT_LENGTH_MAX:
        raise TooMuch(f"more than {TEXT_LENGTH_MAX} characters")
    return gap.join(texts)


def _public(name: str) -> str:
    if not isinstance(name, str) or name.startswith("_"):
        raise TemplateError(f"{name} cannot be asked for")
    return name


def _replace(value: Any, old: Any, new: Any) -> str:
    text, before, after = _text(value), _text(old), _text(new)
    if len(text) + text.count(before) * len(after) > 2 * TEXT_LENGTH_MAX:
        raise TooMuch(f"more than {TEXT_LENGTH_MAX} characters")
    return _text(text.replace(before, after))


def _truncate(value: Any, length: int = 255, *_: Any, end: str = "…", **__: Any) -> str:
    text, most = _text(value), max(0, int(length))
    return text if len(text) <= most else _text(text[:most].rstrip() + _text(end))


def _default(value: Any, otherwise: Any = "", empty: Any = False) -> Any:  # noqa: FBT002 (Jinja2's)
    return otherwise if isinstance(value, Undefined) or (empty and not value) else value


def _number(value: Any) -> float:
    """Return a finite number of the template's; raise TemplateError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TemplateError(f"{type(value).__name__} is no number to compute with")
    if not math.isfinite(value) or abs(value) > NUMBER_MAX:
        raise TooMuch("a number is too large")
    return value


def _round(value: Any, digits: int = 0) -> float:
    if isinstance(digits, bool) or not isinstance(digits, int) or not 0 <= digits <= 15:  # noqa: PLR2004
        raise TemplateError("rounds to 0 to 15 digits")
    return round(float(_number(value)), digits)


def _int(value: Any, otherwise: Any = 0) -> Any:
    try:
        return int(_number(float(value)))
    except (ValueError, TypeError, OverflowError):
        return otherwise


def _float(value: Any, otherwise: Any = 0.0) -> Any:
    try:
        return float(_number(float(value)))
    except (ValueError, TypeError, OverflowError):
        return otherwise


def _first(value: Any) -> Any:
    return next(iter(value), "") if isinstance(value, (str, list, tuple)) else ""


def _last(value: Any) -> Any:
    return value[-1] if isinstance(value, (str, list, tuple)) and value else ""


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple, dict)) else 0


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "abs": lambda value: abs(_number(value)),
    "capitalize": _of_text(str.capitalize),
    "d": _default,
    "default": _default,
    "first": _first,
    "float": _float,
    "int": _int,
    "join": _join,
    "last": _last,
    "length": _length,
    "count": _length,
    "lower": _of_text(str.lower),
    "replace": _replace,
    "round": _round,
    "string": _of_text(str),
    "title": _of_text(str.title),
    "trim": _of_text(str.strip),
    "truncate": _truncate,
    "upper": _of_text(str.upper),
}
"""All filters of a message. Each bounds its result before computing it."""

TESTS: Final = ("defined", "undefined", "none", "string", "number", "sameas", "eq", "equalto", "ne",
                "in", "lt", "le", "gt", "ge", "true", "false", "boolean")  # fmt: skip


class _Environment(ImmutableSandboxedEnvironment):
    """Restricts arithmetic to numbers: `name * 1000000000` is refused."""

    intercepted_binops = frozenset({"+", "-", "*", "/"})
    intercepted_unops = frozenset({"+", "-"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute a sum, difference, product or quotient of two numbers."""
        return _number(super().call_binop(context, operator, _number(left), _number(right)))

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """Apply a sign to a number."""
        return super().call_unop(context, operator, _number(arg))


def _environment(finalize: Callable[[Any], Any] | None) -> _Environment:
    made = _Environment(
        undefined=ChainableUndefined,  # a missing value, such as a customer's name, is no error
        autoescape=False,
        optimized=False,
        finalize=finalize,
        cache_size=0,
    )
    made.globals.clear()
    known = dict(made.tests)
    made.tests.clear()
    made.tests.update({name: known[name] for name in TESTS})
    made.filters.clear()
    made.filters.update({**FILTERS, _LOOP: _bounded, _PIECE: _text})
    return made


ENVIRONMENT: Final = _environment(None)
_ENVIRONMENTS: Final[dict[Medium, _Environment]] = {
    "text": ENVIRONMENT,
    "markdown": _environment(escape.in_markdown),
    "address": _environment(escape.in_address),
}
