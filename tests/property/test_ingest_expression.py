"""Compiled JMESPath expressions against the library's own interpreter."""

import json
from typing import Any

import jmespath
import jmespath.exceptions
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.core.mapping.expression import compile_expression
from services.ingest.core.mapping.scope import STEPS_MAX, Mistake, Refused, Scope

ODD = ("a'b", 'q"', "\\", "\n", "{a}", "客", "#", "__class__")
"""Names that would end a literal, or mean something, in a source that did not quote them."""

FIELDS = st.sampled_from(["a", "b", "c", *ODD])
NAMES = FIELDS.map(lambda name: json.dumps(name) if name in ODD else name)
LEAVES = (
    st.none() | st.booleans() | st.sampled_from([0, 1, 2.5, -1]) | st.sampled_from(["", "x", "y"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=3),
    max_leaves=12,
)
LITERALS = st.sampled_from(
    ["`1`", "`0`", "`true`", "`false`", "`null`", "'x'", "'a\\n'", "`[1, 2]`", '`{"a": 0}`']
)


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, NAMES).map(lambda x: f"({x[0]}).{x[1]}"),
        st.tuples(inner, st.integers(-2, 2)).map(lambda x: f"({x[0]})[{x[1]}]"),
        st.tuples(inner, inner).map(lambda x: f"({x[0]})[?{x[1]}]"),
        inner.map(lambda x: f"({x})[*]"),
        inner.map(lambda x: f"({x})[]"),
        inner.map(lambda x: f"({x}).*"),
        inner.map(lambda x: f"({x})[::-1]"),
        inner.map(lambda x: f"({x})[1:]"),
        inner.map(lambda x: f"!({x})"),
        inner.map(lambda x: f"type({x})"),
        inner.map(lambda x: f"to_string({x})"),
        inner.map(lambda x: f"sort_by(({x}), &a)"),
        inner.map(lambda x: f"map(&b, ({x}))"),
        two.map(lambda x: f"not_null({x[0]}, {x[1]})"),
        two.map(lambda x: f"({x[0]}) || ({x[1]})"),
        two.map(lambda x: f"({x[0]}) && ({x[1]})"),
        two.map(lambda x: f"({x[0]}) | ({x[1]})"),
        two.map(lambda x: f"[{x[0]}, {x[1]}]"),
        st.tuples(NAMES, inner, inner).map(lambda x: f"{{{x[0]}: {x[1]}, b: {x[2]}}}"),
        st.tuples(inner, st.sampled_from(["==", "!=", "<", ">="]), inner).map(
            lambda x: f"({x[0]}) {x[1]} ({x[2]})"
        ),
    )


EXPRESSIONS = st.recursive(NAMES | LITERALS | st.just("@"), _wider, max_leaves=6)


@given(EXPRESSIONS, VALUES)
def test_same_result_as_the_library(expression: str, value: Any) -> None:
    """A compiled expression gives what the interpreter gives, and fails where it fails."""
    try:
        expected = jmespath.search(expression, value)
    except TypeError:
        return  # the library compares a number with a text; ours gives null
    except jmespath.exceptions.JMESPathError:
        with pytest.raises(jmespath.exceptions.JMESPathError):
            compile_expression(expression)(value, Scope(value, 0))
        return
    found = compile_expression(expression)(value, Scope(value, 0))
    assert repr(found) == repr(expected)


@given(st.text(max_size=30) | st.text("ab.[]*?|&!`'\"(){},:@ 1", max_size=30))
def test_any_text_is_an_expression_or_a_mistake(text: str) -> None:
    """Whatever is written is compiled or refused with a reason, and nothing else happens."""
    try:
        compile_expression(text)
    except Mistake as error:
        assert str(error)


def test_costs_are_bounded() -> None:
    """An expression that multiplies lists is stopped."""
    grow = compile_expression("[@,@,@,@][]" * 12)
    with pytest.raises(Refused, match=f"{STEPS_MAX:,} list elements"):
        grow([1], Scope(None, 0))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f"coalesce({', '.join(['b'] * 300)}, a)", 1),
        ("a" + " || b" * 30, 1),
        (".".join(["b"] * 400), None),
        ("[*]" * 30, None),
        ("(" * 30 + "b" + " || a)" * 30, 1),
        ("[?@" * 12 + "]" * 12, None),
        (f"concat({', '.join(['a'] * 300)})", "1" * 300),
    ],
)
def test_long_expressions_are_compiled(expression: str, expected: Any) -> None:
    """Python's own bounds, on blocks and brackets within one another, are not met."""
    assert compile_expression(expression)({"a": 1}, Scope(None, 0)) == expected


@pytest.mark.parametrize(
    "expression", ['`"\\u0000"`', '"\\u0000"', '{"\\u0000": a}', '`"\\ud800"`']
)
def test_constants_can_be_stored(expression: str) -> None:
    """What no record may hold is not in an expression either."""
    with pytest.raises(Mistake, match=r"NUL|surrogate"):
        compile_expression(expression)


@pytest.mark.parametrize("text", ["!" * 60 + "a", "[" * 60 + "a" + "]" * 60, "!" * 990 + "a"])
def test_deep_expressions_are_mistakes(text: str) -> None:
    """Nesting never ends the process."""
    with pytest.raises(Mistake):
        compile_expression(text)
