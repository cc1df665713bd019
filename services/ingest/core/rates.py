"""Converts amounts to the reporting currency by a dated table of rates.

A rate holds from its day (UTC) until the next one of the same currency. A currency without a rate
for the day is refused; nothing is guessed.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Self

from services.ingest.core.faults import fault

COLUMNS = ("currency", "from", "rate")
CODE_LENGTH = 3
CURRENCY_FIELD = "data.currency"

SETTING = "EBBWATCH_INGEST_RATES_FILE"
MEND = f"add it to the CSV file (currency,from,rate) that {SETTING} names, restart, then replay"

RATE_MAX = 1e9
"""Units of the reporting currency for one unit of another: above every real rate, and small enough
that no amount overflows."""


@dataclass(frozen=True, slots=True)
class _Series:
    """One currency's rates, oldest first."""

    days: tuple[date, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RateTable:
    """How many units of the reporting currency one unit of another currency is worth."""

    reporting: str
    series: Mapping[str, _Series] = field(default_factory=dict)

    def rate(self, currency: str | None, day: date) -> float:
        """Return the rate of `currency` (None: the reporting one) on `day`; Invalid if unknown.

        >>> table = RateTable.parse("USD", "currency,from,rate\\nEUR,2020-01-01,1.25\\n")
        >>> table.rate("EUR", date(2021, 5, 1)), table.rate(None, date(2021, 5, 1))
        (1.25, 1.0)
        """
        if currency is None or currency == self.reporting:
            return 1.0
        series = self.series.get(currency)
        if series is None:
            raise fault(
                CURRENCY_FIELD,
                f"no rate of {currency} to {self.reporting}: {MEND}",
            )
        place = bisect_right(series.days, day)
        if place == 0:
            raise fault(
                CURRENCY_FIELD,
                f"no rate of {currency} on {day}, the table begins on {series.days[0]}: {MEND}",
            )
        return series.rates[place - 1]

    @classmethod
    def parse(cls, reporting: str, text: str) -> Self:
        """Read CSV with the columns currency, from (YYYY-MM-DD), rate; Invalid names the line."""
        lines = text.splitlines()
        if not lines or tuple(lines[0].split(",")) != COLUMNS:
            raise fault("rates line 1", f"the columns must be {','.join(COLUMNS)}")
        found: dict[str, dict[date, float]] = {}
        for number, row in enumerate(lines[1:], start=2):
            line = f"rates line {number}"
            try:
                currency, begins, rate = row.split(",")
                day, worth = date.fromisoformat(begins), float(rate)
            except ValueError as error:
                raise fault(line, str(error)) from error
            if len(currency) != CODE_LENGTH or not currency.isupper():
                raise fault(line, f"{currency!r} is not an ISO 4217 code")
            if not 0 < worth <= RATE_MAX:
                raise fault(line, f"the rate must be above 0 and at most {RATE_MAX:g}, not {rate}")
            if found.setdefault(currency, {}).setdefault(day, worth) != worth:
                raise fault(line, f"{currency} has two rates from {day}")
        return cls(reporting, {currency: _sorted(rates) for currency, rates in found.items()})


def _sorted(rates: dict[date, float]) -> _Series:
    days = tuple(sorted(rates))
    return _Series(days, tuple(rates[day] for day in days))
