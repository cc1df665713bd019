"""Decodes treatments of customers by alerts: facts for training, and dead letters."""

from collections.abc import Sequence

from services.scoring.inbound.dead_letter import dead_letter
from shared.contracts.events import ID_LENGTH_MAX
from shared.contracts.reading import read, with_utc
from shared.contracts.treatment import DECODER, TreatmentRecorded
from shared.kafka.batch import Batch
from shared.kernel.errors import Invalid
from shared.postgres.outbox import Message

BIGINT_MAX = 2**63 - 1
"""Largest value of a column of PostgreSQL's type bigint."""


class TreatmentDecoder:
    """Decodes batches of `ebbwatch.treatment`."""

    def __init__(self, dead_letter_topic: str) -> None:
        self._dead_letter_topic = dead_letter_topic

    def __call__(self, batch: Batch) -> tuple[list[TreatmentRecorded], list[Message]]:
        """Returns every fact, in the log's order, and a dead letter for each invalid record."""
        facts: list[TreatmentRecorded] = []
        dead: list[Message] = []
        for tp in sorted(batch.records):
            for record in batch.records[tp]:
                try:
                    fact = with_utc(read(DECODER, record.value), "at", "until")
                    _check(fact)
                    facts.append(fact)
                except Invalid as error:
                    topic = self._dead_letter_topic
                    dead.append(dead_letter(topic, record, error.field, error.reason))
        return facts, dead


def _check(fact: TreatmentRecorded) -> None:
    """Raises Invalid for a fact that cannot be stored or compared with other times."""
    if not 0 < len(fact.customer_id) <= ID_LENGTH_MAX:
        raise Invalid("customer_id", f"1 to {ID_LENGTH_MAX} characters")
    words: Sequence[str | None] = (
        fact.customer_id, fact.task_id, fact.cause, fact.detail, fact.policy, fact.playbook,
    )  # fmt: skip
    if any("\0" in word for word in words if word is not None):
        raise Invalid("value", "a NUL in a text")
    if fact.revision is not None and not 0 <= fact.revision <= BIGINT_MAX:
        raise Invalid("revision", f"must be 0 to {BIGINT_MAX}")
    if fact.until is not None and fact.until < fact.at:
        raise Invalid("until", "lies before `at`")
