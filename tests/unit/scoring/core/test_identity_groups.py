"""Which ids are one customer: joined, taken apart, refused, moved."""

from hypothesis import given
from hypothesis import strategies as st

from services.scoring.core.identity.groups import (
    Changes,
    Groups,
    IdSeen,
    Move,
    Statement,
    apply,
    regrouping,
)
from shared.contracts.events import IDS_MAX, Identity


def said(number: int, subject: str, *ids: str, **what: object) -> Statement:
    """Build a statement of its own id."""
    return Statement("crm", f"s{number}", subject, Identity(ids=[*ids], **what))  # type: ignore[arg-type]


def after(*statements: Statement, seen: dict[str, IdSeen] | None = None) -> tuple[Groups, Changes]:
    """Apply statements to ids that are alone."""
    return apply(statements, Groups(), seen or {})


def test_links_connect_across_others() -> None:
    """Two pairs with one id in common are one customer; its id is the smallest or the chosen."""
    groups, _ = after(said(1, "b", "c"), said(2, "c", "d"), said(3, "x", "y"))
    assert [groups.members("b"), groups.members("x")] == [["b", "c", "d"], ["x", "y"]]
    chosen, _ = after(said(1, "b", "c"), said(2, "c", "d", primary="d"))
    assert {chosen.of(i) for i in "bcd"} == {"d"}


def test_a_known_person_stays_then_who_bought_first() -> None:
    """A profile comes before a browser, however early that bought; then the earliest purchase."""
    seen = {"anon": IdSeen(False, 1.0), "old": IdSeen(False, 5.0), "ann": IdSeen(True, 9.0)}
    groups, _ = after(said(1, "anon", "ann"), seen=seen)
    assert groups.of("anon") == "ann"
    groups, _ = after(said(1, "old", "anon"), seen=seen)
    assert groups.of("old") == "anon"


def test_more_ids_than_a_person_has_are_refused() -> None:
    """The fifty-first id looks like a till's; the customer stays as it was."""
    many = [said(n, "till", f"id-{n:02}", primary="till") for n in range(IDS_MAX)]
    groups, changes = after(*many)
    assert len(groups.members("till")) == IDS_MAX
    assert list(changes.refused) == [("crm", f"s{IDS_MAX - 1}")]
    assert "looks like a shared id" in changes.refused["crm", f"s{IDS_MAX - 1}"]


def test_a_device_joins_no_two_customers() -> None:
    """The tablet of a family is the first one's; the second one stays a customer."""
    groups, changes = after(
        said(1, "ann", "tablet", device=True), said(2, "bob", "tablet", device=True)
    )
    assert groups.members("ann") == ["ann", "tablet"]
    assert groups.of("bob") == "bob"
    assert "'tablet' belongs to 'ann' already" in changes.refused["crm", "s2"]


def test_an_id_is_taken_out_with_its_links() -> None:
    """A chain comes apart where its middle is taken out; what hangs together stays."""
    groups, _ = after(said(1, "a", "b"), said(2, "b", "c"), said(3, "c", "d"))
    left, changes = apply([said(4, "b", kind="unlinked")], groups, {})
    assert changes.refused == {}
    assert [left.of(i) for i in "abcd"] == ["a", "b", "c", "c"]
    assert regrouping(groups, left).dissolved == ("a",)
    assert regrouping(groups, left).joined == {"c": ("d",)}
    _, changes = apply([said(5, "b", kind="unlinked")], left, {})
    assert "nothing to undo" in changes.refused["crm", "s5"]


def test_a_contact_moves_between_accounts() -> None:
    """What the contact does counts for the new account from then on."""
    groups, changes = after(said(1, "li", "acme", kind="contact"))
    assert (groups.of("li"), changes.moves) == ("acme", [])
    moved, changes = apply([said(2, "li", "bolt", kind="contact")], groups, {})
    assert (moved.of("li"), changes.moves) == ("bolt", [Move("li", "acme")])
    assert moved.of("acme") == "acme"


IDS = [f"c{n}" for n in range(6)]
links = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)), max_size=8)


@given(links, st.randoms(use_true_random=False))
def test_order_does_not_matter(pairs: list[tuple[str, str]], random: object) -> None:
    """The same ids are one, whatever the order of the links, and after all are undone none is."""
    statements = [said(n, a, b) for n, (a, b) in enumerate(pairs)]
    shuffled = list(statements)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, _ = after(*statements)
    other, _ = after(*shuffled)
    sets = [{tuple(g.members(g.of(i))) for i in IDS} for g in (one, other)]
    assert sets[0] == sets[1]
    undone, _ = apply([said(100 + n, i, kind="unlinked") for n, i in enumerate(IDS)], one, {})
    assert (undone.primary, undone.links) == ({}, set())


@given(links)
def test_a_primary_id_is_its_own(pairs: list[tuple[str, str]]) -> None:
    """Chains are flat: the primary id of a primary id is itself."""
    groups, _ = after(*(said(n, a, b) for n, (a, b) in enumerate(pairs)))
    assert all(groups.of(groups.of(i)) == groups.of(i) for i in IDS)
