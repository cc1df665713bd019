"""Formats a whole task for its owner, in English and Simplified Chinese."""

from collections.abc import Mapping
from typing import Final

import msgspec

from services.alerts.core.task import Task
from services.alerts.core.webhook_payload import payload_of
from services.alerts.core.wording.numbers import Language

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "owner": ("For {} · due {}", "负责人：{} · 截止 {}"),
    "respond_by": ("respond by {}", "请在 {} 前响应"),
    "risk_of": ("{} risk", "{}风险"),
    "nobody": ("nobody: take it from the queue", "暂无，请从队列中领取"),
    "risk": (
        "{:.0%} likely to buy nothing for {} days · {:,.2f} {} at risk",
        "{:.0%} 的可能在 {} 天内不再购买 · 风险金额 {:,.2f} {}",
    ),
    "lapse": (
        "{:.0%} likely to stay silent for {:.0f} days, a lapse by the customer's own rhythm · "
        "{:,.2f} {} at risk",
        "{:.0%} 的可能连续 {:.0f} 天不购买（按该客户自身节奏即为流失）· 风险金额 {:,.2f} {}",
    ),
    "gone": (
        "Silent for longer than {:.0f} days, a lapse by the customer's own rhythm · "
        "{:,.2f} {} at risk",
        "已连续超过 {:.0f} 天未购买（按该客户自身节奏即为流失）· 风险金额 {:,.2f} {}",
    ),
    "channel": ("Reach the customer by: {}", "联系方式：{}"),
    "no_channel": (
        "No channel: the customer has not agreed to any of them",
        "无可用联系方式：客户未同意任何一种",
    ),
    "offer": ("Offer: {}", "优惠：{}"),
    "offer_points": ("Credit: {:,} loyalty points", "可赠送：{:,} 积分"),
    "leaving": ("Has probably left because of: {}", "可能的流失原因：{}"),
    "closed": ("Closed {}: {}", "已于 {} 关闭：{}"),
}
_BANDS: Final[Mapping[str, tuple[str, str]]] = {
    "low": ("low", "低"),
    "watch": ("raised", "较高"),
    "high": ("high", "高"),
    "critical": ("critical", "极高"),
}
_GRADES: Final[Mapping[str, tuple[str, str]]] = {
    "vip": ("VIP", "VIP"),
    "regular": ("regular", "普通客户"),
    "potential": ("potential", "潜力客户"),
}
_CHANNELS: Final[Mapping[str, tuple[str, str]]] = {
    "phone": ("phone", "电话"),
    "visit": ("visit", "上门拜访"),
    "email": ("email", "邮件"),
    "sms": ("text message", "短信"),
    "wecom": ("WeCom", "企业微信"),
}
_LEAVING: Final[Mapping[str, tuple[str, str]]] = {
    "price": ("the price", "价格"),
    "service": ("the service", "服务"),
    "quality": ("the quality", "质量"),
    "competitor": ("a competitor", "竞争对手"),
    "moved": ("a move", "搬迁"),
    "no_need": ("no need any more", "不再需要"),
    "other": ("something else", "其他原因"),
}
_CLOSED: Final[Mapping[str, tuple[str, str]]] = {
    "came_back": ("the customer bought again", "客户已再次购买"),
    "resolved": ("what it warned of is over", "预警的问题已消除"),
    "left_segment": ("the customer has left the segment", "客户已离开该分群"),
    "not_profiled": ("the customer does not want to be assessed", "客户要求不做画像分析"),
    "do_not_contact": ("the customer must not be contacted", "客户要求不再联系"),
    "verdict": ("the owner has reported", "负责人已反馈"),
    "dismissed": ("dismissed by the owner", "负责人已取消"),
    "expired": ("nobody acted in time", "逾期未处理"),
    "merged": ("the customer was merged with another one", "客户已与其他客户合并"),
    "erased": ("the customer was erased", "客户数据已删除"),
}


def close_text(reason: str, language: Language) -> str:
    """Return the text of a close reason; the code itself where there is no text."""
    return _CLOSED.get(reason, (reason, reason))[language == "zh-CN"]


def in_full(task: Task, language: Language) -> str:
    """Return the task as lines: customer, owner, due date, risk, reasons and numbered steps."""
    shown = payload_of(msgspec.structs.replace(task, language=language))

    def sentence(name: str, *values: object) -> str:
        return _WORDS[name][language == "zh-CN"].format(*values)

    owner = sentence("nobody")
    if task.owner_id is not None and task.queue == "owner":
        owner = task.owner_name or task.owner_id
    of = sentence("risk_of", _BANDS[task.band][language == "zh-CN"])
    grade = _GRADES[task.grade][language == "zh-CN"] if task.grade else None
    heading = (task.customer_name or task.customer_id, grade, shown.title or of)
    whose = [sentence("owner", owner, f"{task.due_at:%Y-%m-%d}")]
    if task.respond_by is not None:
        whose.append(sentence("respond_by", f"{task.respond_by:%Y-%m-%d %H:%M} UTC"))
    lines = [" · ".join(part for part in heading if part), " · ".join(whose)]
    if task.reasons:
        money = (task.value_at_risk, task.currency)
        if task.lapse_probability is None or task.lapse_days is None:
            lines.append(sentence("risk", task.probability, task.horizon_days, *money))
        elif (task.days_silent or 0.0) >= task.lapse_days:
            lines.append(sentence("gone", task.lapse_days, *money))
        else:
            lines.append(sentence("lapse", task.lapse_probability, task.lapse_days, *money))
    lines += [f"  • {reason.text}" for reason in shown.reasons]
    if task.suspected_leaving_cause is not None:
        lines.append(
            sentence("leaving", _LEAVING[task.suspected_leaving_cause][language == "zh-CN"])
        )
    if shown.channel:
        lines.append(
            sentence(
                "channel", _CHANNELS.get(shown.channel, (shown.channel,) * 2)[language == "zh-CN"]
            )
        )
    elif shown.consent_missing:
        lines.append(sentence("no_channel"))
    if shown.offer:
        lines.append(sentence("offer", shown.offer))
    if shown.offer_points:
        lines.append(sentence("offer_points", shown.offer_points))
    lines += [f"  {number}. {step}" for number, step in enumerate(shown.steps, start=1)]
    if task.closed_at is not None and task.close_reason is not None:
        reason = close_text(task.close_reason, language)
        lines.append(sentence("closed", f"{task.closed_at:%Y-%m-%d}", reason))
    return "\n".join(lines)
