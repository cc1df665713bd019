"""Errors of unusable rate tables name the reason and the line."""

import pytest

from services.ingest.core.rates import RateTable
from shared.kernel.errors import Invalid


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("", "line 1: the columns"),
        ("currency,day,rate\n", "line 1: the columns"),
        ("currency,from,rate\nEUR,2020-01-01\n", "line 2: "),
        ("currency,from,rate\nEUR,2020-02-30,1\n", "line 2: "),
        ("currency,from,rate\nEUR,2020-01-01,x\n", "line 2: "),
        ("currency,from,rate\nEUR,2020-01-01,1\neuro,2020-01-01,1\n", "line 3: .*ISO 4217"),
        ("currency,from,rate\nEUR,2020-01-01,0\n", "line 2: the rate must be above 0"),
        ("currency,from,rate\nEUR,2020-01-01,nan\n", "line 2: the rate must be above 0"),
        ("currency,from,rate\nEUR,2020-01-01,1e300\n", "line 2: .*at most 1e"),
        ("currency,from,rate\nEUR,2020-01-01,1\nEUR,2020-01-01,2\n", "line 3: EUR has two rates"),
    ],
)
def test_errors_of_rates_name_the_line_and_the_remedy(text: str, reported: str) -> None:
    """Each error names the line and the remedy."""
    with pytest.raises(Invalid, match=reported):
        RateTable.parse("USD", text)
