"""Rules on columns give the same results as cel-python's own evaluator, customer by customer."""

import math
from typing import Any

import numpy as np
from celpy import Environment, celtypes
from celpy.evaluation import CELEvalError
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scoring.core.segments.columns import Frame, WordLists, Words
from services.scoring.core.segments.expression import Kind, compile_rule

NAMES: dict[str, Kind] = {
    "x": "number", "y": "number", "s": "text", "t": "text", "l": "list", "m": "map",
}  # fmt: skip
WORDS = ("", "a", "ab", "ba", "b")
NUMBERS = (0.0, 1.0, -1.0, 2.5, math.nan, math.inf)
ENVIRONMENT = Environment()

number = st.recursive(
    st.one_of(st.sampled_from(["x", "y"]), st.sampled_from(["0.0", "1.0", "2.5", "-1.0", "1e3"])),
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner),
        st.builds("(-{})".format, inner),
    ),
    max_leaves=4,
)
text = st.one_of(
    st.sampled_from(["s", "t"]), st.sampled_from([f"'{word}'" for word in WORDS]),
    st.sampled_from(["m.k", "m['j']"]),
)  # fmt: skip
relation = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
truth = st.recursive(
    st.one_of(
        st.builds("{} {} {}".format, number, relation, number),
        st.builds("{} {} {}".format, text, relation, text),
        st.builds(
            "{}.{}('{}')".format, text, st.sampled_from(["startsWith", "endsWith", "contains"]),
            st.sampled_from(WORDS),
        ),
        st.builds("{}.matches('{}')".format, text, st.sampled_from(["^a", "b$", "a.*b", ""])),
        st.builds("'{}' in l".format, st.sampled_from(WORDS)),
        st.builds("{} in ['a', 'ba']".format, text),
        st.builds("x in [1.0, {}]".format, st.sampled_from(["0.0", "2.5"])),
        st.builds("size(l) > {}".format, st.integers(0, 3)),
        st.builds("size({}) >= {}".format, text, st.integers(0, 2)),
        st.sampled_from(["has(m.k)", "'j' in m", "true", "false"]),
    ),
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=6,
)  # fmt: skip
customer = st.fixed_dictionaries(
    {
        "x": st.sampled_from(NUMBERS),
        "y": st.sampled_from(NUMBERS),
        "s": st.sampled_from(WORDS),
        "t": st.sampled_from(WORDS),
        "l": st.lists(st.sampled_from(WORDS), max_size=3, unique=True),
        "m": st.dictionaries(st.sampled_from(["k", "j"]), st.sampled_from(WORDS)),
    }
)


def oracle(source: str, one: dict[str, Any]) -> bool:
    """Returns the library's result; an error means no membership."""
    given: Any = {
        "x": celtypes.DoubleType(one["x"]),
        "y": celtypes.DoubleType(one["y"]),
        "s": celtypes.StringType(one["s"]),
        "t": celtypes.StringType(one["t"]),
        "l": celtypes.ListType([celtypes.StringType(w) for w in one["l"]]),
        "m": celtypes.MapType(
            {celtypes.StringType(k): celtypes.StringType(v) for k, v in one["m"].items()}
        ),
    }
    try:
        return bool(ENVIRONMENT.program(ENVIRONMENT.compile(source)).evaluate(given))
    except CELEvalError:
        return False


@given(source=truth, customers=st.lists(customer, min_size=1, max_size=6))
@settings(max_examples=300)
def test_R16_a_rule_on_columns_agrees_with_the_library(
    source: str, customers: list[dict[str, Any]]
) -> None:
    frame = Frame(
        count=len(customers),
        numbers={n: np.array([one[n] for one in customers], np.float64) for n in "xy"},
        words={n: Words.of([str(one[n]) for one in customers]) for n in "st"},
        lists={"l": WordLists.of([list(one["l"]) for one in customers])},
        maps={"m": [dict(one["m"]) for one in customers]},
    )
    found = compile_rule(source, NAMES).members(frame).tolist()
    assert found == [oracle(source, one) for one in customers], source
