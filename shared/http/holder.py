"""Who sends a request: the holder of a token, and the person for whom it acts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from shared.http.scopes import ON_BEHALF, ROLES, reach

Kind = Literal["service", "person", "on_behalf"]


@dataclass(frozen=True, slots=True)
class Person:
    """A person who signed in elsewhere, as a token with the scope `on_behalf` names them."""

    id: str
    roles: tuple[str, ...]
    owner_ids: frozenset[str] | None
    """Account owners whose customers the person may see; None: those of all."""

    @property
    def scopes(self) -> frozenset[str]:
        """What the roles allow."""
        return reach(scope for role in self.roles for scope in ROLES[role])


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder of a token, who sends a request."""

    name: str
    token_id: int
    scopes: frozenset[str]
    """With a person: what both may."""
    owner_ids: frozenset[str] | None = None
    """The token's own limit: account owners whose customers and tasks it sees; None: all."""
    is_person: bool = False
    """The token is one person's own."""
    expires_at: datetime | None = None
    """UTC; None: never."""
    person: Person | None = None
    """For whom the request is sent; None: for the holder."""

    def acting_for(self, person: Person) -> "Holder":
        """Returns the holder limited to what both may."""
        both = (reach(self.scopes) & person.scopes) - {ON_BEHALF}
        return replace(self, scopes=both, person=person)

    @property
    def kind(self) -> Kind:
        """What the request comes from."""
        if self.person is not None:
            return "on_behalf"
        return "person" if self.is_person else "service"

    @property
    def actor(self) -> str:
        """Who acts, as records of tasks and policies name them: the person, or the token."""
        return self.name if self.person is None else self.person.id

    @property
    def key(self) -> str:
        """Distinguishes holders whose idempotency keys are their own."""
        own = f"{self.token_id} {self.name}"
        return own if self.person is None else f"{own} {self.person.id}"

    @property
    def limits(self) -> Sequence[frozenset[str]]:
        """Sets of account owners: the holder sees only what all of them admit."""
        own = [self.owner_ids, None if self.person is None else self.person.owner_ids]
        return [limit for limit in own if limit is not None]

    @property
    def owners(self) -> frozenset[str] | None:
        """Owners in every limit; None: there is no limit."""
        limits = self.limits
        return frozenset.intersection(*limits) if limits else None
