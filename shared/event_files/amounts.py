"""Parses amounts as people write them; the whole column decides the decimal mark.

Reads `1,234.56`, `1.234,56`, `1 234,56`, `¥12`, `(12.00)`, `12-`. `1,234` alone may be 1234 or
1.234: the rest of the column decides, otherwise it is refused. Two currencies in one column are
refused as well, because their sum has no meaning.
"""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from shared.event_files.faults import Faults, quoted
from shared.event_files.options import Decimal
from shared.kernel.errors import Invalid

_MARKS: Final = {
    "¥": ("¥", "￥", "CN¥", "RMB", "CNY", "元", "人民币"),
    "€": ("€", "EUR"),
    "$": ("US$", "$", "USD"),
    "£": ("£", "GBP"),
    "₹": ("₹", "INR", "RS"),
    "JPY": ("JPY", "円"),
    "CHF": ("CHF",),
    "HK$": ("HK$", "HKD"),
    "R$": ("R$", "BRL"),
    "kr": ("KR", "SEK", "NOK", "DKK"),
    "zł": ("ZŁ", "PLN"),
    "₽": ("₽", "RUB"),
    "₩": ("₩", "KRW"),
    "A$": ("A$", "AUD"),
    "C$": ("C$", "CAD"),
}
ISO: Final = {
    "¥": "CNY", "€": "EUR", "$": "USD", "£": "GBP", "₹": "INR", "HK$": "HKD", "R$": "BRL",
    "zł": "PLN", "₽": "RUB", "₩": "KRW", "A$": "AUD", "C$": "CAD", "JPY": "JPY", "CHF": "CHF",
}  # fmt: skip
"""Mark -> ISO 4217; `kr` is the mark of three currencies."""
CURRENCIES: Final = {mark: name for name, marks in _MARKS.items() for mark in marks}
_CURRENCY: Final = "(?i)({})".format(
    "|".join(m.replace("$", r"\$") for m in sorted(CURRENCIES, key=lambda mark: -len(mark)))
)
_PLAIN: Final = r"^-?\d+(?:\.\d{1,2}|\.\d{4,})?$"
"""Amounts that need no further parsing; a dot in one shows that the dot is the decimal mark."""
_UNCLEAR: Final = r"^[1-9]\d{0,2}[.,]\d{3}$"
_NEUTRAL: Final = r"^\d+$|^\d{1,3}(?:[ '’]\d{3})+$"


def _style(mark: str, group: str) -> str:
    """Return a pattern of numbers that only a decimal `mark` explains.

    Thousands are set off by `group`.
    """
    return "|".join(
        (
            rf"^\d*{mark}(?:\d{{1,2}}|\d{{4,}})$",
            rf"^(?:0|\d{{4,}})?{mark}\d{{3}}$",
            rf"^\d{{1,3}}(?:[{group} '’]\d{{3}})+{mark}\d+$",
            rf"^\d{{1,3}}(?:{group}\d{{3}}){{2,}}$",
            rf"^\d+(?:{mark}\d+)?[eE][-+]?\d+$"
            if mark == r"\."
            else rf"^\d+{mark}\d+[eE][-+]?\d+$",
        )
    )


_DOT: Final = _style(r"\.", ",")
_COMMA: Final = _style(",", r"\.")
Seen = tuple[int, str]
"""A row and its text."""


@dataclass(slots=True)
class Style:
    """What the amounts read so far show about the decimal mark and the currency."""

    dot: Seen | None = None
    comma: Seen | None = None
    unclear: Seen | None = None
    currencies: dict[str, Seen] = field(default_factory=dict)

    def see(self, given: pl.Series, row: pl.Series) -> None:
        """Read a part of the column with its rows' numbers. Raises Invalid for two currencies."""
        if given.dtype != pl.String:
            return
        frame = pl.DataFrame({"text": given.str.strip_chars(), "row": row}).drop_nulls("text")
        simple = frame["text"].str.contains(_PLAIN)
        plain = frame.filter(simple)
        self.dot = self.dot or _first(plain.filter(pl.col("text").str.contains(".", literal=True)))
        rest = frame.filter(~simple).with_columns(n=_bare(pl.col("text")))
        self.dot = _earlier(self.dot, _first(rest.filter(pl.col("n").str.contains(_DOT))))
        self.comma = self.comma or _first(rest.filter(pl.col("n").str.contains(_COMMA)))
        self.unclear = self.unclear or _first(rest.filter(pl.col("n").str.contains(_UNCLEAR)))
        marks = rest.with_columns(mark=_mark(pl.col("text"))).drop_nulls("mark")
        for mark, text, at in (
            marks.unique("mark", keep="first", maintain_order=True)
            .select("mark", "text", "row")
            .iter_rows()
        ):
            self.currencies.setdefault(CURRENCIES[mark], (at, text))
        if len(self.currencies) > 1:
            (one, text), (other, more) = list(self.currencies.values())[:2]
            raise Invalid(
                "amount", f"row {one} has {text!r}, row {other} {more!r}: one currency is expected"
            )

    @property
    def currency(self) -> str | None:
        """The currency mark beside the amounts."""
        return next(iter(self.currencies), None)

    def decided(self, given: Decimal | None) -> Decimal | None:
        """Return the decimal mark; None when no amount has one. Raises Invalid naming rows."""
        if given is not None:
            return given
        if self.dot and self.comma:
            raise Invalid(
                "amount", f"row {self.dot[0]} has {self.dot[1]!r}, row {self.comma[0]} "
                f"{self.comma[1]!r}: the decimal mark must be one; say --decimal dot or comma"
            )  # fmt: skip
        if self.dot or self.comma:
            return "dot" if self.dot else "comma"
        if self.unclear:
            raise Invalid(
                "amount", f"row {self.unclear[0]}: {self.unclear[1]!r} may have decimals or "
                "thousands, and no other amount decides it: say --decimal dot or --decimal comma"
            )  # fmt: skip
        return None


def numbers(
    given: pl.Series, row: pl.Series, decimal: Decimal | None, role: str, faults: Faults
) -> pl.Series:
    """Parse to Float64, null where empty and where `faults` saw no number."""
    if given.dtype == pl.String:
        number = _parsed(given.str.strip_chars(), decimal)
    elif given.dtype.is_numeric() or given.dtype == pl.Null:
        number = given.cast(pl.Float64, strict=False)
    else:
        raise Invalid(role, f"is a column of {given.dtype}, not of numbers")
    bad = given.is_not_null() & number.is_null()
    if given.dtype == pl.String:
        # `inf` and `nan` are how programs write that they know no value, 400 digits are not.
        bad |= number.is_infinite().fill_null(value=False) & given.str.contains(r"\d")
    faults.see(role, bad, row, lambda at: f": {quoted(given[at])} is not a number")
    return number.set(~number.is_finite().fill_null(value=True), None)


def _parsed(text: pl.Series, decimal: Decimal | None) -> pl.Series:
    plain = text.str.contains(_PLAIN).fill_null(value=False)
    if decimal == "comma":
        plain &= ~text.str.contains(".", literal=True)
    number = text.set(~plain, None).cast(pl.Float64, strict=False)
    gaps = (text.is_not_null() & ~plain).arg_true()
    if not len(gaps):
        return number
    body = pl.col("text").str.replace_all(_CURRENCY, "").str.strip_chars()
    negative = body.str.contains(r"^[-−]|^\(.*\)$|[-−]$")
    n = _bare(pl.col("text"))
    right = (n.str.contains(_COMMA if decimal == "comma" else _DOT) | n.str.contains(_UNCLEAR)
             | n.str.contains(_NEUTRAL))  # fmt: skip
    group, mark = (r"[. '’]", ",") if decimal == "comma" else (r"[, '’]", ".")
    bare = n.str.replace_all(group, "").str.replace(mark, ".", literal=True)
    value = pl.when(right).then(bare).cast(pl.Float64, strict=False)
    signed = pl.when(negative).then(-value).otherwise(value)
    rest = pl.DataFrame({"text": text.gather(gaps)}).select(signed.alias("n"))["n"]
    return number.scatter(gaps, rest)


def _bare(text: pl.Expr) -> pl.Expr:
    """Keep the digits and marks: no currency, no sign, blanks of any kind as blanks."""
    bare = text.str.replace_all(_CURRENCY, "").str.replace_all(r"\s", " ").str.strip_chars()
    bare = bare.str.replace(r"^\((.*)\)$", "$1").str.replace(r"^[-−+]|[-−]$", "")
    bare = bare.str.replace_all(_CURRENCY, "")
    return bare.str.strip_chars()


def _mark(text: pl.Expr) -> pl.Expr:
    return text.str.extract(_CURRENCY).str.to_uppercase()


def _first(frame: pl.DataFrame) -> Seen | None:
    return (int(frame["row"][0]), str(frame["text"][0])) if len(frame) else None


def _earlier(one: Seen | None, other: Seen | None) -> Seen | None:
    return min(filter(None, (one, other)), default=None)
