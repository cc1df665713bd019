"""Text of others' in a CSV cell: a spreadsheet shows it and computes nothing.

What it is for: `=HYPERLINK(...)` as the name of a segment. A cell that a spreadsheet would read as
a formula begins with an apostrophe (OWASP's advice); numbers are left alone.
"""

from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def cell(value: object) -> object:
    """The cell's value, with an apostrophe before a text that would be a formula.

    >>> cell("=HYPERLINK(0)"), cell("vip"), cell(-1.5)
    ("'=HYPERLINK(0)", 'vip', -1.5)
    """
    if isinstance(value, str) and value.lstrip(" \n").startswith(FORMULA):
        return f"'{value}"
    return value
