"""The words of the effect report, in English and Simplified Chinese."""

from collections.abc import Mapping
from typing import Final

from services.alerts.core.wording.numbers import Language

CLAIMS: Final[Mapping[str, tuple[str, str]]] = {
    "helps": ("The tasks keep customers", "任务确实留住了客户"),
    "harms": ("The tasks drive customers away", "任务反而使客户流失"),
    "no_effect_seen": (
        "No effect can be seen: it is zero, or smaller than these data can show",
        "看不出效果：效果为零，或小于现有数据所能显示的程度",
    ),
    "not_enough_data": ("Not enough data yet", "数据尚不足"),
}
WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "title": ("What the tasks do", "任务效果报告"),
    "lead": (
        "Customers who were warned about and treated, against customers who were warned about "
        "and left alone on purpose (the holdout, drawn at random).",
        "对比两组均被预警的客户：一组按任务跟进，另一组（对照组，随机抽取）特意不做任何处理。",
    ),
    "summary": ("Summary", "概要"),
    "treated": ("Treated", "已跟进"),
    "held_out": ("Left alone", "对照组"),
    "customers": ("Customers", "客户数"),
    "returned": ("Bought again", "再次购买"),
    "rate": ("Share", "比例"),
    "interval": ("95 % interval", "95% 置信区间"),
    "revenue": ("Revenue per customer", "人均收入"),
    "revenue_uplift": ("Difference in revenue per customer", "人均收入之差"),
    "uplift": ("Difference", "差值"),
    "anytime": ("Interval for repeated looks", "可随时查看的区间"),
    "saved": ("Customers kept", "挽留客户数"),
    "claim": ("Reading", "结论"),
    "over_time": ("Over time", "随时间变化"),
    "group": ("Group", "分组"),
    "playbook": ("By playbook", "按方案"),
    "cause": ("By cause", "按原因"),
    "grade": ("By grade", "按客户等级"),
    "owner": ("By owner", "按负责人"),
    "segment": ("By segment", "按分群"),
    "period": ("By month of the warning", "按预警月份"),
    "single": ("Which customers tasks help", "哪些客户适合跟进"),
    "serves": (
        "Customers' own effects serve: tasks go first to customers like those who came back more "
        "often with a task than without, and customers whom a task clearly does not help get none.",
        "按客户个体效果排序：优先跟进“有任务时回购更多”的同类客户；任务明显无益的客户不再生成任务。",
    ),
    "not_better": (
        "The playbooks' rates serve: on later warnings the ranking by single customers was not "
        "clearly better. It is tried again as more warnings are measured.",
        "按方案的平均效果排序：在之后的预警中，按客户个体排序并未明显更优。随着数据增加会再次评估。",
    ),
    "not_enough_trials": (
        "The playbooks' rates serve: too few warnings are measured to learn about single "
        "customers.",
        "按方案的平均效果排序：已测量的预警太少，尚不能了解客户个体效果。",
    ),
    "qini_title": ("Customers brought back (Qini curve)", "多挽回的客户（Qini 曲线）"),
    "qini_x": ("share of the warned customers with a task", "有任务的被预警客户比例"),
    "qini_y": ("more came back, per 100 warned", "每 100 位被预警客户多回购人数"),
    "qini_learned": ("by customer", "按客户"),
    "qini_rate": ("by playbook", "按方案"),
    "qini_note": (
        "How many more customers come back if tasks go to the best of a ranking first; dashed: in "
        "random order. Measured on warnings later than those that the ranking was learned from.",
        "按排序优先跟进时多回购的客户数；虚线为随机顺序。所用预警均晚于学习排序所用的预警。",
    ),
    "trials": ("Warnings learned from", "用于学习的预警"),
    "tested": ("Later warnings ranked", "用于检验的后续预警"),
    "advantage": (
        "Advantage of ranking by customer (Qini coefficient, 90 %)",
        "按客户排序的优势（Qini 系数，90%）",
    ),
    "withheld": ("Tasks withheld: they clearly do not help", "因明显无益而未生成的任务"),
    "policy": ("Policy", "策略"),
    "waiting": ("Warnings whose time is not over", "观察期未结束的预警"),
    "share_axis": ("share that bought again", "再次购买的比例"),
    "uplift_axis": ("difference in the share that bought again", "再次购买比例之差"),
    "looks": (
        "The claim rests on the interval for repeated looks: it stays true however often "
        "somebody looks. Many groups are compared: one in twenty would stand out by chance, so "
        "trust a group only where the claim is made.",
        "结论以“可随时查看的区间”为准，无论查看多少次都成立。分组较多时，约每二十组会有一组"
        "因偶然而显得突出，因此只应采信已得出结论的分组。",
    ),
    "method": (
        "A customer counts once, with the first warning under the policy. Bought again: a "
        "purchase within the horizon. Shares: Wilson; their difference: Newcombe; money: "
        "bootstrap; repeated looks: an asymptotic confidence sequence.",
        "每位客户只计一次，以该策略下的首次预警为准。再次购买：预测期内有购买。比例：Wilson 区间；"
        "比例之差：Newcombe 区间；金额：自助法；随时查看：渐近置信序列。",
    ),
}


def word(name: str, language: Language) -> str:
    """Return the text of this name."""
    return WORDS[name][language == "zh-CN"]


def claim_text(claim: str, language: Language) -> str:
    """Return the claim as a sentence."""
    return CLAIMS[claim][language == "zh-CN"]
