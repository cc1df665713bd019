"""Which tests may be skipped in CI: none but those that need what this machine does not have."""

import pytest

from tests.conftest import excused

HISTORY = "cdnow is not here: set EBBWATCH_DATA to the folder of the data sets"
BROKER = "the embedded broker cannot do this: install Java >= 17 and Maven"


@pytest.mark.parametrize(
    ("reason", "data", "broker", "may"),
    [
        (HISTORY, "", "", True),
        (HISTORY, "/data", "", False),
        (BROKER, "", "embedded", True),
        (BROKER, "", "kafka", False),
        ("the tool is not here", "", "", False),
    ],
)
def test_an_excuse_holds_where_the_environment_does_not_deny_it(
    monkeypatch: pytest.MonkeyPatch, reason: str, data: str, broker: str, may: bool
) -> None:
    monkeypatch.setenv("EBBWATCH_DATA", data)
    monkeypatch.setenv("BROKER", broker)
    assert excused(reason) is may
