"""Formats numbers as people write them: rounded to what matters, with the right plural.

They are the values inside the sentences of `catalogue`. A placeholder there names a fact and its
format: `{days_silent:days}`.
"""

from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["en", "zh-CN"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh-CN")

ROUND_FROM: Final = 10
"""From this value on, numbers are rounded: a decimal would add nothing for a reader."""

_ENGLISH: Final = {
    "days": ("day", "days"),
    "complaints": ("complaint", "complaints"),
}
_CHINESE: Final = {
    "days": " 天",
    "complaints": " 起投诉",
}


def number(value: float) -> str:
    """Format a number: at most one decimal below ten, none from there on, thousands separated.

    >>> number(2.46), number(9.0), number(31.4), number(1234.6)
    ('2.5', '9', '31', '1,235')
    """
    rounded = round(value) if abs(value) >= ROUND_FROM else round(value, 1)
    return f"{rounded:,.0f}" if rounded == int(rounded) else f"{rounded:,.1f}"


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
        if spec == "every":
            return self._every()
        if self.language == "zh-CN":
            return number(self.value) + _CHINESE[spec]
        text = number(self.value)
        one, many = _ENGLISH[spec]
        return f"{text} {one if text == '1' else many}"

    def _every(self) -> str:
        text = number(self.value)
        if self.language == "zh-CN":
            return "每天" if text == "1" else f"每 {text} 天"
        return "every day" if text == "1" else f"every {text} days"
