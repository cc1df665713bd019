"""Use case: keeps the mappings in force compiled, by raw topic and by HTTP source.

A new version is applied within seconds, without a restart. A stored mapping that cannot be compiled
(after a change of ours) is reported and its topics are not read until it is mended: their records
wait where they are. So it is with a topic that does not exist (yet): the client library would wait
for it and read nothing else. While PostgreSQL is unreachable the mappings that are known stay in
force.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

import structlog

from services.ingest.core.mapping.document import CompiledMapping, compile_mapping
from services.ingest.ports import MappingStore, StoredMapping
from shared.kernel.errors import Invalid, Transient
from shared.runtime.clock import Clock

log = structlog.get_logger(__name__)

REFRESH_S: Final = 5.0
"""How soon a new version is in force, in seconds: one small query of each process."""


Missing = Callable[[Collection[str]], Awaitable[set[str]]]
"""Returns which of these topics the broker does not have; raises Transient."""


class UseMappings:
    """One per process. `raw_topics`: the topics of CloudEvents, which are always read."""

    def __init__(
        self,
        store: MappingStore,
        raw_topics: Sequence[str],
        clock: Clock,
        observe: Callable[[Mapping[str, int], int], None] = lambda versions, unusable: None,
    ) -> None:
        """`observe` is called with the versions in force and the number of unusable mappings."""
        self._store = store
        self._raw_topics = tuple(raw_topics)
        self._clock = clock
        self._observe = observe
        self._read_s: float | None = None
        self._compiled: dict[tuple[str, int], CompiledMapping | None] = {}
        self._by_topic: dict[str, CompiledMapping] = {}
        self._by_source: dict[str, CompiledMapping] = {}
        self._unusable_sources: frozenset[str] = frozenset()
        self._topics: tuple[str, ...] = self._raw_topics
        self._absent: set[str] = set()

    async def topics(self, missing: Missing) -> tuple[str, ...]:
        """Return the topics to read, after a refresh where one is due.

        Raises Transient when the mappings were never read: without them a topic's records would be
        taken for CloudEvents.
        """
        now_s = self._clock.monotonic()
        if self._read_s is None or now_s - self._read_s >= REFRESH_S:
            try:
                self._use(await self._store.current())
                absent = await missing(self._by_topic)
                if absent != self._absent:
                    log.warning("mapped topics do not exist", topics=sorted(absent))
                self._absent = absent
            except Transient as trouble:
                if self._read_s is None:
                    raise
                log.warning("mappings not refreshed", trouble=str(trouble))
            self._read_s = now_s
        return tuple(topic for topic in self._topics if topic not in self._absent)

    def of_topic(self, topic: str) -> CompiledMapping | None:
        """Return the mapping of a raw topic; None: its records are CloudEvents."""
        return self._by_topic.get(topic)

    def of_source(self, source: str) -> CompiledMapping | None:
        """Return the mapping of an HTTP source; None where there is none."""
        return self._by_source.get(source)

    def waits(self, source: str) -> bool:
        """Return whether an HTTP source's mapping is unusable, or not known yet."""
        return self._read_s is None or source in self._unusable_sources

    def _use(self, stored: Sequence[StoredMapping]) -> None:
        known = {(each.name, each.version): self._compile(each) for each in stored}
        pairs = [(each, known[each.name, each.version]) for each in stored]
        self._compiled = known
        self._by_topic = {t: made for each, made in pairs if made for t in each.topics}
        self._by_source = {s: made for each, made in pairs if made for s in each.http_sources}
        waiting = {t for each, made in pairs if made is None for t in each.topics}
        unusable = (s for each, made in pairs if made is None for s in each.http_sources)
        self._unusable_sources = frozenset(unusable)
        topics = dict.fromkeys((*self._raw_topics, *sorted(self._by_topic)))
        self._topics = tuple(topic for topic in topics if topic not in waiting)
        versions = {each.name: each.version for each, made in pairs if made}
        self._observe(versions, len(pairs) - len(versions))

    def _compile(self, stored: StoredMapping) -> CompiledMapping | None:
        key = (stored.name, stored.version)
        if key in self._compiled:
            return self._compiled[key]
        try:
            made = compile_mapping(stored.document, stored.name)
        except Invalid as mistake:
            self._report(stored, mistake)
            return None
        log.info("mapping in force", mapping=stored.name, version=stored.version)
        return made

    @staticmethod
    def _report(stored: StoredMapping, mistake: Invalid) -> None:
        log.error(
            "mapping unusable: put one that can be compiled, its topics wait",
            mapping=stored.name,
            version=stored.version,
            mistake=str(mistake),
        )
