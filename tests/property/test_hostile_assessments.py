"""Every assessment that the decoder accepts can be decided on, worded, sent and tried again."""

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.connectors.core.notice import read_notice
from services.alerts.connectors.core.template import context
from services.alerts.core.budget_tuning import TuningResult, find
from services.alerts.core.consent import Wishes
from services.alerts.core.customer import CustomerState
from services.alerts.core.dry_run import DryRunResult, try_customers
from services.alerts.core.policy import Raised, decide
from services.alerts.core.policy_document import Hours, read
from services.alerts.core.task import TaskInputs, new_task
from services.alerts.core.webhook_payload import body, treatment
from services.alerts.core.wording.tasks import in_full
from services.alerts.inbound.risk import RiskDecoder
from shared.contracts import risk
from shared.contracts.events import Owner, Profile
from shared.contracts.risk import BANDS, Lapse, Reason, Sign
from shared.kafka.batch import Batch
from shared.kernel.times import LATEST
from shared.postgres.ledger import Claim
from tests.unit.alerts.inbound.test_decoders import Fetched
from tests.unit.alerts.samples import SILENT, assessed

EXTREMES = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 36_500.0, 1e15, 1e18, 1e19, 1e308, -1e18, -1e308]
)
NUMBERS = EXTREMES | st.floats(allow_nan=False, allow_infinity=False)
SHARES = st.floats(0, 1)
TIMES = st.datetimes(timezones=st.just(UTC)) | st.sampled_from(
    [datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 12, 31, tzinfo=UTC)]
)
CODES = st.sampled_from(
    [SILENT.code, "complaint_open", "contract_ending", "slipping_again", "new_and_quiet", "other"]
)
FACTS = st.dictionaries(
    st.sampled_from([*SILENT.facts, "days", "until", "before", "after", "other"]), NUMBERS
)
LAPSES = st.none() | st.builds(
    Lapse, days=NUMBERS, probability=SHARES, usual_gap_days=NUMBERS, own_rhythm=st.booleans()
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "at": st.just(0), "assessed_at": TIMES, "last_purchase_at": st.none() | TIMES,
        "band": st.sampled_from(BANDS), "probability": SHARES, "days_silent": st.none() | NUMBERS,
        "usual_gap_days": st.none() | NUMBERS, "expected_value": NUMBERS, "value_at_risk": NUMBERS,
        "horizon_days": st.integers(), "purchases": st.integers(), "lapse": LAPSES,
        "reasons": st.lists(st.builds(Reason, code=CODES, impact=NUMBERS, facts=FACTS), max_size=3),
        "signs": st.lists(st.builds(Sign, code=CODES, strength=SHARES, facts=FACTS), max_size=3),
    },
)  # fmt: skip
ALL = read({"name": "p", "rules": [{"name": "all", "when": {}, "then": "raise"}]})
QUIET = msgspec.structs.replace(
    ALL, hours=Hours(quiet_from="22:00", quiet_until="07:00", time_zone="Pacific/Apia")
)


def let_through(changes: dict[str, Any]) -> list[risk.RiskAssessed]:
    """Returns the assessment, if the decoder accepts it."""
    value = risk.ENCODER.encode(assessed(**({"revision": 1, "at": 0} | changes)))
    batch = Batch({("r", 0): Claim("r", 0, 1, 0, None)}, {("r", 0): [Fetched(value)]}, {})
    return [found.message for found in RiskDecoder("dead")(batch).seen]


@settings(max_examples=300)
@given(CHANGES, st.sampled_from([ALL, QUIET]), st.sampled_from(["en", "zh-CN"]))
def test_an_extreme_assessment(changes: dict[str, Any], policy: Any, language: str) -> None:
    """Its task has words and a due date, its message can be read again, and it can be judged."""
    for message in let_through(changes):
        decision = decide(CustomerState(message.customer_id), message, policy)
        profile = Profile(owner=Owner(id="o"), language=language)
        for step in decision.steps:
            if isinstance(step, Raised):
                task = new_task(
                    step, message, Wishes(profile), TaskInputs(policy, 0, message.assessed_at)
                )
                assert in_full(task, task.language)
                assert context(read_notice(body(task)), "o")["key"] == task.id
                assert treatment(task).task_id == task.id
        history = {message.customer_id: [message]}
        for end in (message.assessed_at, LATEST):
            tried = DryRunResult()
            try_customers(tried, policy, history, {}, {}, end)
            assert tried.assessments == 1
            find(TuningResult(), policy, history, {}, {}, end)
