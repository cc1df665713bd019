"""The header that names a person: believed as signed, within its time, and never for more."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.holder import Holder, Person
from shared.http.on_behalf import (
    AGE_S_MAX,
    HEADER,
    HEADER_CHARS_MAX,
    SKEW_S_MAX,
    NotBelieved,
    believed,
    secret_of,
    signed,
)
from shared.http.scopes import ON_BEHALF, ROLES, SCOPES, reach
from shared.kernel.errors import Invalid

pytestmark = pytest.mark.access

AT = datetime(2026, 3, 1, 9, tzinfo=UTC)
SECRET = secret_of("ebw_token", b"salt")
ANN = Person("ann", ("owner",), frozenset({"o-1"}))
CLAIMS: dict[str, Any] = {"sub": "ann", "roles": ["owner"], "owners": ["o-1"], "iat": 0}

ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
people = st.builds(
    Person,
    ids.filter(lambda text: bool(text.strip())).map(lambda text: text[:200]),
    st.lists(st.sampled_from(sorted(ROLES)), max_size=3, unique=True).map(tuple),
    st.none() | st.frozensets(st.sampled_from(["o-1", "o-2", "o-3"])),
)


def jws(claims: Any, secret: str = SECRET, **head: Any) -> str:
    """Sign as any other library does, independently of ours."""

    def part(value: Any) -> str:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    text = f"{part({'alg': 'HS256'} | head)}.{part(claims)}"
    return f"{text}.{part(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


def at(claims: dict[str, Any], moment: datetime = AT, **more: Any) -> dict[str, Any]:
    """Return claims of a moment."""
    return claims | {"iat": moment.timestamp()} | more


@given(people)
def test_what_is_signed_is_believed(person: Person) -> None:
    assert believed(signed(person, SECRET, AT), SECRET, AT) == person


def test_what_another_library_signs_is_believed() -> None:
    """With claims of its own beside ours."""
    assert believed(jws(at(CLAIMS, iss="console"), typ="JWT", kid="1"), SECRET, AT) == ANN


@given(st.data())
def test_a_change_of_any_character_is_not_believed(data: st.DataObject) -> None:
    """Unless it stands for the same bytes: the last character of base64 has spare bits."""
    header = signed(ANN, SECRET, AT)
    place = data.draw(st.integers(0, len(header) - 2))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda each: each != header[place]))
    with pytest.raises(NotBelieved) as refused:
        believed(header[:place] + other + header[place + 1 :], SECRET, AT)
    assert refused.value.status == 401


@given(st.text(max_size=200))
def test_no_text_is_believed(text: str) -> None:
    with pytest.raises(NotBelieved):
        believed(text, SECRET, AT)


@pytest.mark.parametrize("secret", ["", "ebw_token", secret_of("ebw_token", b"another")])
def test_another_secret_signs_nothing(secret: str) -> None:
    """Neither the token itself nor the secret of another token."""
    with pytest.raises(NotBelieved):
        believed(signed(ANN, secret, AT), SECRET, AT)


@pytest.mark.parametrize("head", [{"alg": "none"}, {"alg": "HS512"}, {"crit": ["exp"]}])
def test_only_one_way_of_signing_is_taken(head: dict[str, Any]) -> None:
    """Whatever the header asks for: `none` is the oldest attack."""
    with pytest.raises(NotBelieved, match="HS256"):
        believed(jws(at(CLAIMS), **head), SECRET, AT)
    unsigned = jws(at(CLAIMS), alg="none").rpartition(".")[0] + "."
    with pytest.raises(NotBelieved):
        believed(unsigned, SECRET, AT)


@pytest.mark.parametrize(
    ("age_s", "good"),
    [
        (0, True),
        (AGE_S_MAX + SKEW_S_MAX - 1, True),
        (AGE_S_MAX + SKEW_S_MAX, False),
        (-SKEW_S_MAX, True),
        (-SKEW_S_MAX - 1, False),
        (10**12, False),
    ],
)
def test_a_header_counts_for_a_while(age_s: int, good: bool) -> None:
    """A replay is bounded by its age, whatever clock the signer has."""
    header = jws(CLAIMS | {"iat": AT.timestamp() - age_s})
    if good:
        assert believed(header, SECRET, AT) == ANN
    else:
        with pytest.raises(NotBelieved) as refused:
            believed(header, SECRET, AT)
        assert refused.value.status == 401


def test_a_shorter_time_is_kept() -> None:
    """A library that sets `exp` means it."""
    header = jws(at(CLAIMS, exp=AT.timestamp() + 5))
    assert believed(header, SECRET, AT) == ANN
    with pytest.raises(NotBelieved, match="expired"):
        believed(header, SECRET, AT + timedelta(seconds=5 + SKEW_S_MAX))


def test_a_later_beginning_is_kept() -> None:
    """Not before its time, but for clocks that differ."""
    for ahead, good in ((SKEW_S_MAX, True), (SKEW_S_MAX + 1, False)):
        header = jws(at(CLAIMS, nbf=AT.timestamp() + ahead))
        if good:
            assert believed(header, SECRET, AT) == ANN
        else:
            with pytest.raises(NotBelieved, match="nbf"):
                believed(header, SECRET, AT)


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        (at(CLAIMS, aud="scoring"), "aud"),
        (at(CLAIMS, roles=["root"]), "roles"),
        (at(CLAIMS, roles="admin"), "roles"),
        (at(CLAIMS, roles=["owner"] * 6), "roles"),
        ({"sub": "ann", "roles": ["owner"], "iat": AT.timestamp()}, "owners"),
        (at(CLAIMS, owners="o-1"), "owners"),
        (at(CLAIMS, owners=[""]), "owners"),
        (at(CLAIMS, owners=["a\0b"]), "U.0000"),
        (at(CLAIMS, sub=""), "sub"),
        (at(CLAIMS, sub="  "), "sub"),
        (at(CLAIMS, sub="a\0b"), "U.0000"),
        (at(CLAIMS, sub=7), "sub"),
        (at(CLAIMS, sub="x" * 10_000), "characters"),
        (CLAIMS | {"iat": "now"}, "iat"),
        ([], "object"),
        (b"{", HEADER),
        (b"[" * 5_000, HEADER),
        (b"\xff", HEADER),
    ],
)
def test_signed_nonsense_is_refused_by_name(claims: Any, names: str) -> None:
    """The signer is trusted to be itself, not to be right."""
    with pytest.raises((Invalid, NotBelieved), match=names):
        believed(jws(claims), SECRET, AT)


def test_a_huge_header_is_refused_before_it_is_read() -> None:
    with pytest.raises(Invalid, match="characters"):
        believed("a" * (HEADER_CHARS_MAX + 1), SECRET, AT)


@given(st.sets(st.sampled_from(SCOPES)), st.none() | st.frozensets(ids, max_size=3), people)
def test_both_may_or_nobody_does(
    scopes: set[str], owner_ids: frozenset[str] | None, person: Person
) -> None:
    """Law: acting for a person adds nothing to the token and nothing to the person."""
    holder = Holder("console", 1, frozenset(scopes), owner_ids)
    acting = holder.acting_for(person)
    assert reach(acting.scopes) <= reach(scopes) & person.scopes
    assert ON_BEHALF not in acting.scopes
    for limit in (owner_ids, person.owner_ids):
        assert limit is None or (acting.owners is not None and acting.owners <= limit)
    assert (acting.kind, acting.actor) == ("on_behalf", person.id)
    assert acting.key != holder.key


def test_a_secret_needs_the_token_and_the_salt() -> None:
    assert len({secret_of(token, salt) for token in "ab" for salt in (b"1", b"2")}) == 4
