"""The reasons that an owner reads: each thing once, the causes first."""

import pytest

from services.alerts.core.policy_document import Policy
from services.alerts.core.task_cause import reasons_of
from shared.contracts.risk import Reason
from tests.unit.alerts.samples import assessed, sign

AGAIN = sign("slipping_again", days_silent=15.0, usual_gap_days=6.8)
COMPLAINT = sign("complaint_open", complaints_open=1.0)
OF_THE_SCORE = [
    Reason(code=code, impact=0.3, facts={"usual_gap_days": 5.9})
    for code in ("silence_beyond_rhythm", "value_falling", "seldom_buyer")
]


@pytest.mark.parametrize("cause", ["slipping_again", "churned"])
def test_the_silence_is_a_reason_once(cause: str) -> None:
    """The score has its own usual gap: both would contradict each other in one task."""
    message = assessed(1, 0, signs=[AGAIN], reasons=OF_THE_SCORE)
    codes = [each.code for each in reasons_of(message, [cause], Policy())]
    assert codes == [*dict.fromkeys([cause, "slipping_again"]), "value_falling"]


def test_what_the_score_says_of_the_silence_stays_where_nothing_else_does() -> None:
    message = assessed(1, 0, signs=[COMPLAINT], reasons=OF_THE_SCORE)
    read = reasons_of(message, ["complaint_open"], Policy())
    assert [each.code for each in read] == [
        "complaint_open",
        "silence_beyond_rhythm",
        "value_falling",
    ]


def test_a_cause_that_is_over_keeps_its_reason() -> None:
    over = Reason(code="silence_beyond_rhythm", impact=0.6, facts={"days_silent": 20.0})
    message = assessed(1, 0, signs=[COMPLAINT], reasons=OF_THE_SCORE[1:])
    causes = ["complaint_open", "silence_beyond_rhythm"]
    assert reasons_of(message, causes, Policy(), [over])[1] == over
