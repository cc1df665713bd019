"""A segment's rule: CEL, parsed by cel-python, checked against the known names, run on columns.

An expression becomes column operations, because evaluating it customer by customer costs a
thousand times as much; the library's own evaluator is the oracle of the tests. Only the operators
below are ever run: no Python functions, no I/O.

The language is CEL (https://github.com/google/cel-spec) with these limits and one extension:
numbers are decimals, so that `purchases == 3` needs no point (plain CEL refuses to compare them);
comprehensions, dates, `%` and building values are left out. Where CEL defines an error (a missing
key of `attributes`), the customer is not a member; as in CEL, `||` and `&&` absorb an error where
the other side decides. An undefined number (NaN) compares as false.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import lark
import numpy as np
from celpy import Environment
from celpy.celparser import CELParseError

from services.scoring.core.segments.columns import Frame, WordLists, Words
from services.scoring.core.segments.patterns import WRONG, pattern
from shared.kernel.arrays import Flags
from shared.kernel.errors import Invalid
from shared.kernel.text import unkeepable

Kind = Literal["number", "text", "truth", "list", "map"]
Result = tuple[Any, Flags | None]
"""Values (a column or one constant for all) and bool[n]: evaluating is an error there."""

CHARS_MAX: Final = 2_000
"""Characters of one expression: a person does not read more."""
DEPTH_MAX: Final = 40
"""Nested operators and parentheses: more is generated text, and would exhaust the stack."""

_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}
_ARITHMETIC: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
}
_TEXT_TESTS: Final[dict[str, Callable[[str], Callable[[str], bool]]]] = {
    "startsWith": lambda part: lambda word: word.startswith(part),
    "endsWith": lambda part: lambda word: word.endswith(part),
    "contains": lambda part: lambda word: part in word,
    "matches": lambda part: lambda word: pattern(part).search(word) is not None,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A checked piece of an expression: the kind of its result, and how to compute it."""

    kind: Kind
    run: Callable[[Frame], Result]
    constant: Any = None
    """The value of a literal, else None."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A rule that can be run."""

    source: str
    names: frozenset[str]
    """The names that it reads."""
    _part: Part

    def members(self, frame: Frame) -> Flags:
        """bool[n]: the rule is true for the customer; an error counts as false."""
        with np.errstate(all="ignore"):
            values, error = self._part.run(frame)
        flags = np.broadcast_to(np.asarray(values, np.bool_), frame.count)
        return flags & ~error if error is not None else flags.copy()


_PARSER: Final = Environment()


def compile_rule(source: str, names: Mapping[str, Kind]) -> Expression:
    """Parse and check a rule; raises Invalid with line and column where it cannot be run."""
    if len(source) > CHARS_MAX:
        raise Invalid("expression", f"{len(source)} characters, at most {CHARS_MAX}")
    if not source.strip():
        raise Invalid("expression", "line 1, column 1: it is empty")
    try:
        tree = _PARSER.compile(source)
    except CELParseError as error:
        at = f"line {error.line or 1}, column {error.column or 1}"
        raise Invalid("expression", f"{at}: not understood from here on") from error
    except RecursionError:
        raise Invalid("expression", f"nested more than {DEPTH_MAX} deep") from None
    compiler = _Compiler(names)
    part = compiler.of(tree, 0)
    if part.kind != "truth":
        raise _wrong(tree, f"a rule is true or false; this is a {part.kind}")
    return Expression(source, frozenset(compiler.used), part)


def _wrong(tree: lark.Tree[Any] | lark.Token, why: str) -> Invalid:
    meta: Any = tree if isinstance(tree, lark.Token) else tree.meta
    line, column = getattr(meta, "line", None) or 1, getattr(meta, "column", None) or 1
    return Invalid("expression", f"line {line}, column {column}: {why}")


def _arguments(given: lark.Tree[Any] | None = None) -> list[lark.Tree[Any]]:
    return [] if given is None else cast("list[lark.Tree[Any]]", given.children)


def _unwrapped(tree: lark.Tree[Any], *ends: str) -> lark.Tree[Any]:
    """Return the node below a chain of single children, or the first of these kinds in it."""
    while (
        tree.data not in ends
        and len(tree.children) == 1
        and isinstance(tree.children[0], lark.Tree)
    ):
        tree = tree.children[0]
    return tree


def _either(a: Flags | None, b: Flags | None) -> Flags | None:
    if a is None or b is None:
        return b if a is None else a
    return np.asarray(a | b)


class _Compiler:
    """Walks the library's parse tree; its methods are named after the grammar's rules."""

    def __init__(self, names: Mapping[str, Kind]) -> None:
        self._names = names
        self.used: set[str] = set()

    def of(self, tree: lark.Tree[Any], depth: int) -> Part:
        """Return the part of a node; chains of single children are skipped."""
        tree = _unwrapped(tree)
        if depth > DEPTH_MAX:
            raise _wrong(tree, f"nested more than {DEPTH_MAX} deep")
        handler = getattr(self, "_" + tree.data, None)
        if handler is None:
            raise _wrong(tree, f"{tree.data.replace('_', ' ')} is not offered in rules")
        return cast("Part", handler(tree, depth + 1))

    def _expect(self, tree: lark.Tree[Any], depth: int, kind: Kind) -> Part:
        part = self.of(tree, depth)
        if part.kind != kind:
            raise _wrong(tree, f"a {kind} is needed here; this is a {part.kind}")
        return part

    def _expr(self, tree: lark.Tree[Any], depth: int) -> Part:
        condition, yes, no = tree.children
        when = self._expect(condition, depth, "truth")
        then = self.of(yes, depth)
        if then.kind not in ("number", "truth"):
            raise _wrong(yes, "`? :` chooses between numbers or truths only")
        other = self._expect(no, depth, then.kind)

        def run(frame: Frame) -> Result:
            (c, ec), (a, ea), (b, eb) = when.run(frame), then.run(frame), other.run(frame)
            none = np.zeros(frame.count, np.bool_)
            chosen = np.where(c, none if ea is None else ea, none if eb is None else eb)
            return np.where(c, a, b), _either(ec, chosen)

        return Part(then.kind, run)

    def _conditionalor(self, tree: lark.Tree[Any], depth: int) -> Part:
        return self._joined(tree, depth, decides=True)

    def _conditionaland(self, tree: lark.Tree[Any], depth: int) -> Part:
        return self._joined(tree, depth, decides=False)

    def _joined(self, tree: lark.Tree[Any], depth: int, *, decides: bool) -> Part:
        left, right = (self._expect(child, depth, "truth") for child in tree.children)

        def run(frame: Frame) -> Result:
            (a, ea), (b, eb) = left.run(frame), right.run(frame)
            value = np.logical_or(a, b) if decides else np.logical_and(a, b)
            error = _either(ea, eb)
            if error is None:
                return value, None
            # One side decides alone, unless it is itself in error.
            sure = np.zeros(frame.count, np.bool_)
            for flags, wrong in ((a, ea), (b, eb)):
                alone = np.equal(flags, decides)
                sure |= alone if wrong is None else alone & ~wrong
            return np.where(sure, decides, value), error & ~sure

        return Part("truth", run)

    def _relation(self, tree: lark.Tree[Any], depth: int) -> Part:
        sign, right_tree = tree.children
        name = sign.data.removeprefix("relation_")
        left_tree = sign.children[0]
        if name == "in":
            return self._in(left_tree, right_tree, depth)
        left, right = self.of(left_tree, depth), self.of(right_tree, depth)
        if left.kind != right.kind or left.kind in ("list", "map"):
            raise _wrong(right_tree, f"a {left.kind} cannot be compared with a {right.kind}")
        if left.kind == "truth" and name not in ("eq", "ne"):
            raise _wrong(right_tree, "truths have no order")
        compare = _COMPARE[name]
        if left.kind == "text":
            return _compare_text(compare, left, right)
        return _pointwise("truth", compare, left, right)

    def _in(self, item: lark.Tree[Any], place: lark.Tree[Any], depth: int) -> Part:
        found = _unwrapped(place, "list_lit", "paren_expr")
        if found.data == "list_lit":
            parts = _arguments(found.children[0] if found.children else None)
            options = [self.of(part, depth) for part in parts]
            left = self.of(item, depth)
            if left.kind not in ("text", "number"):
                raise _wrong(item, f"a {left.kind} cannot be looked up in a list")
            for option, part in zip(options, parts, strict=True):
                if option.constant is None or option.kind != left.kind:
                    raise _wrong(part, f"the list may hold only {left.kind} constants here")
            allowed = [option.constant for option in options]
            if left.kind == "text":
                chosen = frozenset(allowed)
                return _test_text(left, lambda word: word in chosen)
            return _apply("truth", lambda values: np.isin(values, allowed), left)
        word = self._constant_text(item, depth)
        right = self.of(place, depth)
        if right.kind == "list":

            def listed(lists: WordLists) -> Any:
                return lists.holds.get(word, False)

            return _apply("truth", listed, right)
        if right.kind == "map":
            return self._has_key(cast("str", right.constant), word)
        raise _wrong(place, f"`in` looks in a list; this is a {right.kind}")

    def _constant_text(self, tree: lark.Tree[Any], depth: int) -> str:
        part = self.of(tree, depth)
        if part.kind != "text" or part.constant is None:
            raise _wrong(tree, "a text in quotes is needed here")
        return cast("str", part.constant)

    def _addition(self, tree: lark.Tree[Any], depth: int) -> Part:
        sign, right = tree.children
        name = sign.data.split("_")[1]
        if name not in _ARITHMETIC:
            raise _wrong(right, "% is not offered: numbers are decimals")
        return _pointwise(
            "number",
            _ARITHMETIC[name],
            self._expect(sign.children[0], depth, "number"),
            self._expect(right, depth, "number"),
        )

    _multiplication = _addition

    def _unary(self, tree: lark.Tree[Any], depth: int) -> Part:
        sign, inner = tree.children
        if sign.data == "unary_not":
            return _apply("truth", np.logical_not, self._expect(inner, depth, "truth"))
        return _apply("number", np.negative, self._expect(inner, depth, "number"))

    def _ident(self, tree: lark.Tree[Any], _depth: int) -> Part:
        name = str(tree.children[0])
        kind = self._names.get(name)
        if kind is None:
            raise _wrong(tree, f"{name} is not known; see the list of names in the documentation")
        self.used.add(name)
        if kind == "map":
            return Part("map", lambda frame: (frame.maps[name], None), name)
        group = {"number": "numbers", "text": "words", "list": "lists", "truth": "numbers"}[kind]
        return Part(kind, lambda frame: (getattr(frame, group)[name], None))

    def _member_dot(self, tree: lark.Tree[Any], depth: int) -> Part:
        return self._entry(tree.children[0], str(tree.children[1]), depth)

    def _member_index(self, tree: lark.Tree[Any], depth: int) -> Part:
        return self._entry(tree.children[0], self._constant_text(tree.children[1], depth), depth)

    def _entry(self, owner: lark.Tree[Any], key: str, depth: int) -> Part:
        name = cast("str", self._expect(owner, depth, "map").constant)
        return Part("text", lambda frame: frame.entry(name, key))

    def _has_key(self, name: str, key: str) -> Part:
        return Part("truth", lambda frame: (~frame.entry(name, key)[1], None))

    def _ident_arg(self, tree: lark.Tree[Any], depth: int) -> Part:
        name, given = str(tree.children[0]), _arguments(*tree.children[1:])
        if len(given) != 1 or name not in ("has", "size"):
            raise _wrong(tree, f"{name}(…) is not offered; has(…) and size(…) take one argument")
        argument = given[0]
        if name == "has":
            field = _unwrapped(argument)
            if field.data != "member_dot":
                raise _wrong(argument, "has(…) needs a field, as has(attributes.city)")
            owner = self._expect(field.children[0], depth, "map")
            return self._has_key(cast("str", owner.constant), str(field.children[1]))
        part = self.of(argument, depth)
        if part.kind == "list":
            return _apply("number", lambda lists: cast("WordLists", lists).size, part)
        if part.kind == "text":
            return _apply(
                "number",
                lambda text: float(len(text)) if isinstance(text, str) else text.measure(len),
                part,
            )
        raise _wrong(argument, f"size(…) counts a list or a text; this is a {part.kind}")

    def _member_dot_arg(self, tree: lark.Tree[Any], depth: int) -> Part:
        owner, name, *rest = tree.children
        given = _arguments(*rest)
        if str(name) not in _TEXT_TESTS:
            raise _wrong(tree, f"{name}(…) is not offered; there are {', '.join(_TEXT_TESTS)}")
        if len(given) != 1:
            raise _wrong(tree, f"{name}(…) takes one argument")
        text = self._expect(owner, depth, "text")
        wanted = self._constant_text(given[0], depth)
        if str(name) == "matches":
            try:
                pattern(wanted)
            except WRONG as error:
                raise _wrong(given[0], f"not a regular expression (RE2): {error}") from error
        return _test_text(text, _TEXT_TESTS[str(name)](wanted))

    def _literal(self, tree: lark.Tree[Any], _depth: int) -> Part:
        token: Any = tree.children[0]
        value: Any
        if token.type in ("INT_LIT", "UINT_LIT", "FLOAT_LIT"):
            text = str(token).rstrip("uU")
            try:
                value = float(int(text, 0)) if "0x" in text else float(text)
            except OverflowError:
                raise _wrong(token, "this number is too large") from None
            return Part("number", lambda _: (value, None), value)
        if token.type in ("STRING_LIT", "MLSTRING_LIT"):
            try:
                value = ast.literal_eval(str(token))
            except (SyntaxError, ValueError) as error:
                raise _wrong(token, "this text holds an escape that is not known") from error
            if (why := unkeepable(value)) is not None:
                raise _wrong(token, f"this text {why}")
            return Part("text", lambda _: (value, None), value)
        if token.type == "BOOL_LIT":
            value = str(token) == "true"
            return Part("truth", lambda _: (value, None), value)
        raise _wrong(token, f"{token} is not offered; a number without a value compares as false")


def _apply(kind: Kind, work: Callable[[Any], Any], inner: Part) -> Part:
    def run(frame: Frame) -> Result:
        value, error = inner.run(frame)
        return work(value), error

    return Part(kind, run)


def _pointwise(kind: Kind, work: Callable[[Any, Any], Any], left: Part, right: Part) -> Part:
    def run(frame: Frame) -> Result:
        (a, ea), (b, eb) = left.run(frame), right.run(frame)
        return work(a, b), _either(ea, eb)

    return Part(kind, run)


def _test_text(text: Part, holds: Callable[[str], bool]) -> Part:
    return _apply(
        "truth",
        lambda words: holds(words) if isinstance(words, str) else cast("Words", words).where(holds),
        text,
    )


def _compare_text(compare: Callable[[Any, Any], Any], left: Part, right: Part) -> Part:
    if right.constant is not None:
        return _test_text(left, lambda word: bool(compare(word, right.constant)))
    if left.constant is not None:
        return _test_text(right, lambda word: bool(compare(left.constant, word)))

    def both(a: Words, b: Words) -> Flags:
        return np.fromiter(
            (
                compare(a.distinct[i], b.distinct[j])
                for i, j in zip(a.code.tolist(), b.code.tolist(), strict=True)
            ),
            np.bool_,
            len(a.code),
        )

    return _pointwise("truth", both, left, right)
