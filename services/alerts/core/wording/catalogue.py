"""The sentences of each reason code, in both languages, filled with the numbers of the reason.

It is the only place with user-facing words about reasons. The first variant of a code that fits the
facts is used; the last needs no fact, so that there is always a true sentence. It never computes:
scoring supplies the facts as they are shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from string import Formatter
from typing import Final

from services.alerts.core.wording.numbers import LANGUAGES, Fact, Language, is_day
from shared.contracts.risk import Reason

Facts = Mapping[str, float]


def _always(_: Facts) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Variant:
    """One wording of a reason; usable where all its placeholders are known and `when` holds."""

    en: str
    zh: str
    when: Callable[[Facts], bool] = _always

    def text(self, language: Language) -> str:
        """Return the template in a language."""
        return self.zh if language == "zh-CN" else self.en

    def facts(self) -> frozenset[str]:
        """Return the names of the facts that it quotes, in either language."""
        return _quoted(self.en) | _quoted(self.zh)


@cache
def _quoted(text: str) -> frozenset[str]:
    """Return the names that a template quotes; cached, since it is needed for every task."""
    return frozenset(name for _, name, _, _ in Formatter().parse(text) if name is not None)


SENTENCES: Final[Mapping[str, tuple[Variant, ...]]] = {
    "silence_beyond_rhythm": (
        Variant(
            "Buys {usual_gap_days:every}, now silent for {days_silent:days}: longer than ever "
            "before (at most {longest_gap_days:days})",
            "通常{usual_gap_days:every}购买一次，现已 {days_silent:days}未购买，"
            "超过以往任何一次间隔（最长 {longest_gap_days:days}）",
            lambda f: f["days_silent"] > f["longest_gap_days"],
        ),
        Variant(
            "Buys {usual_gap_days:every}, now silent for {days_silent:days}",
            "通常{usual_gap_days:every}购买一次，现已 {days_silent:days}未购买",
        ),
        Variant("Silent for longer than usual", "未购买的时间已超过平时的间隔"),
    ),
    "slipping_again": (
        Variant(
            "Was won back and now slips again: buys {usual_gap_days:every}, silent for "
            "{days_silent:days}",
            "曾流失后被挽回，现又出现流失迹象：通常{usual_gap_days:every}购买一次，"
            "已 {days_silent:days}未购买",
        ),
        Variant(
            "Was won back and now slips again: silent for {days_silent:days}",
            "曾流失后被挽回，现又出现流失迹象：已 {days_silent:days}未购买",
        ),
        Variant("Was won back and now slips again", "曾流失后被挽回，现又出现流失迹象"),
    ),
    "churned": (
        Variant(
            "Has left: used to buy {usual_gap_days:every}, nothing for {days_silent:days}",
            "客户已流失：以前{usual_gap_days:every}购买一次，已 {days_silent:days}未购买",
        ),
        Variant(
            "Has left: nothing bought for {days_silent:days}",
            "客户已流失：已 {days_silent:days}未购买",
        ),
        Variant("Has left", "客户已流失"),
    ),
    "frequency_falling": (
        Variant(
            "Has not bought in the last {window_days:days}; used to buy on "
            "{purchases_before:days} in such a time",
            "最近 {window_days:days}没有购买，以往同样长的时间内有 {purchases_before:days}购买",
            lambda f: f["purchases_recent"] == 0,
        ),
        Variant(
            "Bought on {purchases_recent:days} in the last {window_days:days}; used to buy on "
            "{purchases_before:days} in such a time",
            "最近 {window_days:days}内有 {purchases_recent:days}购买，以往同样长的时间内有 "
            "{purchases_before:days}购买",
        ),
        Variant(
            "Has not bought in the last four weeks; bought on {purchases_before:days} in "
            "the four weeks before",
            "最近四周没有购买，此前四周有 {purchases_before:days}购买",
            lambda f: f.get("purchases_recent") == 0,
        ),
        Variant(
            "Bought on {purchases_recent:days} in the last four weeks, on "
            "{purchases_before:days} in the four weeks before",
            "最近四周有 {purchases_recent:days}购买，此前四周有 {purchases_before:days}",
        ),
        Variant("Buys less often than before", "购买次数比以前减少"),
    ),
    "interaction_falling": (
        Variant(
            "Interactions fell from about {interactions_before:number} to about "
            "{interactions_recent:number} in four weeks",
            "每四周的互动次数从约 {interactions_before:number} 次降到约 "
            "{interactions_recent:number} 次",
        ),
        Variant("Interacts less than before", "互动比以前减少"),
    ),
    "value_falling": (
        Variant(
            "Orders are worth {order_value_recent:money} lately, {order_value_before:money} over "
            "the year",
            "近期平均订单金额为 {order_value_recent:money}，全年平均为 {order_value_before:money}",
        ),
        Variant("Orders are worth less than before", "订单金额比以前减少"),
    ),
    "complaint_open": (
        Variant(
            "{complaints_open:complaints} not resolved, the latest news {days_since_complaint:days}"
            " ago",
            "{complaints_open:complaints}尚未解决，"
            "最近一次投诉动态在 {days_since_complaint:days}前",
        ),
        Variant(
            "{complaints_open:complaints} not resolved", "{complaints_open:complaints}尚未解决"
        ),
        Variant("A complaint is not resolved", "有投诉尚未解决"),
    ),
    "satisfaction_low": (
        Variant(
            "Satisfaction fell by {survey_change:number} to {survey_score:number} of 10; would "
            "recommend us: {recommendation_score:number} of 10",
            "满意度下降 {survey_change:number} 分，降至 {survey_score:number} 分（满分 10 分）；"
            "推荐意愿 {recommendation_score:number} 分",
            lambda f: f["survey_change"] < 0,
        ),
        Variant(
            "Satisfaction fell by {survey_change:number} to {survey_score:number} of 10",
            "满意度下降 {survey_change:number} 分，降至 {survey_score:number} 分（满分 10 分）",
            lambda f: f["survey_change"] < 0,
        ),
        Variant(
            "Satisfaction {survey_score:number} of 10; would recommend us: "
            "{recommendation_score:number} of 10",
            "满意度 {survey_score:number} 分，推荐意愿 {recommendation_score:number} 分"
            "（满分 10 分）",
        ),
        Variant(
            "Satisfaction {survey_score:number} of 10",
            "满意度 {survey_score:number} 分（满分 10 分）",
        ),
        Variant(
            "Would recommend us: {recommendation_score:number} of 10",
            "推荐意愿 {recommendation_score:number} 分（满分 10 分）",
        ),
        Variant("Is not satisfied", "满意度偏低"),
    ),
    "recommendation_low": (
        Variant(
            "Would recommend us: fell by {recommendation_change:number} to "
            "{recommendation_score:number} of 10",
            "推荐意愿下降 {recommendation_change:number} 分，降至 "
            "{recommendation_score:number} 分（满分 10 分）",
            lambda f: f["recommendation_change"] < 0,
        ),
        Variant(
            "Would recommend us: {recommendation_score:number} of 10",
            "推荐意愿 {recommendation_score:number} 分（满分 10 分）",
        ),
        Variant("Would hardly recommend us", "推荐意愿偏低"),
    ),
    "contract_ending": (
        Variant(
            "The contract ends in {days_to_end:days}",
            "合同将在 {days_to_end:days}后到期",
            lambda f: f["days_to_end"] > 0,
        ),
        Variant("The contract ends today", "合同今天到期", lambda f: f.get("days_to_end") == 0),
        Variant("The contract ends soon", "合同即将到期"),
    ),
    "points_expiring": (
        Variant(
            "{points_expiring:points_expire} on {expires_on:date}",
            "{points_expiring:points_expire}将于 {expires_on:date}到期",
            lambda f: is_day(f["expires_on"]),
        ),
        Variant(
            "{points_expiring:points_expire} within {days_to_expiry:days}",
            "{points_expiring:points_expire}将在 {days_to_expiry:days}内到期",
        ),
        Variant("Loyalty points expire soon", "积分即将到期"),
    ),
    "level_lowered": (
        Variant(
            "The loyalty level was lowered {days_since_lowered:days} ago",
            "会员等级在 {days_since_lowered:days}前被下调",
            lambda f: f["days_since_lowered"] >= 1,
        ),
        Variant("The loyalty level was lowered", "会员等级被下调"),
    ),
    "policy_rule": (
        Variant(
            "A rule of the company asks to look after this customer",
            "公司规则要求跟进该客户",
        ),
    ),
    "new_and_quiet": (
        Variant(
            "Bought for the first time {days_silent:days} ago and has not come back since",
            "{days_silent:days}前首次购买，之后再未购买",
        ),
        Variant("Has not come back since the first purchase", "首次购买后再未购买"),
    ),
    "responds_to_call": (
        Variant(
            "Customers like this came back more often after a call than without: about "
            "{per_hundred:number} more of 100",
            "同类客户在电话联系后回购更多：与未联系相比，每 100 位约多 {per_hundred:number} 位",
        ),
        Variant(
            "Customers like this came back more often after a call than without",
            "同类客户在电话联系后比未联系时更常回购",
        ),
    ),
    "responds": (
        Variant(
            "Customers like this came back more often when they were contacted than when not: "
            "about {per_hundred:number} more of 100",
            "同类客户在跟进后回购更多：与未跟进相比，每 100 位约多 {per_hundred:number} 位",
        ),
        Variant(
            "Customers like this came back more often when they were contacted than when not",
            "同类客户在跟进后比未跟进时更常回购",
        ),
    ),
    "seldom_buyer": (
        Variant(
            "Has bought only once, {days_silent:days} ago",
            "仅购买过一次，在 {days_silent:days}前",
            lambda f: f.get("purchase_days") == 1,
        ),
        Variant(
            "Has bought on {purchase_days:days} in {days_since_first:days}, the last time "
            "{days_silent:days} ago",
            "{days_since_first:days}内有 {purchase_days:days}购买，最近一次在 {days_silent:days}前",
        ),
        Variant("Buys seldom", "购买很少"),
    ),
}
"""Reason code -> its variants, the most detailed first."""

FALLBACK: Final = Variant("The risk of losing this customer has risen", "该客户的流失风险上升")
"""The sentence for a code that this version does not know: true for every task, and not empty."""


def sentence(reason: Reason, language: Language, currency: str) -> str:
    """Return the reason as a sentence.

    >>> r = Reason(code="silence_beyond_rhythm", impact=1.0,
    ...            facts={"usual_gap_days": 9.0, "days_silent": 31.0})
    >>> sentence(r, "en", "USD")
    'Buys every 9 days, now silent for 31 days'
    >>> sentence(r, "zh-CN", "USD")
    '通常每 9 天购买一次，现已 31 天未购买'
    """
    variant = _variant(reason)
    shown = {name: Fact(reason.facts[name], language, currency) for name in variant.facts()}
    return variant.text(language).format_map(shown)


def language_of(tag: str | None, default: Language = "en") -> Language:
    """Return the supported language nearest to a BCP 47 tag; any Chinese becomes Simplified.

    >>> language_of("zh-Hans-CN"), language_of("en-GB"), language_of("de"), language_of(None)
    ('zh-CN', 'en', 'en', 'en')
    """
    if tag is None:
        return default
    primary = tag.split("-", 1)[0].lower()
    return next((known for known in LANGUAGES if known.split("-", 1)[0] == primary), default)


def _variant(reason: Reason) -> Variant:
    for variant in SENTENCES.get(reason.code, ()):
        if variant.facts() <= reason.facts.keys() and variant.when(reason.facts):
            return variant
    return FALLBACK
