"""Any template is refused with its field or fills within bounds."""

import time

from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.alerts.connectors.core import template
from services.alerts.connectors.core.template import (
    TEMPLATE_LENGTH_MAX,
    context,
    fill,
    text_of,
)
from services.alerts.connectors.core.template_grammar import FILTERS, TESTS, TEXT_LENGTH_MAX
from shared.kernel.errors import Invalid
from tests.unit.alerts.connectors.notices import notice, task

KNOWN = {**context(notice(task()), "777"), "title": "x" * 4_000, "steps": ["y" * 100] * 100}
ATOMS = st.sampled_from(
    ["title", "steps", "reasons", "customer.name", "version", "probability", "owner", "nothing",
     "'x'", "'{x}'", "''", "3", "30000000", "1e308", "9" * 400, "[1]", "{}", "loop", "loop.index",
     "self", "cycler", "range", "True", "none"]
)  # fmt: skip
NAMES = st.sampled_from([*FILTERS, *TESTS, "format", "center", "map", "indent", "tojson", "list"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(
            inner,
            st.sampled_from(
                ["+", "-", "*", "/", "//", "**", "%", "~", "and", "or", "in", "==", "<"]
            ),
            inner,
        ).map(" ".join),
        st.tuples(inner, NAMES).map("|".join),
        st.tuples(inner, NAMES, inner, inner).map(lambda p: f"{p[0]}|{p[1]}({p[2]}, {p[3]})"),
        st.tuples(inner, NAMES).map(" is ".join),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})[{p[1]}]"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]})({p[1]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        inner.map(lambda e: f"({e}).__class__"),
        inner.map(lambda e: f"({e}).format(1)"),
        inner.map(lambda e: f"[{e}, {e}]"),
        inner.map(lambda e: f"(-({e}))"),
    ),
    max_leaves=12,
)
PIECES = st.recursive(
    st.one_of(EXPRESSIONS.map(lambda e: "{{ " + e + " }}"), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.tuples(EXPRESSIONS, inner).map(
            lambda p: "{% for a in " + p[0] + " %}" + p[1] + "{% endfor %}"
        ),
        st.tuples(EXPRESSIONS, inner, inner).map(
            lambda p: "{% if " + p[0] + " %}" + p[1] + "{% else %}" + p[2] + "{% endif %}"
        ),
        inner.map(lambda e: "{% macro m(x) %}" + e + "{{ m(1) }}{% endmacro %}{{ m(1) }}"),
        inner.map(lambda e: "{% set x = 1 %}" + e),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=6,
)
TEMPLATES = PIECES | st.text(alphabet="{}%#()[]'\"|.*ax1 \n-", max_size=60)


@given(TEMPLATES)
@settings(max_examples=500)
@example("{% for a in steps %}{% for a in steps %}{{ title|join(title) }}{% endfor %}{% endfor %}")
@example("{{ title|replace('x', title)|replace('x', title)|replace('x', title) }}")
@example("{{ title|replace('', title) }}")
@example("{{ title|truncate(1, true, title) }}")
@example("{{ 1.5|round(-100000000, 'floor') }}")
@example("{{ title * 30000000 }}")
@example("{{ " + "[" * 300 + "]" * 300 + " }}")
@example("{{ " + "-" * 900 + "version }}")
@example("{{ " + "not " * 400 + "version }}")
@example("{{ " + "version if version else " * 80 + "version }}")
def test_a_template_is_refused_or_fills_within_its_bounds(text: str) -> None:
    text = text[:TEMPLATE_LENGTH_MAX]
    try:
        template.check({"f": text}, "config.fields")
    except Invalid as wrong:
        assert wrong.field == "config.fields.f"
        assert wrong.reason
    try:
        assert len(text_of(text, KNOWN, "f")) <= TEXT_LENGTH_MAX
    except Invalid as wrong:
        assert wrong.field == "f"


OVER = st.sampled_from(["steps", "reasons", "[" + "1," * 99 + "1]"])
TEXT = "'a'|replace('a', '" + "b" * 80 + "')|replace('b', '" + "c" * 90 + "')"
SLOW = st.sampled_from(["upper", "title", "lower", "trim", "capitalize", "replace('c', 'd')"])
OF_TEXT = st.lists(SLOW, min_size=1, max_size=30).map(lambda names: "|".join([TEXT, *names]))
OF_PARTS = st.integers(2, 60).map(lambda n: " ~ ".join(["title"] * n))
BODIES = st.one_of(OF_TEXT, OF_PARTS, st.just("steps|join('-')"), st.just("'y' in steps"))
CPU_S_MAX = 2.0
"""Processor seconds for a record of many fields; without a bound one field takes minutes."""


@given(OVER, OVER, BODIES)
@settings(max_examples=40, deadline=None)
def test_loops_end_soon_whatever_they_do(outer: str, inner: str, body: str) -> None:
    """No other work runs meanwhile: the bound covers all fields of a record together."""
    turn = "{% if " + body + " == 1 %}{% endif %}"
    begin = "{% for a in " + outer + " %}{% for b in " + inner + " %}"
    end = "{% endfor %}{% endfor %}"
    text = begin + turn * ((TEMPLATE_LENGTH_MAX - len(begin + end)) // len(turn)) + end
    fields = {f"f{n}": text for n in range(10)}
    template.check(fields, "config.fields")
    began = time.process_time()
    try:
        assert fill(fields, KNOWN, "UTC") == {}
    except Invalid as wrong:
        assert "takes too long" in wrong.reason or "more than" in wrong.reason
    assert time.process_time() - began < CPU_S_MAX


def test_a_record_of_many_long_fields_is_filled() -> None:
    """The bound leaves room for real templates: each step and reason in each field."""
    steps = "{% for s in steps %}{{ s|trim|truncate(20) }}{% endfor %}"
    reasons = "{% for r in reasons %}{{ r.text }}{% endfor %}"
    fields = {f"f{n}": steps + reasons for n in range(100)}
    known = KNOWN | {"steps": ["y" * 200] * 20}
    assert len(fill(fields, known, "UTC")) == 100
