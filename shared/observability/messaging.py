"""Names of what spans say, in one place: OpenTelemetry's convention for messaging may still change.

None of them holds a customer or anything that a sender wrote.
"""

from typing import Final

SYSTEM: Final = "messaging.system"
KAFKA: Final = "kafka"
OPERATION_TYPE: Final = "messaging.operation.type"
OPERATION: Final = "messaging.operation.name"
PROCESS: Final = "process"
TOPIC: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
OFFSET: Final = "messaging.kafka.offset"
COUNT: Final = "messaging.batch.message_count"

ROUTE: Final = "http.route"
METHOD: Final = "http.request.method"
STATUS: Final = "http.response.status_code"
ERROR: Final = "error.type"
"""Class of an exception, or an outcome; its text is left out, as it may quote customers' data."""

ENDPOINT: Final = "ebbwatch.endpoint"
DELIVERY: Final = "ebbwatch.delivery"
ATTEMPT: Final = "ebbwatch.attempt"
OUTCOME: Final = "ebbwatch.outcome"
