"""Finds the mapping of an HTTP source: the one put in force for it, else a shipped one."""

from collections.abc import Mapping

from services.ingest.core import segment
from services.ingest.core.http_sources import SETTING, HttpSource
from services.ingest.core.mapping.document import CompiledMapping
from services.ingest.handlers.use_mappings import UseMappings
from services.ingest.inbound.mapping_files import read_mapping, shipped
from shared.kernel.errors import Invalid, Transient


class SourceMappings:
    """One per process."""

    def __init__(self, in_force: UseMappings, sources: Mapping[str, HttpSource]) -> None:
        """Raises Invalid where a source names a mapping that is not shipped."""
        self.signed = sources
        self._in_force = in_force
        self._shipped = {segment.SOURCE: read_mapping(segment.SOURCE)[1]}
        known = shipped()
        for name, source in sources.items():
            mapping = source.mapping or source.signature
            if mapping in known:
                self._shipped[name] = read_mapping(mapping)[1]
            elif source.mapping is not None:
                reason = f"{mapping!r} is not shipped: there are {', '.join(known)}"
                raise Invalid(f"{SETTING}.{name}.mapping", reason)

    def known(self, source: str) -> CompiledMapping | None:
        """Return the mapping of a source; None where there is none now."""
        if self._in_force.waits(source):
            return None
        return self._in_force.of_source(source) or self._shipped.get(source)

    def usable(self, source: str) -> CompiledMapping | None:
        """Return the mapping of a source; None: it has none. Raises Transient until it is usable.

        An unusable mapping is not replaced by the shipped one, which might name other customers.
        """
        if self._in_force.waits(source):
            raise Transient(f"the mapping of {source} is not usable")
        return self.known(source)
