"""The series of endpoints come with them and go with them."""

from prometheus_client import REGISTRY

from services.alerts import metrics


def delivered(endpoint: str) -> float | None:
    """Return what is shown of an endpoint's deliveries; None: there is no series."""
    labels = {"endpoint": endpoint, "outcome": "delivered"}
    return REGISTRY.get_sample_value("ebbwatch_alerts_delivery_attempts_total", labels)


def test_series_of_endpoints() -> None:
    """At 0 once an endpoint is there; gone once it is deleted, also what is counted late."""
    series = metrics.EndpointSeries()
    series(["kept", "deleted"])
    assert (delivered("kept"), delivered("deleted")) == (0, 0)
    metrics.DELIVERIES.labels("kept", "delivered").inc()
    series(["kept"])
    assert (delivered("kept"), delivered("deleted")) == (1, None)
    metrics.DELIVERIES.labels("deleted", "delivered").inc()
    metrics.ATTEMPT_S.labels("deleted").observe(1)
    series(["kept"])
    assert (delivered("kept"), delivered("deleted")) == (1, None)
    series(["kept", "deleted"])
    assert delivered("deleted") == 0
