"""Amounts as other systems write them: minor units, separators, floats, currency signs."""

import base64
import binascii
import re
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Any, Final

from services.ingest.core.mapping.scope import Refused

DIGITS_MAX: Final = 40
"""Digits of a number that is taken from a text: more than any amount has, and still cheap."""

PLACES: Final = 9
"""Places after the point of a contract's amounts. Floats are rounded to them: the rest is the
error of binary arithmetic, as in 0.1 + 0.2."""

_EXACT: Final = Context(prec=80, Emax=200, Emin=-200, rounding=ROUND_HALF_EVEN)
"""Enough digits for the product of two numbers."""

_INTEGER_MAX: Final = 10**DIGITS_MAX

_STEP: Final = Decimal(1).scaleb(-PLACES)

MINOR_DIGITS: Final[dict[str, int]] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
"""ISO 4217: digits after the point of the currencies that do not have two."""

SIGNS: Final[dict[str, str]] = {
    "€": "EUR",
    "£": "GBP",
    "US$": "USD",
    "HK$": "HKD",
    "NT$": "TWD",
    "S$": "SGD",
    "A$": "AUD",
    "AU$": "AUD",
    "C$": "CAD",
    "CA$": "CAD",
    "NZ$": "NZD",
    "R$": "BRL",
    "MX$": "MXN",
    "CN¥": "CNY",
    "JP¥": "JPY",
    "RMB": "CNY",
    "人民币": "CNY",
    "元": "CNY",
    "美元": "USD",
    "欧元": "EUR",
    "港元": "HKD",
    "港币": "HKD",
    "日元": "JPY",
    "円": "JPY",
    "₹": "INR",
    "₩": "KRW",
    "₽": "RUB",
    "₺": "TRY",
    "₫": "VND",
    "₴": "UAH",
    "₪": "ILS",
    "₱": "PHP",
    "฿": "THB",
    "₦": "NGN",
    "zł": "PLN",
    "Kč": "CZK",
    "Ft": "HUF",
}
"""Signs and names that mean one currency."""

SHARED_SIGNS: Final = {
    "$": "USD, CAD, AUD and others",
    "¥": "CNY and JPY",
    "￥": "CNY and JPY",
    "kr": "SEK, NOK and DKK",
}
"""Signs of several currencies: they need a default."""

_FOLDED = {sign.casefold(): code for sign, code in SIGNS.items()}
_CODE = re.compile(r"[A-Za-z]{3}")
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?")
_GROUPS = re.compile(r"[0-9]{1,3}(?:([,.'’ \u00a0\u202f])[0-9]{3})(?:\1[0-9]{3})*|[0-9]+")
_AROUND = re.compile(r"^[^0-9.,+()\-−]*|[^0-9.,)\-−]*$")


def number(value: Any) -> Decimal | None:
    """Returns the number of a JSON number or a plain text; None for null; Refused otherwise.

    >>> number("12.50"), number(7), number(0.1)
    (Decimal('12.50'), Decimal('7'), Decimal('0.1'))
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Refused("an amount must be a number or a text")
    if isinstance(value, int) and abs(value) >= _INTEGER_MAX:
        raise Refused(f"a number of more than {DIGITS_MAX} digits")
    written = repr(value) if isinstance(value, float) else str(value).strip()
    if not _NUMBER.fullmatch(written):
        raise Refused(f"{written[:40]!r} is no number: convert it with decimal()")
    found = Decimal(written)
    return _rounded(found) if isinstance(value, float) else found


def _rounded(value: Decimal) -> Decimal:
    """Returns a number with at most nine places."""
    exponent = value.as_tuple().exponent
    fine = isinstance(exponent, int) and exponent < -PLACES
    return _EXACT.quantize(value, _STEP).normalize() if fine else value


def written(value: Decimal) -> str:
    """Returns a number without an exponent, with at most nine places.

    >>> written(Decimal("1E+2")), written(Decimal("0.30"))
    ('100', '0.30')
    """
    if value.adjusted() > DIGITS_MAX:
        raise Refused("the number is too large")
    try:
        return format(_rounded(value), "f")
    except InvalidOperation as error:
        raise Refused("the number is too large") from error


def decimal_text(value: Any, point: str = ".") -> str | None:
    """Returns an amount as a decimal text; separators, signs and brackets are understood.

    >>> decimal_text("1.234,50 €", ","), decimal_text("(1,234.5)"), decimal_text(19.9)
    ('1234.50', '-1234.5', '19.9')
    """
    if value is None or not isinstance(value, str):
        found = number(value)
        return None if found is None else written(found)
    if not value.strip():
        return None
    if len(value) > 2 * DIGITS_MAX:
        raise Refused(f"a text of {len(value):,} characters is no amount")
    bare = _AROUND.sub("", value)
    negative = bare.startswith(("-", "−", "(")) or bare.endswith(("-", "−"))
    bare = _AROUND.sub("", bare.strip("+-−()"))
    whole, _, part = bare.rpartition(point) if point in bare else (bare, "", "")
    if (
        not whole + part
        or not _GROUPS.fullmatch(whole or "0")
        or (part and not (part.isascii() and part.isdigit()))
    ):
        raise Refused(f"{value!r} is no amount with the decimal point {point!r}")
    digits = re.sub(r"[^0-9]", "", whole) or "0"
    sign = "-" if negative else ""
    return written(Decimal(f"{sign}{digits}.{part}")) if part else f"{sign}{digits}"


def from_minor(value: Any, currency: str | None, digits: Any) -> str:
    """Returns an amount of minor units (cents) as a decimal text.

    >>> from_minor(1999, "usd", None), from_minor(1999, "JPY", None), from_minor(5, "KWD", None)
    ('19.99', '1999', '0.005')
    """
    found = number(value)
    if found is None or found != found.to_integral_value():
        raise Refused(f"minor units are whole numbers, not {value!r}")
    code = (currency or "").upper()
    places = MINOR_DIGITS.get(code, 2)
    if isinstance(digits, dict):
        places = digits.get(code, places)
    elif digits is not None:
        places = digits
    if isinstance(places, bool) or not isinstance(places, int) or not 0 <= places <= PLACES:
        raise Refused(f"the digits of minor units are a number from 0 to {PLACES}")
    return format(found.scaleb(-places), "f")


def from_bytes(encoded: str, scale: Any) -> str:
    """Returns Kafka Connect's Decimal: Base64 of a whole number in two's complement, and its scale.

    >>> from_bytes("B9A=", 2)
    '20.00'
    """
    if isinstance(scale, str) and scale.isascii() and scale.isdigit():
        scale = int(scale[:3])
    if isinstance(scale, bool) or not isinstance(scale, int) or not 0 <= scale <= DIGITS_MAX:
        raise Refused(f"the scale must be a number from 0 to {DIGITS_MAX}")
    try:
        raw = base64.b64decode(encoded[:64], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"{encoded[:40]!r} is not Base64") from error
    if not 1 <= len(raw) <= DIGITS_MAX // 3:
        raise Refused("the number is empty or too long")
    return written(Decimal(int.from_bytes(raw, signed=True)).scaleb(-scale))


def total(values: Iterable[Any]) -> str | None:
    """Returns the exact sum of what is not null; None where all are."""
    found = [part for part in map(number, values) if part is not None]
    if not found:
        return None
    result = Decimal(0)
    for part in found:
        result = _EXACT.add(result, part)
    return written(result)


def difference(value: Any, other: Any) -> str | None:
    """Returns the exact difference of two numbers; None where one is null."""
    one, two = number(value), number(other)
    return None if one is None or two is None else written(_EXACT.subtract(one, two))


def product(value: Any, other: Any) -> str | None:
    """Returns the product of two numbers, to nine places; None where one is null."""
    one, two = number(value), number(other)
    if one is None or two is None:
        return None
    if one.adjusted() + two.adjusted() > DIGITS_MAX:
        raise Refused("the number is too large")
    return written(_EXACT.multiply(one, two))


def code(text: str | None, otherwise: str | None) -> str | None:
    """Returns the ISO 4217 code of a code, a sign or a name; Refused where it may mean several.

    >>> code("eur", None), code("€", None), code("¥", "CNY"), code(None, "USD")
    ('EUR', 'EUR', 'CNY', 'USD')
    """
    found = (text or "").strip()
    if not found:
        return otherwise
    if (known := _FOLDED.get(found.casefold())) is not None:
        return known
    if found in SHARED_SIGNS:
        if otherwise is None:
            raise Refused(
                f"{found!r} is the sign of {SHARED_SIGNS[found]}: name the currency as the second "
                "argument of currency()"
            )
        return otherwise
    if _CODE.fullmatch(found):
        return found.upper()
    raise Refused(f"{found[:20]!r} is no currency: send an ISO 4217 code, such as USD")
