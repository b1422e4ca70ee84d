"""What holds for every Consent, care team and record: Hypothesis makes them, the four sentences judge them.

Worlds are made in the short form of `scenario.py` from few people, labels, purposes and dates, so that things meet.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from consent import DEFAULT, Actor, Decision, Request, admit, audience, decide, permitted
from consent.condition import evaluate
from tests.consent import reference
from tests.consent.scenario import build_actor, expand, facts, record

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)

PEOPLE: list[dict[str, Any]] = [
    {"reference": "Practitioner/d", "organization": "Organization/c"},
    {"reference": "Practitioner/d", "organization": "Organization/h"},
    {"reference": "Practitioner/s", "organization": "Organization/c"},
    {"reference": "Practitioner/e"},
    {"reference": "Patient/p"},
    {"reference": "Patient/q"},
    {"reference": "RelatedPerson/m"},
    {"reference": "Client/his", "organization": "Organization/c"},
    {"reference": "Practitioner/a", "kind": "auditor"},
    {"reference": "Client/o", "kind": "operator", "category": "operator"},
    {"reference": "Practitioner/d", "scopes": "patient/*.rs", "launch-patient": "Patient/p"},
    {"reference": "Practitioner/e", "professions": ["urn:oid:1.2.250.1.71.1.2.7|10"], "sessions": ["Patient/p"]},
    {"reference": "Link/l", "giver": "Patient/p", "shared": "ImagingStudy/a", "launch-patient": "Patient/p"},
    {"reference": "Link/l", "giver": "RelatedPerson/m", "shared": "ImagingStudy/a", "launch-patient": "Patient/p"},
]
ACTORS = [
    "Practitioner/d",
    "Practitioner/e",
    "PractitionerRole/d-at-c",
    "Organization/c",
    "CareTeam/inner",
    "Group/g",
    "Link/l",
]
HOUSE = {"CareTeam": "house", "subject": "Patient/p", "members": ["Practitioner/d", "CareTeam/inner", "Organization/c"]}
STAND_IN = {
    "PractitionerRole": "stand-in",
    "practitioner": "Practitioner/s",
    "organization": "Organization/c",
    "replaces": "Practitioner/d",
    "period": ["2026-11-20", "2026-11-30"],
}
UNREADABLE = [{"reference": {"display": "somebody"}}]


def few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    """One or two of them."""
    return st.one_of(st.tuples(strategy), st.tuples(strategy, strategy)).map(list)


def none_or_few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.one_of(st.just([]), few(strategy))


periods = st.sampled_from(
    [
        ["2026-01-01", None],
        [None, "2026-11-23"],
        ["2026-11-24", "2026-11-24"],
        ["2026-11-25", None],
        [None, None],
    ]
)
label = st.sampled_from(["L", "N", "R", "V", "PSY", "HIV", "urn:example|X"])
purposes = st.sampled_from(["TREAT", "ETREAT", "BTG", "HOPERAT", "PATRQT"])
references = st.sampled_from(["ImagingStudy/a", "ImagingStudy/b", "DiagnosticReport/r"])
actors = st.one_of(
    st.just("anybody"),
    few(st.sampled_from([*ACTORS, "RelatedPerson/m"])),
    st.just(UNREADABLE),
)
data = st.one_of(
    references,
    st.sampled_from(
        [
            {"related": "Encounter/1"},
            {"authoredby": "Practitioner/e"},
            {"dependents": "ImagingStudy/a"},
            {"instance": "http://elsewhere.example/ImagingStudy/a"},
        ]
    ),
)


@st.composite
def provisions(draw: st.DrawFn, effects: tuple[str, ...] = ("permit", "deny")) -> dict[str, Any]:
    short: dict[str, Any] = {draw(st.sampled_from(effects)): draw(actors)}
    optional = {
        "purpose": few(st.one_of(purposes, st.just("urn:example|X"))),
        "labels": few(label),
        "period": periods,
        "dates": periods,
        "data": few(data),
        "actions": few(st.sampled_from(["access", "disclose", "collect"])),
        "class": st.sampled_from(["ImagingStudy", "DiagnosticReport", "urn:example|X"]),
    }
    for name in draw(none_or_few(st.sampled_from(sorted(optional)))):
        short[name] = draw(optional[name])
    return short


@st.composite
def consents(draw: st.DrawFn, effects: tuple[str, ...] = ("permit", "deny"), *, nesting: bool = True) -> dict[str, Any]:
    short = draw(provisions(effects))
    if nesting and draw(st.booleans()):
        short["nested"] = draw(few(provisions(effects)))
    return {
        "Consent": f"c{draw(st.integers(0, 10**6))}",
        "policy": draw(st.sampled_from([*["base", "grant", "grant", "restriction"] * 3, "opposition", "urn:other"])),
        "patient": draw(st.sampled_from(["Patient/p", "Patient/p", "Patient/q"])),
        "status": draw(st.sampled_from(["active", "active", "active", "inactive", "draft"])),
        **short,
    }


@st.composite
def teams(draw: st.DrawFn) -> dict[str, Any]:
    member = st.sampled_from([*ACTORS[:5], "RelatedPerson/m"])
    participant = st.one_of(
        member,
        st.fixed_dictionaries({"member": member, "period": periods}),
        st.just({"member": "Practitioner/d", "onBehalfOf": "Organization/h"}),
    )
    team: dict[str, Any] = {
        "CareTeam": draw(st.sampled_from(["outer", "inner"])),
        "status": draw(st.sampled_from(["active", "active", "active", "suspended", None])),
        "members": draw(none_or_few(participant)),
        "period": draw(periods),
    }
    subject = draw(st.sampled_from(["Patient/p", "Patient/p", "Patient/q", None]))
    return team if subject is None else {**team, "subject": subject}


@st.composite
def worlds(draw: st.DrawFn) -> reference.World:
    access = [
        {"Patient": "p", "birthDate": draw(st.sampled_from(["2008-11-24", "2008-11-25", "2015", "1970-01-01"]))},
        {"RelatedPerson": "m", "patient": "Patient/p", "as": draw(st.sampled_from(["MTH", "STPMTH"]))},
        {"PractitionerRole": "d-at-c", "practitioner": "Practitioner/d", "organization": "Organization/c"},
        *draw(st.sampled_from([[], [STAND_IN]])),
        {"Group": "g", "members": draw(none_or_few(st.sampled_from(ACTORS[:3])))},
        *draw(st.sampled_from([[], [HOUSE]])),
        *{team["CareTeam"]: team for team in draw(none_or_few(teams()))}.values(),
        *draw(none_or_few(consents())),
        *draw(none_or_few(consents(nesting=False))),
    ]
    return reference.World([expand(each) for each in access], {})


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    resource_type = draw(
        st.sampled_from([*["ImagingStudy"] * 5, "DiagnosticReport", "Patient", "Consent", "Practitioner"])
    )
    short: dict[str, Any] = {
        "type": resource_type,
        "patients": draw(st.sampled_from([*[["Patient/p"]] * 6, ["Patient/p", "Patient/q"], []])),
        "labels": draw(none_or_few(label)),
        "authors": draw(st.sampled_from([[], ["Practitioner/e"], ["PractitionerRole/d-at-c"], ["Patient/p"]])),
        "related": draw(st.sampled_from([[], ["Encounter/1"]])),
        "of": draw(st.sampled_from([[], ["ImagingStudy/a"]])),
        "custodian": draw(st.sampled_from(["Organization/c", "Organization/h"])),
        "family": draw(st.sampled_from(["grant", "base", None])),
        "lifecycle": draw(st.sampled_from([*["present"] * 9, "entered-in-error", "erased", "withheld"])),
    }
    release = draw(st.sampled_from([*[None] * 6, "2026-11-24T10:00:00+01:00", "2026-11-24T09:00:00.001Z", "never"]))
    if release:
        short["released"] = release
    performed = draw(st.sampled_from([None, "2026-11-20", "2026", "2024-05-01", "2026-11-25"]))
    if performed:
        short["performed"] = performed
    return record(draw(st.sampled_from(["a", "b", "r"])), short, DEFAULT)


people = st.sampled_from([*PEOPLE[:4] * 3, *PEOPLE])
interactions = st.sampled_from([*["read"] * 8, "search", "create", "update", "delete"])


def ask(person: dict[str, Any], world: reference.World, purpose: str, interaction: str, now: datetime = NOW):
    return build_actor(person, world, now, DEFAULT), Request(interaction, purpose, now)


def decision_in(world: reference.World, person: dict[str, Any], purpose: str, seen: dict[str, Any]) -> Decision:
    actor, request = ask(person, world, purpose, "read")
    return decide(actor, request, facts(seen, with_records(world, seen), DEFAULT))


def with_records(world: reference.World, seen: dict[str, Any]) -> reference.World:
    return replace(world, records={"seen": seen})


@settings(max_examples=200, deadline=None)
@given(worlds(), people, purposes, interactions, records())
def test_decide_permits_exactly_what_permitted_matches_and_the_reference_engine_permits(
    world: reference.World, person: dict[str, Any], purpose: str, interaction: str, seen: dict[str, Any]
):
    actor, request = ask(person, world, purpose, interaction)
    world = with_records(world, seen)
    held = facts(seen, world, DEFAULT)
    permission = permitted(actor, request, seen["type"])

    decision = decide(actor, request, held)

    matched = admit(actor, request, seen["type"]) is None and evaluate(permission.condition, held)
    assert decision.is_permit == matched
    assert decision.is_permit == reference.decide(actor, interaction, purpose, NOW, seen, world)
    if decision.is_permit:
        assert permission.audience & set(audience(held))


@settings(max_examples=80, deadline=None)
@given(worlds(), people, purposes, records(), consents(("deny",), nesting=False))
def test_adding_a_deny_never_turns_a_refusal_into_a_permit(
    world: reference.World, person: dict[str, Any], purpose: str, seen: dict[str, Any], deny: dict[str, Any]
):
    before = decision_in(world, person, purpose, seen)
    after = decision_in(replace(world, resources=[*world.resources, expand(deny)]), person, purpose, seen)

    # A base Consent is not only a deny: it also takes the place of the implicit policy, which can only close.
    assert before.is_permit or not after.is_permit


@settings(max_examples=80, deadline=None)
@given(worlds(), people, purposes, records(), st.data())
def test_removing_a_grant_never_turns_a_refusal_into_a_permit(
    world: reference.World, person: dict[str, Any], purpose: str, seen: dict[str, Any], choose: st.DataObject
):
    grant = choose.draw(consents(("permit",), nesting=False).map(lambda short: {**short, "policy": "grant"}))
    with_grant = decision_in(replace(world, resources=[*world.resources, expand(grant)]), person, purpose, seen)
    without = decision_in(world, person, purpose, seen)

    assert with_grant.is_permit or not without.is_permit


@settings(max_examples=80, deadline=None)
@given(worlds(), people, purposes, records(), st.randoms(use_true_random=False))
def test_order_and_duplicates_do_not_matter(
    world: reference.World, person: dict[str, Any], purpose: str, seen: dict[str, Any], chance: Any
):
    shuffled = [*world.resources, *world.resources]
    chance.shuffle(shuffled)
    turned = {**seen, "sensitivities": seen["sensitivities"][::-1], "subjects": seen["subjects"][::-1]}

    before = decision_in(world, person, purpose, seen)
    after = decision_in(replace(world, resources=shuffled), person, purpose, turned)

    assert before.effect == after.effect


@settings(max_examples=80, deadline=None)
@given(worlds(), people, purposes, records(), consents(), st.sampled_from(["revoked", "expired", "to come"]))
def test_what_is_not_in_force_equals_its_absence(
    world: reference.World,
    person: dict[str, Any],
    purpose: str,
    seen: dict[str, Any],
    consent: dict[str, Any],
    why: str,
):
    idle = {
        "revoked": {**consent, "status": "inactive"},
        "expired": {**consent, "period": [None, "2026-11-23"]},
        "to come": {**consent, "period": ["2026-11-25", None]},
    }[why]

    before = decision_in(world, person, purpose, seen)
    after = decision_in(replace(world, resources=[*world.resources, expand(idle)]), person, purpose, seen)

    assert before.effect == after.effect


@settings(max_examples=80, deadline=None)
@given(worlds(), purposes, records(), st.sampled_from(["payer", "employer", "occupational", "inactive", "research"]))
def test_structural_bans_hold_for_every_set_of_consents(
    world: reference.World, purpose: str, seen: dict[str, Any], ban: str
):
    person: dict[str, Any] = dict(PEOPLE[0])
    person |= {
        "payer": {"category": "payer"},
        "employer": {"category": "employer"},
        "occupational": {"specialties": ["urn:oid:1.2.250.1.71.4.2.5|SCH35"]},
        "inactive": {"active": False},
        "research": {},
    }[ban]

    decision = decision_in(world, person, "HRESCH" if ban == "research" else purpose, seen)

    assert decision.effect == "deny"
    assert decision.status == "forbidden"
    assert decision.code.startswith("ban-")


@settings(max_examples=80, deadline=None)
@given(worlds(), people, purposes, records(), st.sets(st.sampled_from(["ImagingStudy", "Patient", "*"])))
def test_narrowing_the_scopes_never_adds_a_row(
    world: reference.World, person: dict[str, Any], purpose: str, seen: dict[str, Any], kept: set[str]
):
    actor, request = ask(person, world, purpose, "search")
    narrower: Actor = replace(actor, scopes=tuple(scope for scope in actor.scopes if scope.type in kept))
    held = facts(seen, with_records(world, seen), DEFAULT)

    assert decide(actor, request, held).is_permit or not decide(narrower, request, held).is_permit


@settings(max_examples=150, deadline=None)
@given(worlds(), records())
def test_break_glass_opens_no_more_than_a_declared_member_sees_where_no_consent_speaks_of_it(
    world: reference.World, seen: dict[str, Any]
):
    silent = [
        each
        for each in world.resources
        if each["resourceType"] != "Consent" or ("BTG" not in str(each) and "'TREAT'" not in str(each))
    ]
    member = expand({"CareTeam": "member", "subject": "Patient/p", "members": ["Practitioner/e"]})
    person = PEOPLE[-1]
    outside = replace(world, resources=silent)
    inside = replace(world, resources=[*silent, member])

    in_emergency = decision_in(outside, person, "BTG", seen)
    as_member = decision_in(inside, {**person, "sessions": []}, "TREAT", seen)

    assert as_member.is_permit or not in_emergency.is_permit
