"""Segment rules: their syntax, their meaning, and the position of an error (R16)."""

import numpy as np
import pytest

from services.scoring.core.segments.columns import Frame, WordLists, Words
from services.scoring.core.segments.expression import compile_rule
from services.scoring.core.segments.rules import NAMES
from shared.kernel.errors import Invalid

FRAME = Frame(
    count=3,
    numbers={
        "purchases": np.array([1.0, 5.0, np.nan]),
        "spent": np.array([10.0, 500.0, 0.0]),
        "do_not_contact": np.array([True, False, False]),
    },
    words={
        "region": Words.of(["north", "south", None]),
        "grade": Words.of(["vip", "regular", "vip"]),
    },
    lists={"needs": WordLists.of([["price_sensitive"], [], ["household", "price_sensitive"]])},
    maps={"attributes": [{"city": "Ulm"}, {"city": "Bonn", "tier": "a"}, {}]},
)


@pytest.mark.parametrize(
    ("source", "members"),
    [
        ("purchases > 3", [False, True, False]),
        ("purchases == 5", [False, True, False]),
        ("!(purchases > 3)", [True, False, True]),
        ("spent / purchases >= 10.0", [True, True, False]),
        ("-purchases * 2 + 1 < -8", [False, True, False]),
        ("region == 'north' || grade != 'vip'", [True, True, False]),
        ('region in ["south", "east"]', [False, True, False]),
        ("region == ''", [False, False, True]),
        ("purchases in [1, 2]", [True, False, False]),
        ("'price_sensitive' in needs", [True, False, True]),
        ("'unknown' in needs", [False, False, False]),
        ("size(needs) == 2", [False, False, True]),
        ("size(region) > 0", [True, True, False]),
        ("region.startsWith('s') && grade.matches('^reg')", [False, True, False]),
        ("attributes.city == 'Ulm'", [True, False, False]),
        ("attributes['tier'] == 'a'", [False, True, False]),
        ("has(attributes.tier)", [False, True, False]),
        ("'tier' in attributes", [False, True, False]),
        ("attributes.tier != 'b'", [False, True, False]),
        ("attributes.tier == 'b' || spent < 1.0", [False, False, True]),
        ("purchases > 3 ? spent > 1 : do_not_contact", [True, True, False]),
        ("do_not_contact", [True, False, False]),
        ("true", [True, True, True]),
        ("region > grade", [False, True, False]),
        ("region in []", [False, False, False]),
    ],
)
def test_R16_a_rule_selects_the_customers_that_it_describes(
    source: str, members: list[bool]
) -> None:
    assert compile_rule(source, NAMES).members(FRAME).tolist() == members


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("purchases >", "line 1, column", "not understood"),
        ("purchases >> 3", "line 1, column 12", "not understood"),
        ("spent > 3 &&\n  purchasess > 1", "line 2, column 3", "purchasess is not known"),
        ("spent > 'a'", "line 1, column 9", "number cannot be compared with a text"),
        ("spent", "line 1, column 1", "true or false"),
        ("spent > 1 && region", "line 1, column 14", "a truth is needed"),
        ("region.lower() == 'a'", "line 1, column 1", "lower(…) is not offered"),
        ("needs.exists(n, n == 'a')", "line 1", "exists(…) is not offered"),
        ("spent % 2 == 0", "line 1, column 9", "% is not offered"),
        ("region.matches('(')", "line 1, column 16", "not a regular expression"),
        ("timestamp('2020') > 1", "line 1, column 1", "timestamp(…) is not offered"),
        ("{'a': 1} == 1", "line 1", "not offered"),
        ("region == null", "line 1", "not offered"),
        ("attributes == 'a'", "line 1, column 15", "map cannot be compared"),
        ("region in [1]", "line 1, column 12", "only text constants"),
        ("", "line 1, column 1", "empty"),
        ("(" * 60 + "true" + ")" * 60 + " && " + "!" * 60 + "true", "line 1", "nested"),
    ],
)
def test_R16_a_mistake_is_reported_with_its_place(source: str, place: str, words: str) -> None:
    with pytest.raises(Invalid) as found:
        compile_rule(source, NAMES)
    assert found.value.field == "expression"
    assert place in found.value.reason
    assert words in found.value.reason


def test_a_rule_has_a_longest_length() -> None:
    with pytest.raises(Invalid, match="at most 2000"):
        compile_rule("true || " * 300 + "true", NAMES)


def test_a_rule_lists_the_columns_that_it_reads() -> None:
    rule = compile_rule("spent > 1 && attributes.city == region", NAMES)
    assert rule.names == {"spent", "attributes", "region"}
