"""Whatever is put together as a template, it is refused with its field or fills within bounds."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.alerts.core.connectors import template
from services.alerts.core.connectors.grammar import FILTERS, TESTS, TEXT_LENGTH_MAX
from services.alerts.core.connectors.template import TEMPLATE_LENGTH_MAX, context, text_of
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
