"""A mapping's document: what is accepted, and where its mistakes are."""

import pytest

from services.ingest.core.mapping.document import (
    MISTAKES_MAX,
    RULES_MAX,
    CompiledMapping,
    Mistakes,
    compile_mapping,
)
from services.ingest.core.mapping.tree import DOCUMENT_BYTES_MAX
from shared.kernel.errors import Invalid

HEAD = "mapping: m\nrules:\n"
RULE = "  - {rule: r, type: purchase, id: id, time: at, customer: who}\n"


def _mistakes(text: str) -> list[str]:
    with pytest.raises(Mistakes) as raised:
        compile_mapping(text, "m.yaml")
    return [f"{each.field} {each.reason}" for each in raised.value.all]


def test_the_least_document() -> None:
    """A name and a rule are enough; the source is named after the mapping."""
    made = compile_mapping(HEAD + RULE, "m.yaml")
    assert isinstance(made, CompiledMapping)
    assert (made.name, made.source, made.topics, made.reads) == ("m", "m", (), "json")
    assert (made.ignores_others, made.zone) == (False, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("mapping: [¦", "not YAML"),
        ("¦- 1", "an object"),
        ("¦mapping: m", "rules: must be a list"),
        (HEAD + "  - ¦7", "a rule is an object"),
        ("mapping: m\n¦mapping: n\n", "`mapping` is there twice"),
        ("mapping: ¦&a m\nsource: *a\n", "anchors"),
        ("? ¦[a]\n: b\n", "a key must be a text"),
        ("mappin: ¦m\n" + HEAD + RULE, "is `mapping` meant?"),
        ("time_zone: ¦Berlin\n" + HEAD + RULE, "no time zone 'Berlin'"),
        ("reads: ¦xml\n" + HEAD + RULE, "one of json, cloudevents, debezium"),
        ("topics: ¦orders\n" + HEAD + RULE, "a list"),
        ("topics: [¦1]\n" + HEAD + RULE, "a text"),
        ("defaults: ¦7\n" + HEAD + RULE, "an object of fields"),
        (HEAD + RULE + RULE.replace("rule: r", "rule: ¦r"), "another rule"),
        (HEAD + RULE.replace("{rule: r, ", "¦{"), "short name"),
        (HEAD + RULE.replace("purchase", "¦sale"), "purchase, refund"),
        (HEAD + RULE.replace("id: id, ", "").replace("{", "¦{"), "rules[0].id: missing"),
        (HEAD + RULE.replace("at,", "¦at(),"), "no function `at`"),
        (HEAD + RULE.replace("id: id", "id: 'a ¦b'"), "`b` is unexpected"),
        (HEAD + RULE.replace("id: id", "id: a ¦b"), "`b` is unexpected"),
        (HEAD + RULE.replace("id: id", "id: a.¦"), "incomplete"),
        (HEAD + RULE.replace("id: id", "id: ¦[id]"), "an expression, a number"),
        (HEAD + RULE.replace("}", ", items: ¦x}"), "{each: a list"),
        (HEAD + RULE.replace("}", ", items: ¦{sku: x}}"), "items.each: missing"),
        (HEAD + RULE.replace("}", ", items: {each: x, skuu: ¦x}}"), "is `sku` meant?"),
        (HEAD + RULE.replace("}", ", amout: ¦x}"), "is `amount` meant?"),
        (HEAD + RULE.replace("}", ", kind: ¦x}"), "unknown"),
        (HEAD + RULE.replace("}", ", once: ¦1}"), "true or false"),
        (HEAD + "  - {rule: r, ignore: ¦no}", "must be true"),
        (HEAD + "  - {rule: r, ignore: true, id: ¦x}", "unknown"),
        (HEAD + RULE.replace("purchase", "interaction").replace("{", "¦{"), "kind: missing"),
        (HEAD + RULE.replace("at,", "\"¦epoch(at, 'h')\","), "s, ms, us, ns, d"),
        (HEAD + RULE.replace("at,", "\"¦in_zone(at, 'X')\","), "no time zone 'X'"),
        (HEAD + RULE.replace("at,", "¦epoch(),"), "takes 1 to 2 arguments, not 0"),
    ],
)
def test_each_mistake_has_its_place(text: str, reason: str) -> None:
    """The file, the line and the column, which is where the bar stands; and what is wrong."""
    before, _, after = text.partition("¦")
    with pytest.raises(Invalid) as raised:
        compile_mapping(before + after, "m.yaml")
    assert reason in raised.value.reason
    line, column = before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1
    assert raised.value.field == f"m.yaml:{line}:{column}"


def test_an_empty_document() -> None:
    """There is no place to name."""
    with pytest.raises(Invalid, match=r"m\.yaml: not YAML: the document is empty"):
        compile_mapping("", "m.yaml")


def test_all_mistakes_are_reported_in_their_order() -> None:
    """One round is enough to mend a document; of very many, the first ones are reported."""
    text = HEAD + "  - {rule: r, type: purchase, id: a b}\nother: 1\n"
    assert [each.split()[0] for each in _mistakes(text)] == [
        "m.yaml:3:5",
        "m.yaml:3:5",
        "m.yaml:3:37",
        "m.yaml:4:8",
    ]
    many = HEAD + "".join(f"  - {{rule: r{n}, type: x}}\n" for n in range(50))
    assert len(_mistakes(many)) == MISTAKES_MAX


def test_bounds() -> None:
    """A document has a size, a number of rules, and expressions of a length."""
    with pytest.raises(Invalid, match="at most 65,536"):
        compile_mapping(HEAD + RULE + "#" * DOCUMENT_BYTES_MAX, "m.yaml")
    rules = "".join(RULE.replace("rule: r", f"rule: r{n}") for n in range(RULES_MAX + 1))
    assert f"at most {RULES_MAX}" in _mistakes(HEAD + rules)[0]
    long = RULE.replace("id: id", f"id: {'a' * 1001}")
    assert "at most 1,000" in _mistakes(HEAD + long)[0]
    with pytest.raises(Invalid, match="nested too deep"):
        compile_mapping("[" * 5_000, "m.yaml")
