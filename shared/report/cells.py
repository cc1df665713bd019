"""Makes foreign text safe in CSV cells: a spreadsheet displays it and computes nothing.

A text that a spreadsheet would read as a formula, such as `=HYPERLINK(...)` as the name of a
segment, gets an apostrophe in front (OWASP's advice); numbers are left alone.
"""

from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> object:
    """Returns the cell's value, with an apostrophe before a text that would be a formula.

    >>> cell("=HYPERLINK(0)"), cell("vip"), cell(-1.5)
    ("'=HYPERLINK(0)", 'vip', -1.5)
    """
    if isinstance(value, str) and value.lstrip(" \n").startswith(FORMULA):
        return f"'{value}"
    return value
