"""The description of a state agrees with the events that were folded into it."""

from datetime import UTC, datetime

from services.scoring.core.features.events import Kind
from services.scoring.core.features.state import empty
from services.scoring.core.risk.state_summary import summary
from tests.fakes.generated_history import history, states


def test_counts_sums_and_times_are_those_of_the_events() -> None:
    happenings = history(12, 40, seed=5)
    for customer, state in states(happenings).items():
        own = [h for h in happenings if h.customer == customer and h.kind is not None]
        bought = [h for h in own if h.kind == Kind.PURCHASE]
        reported = summary(state)
        assert reported["purchases"] == len(bought)
        assert reported["complaints_opened"] == sum(h.kind == Kind.COMPLAINT_OPENED for h in own)
        assert reported["purchase_days"] == len({h.time.date() for h in bought})
        assert reported["first_purchase_at"] == min((h.time for h in bought), default=None)
        assert reported["last_purchase_at"] == max((h.time for h in bought), default=None)
        assert reported["newest_event_at"] == max((h.time for h in own), default=None)
        spent = reported["spent"]
        assert isinstance(spent, float)
        assert abs(spent - sum(h.data.amount or 0 for h in bought)) < 1e-6


def test_an_unknown_customer_has_an_empty_summary() -> None:
    reported = summary(empty(1))
    assert {v for k, v in reported.items() if k.endswith("_at")} == {None}
    assert {v for k, v in reported.items() if not k.endswith("_at")} == {0}
    assert datetime(1970, 1, 1, tzinfo=UTC) not in reported.values()
