"""Finds the kind of event of a row by the words that people write.

`Sale`, `order`, 购买 and `Bestellung` are purchases. A word that is not listed here stays as it
is and counts as an interaction.
"""

from typing import Final

import polars as pl

PURCHASE, REFUND = "purchase", "refund"
SCORED: Final = ("survey", "recommendation")
"""Event types that carry a score."""
LOYALTY: Final = (
    "points_earned", "points_spent", "points_expired", "points_expiring", "level_raised",
    "level_lowered", "referral",
)  # fmt: skip
"""Event types of a loyalty programme: they alone carry points."""
_TABLE: Final = {
    "purchase": (
        "purchases purchased order orders ordered order_placed order_completed sale sales "
        "sold buy bought transaction payment paid checkout invoice completed_purchase "
        "repurchase 购买 订单 下单 交易 消费 销售 支付 付款 成交 复购 采购 "
        "kauf einkauf bestellung auftrag verkauf rechnung zahlung"
    ),
    "refund": (
        "refunds refunded return returns returned cancellation cancelled canceled cancel "
        "order_cancelled order_canceled order_returned chargeback credit_note reversal 退款 "
        "退货 取消 取消订单 撤销 冲红 退单 erstattung rückerstattung rueckerstattung "
        "retoure rückgabe rueckgabe rücksendung ruecksendung gutschrift storno stornierung "
        "storniert"
    ),
    "complaint_opened": (
        "complaint complaints complained complain complaint_created open_complaint claim "
        "grievance 投诉 客诉 抱怨 申诉 投诉受理 beschwerde reklamation"
    ),
    "complaint_closed": (
        "complaint_resolved complaint_solved close_complaint 投诉关闭 投诉解决 投诉已解决 "
        "投诉完结 投诉结案 beschwerde_gelöst beschwerde_geloest beschwerde_erledigt "
        "reklamation_erledigt"
    ),
    "survey": (
        "satisfaction_survey survey_response survey_answer csat satisfaction rating review "
        "满意度 满意度调查 问卷 调查 评价 评分 umfrage zufriedenheitsumfrage bewertung"
    ),
    "recommendation": ("nps nps_survey net_promoter_score recommend referral_intent 推荐 推荐意愿"),
    "suggestion": "feedback proposal idea 建议 意见 vorschlag anregung",
    "campaign_received": (
        "mailing mailing_sent email_sent newsletter_sent sms_sent 收到活动 活动触达 短信触达"
    ),
    "campaign_sent": "",
    "coupon_received": "coupon_sent coupon_issued 发券 领券 收到优惠券",
    "campaign_redeemed": "",
    "coupon_redeemed": "coupon_used coupon_redemption 核销 优惠券核销 使用优惠券",
    "offer_redeemed": "offer_used",
    "contract_activated": (
        "contract_started contract_signed contract_renewed contract_start "
        "subscription_started subscription_renewed subscription_activated 合同生效 合同开始 "
        "合同续签 签约 续约 续费 订阅开始 vertragsbeginn "
        "vertragsabschluss vertragsverlängerung vertragsverlaengerung"
    ),
    "contract_ended": (
        "contract_end contract_cancelled contract_canceled contract_expired "
        "contract_terminated subscription_ended subscription_cancelled subscription_canceled "
        "subscription_expired 合同结束 合同到期 合同终止 解约 退订 订阅结束 "
        "vertragsende kündigung kuendigung gekündigt gekuendigt"
    ),
    "points_earned": (
        "earned_points points_accrued points_accrual points_awarded 获得积分 积分获得 积分增加 "
        "积分发放 积分累积"
    ),
    "points_spent": (
        "spent_points points_redeemed points_redemption points_used 使用积分 积分使用 积分兑换 "
        "兑换积分 积分消费 积分抵扣"
    ),
    "points_expired": "expired_points points_lapsed 积分过期 积分失效 积分清零",
    "points_expiring": "expiring_points points_expiry 积分即将到期 积分即将过期 积分到期提醒",
    "level_raised": "tier_upgrade tier_upgraded 会员升级 等级提升",
    "level_lowered": "tier_downgrade tier_downgraded 会员降级 等级下调",
    "referral": (
        "referred_friend friend_referred customer_referred refer_a_friend 老带新 推荐新客 "
        "推荐好友 邀请好友 转介绍"
    ),
}
"""The reader's word -> the words that mean it."""
MEANINGS: Final = {
    word: meaning for meaning, words in _TABLE.items() for word in (meaning, *words.split())
}


def meaning(given: pl.Expr) -> pl.Expr:
    """Return the reader's word of each event type: in lower case, `_` for blanks and dashes."""
    word = given.str.normalize("NFKC").str.to_lowercase().str.strip_chars()
    word = word.str.replace_all(r"[\s_-]+", "_")
    return word.replace(MEANINGS)
