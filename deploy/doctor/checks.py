"""Every check of the doctor: which facts it gathers, and who judges them."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from deploy.doctor import database_facts, kafka_facts, process_facts
from deploy.doctor.arguments import SERVICES
from deploy.doctor.configured import Configured
from deploy.doctor.database_judgement import (
    judge_budget,
    judge_database,
    judge_endpoints,
    judge_imports,
    judge_migrations,
    judge_role,
    judge_tokens,
)
from deploy.doctor.examination import BROKER, DATABASE, Check
from deploy.doctor.findings import Finding
from deploy.doctor.kafka_judgement import Reading, judge_broker, judge_lag, judge_topics
from deploy.doctor.process_judgement import (
    ProcessFacts,
    judge_clock,
    judge_model,
    judge_processes,
    judge_unasked,
)

BOTH: Final = (BROKER, DATABASE)


@dataclass(slots=True)
class Checks:
    """The checks of one run; `now`: UTC."""

    configured: Configured
    now: datetime
    broker_clock: bool
    _asked: "asyncio.Task[list[ProcessFacts]] | None" = None

    def first(self) -> list[Check]:
        """Whether broker and database answer."""
        return [
            Check("broker", self._broker, (BROKER,)),
            Check("database", self._database, (DATABASE,)),
        ]

    def others(self) -> list[Check]:
        """All the rest, in the order of the report."""
        found = [
            Check("topics", self._topics, (BROKER,)),
            Check("migrations", self._migrations, (DATABASE,)),
            Check("roles", self._role, (DATABASE,)),
            Check("services", self._services),
            # One for each service, so that a service without tables does not hide the others'.
            Check("lag", self._raw_lag, (BROKER,)),
            *(Check("lag", partial(self._ledger_lag, name), BOTH) for name in SERVICES),
            Check("imports", self._imports, (DATABASE,)),
            Check("model", self._model, (DATABASE,)),
            Check("endpoints", self._endpoints, (DATABASE,)),
            *(Check("tokens", partial(self._tokens, name), (DATABASE,)) for name in SERVICES),
            Check("budget", self._budget, (DATABASE,)),
            Check("clocks", self._database_clock, (DATABASE,)),
        ]
        if self.broker_clock:
            found.append(Check("clocks", self._broker_clock, (BROKER,)))
        return found

    async def _broker(self) -> list[Finding]:
        return judge_broker(await kafka_facts.broker(self.configured.kafka))

    async def _database(self) -> list[Finding]:
        return judge_database(await database_facts.server(self.configured.postgres))

    async def _topics(self) -> list[Finding]:
        wanted = self.configured.topics()
        names = [topic.name for topic in wanted]
        found, brokers = await kafka_facts.topics(self.configured.kafka, names)
        return judge_topics(wanted, found, brokers)

    async def _migrations(self) -> list[Finding]:
        found = await database_facts.schemas(self.configured.postgres, SERVICES)
        return judge_migrations(found)

    async def _role(self) -> list[Finding]:
        return judge_role(await database_facts.role(self.configured.postgres))

    async def _services(self) -> list[Finding]:
        return judge_processes(await self._processes())

    async def _processes(self) -> list[ProcessFacts]:
        """Asks every process, once for all checks."""
        if self._asked is None:
            self._asked = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asked)

    async def _ask(self) -> list[ProcessFacts]:
        token = self.configured.token
        return await asyncio.gather(
            *(
                process_facts.asked(name, url, token)
                for name, urls in self.configured.services.items()
                for url in urls
            )
        )

    async def _raw_lag(self) -> list[Finding]:
        """Judges the raw topics, whose offsets the broker keeps."""
        c = self.configured
        offsets = await kafka_facts.committed(c.kafka, f"ebbwatch-{c.ingest.group}")
        # With those of mappings, which the group alone names.
        names = {*c.ingest.raw_topics, *(topic for topic, _ in offsets)}
        described, _ = await kafka_facts.topics(c.kafka, names)
        found = [
            Reading("ingest", name, number, offsets.get((name, number)), 0, 0)
            for name, topic in sorted(described.items())
            for number in range(topic.partitions)
        ]
        return await self._judged("ingest", found)

    async def _ledger_lag(self, service: str) -> list[Finding]:
        """Judges the topics whose offsets are in a service's ledger."""
        c = self.configured
        names = {
            "ingest": [c.ingest.dead_letter_topic],
            "scoring": [c.scoring.activity_topic, c.scoring.treatment_topic],
            "alerts": [c.alerts.risk_topic, c.alerts.activity_topic, c.alerts.changes_topic],
        }
        compacted = [c.alerts.risk_topic]
        found = await database_facts.readings(c.postgres, service, names[service], compacted)
        return await self._judged(service, found)

    async def _judged(self, service: str, found: list[Reading]) -> list[Finding]:
        c = self.configured
        known, _ = await kafka_facts.topics(c.kafka, {one.topic for one in found})
        placed = await kafka_facts.against_log(c.kafka, found, known, self.now) if found else []
        return judge_lag(service, placed, kafka_facts.retention(known))

    async def _imports(self) -> list[Finding]:
        topic = self.configured.scoring.activity_topic
        return judge_imports(
            await database_facts.imports(self.configured.postgres, topic), self.now
        )

    async def _model(self) -> list[Finding]:
        c = self.configured
        promoted = await database_facts.promoted(c.postgres)
        hosts = await database_facts.hosts(c.postgres, c.scoring.activity_topic)
        processes = [one for one in await self._processes() if one.service == "scoring"]
        facts = await process_facts.model(c.scoring.model_store, promoted, hosts, processes)
        return judge_model(facts) + judge_unasked(hosts, len(c.services["scoring"]))

    async def _endpoints(self) -> list[Finding]:
        rows = await database_facts.endpoints(self.configured.postgres)
        return judge_endpoints(rows, self.configured.key_ids(), self.now)

    async def _tokens(self, service: str) -> list[Finding]:
        rows = await database_facts.tokens(self.configured.postgres, service)
        return judge_tokens(service, rows, self.now)

    async def _budget(self) -> list[Finding]:
        replay = self.configured.alerts.clock == "replay"
        facts = await database_facts.budget(self.configured.postgres, self.now, replay=replay)
        return judge_budget(facts)

    async def _database_clock(self) -> list[Finding]:
        return judge_clock(await database_facts.clock(self.configured.postgres))

    async def _broker_clock(self) -> list[Finding]:
        return judge_clock(await kafka_facts.clock(self.configured.kafka))
