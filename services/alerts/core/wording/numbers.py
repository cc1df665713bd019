"""Formats numbers as people write them: rounded to what matters, with the right plural.

They are the values inside the sentences of `catalogue`. A placeholder there names a fact and its
format: `{days_silent:days}`.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

Language = Literal["en", "zh-CN"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh-CN")

ROUND_FROM: Final = 10
"""From this value on, numbers are rounded: a decimal would add nothing for a reader."""

_EPOCH: Final = date(1970, 1, 1).toordinal()
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_ENGLISH: Final = {
    "days": ("day", "days"),
    "complaints": ("complaint", "complaints"),
    "points_expire": ("point expires", "points expire"),
}
_CHINESE: Final = {
    "days": " 天",
    "complaints": " 起投诉",
    "points_expire": " 积分",
}


def number(value: float) -> str:
    """Format a number: at most one decimal below ten, none from there on, thousands separated.

    >>> number(2.46), number(9.0), number(31.4), number(1234.6)
    ('2.5', '9', '31', '1,235')
    """
    rounded = round(value) if abs(value) >= ROUND_FROM else round(value, 1)
    return f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.1f}"


def is_day(value: float) -> bool:
    """Return whether a number of days since 1970 is a date of the calendar.

    >>> is_day(20_453.0), is_day(1e300), is_day(float("nan"))
    (True, False, False)
    """
    return 0 <= value <= date.max.toordinal() - _EPOCH


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact's value; the format specification gives the kind of number."""

    value: float
    language: Language
    currency: str

    def __format__(self, spec: str) -> str:
        if spec == "number":
            return number(abs(self.value))
        if spec == "money":
            return f"{self.value:,.2f} {self.currency}"
        if spec == "date":
            return self._date()
        if spec == "every":
            return self._every()
        if self.language == "zh-CN":
            return number(self.value) + _CHINESE[spec]
        text = number(self.value)
        one, many = _ENGLISH[spec]
        return f"{text} {one if text == '1' else many}"

    def _date(self) -> str:
        day = date.fromordinal(_EPOCH + round(self.value))
        if self.language == "zh-CN":
            return f"{day.month} 月 {day.day} 日"
        return f"{day.day} {_MONTHS[day.month - 1]}"

    def _every(self) -> str:
        text = number(self.value)
        if self.language == "zh-CN":
            return "每天" if text == "1" else f"每 {text} 天"
        return "every day" if text == "1" else f"every {text} days"
