"""The words of the backtest's page, in English and Simplified Chinese.

Everything on the page except names and numbers. The sentences of causes are alerts'
(`services/alerts/core/wording`).
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

from services.alerts.core.wording.numbers import Language, number

WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("Who is leaving: {}", "谁在流失：{}"),
    "headline": (
        "{noticed:,} of {lapses:,} customers who stopped were noticed in time, {days} before "
        "they would have been lost.",
        "{lapses:,} 次客户流失中，有 {noticed:,} 次被及时发现，比流失早 {days}。",
    ),
    "headline_without_days": (
        "{noticed:,} of {lapses:,} customers who stopped were noticed in time.",
        "{lapses:,} 次客户流失中，有 {noticed:,} 次被及时发现。",
    ),
    "headline_without_lapses": (
        "No customer with a rhythm of their own stopped buying in this time.",
        "这段时间没有形成购买节奏的客户停止购买。",
    ),
    "lead": (
        "A test on the past: {begin} to {last}. On each day only what was known by then was "
        "used; everything was learned before the first day.",
        "历史回测：{begin}至{last}。每一天只使用当时已知的数据，所有学习都在首日之前完成。",
    ),
    "tile_recall": (
        "of those who stopped were noticed in time",
        "的流失被及时发现",
    ),
    "tile_value": ("of their spending was noticed in time", "的流失消费额被及时发现"),
    "tile_precision": ("of the warnings came true", "的预警后来成真"),
    "tile_risk": ("at risk today, {:,} customers", "当前风险金额，共 {:,} 位客户"),
    "tile_risk_count": ("customers at risk today", "位客户当前有流失风险"),
    "rule_section": ("Compared with a plain rule", "与简单规则比较"),
    "rule_better": (
        "The plain rule “silent for {gaps} times the usual gap”, with as many warnings, would "
        "have noticed {rule:,} of the {lapses:,}: {more:,} fewer.",
        "简单规则“超过平时间隔的 {gaps} 倍未购买”在预警数量相同时，"
        "只能发现 {lapses:,} 次中的 {rule:,} 次，少 {more:,} 次。",
    ),
    "rule_same": (
        "The plain rule “silent for {gaps} times the usual gap”, with as many warnings, would "
        "have noticed as many.",
        "简单规则“超过平时间隔的 {gaps} 倍未购买”在预警数量相同时，发现的流失一样多。",
    ),
    "rule_worse": (
        "The plain rule “silent for {gaps} times the usual gap”, with as many warnings, would "
        "have noticed {rule:,} of the {lapses:,}: {more:,} more. On this file the rule is the "
        "better one.",
        "简单规则“超过平时间隔的 {gaps} 倍未购买”在预警数量相同时，"
        "能发现 {lapses:,} 次中的 {rule:,} 次，多 {more:,} 次。对这份数据，简单规则更好。",
    ),
    "ours": ("Ebbwatch", "Ebbwatch"),
    "rule": ("Plain rule", "简单规则"),
    "warned": ("Warnings", "预警数"),
    "budget": ("Warnings per 100 customers and 30 days", "每百位客户每 30 天的预警数"),
    "noticed": ("Stopped, noticed in time", "及时发现的流失"),
    "recall": ("Share of those who stopped", "占全部流失的比例"),
    "value_recall": ("Share of their spending", "占流失消费额的比例"),
    "precision": ("Warnings that came true", "预警成真的比例"),
    "precision_in_time": ("Warnings that came true and were in time", "预警成真且及时的比例"),
    "lead_days": ("Days before the loss (median)", "提前天数（中位数）"),
    "at_gaps": ("Silence at the warning, in usual gaps", "预警时的未购买时长（平时间隔的倍数）"),
    "today": ("Who is at risk today", "当前有流失风险的客户"),
    "today_text": (
        "At the end of the file, {}, ordered by expected loss.",
        "截至数据最后一天（{}），按预期损失排序。",
    ),
    "today_none": (
        "No customer is at risk at the end of the file.",
        "截至数据最后一天，没有客户处于流失风险中。",
    ),
    "customer": ("Customer", "客户"),
    "grade": ("Grade", "等级"),
    "silent": ("Days silent", "未购买天数"),
    "gap": ("Usual gap", "平时间隔"),
    "probability": ("Risk", "流失概率"),
    "at_stake": ("Expected loss", "预期损失"),
    "why": ("Why", "原因"),
    "vips": ("VIPs who were missed", "未能及时发现的 VIP 客户"),
    "vips_none": ("No VIP who stopped was missed.", "没有遗漏任何流失的 VIP 客户。"),
    "lapsed_at": ("Lost on", "流失日期"),
    "spent": ("Spent in the 91 days before", "此前 91 天的消费"),
    "causes": ("By sign", "按流失迹象"),
    "cause": ("Sign", "流失迹象"),
    "days_before": ("Days before", "提前天数"),
    "grades": ("By grade", "按客户等级"),
    "customers": ("Customers", "客户数"),
    "lapses": ("Stopped", "流失"),
    "in_time": ("Noticed in time", "及时发现"),
    "weeks": ("Warnings per week", "每周预警"),
    "week": ("Week from", "周起始日"),
    "all": ("all", "全部"),
    "came_true": ("came true", "后来成真"),
    "levels": ("What another number of warnings would give", "预警数量不同时的效果"),
    "levels_text": (
        "More warnings find more of those who stop, and more of them are false. The row in bold "
        "is the one that was used.",
        "预警越多，发现的流失越多，误报也越多。加粗的一行为本次采用的设置。",
    ),
    "share": ("Shares by number of warnings", "不同预警数量下的比例"),
    "list": ("All warnings", "全部预警"),
    "at": ("When", "时间"),
    "then": ("What happened then", "后来的情况"),
    "list_none": ("There was no warning.", "没有任何预警。"),
    "cut": (
        "The first {shown:,} of {all:,}; all are in {file}.",
        "仅显示 {all:,} 条中的前 {shown:,} 条，全部见 {file}。",
    ),
    "lapsed": ("stopped: lost on {}", "已流失（{}）"),
    "lapsed_unknown": ("stopped", "已流失"),
    "came_back": ("bought again on {}", "{} 再次购买"),
    "came_back_unknown": ("bought again", "再次购买"),
    "open": ("not decided yet", "尚无结果"),
    "file": ("How the file was read", "数据文件的读取方式"),
    "file_name": ("File", "文件"),
    "columns": ("Columns", "列"),
    "unused": ("Columns not used", "未使用的列"),
    "encoding": ("Encoding", "编码"),
    "delimiter": ("Delimiter", "分隔符"),
    "tab": ("tab", "制表符"),
    "date_order": ("In dates", "日期写法"),
    "day": ("the day comes first", "日在前"),
    "month": ("the month comes first", "月在前"),
    "decimal": ("Decimal mark", "小数点"),
    "dot": ("dot", "点 (.)"),
    "comma": ("comma", "逗号 (,)"),
    "currency": ("Currency", "货币"),
    "rows": ("Rows", "行数"),
    "events": ("Events", "事件数"),
    "purchases": ("Purchases", "购买数"),
    "established": ("Customers with a rhythm of their own", "有自身购买节奏的客户"),
    "span": ("From, to", "起止日期"),
    "without_customer": ("Rows left out: no customer", "略去的行：无客户"),
    "repeated": ("Rows left out: repeated", "略去的行：重复"),
    "joined": ("Lines added to their order", "并入同一订单的行"),
    "amounts_known": ("Purchases with an amount", "有金额的购买"),
    "all_purchases": (
        "There is no column of event types: every row counts as a purchase.",
        "没有事件类型列：每一行都视为一次购买。",
    ),
    "negative_is_refund": (
        "There is no column of event types: a negative amount counts as a refund.",
        "没有事件类型列：负数金额视为退款。",
    ),
    "rows_are_events": (
        "There is no column of event ids: every row counts as an event of its own.",
        "没有事件编号列：每一行都视为独立的事件。",
    ),
    "amount_is_quantity_times_price": (
        "The amount is the quantity times the unit price.",
        "金额为数量乘以单价。",
    ),
    "amount_missing": (
        "There is no column of amounts: spending is not known.",
        "没有金额列：消费金额未知。",
    ),
    "times_are_utc": (
        "Times without a zone count as UTC.",
        "未注明时区的时间按 UTC 处理。",
    ),
    "method": ("What the words mean", "名词解释"),
    "method_lost": (
        "A customer counts as lost, or as having stopped, when a silence reaches four times "
        "their usual gap between purchase days, at least 28 and at most 180 days. Counted are "
        "customers with at least five purchase days.",
        "客户的未购买时长达到其平时购买间隔的四倍（至少 28 天，至多 180 天）即视为流失。"
        "仅统计至少在五天有过购买的客户。",
    ),
    "method_in_time": (
        "A warning is in time when it comes before three quarters of that silence have passed. "
        "It comes true when the customer then stops.",
        "在该时长过去四分之三之前发出的预警为及时；预警后客户确实流失则为成真。",
    ),
    "method_rule": (
        "The plain rule gets as many warnings, so that the two can be compared.",
        "简单规则的预警数量与本系统相同，以便比较。",
    ),
}

CAUSES: Final[Mapping[str, tuple[str, str]]] = {
    "silence_beyond_rhythm": ("silent beyond their rhythm", "未购买时长超出自身节奏"),
    "slipping_again": ("slipping again", "再次流失"),
    "frequency_falling": ("buys less often", "购买频率下降"),
    "interaction_falling": ("interacts less", "互动减少"),
    "value_falling": ("smaller orders", "订单金额下降"),
    "complaint_open": ("complaint not resolved", "投诉未解决"),
    "satisfaction_low": ("satisfaction low or falling", "满意度偏低或下降"),
    "recommendation_low": ("would not recommend", "推荐意愿偏低或下降"),
    "points_expiring": ("loyalty points about to expire", "积分即将到期"),
    "level_lowered": ("loyalty level lowered", "会员等级下调"),
    "contract_ending": ("contract about to end", "合同即将到期"),
    "new_and_quiet": ("new and quiet", "新客户未再购买"),
    "seldom_buyer": ("buys seldom", "购买很少"),
    "churned": ("has left", "已流失"),
    "policy_rule": ("a rule of the company", "公司规则"),
    "responds": ("comes back when contacted", "跟进后会回购"),
    "responds_to_call": ("comes back after a call", "电话联系后会回购"),
}
GRADES: Final[Mapping[str | None, tuple[str, str]]] = {
    "vip": ("VIP", "VIP"),
    "regular": ("regular", "普通"),
    "potential": ("potential", "潜力"),
    None: ("not known", "未知"),
}
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def say(name: str, language: Language, *values: object, **named: object) -> str:
    """Returns a text of the catalogue with its values filled in."""
    return WORDS[name][language == "zh-CN"].format(*values, **named)


def cause_word(code: str, language: Language) -> str:
    """Returns a sign in a few words; the code itself where it has none."""
    return CAUSES.get(code, (code, code))[language == "zh-CN"]


def grade_word(grade: str | None, language: Language) -> str:
    """Returns the word for a grade."""
    return GRADES.get(grade, (str(grade), str(grade)))[language == "zh-CN"]


def day(at: date, language: Language) -> str:
    """Formats a day in words, independent of the machine's locale.

    >>> day(date(2017, 10, 1), "en"), day(date(2017, 10, 1), "zh-CN")
    ('1 October 2017', '2017年10月1日')
    """
    if language == "zh-CN":
        return f"{at.year}年{at.month}月{at.day}日"
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


def days(count: float, language: Language) -> str:
    """Formats a number of days.

    >>> days(12.0, "en"), days(1.0, "en"), days(12.0, "zh-CN")
    ('12 days', '1 day', '12 天')
    """
    text = number(count)
    if language == "zh-CN":
        return f"{text} 天"
    return f"{text} day" if text == "1" else f"{text} days"
