"""Settings: endpoints from JSON, secrets kept hidden, bounds that depend on each other."""

import pytest
from pydantic import ValidationError

from services.alerts.core.policy_document import plain, read
from services.alerts.inbound.policy_file import read_policy
from services.alerts.settings import AlertsSettings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINTS = '[{"id": "crm", "url": "https://crm.example/hook", "secrets": ["%s"]}]'


def test_endpoints_come_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EBBWATCH_ALERTS_ENDPOINTS", ENDPOINTS % SECRET)
    settings = AlertsSettings()
    (endpoint,) = settings.endpoints
    assert str(endpoint.url) == "https://crm.example/hook"
    assert endpoint.secrets[0].get_secret_value() == SECRET
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        '{"id": "crm"}',
        ENDPOINTS % "whsec_dG9vc2hvcnQ=",
        ENDPOINTS.replace('"crm"', '"C R M"') % SECRET,
        ENDPOINTS.replace('["%s"]', "[]"),
        (ENDPOINTS % SECRET)[:-1] + "," + (ENDPOINTS % SECRET)[1:],
    ],
)
def test_wrong_endpoints_are_refused_without_their_secret(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBBWATCH_ALERTS_ENDPOINTS", text)
    with pytest.raises(ValidationError) as refused:
        AlertsSettings()
    assert "dG9vc2hvcnQ" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_lease_outlasts_an_attempt() -> None:
    with pytest.raises(ValidationError, match="delivery_lease_s"):
        AlertsSettings(delivery_timeout_s=15, delivery_lease_s=33)


def test_the_policy_to_begin_with_is_valid_and_critical_tasks_are_due_sooner() -> None:
    """Checks R13."""
    policy = read_policy(AlertsSettings().policy_file)
    assert policy.working_days("critical") < policy.working_days("high")
    assert policy == read(plain(policy))
