"""Sentences: every reason that scoring can send, in both languages, with its own numbers."""

from typing import get_args

import pytest

from services.alerts.connectors.wecom.cards import ENDS
from services.alerts.core.customer import CloseReason
from services.alerts.core.signs import CHURNED, POLICY_RULE
from services.alerts.core.task import HELPED, HELPED_BY_CALL
from services.alerts.core.wording.catalogue import (
    FALLBACK,
    SENTENCES,
    Variant,
    language_of,
    sentence,
)
from services.alerts.core.wording.numbers import LANGUAGES, Fact, number
from services.alerts.core.wording.tasks import close_text
from services.scoring.core.risk.reason_catalogue import REASONS
from shared.contracts.risk import Reason
from shared.contracts.signs import URGENCY

SILENCE_FACTS = ("days_silent", "usual_gap_days", "longest_gap_days", "lapse_days", "lapse_share")
SIGN_FACTS = {
    "complaint_open": ("complaints_open", "days_since_complaint"),
    "satisfaction_low": ("survey_score", "survey_change"),
    "recommendation_low": ("recommendation_score", "recommendation_change"),
    "contract_ending": ("days_to_end",),
    "points_expiring": ("points_expiring", "days_to_expiry", "expires_on"),
    "level_lowered": ("days_since_lowered",),
    "slipping_again": SILENCE_FACTS,
    "silence_beyond_rhythm": SILENCE_FACTS,
    "frequency_falling": ("purchases_recent", "purchases_before", "window_days"),
    "interaction_falling": ("interactions_recent", "interactions_before"),
    "value_falling": ("order_value_recent", "order_value_before"),
    "new_and_quiet": SILENCE_FACTS,
}
"""The facts of a sign; a fact's name means the same in a sign and in a reason."""
OF_REASONS = {spec.code: frozenset(spec.facts) for spec in REASONS}
OWN = {
    CHURNED: frozenset({"days_silent", "usual_gap_days"}),
    POLICY_RULE: frozenset[str](),
    HELPED: frozenset({"per_hundred"}),
    HELPED_BY_CALL: frozenset({"per_hundred"}),
}
"""Causes and reasons that alerts finds by itself."""


def quoted(code: str) -> list[frozenset[str]]:
    """Return the sets of facts that a code may come with."""
    found = [OF_REASONS.get(code), OWN.get(code)]
    found += [frozenset(SIGN_FACTS[code])] if code in SIGN_FACTS else []
    return [facts for facts in found if facts is not None]


def said(code: str, language: str = "en", **facts: float) -> str:
    known = {"en": LANGUAGES[0], "zh-CN": LANGUAGES[1]}[language]
    return sentence(Reason(code=code, impact=1.0, facts=facts), known, "USD")


def test_every_end_of_a_task_has_words_in_both_languages() -> None:
    for reason in get_args(CloseReason):
        in_english, in_chinese = (close_text(reason, language) for language in LANGUAGES)
        assert in_english != reason
        assert in_chinese not in {reason, in_english}
    assert set(ENDS) == set(get_args(CloseReason))
    assert all(english != chinese for english, chinese in ENDS.values())


def test_every_code_of_scoring_has_words_and_no_other_has() -> None:
    """Checks R26."""
    assert SIGN_FACTS.keys() == set(URGENCY)
    assert SENTENCES.keys() == OF_REASONS.keys() | SIGN_FACTS.keys() | OWN.keys()


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_sentences_quote_only_what_scoring_sends(code: str) -> None:
    """Each variant fits a reason or a sign, and each code has one with numbers."""
    for variant in SENTENCES[code]:
        assert any(variant.facts() <= facts for facts in quoted(code))
    for facts in quoted(code):
        said_of = [v for v in SENTENCES[code] if v.facts() and v.facts() <= facts]
        assert said_of or not facts


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_the_last_variant_needs_nothing(code: str) -> None:
    last = SENTENCES[code][-1]
    assert not last.facts()
    assert last.when({})


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_both_languages_quote_the_same_facts(code: str) -> None:
    for variant in SENTENCES[code]:
        in_english = Variant(variant.en, variant.en).facts()
        in_chinese = Variant(variant.zh, variant.zh).facts()
        assert in_english == in_chinese


@pytest.mark.parametrize(
    ("code", "facts", "english", "chinese"),
    [
        ("silence_beyond_rhythm", {"usual_gap_days": 9.2, "days_silent": 31.4},
         "Buys every 9.2 days, now silent for 31 days", "通常每 9.2 天购买一次，现已 31 天未购买"),
        ("silence_beyond_rhythm",
         {"usual_gap_days": 1.0, "days_silent": 12.0, "longest_gap_days": 7.0},
         "Buys every day, now silent for 12 days: longer than ever before (at most 7 days)",
         "通常每天购买一次，现已 12 天未购买，超过以往任何一次间隔（最长 7 天）"),
        ("frequency_falling", {"purchases_recent": 1.0, "purchases_before": 6.0},
         "Bought on 1 day in the last four weeks, on 6 days in the four weeks before",
         "最近四周有 1 天购买，此前四周有 6 天"),
        ("frequency_falling", {"purchases_recent": 0.0, "purchases_before": 6.0},
         "Has not bought in the last four weeks; bought on 6 days in the four weeks before",
         "最近四周没有购买，此前四周有 6 天购买"),
        ("frequency_falling",
         {"purchases_recent": 2.0, "purchases_before": 7.5, "window_days": 42.0},
         "Bought on 2 days in the last 42 days; used to buy on 7.5 days in such a time",
         "最近 42 天内有 2 天购买，以往同样长的时间内有 7.5 天购买"),
        ("frequency_falling",
         {"purchases_recent": 0.0, "purchases_before": 7.0, "window_days": 42.0},
         "Has not bought in the last 42 days; used to buy on 7 days in such a time",
         "最近 42 天没有购买，以往同样长的时间内有 7 天购买"),
        ("recommendation_low", {"recommendation_score": 4.0, "recommendation_change": -5.0},
         "Would recommend us: fell by 5 to 4 of 10", "推荐意愿下降 5 分，降至 4 分（满分 10 分）"),
        ("recommendation_low", {"recommendation_score": 4.0},
         "Would recommend us: 4 of 10", "推荐意愿 4 分（满分 10 分）"),
        ("contract_ending", {"days_to_end": 12.0},
         "The contract ends in 12 days", "合同将在 12 天后到期"),
        ("contract_ending", {"days_to_end": 0.0}, "The contract ends today", "合同今天到期"),
        ("points_expiring", {"points_expiring": 1200.0, "expires_on": 17531.0},
         "1,200 points expire on 31 December", "1,200 积分将于 12 月 31 日到期"),
        ("points_expiring", {"points_expiring": 1.0, "expires_on": 17531.0},
         "1 point expires on 31 December", "1 积分将于 12 月 31 日到期"),
        ("points_expiring",
         {"points_expiring": 80.0, "expires_on": 1e300, "days_to_expiry": 12.0},
         "80 points expire within 12 days", "80 积分将在 12 天内到期"),
        ("level_lowered", {"days_since_lowered": 12.0},
         "The loyalty level was lowered 12 days ago", "会员等级在 12 天前被下调"),
        ("level_lowered", {"days_since_lowered": 0.2},
         "The loyalty level was lowered", "会员等级被下调"),
        ("policy_rule", {},
         "A rule of the company asks to look after this customer", "公司规则要求跟进该客户"),
        ("interaction_falling", {"interactions_recent": 1.94, "interactions_before": 12.4},
         "Interactions fell from about 12 to about 1.9 in four weeks",
         "每四周的互动次数从约 12 次降到约 1.9 次"),
        ("value_falling", {"order_value_recent": 20.5, "order_value_before": 1234.5},
         "Orders are worth 20.50 USD lately, 1,234.50 USD over the year",
         "近期平均订单金额为 20.50 USD，全年平均为 1,234.50 USD"),
        ("complaint_open", {"complaints_open": 1.0, "days_since_complaint": 12.0},
         "1 complaint not resolved, the latest news 12 days ago",
         "1 起投诉尚未解决，最近一次投诉动态在 12 天前"),
        ("complaint_open", {"complaints_open": 2.0},
         "2 complaints not resolved", "2 起投诉尚未解决"),
        ("satisfaction_low", {"survey_score": 4.0, "survey_change": -3.0},
         "Satisfaction fell by 3 to 4 of 10", "满意度下降 3 分，降至 4 分（满分 10 分）"),
        ("satisfaction_low", {"survey_score": 4.0, "survey_change": 2.0},
         "Satisfaction 4 of 10", "满意度 4 分（满分 10 分）"),
        ("satisfaction_low", {"recommendation_score": 2.5},
         "Would recommend us: 2.5 of 10", "推荐意愿 2.5 分（满分 10 分）"),
        ("new_and_quiet", {"days_silent": 40.0, "purchase_days": 1.0},
         "Bought for the first time 40 days ago and has not come back since",
         "40 天前首次购买，之后再未购买"),
        ("seldom_buyer", {"purchase_days": 1.0, "days_since_first": 120.0, "days_silent": 120.0},
         "Has bought only once, 120 days ago", "仅购买过一次，在 120 天前"),
        ("seldom_buyer", {"purchase_days": 3.0, "days_since_first": 200.0, "days_silent": 60.0},
         "Has bought on 3 days in 200 days, the last time 60 days ago",
         "200 天内有 3 天购买，最近一次在 60 天前"),
        ("tomorrows_code", {"x": 1.0}, FALLBACK.en, FALLBACK.zh),
    ],
)  # fmt: skip
def test_reasons_are_worded_as_in_the_examples(
    code: str, facts: dict[str, float], english: str, chinese: str
) -> None:
    assert said(code, "en", **facts) == english
    assert said(code, "zh-CN", **facts) == chinese


@pytest.mark.parametrize(
    ("value", "text"), [(0.04, "0"), (0.96, "1"), (9.96, "10"), (10.4, "10"), (12345.6, "12,346")]
)
def test_numbers_are_written_as_each_language_does(value: float, text: str) -> None:
    assert number(value) == text


def test_one_is_singular_in_english() -> None:
    assert f"{Fact(0.98, 'en', 'USD'):days}" == "1 day"
    assert f"{Fact(1.2, 'en', 'USD'):days}" == "1.2 days"


def test_a_language_that_is_not_spoken_here_falls_back() -> None:
    assert language_of("fr", "zh-CN") == "zh-CN"
    assert language_of("zh-TW") == "zh-CN"
