"""Texts of messages to people: a group bot's markdown and the card with buttons.

The same task in English and Simplified Chinese. Facts come from the published task; nothing is
computed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from shared.contracts.treatment import Verdict

BUTTONS: Final[Mapping[Verdict, tuple[str, str]]] = {
    "reached": ("Reached", "已联系"),
    "action_taken": ("Action taken", "已采取措施"),
    "leaving": ("Leaving", "客户将流失"),
    "wrong_alarm": ("Wrong alarm", "误报"),
}
"""Text of each verdict's button: English, Chinese."""

BANDS: Final[Mapping[str, tuple[str, str]]] = {
    "low": ("low risk", "低风险"),
    "watch": ("to be watched", "需关注"),
    "high": ("high risk", "高风险"),
    "critical": ("critical risk", "极高风险"),
}

ENDS: Final[Mapping[str, tuple[str, str]]] = {
    "came_back": ("the customer came back", "客户已回购"),
    "resolved": ("what it warned of is over", "预警的问题已消除"),
    "left_segment": ("the customer has left the segment", "客户已离开该分群"),
    "not_profiled": ("the customer does not want to be assessed", "客户要求不做画像分析"),
    "do_not_contact": ("the customer must not be contacted", "客户要求勿联系"),
    "verdict": ("the owner has answered", "负责人已处理"),
    "dismissed": ("dismissed by the owner", "负责人已取消"),
    "expired": ("nobody acted in time", "逾期未处理"),
    "merged": ("the customer was merged with another one", "客户已与其他客户合并"),
    "erased": ("the customer was erased", "客户数据已删除"),
}
OTHER_END: Final = ("closed", "已关闭")

Escape = Callable[[str], str]
"""Makes foreign text safe for the medium that it is shown in."""


@dataclass(frozen=True, slots=True)
class Card:
    """The texts of a card."""

    source: str
    title: str
    subtitle: str
    reasons: str
    facts: tuple[tuple[str, str], ...]


def card(task: Mapping[str, Any], time_zone: str, escape: Escape) -> Card:
    """Return the card of an open task, in the task's language.

    The due day is one of `time_zone`.
    """
    title = escape(str(task.get("title") or ""))
    unknown = escape(str(task["band"]))
    band = _in(task, BANDS.get(str(task["band"]), (unknown, unknown)))
    return Card(
        source=_in(task, ("Churn warning", "流失预警")),
        title=title or _in(task, ("Win back: {}", "挽留任务：{}")).format(escape(_name(task))),
        subtitle=f"{band} · {_percent(task)}",
        reasons=_reasons(task, escape),
        facts=(
            (_in(task, ("Due", "截止")), _day(task, time_zone)),
            (
                _in(task, ("At stake", "涉及金额")),
                f"{float(task['value_at_risk']):,.0f} {escape(str(task['currency']))}",
            ),
        ),
    )


def markdown(task: Mapping[str, Any], time_zone: str, escape: Escape) -> str:
    """Return a group message about the newest change of a task."""
    if task.get("status") == "closed":
        return f"**{ended(task, escape)}**"
    words = card(task, time_zone, escape)
    facts = "\n".join(f"> {name}: {value}" for name, value in words.facts)
    warning = f'<font color="warning">{words.subtitle}</font>'
    return f"**{words.title}** {warning}\n> {words.reasons}\n{facts}"


def ended(task: Mapping[str, Any], escape: Escape) -> str:
    """Return one line about a task that has ended."""
    why = _in(task, ENDS.get(str(task.get("close_reason")), OTHER_END))
    return _in(task, ("Task closed: {} ({})", "任务已关闭：{}（{}）")).format(
        escape(_name(task)), why
    )


def button(verdict: Verdict, task: Mapping[str, Any]) -> str:
    """Return the text of a verdict's button."""
    return _in(task, BUTTONS[verdict])


def _in(task: Mapping[str, Any], words: tuple[str, str]) -> str:
    return words[1] if str(task.get("language", "")).startswith("zh") else words[0]


def _name(task: Mapping[str, Any]) -> str:
    customer = task["customer"]
    return str(customer.get("name") or customer["id"])


def _percent(task: Mapping[str, Any]) -> str:
    return f"{100 * float(task['probability']):.0f}%"


def _day(task: Mapping[str, Any], time_zone: str) -> str:
    at = datetime.fromisoformat(str(task["due_at"])).astimezone(ZoneInfo(time_zone))
    return f"{at:%Y-%m-%d}"


def _reasons(task: Mapping[str, Any], escape: Escape) -> str:
    return _in(task, ("; ", "；")).join(escape(str(reason["text"])) for reason in task["reasons"])
