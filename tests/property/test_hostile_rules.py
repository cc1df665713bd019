"""Any segment rule that an administrator saves is refused by name, or runs; it ends no process."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.risk.lapse import LapseClock
from services.scoring.core.segments.columns import Frame, Words
from services.scoring.core.segments.expression import CHARS_MAX, DEPTH_MAX, Expression, Part
from services.scoring.core.segments.rules import NAMES, SegmentRule, SegmentRules, runnable
from services.scoring.handlers.value_policy_cache import ValuePolicyCache
from services.scoring.store.value_settings import InForce, SegmentRow
from shared.kernel.errors import Invalid
from tests.fakes.item_failures import no_failures

HOSTILE = (
    r"'\ud800'.matches('a')",
    r"band.matches('\ud800')",
    r"band == '\udfff'",
    r"'\x00' in needs",
    r"attributes['\ud800'] == 'a'",
    "purchases > 0x" + "f" * 400,
    "(" * 900 + "true" + ")" * 900,
    "!" * 1_500 + "true",
    "-" * 1_500 + "1 < 2",
    "band.matches('(a{1000}){1000}')",
    "band.matches('(')",
    "true && " * 200 + "true",
    "purchases > 1e999999",
    "x" * (CHARS_MAX + 1),
    "\0",
    "\ud800",
    "'\ud800' == band",
)
"""Rules that ended a loop, or might have."""

WORDS = st.sampled_from(
    [*NAMES, "true", "1", "0x1", "1e400", "-1", "'a'", r"'\ud800'", r"'\0'", r"'\U0010ffff'",
     "&&", "||", "==", "<", "in", "+", "/", "!", "-", "(", ")", "[", "]", ".matches(", ".contains(",
     "b'a'", "has(", "size(", "?", ":", ".", ",", "null", "'('", r"'\\'", "\n", "//", "客户", "'"]
)  # fmt: skip


def outcome(source: str) -> str:
    """Returns `run`, or the reason; anything but Invalid fails the test."""
    try:
        runnable(source)
    except Invalid as wrong:
        assert wrong.field == "expression"
        assert wrong.reason
        return wrong.reason
    return "run"


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: repr(source)[:40])
def test_what_ended_a_loop_is_refused_or_runs(source: str) -> None:
    """Quickly: no cost grows without bound with the rule's text."""
    began = time.process_time()
    outcome(source)
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (r"'\ud800'.matches('a')", "line 1, column 1: this text holds U+D800"),
        (r"band == '\x00'", "U+0000"),
        ("purchases > 0x" + "f" * 400, "too large"),
        ("band.matches('(')", "RE2"),
        ("(true && " * (DEPTH_MAX + 2) + "true" + ")" * (DEPTH_MAX + 2), "deep"),
    ],
)
def test_the_reason_names_the_cause(source: str, why: str) -> None:
    """With the place, where there is one."""
    assert why in outcome(source)


@given(st.lists(WORDS, max_size=14).map(" ".join) | st.text(st.characters(), max_size=40))
def test_any_rule_is_refused_or_runs(source: str) -> None:
    """Refused or run, and nothing else."""
    outcome(source)


def _broken() -> Expression:
    def run(frame: Frame) -> tuple[object, None]:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    return Expression("broken", frozenset({"band"}), Part("truth", run))


def test_a_rule_that_fails_fails_for_itself() -> None:
    """It has no members, the others keep theirs, and it is reported."""
    good = SegmentRule("good", 1, 1, runnable("band == 'high'"))
    rules = SegmentRules(1, (SegmentRule("bad", 1, 1, _broken()), good))
    frame = Frame(count=2, numbers={}, words={"band": Words.of(["high", "low"])})
    for _ in range(2):
        assert np.array_equal(rules.members(frame), [[False, False], [True, False]])
    assert rules.failed == {"bad": "failed on a customer: UnicodeEncodeError"}


class _Stored:
    """Rules that an earlier version let an administrator save."""

    async def in_force(self, known: tuple[int, int, int] | None) -> InForce | None:
        rows = [
            SegmentRow("good", 1, 1, "band == 'high'", None, act_on_existing=False),
            *(
                SegmentRow(f"bad-{n}", 1, n, source, None, act_on_existing=False)
                for n, source in enumerate(HOSTILE[:5])
            ),
        ]
        return None if known else InForce((0, 0, 1), None, None, rows)


async def test_what_is_stored_and_cannot_run_is_disabled() -> None:
    """The service starts, the others are in force, and it reports which are not."""
    valuing = ValuePolicyCache(_Stored(), 1.0, LapseClock(), no_failures())
    await valuing.refresh()
    assert [rule.id for rule in valuing.current().rules.items] == ["good"]
    assert sorted(valuing.unusable) == [f"bad-{n}" for n in range(5)]
