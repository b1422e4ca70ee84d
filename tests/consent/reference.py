"""The reference engine: slow, obvious, and written from the rules themselves.

It reads CareTeams, roles, groups, related persons and Consents as FHIR has them, looks at one record and one request,
and answers permit or deny. It shares no code with `consent`: no facts are materialised, no condition is built,
nothing is cached. Where the two disagree, one of them is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

PARIS = ZoneInfo("Europe/Paris")
NO, UNKNOWN, YES = 0, 1, 2
LADDER = "ULMNRV"
READS = ("read", "vread", "history", "search", "retrieve")
CARE = ("clinical", "patient", "care-team")
PERSONAL = ("clinical", "patient", "care-team", "consent", "audit")
VISIBILITY = "TRE-A07-StatutVisibiliteDocument"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ROLE_CODE = "http://terminology.hl7.org/CodeSystem/v3-RoleCode"
LOINC = "http://loinc.org"

Json = Mapping[str, Any]


@dataclass
class World:
    """What is stored: resources that say who may see what, and the records to be seen."""

    resources: list[dict[str, Any]]
    records: dict[str, dict[str, Any]]
    span: str = "record"
    network: str = ""
    descends: bool = False

    def of_type(self, resource_type: str) -> list[dict[str, Any]]:
        return [each for each in self.resources if each["resourceType"] == resource_type]


@dataclass
class Asked:
    """One question, as the rules see it."""

    actor: Any
    interaction: str
    purpose: str
    now: datetime
    world: World
    record: dict[str, Any]
    names: set[str] = field(default_factory=set)


# --------------------------------------------------------------------------------------------------------------- stages


def decide(actor: Any, interaction: str, purpose: str, now: datetime, record: dict[str, Any], world: World) -> bool:
    """Say whether the record is permitted: the stages of the decision, in their order."""
    asked = Asked(actor, interaction, purpose, now, world, record)
    asked.names = names_of(asked)
    if is_banned(asked) or is_outside_the_network(asked) or not is_in_scope(asked) or not exists_for(asked):
        return False
    if actor.kind == "link":
        return link_may_read(asked)
    if record["kind"] == "directory" and (interaction in READS or actor.kind == "operator"):
        return not is_hidden(asked)
    if actor.kind == "system":
        return actor.organization in record["custodians"] and record["kind"] != "audit"
    if actor.kind == "auditor":
        is_review = record["type"] == "Task" and interaction == "update"
        return record["kind"] == "audit" and (interaction in READS or is_review)
    if is_hidden(asked):
        return False
    patients = [subject["patient"] for subject in record["subjects"]]
    return bool(patients) and all(patient_permits(asked, patient) for patient in patients)


def is_banned(asked: Asked) -> bool:
    actor = asked.actor
    care = {"TREAT", "ETREAT", "BTG", "ERTREAT", "COC"}
    personal = {"PATRQT", "FAMRQT", "PWATRNY", "SUPNWK"}
    operations = {"HOPERAT", "CAREMGT", "HCOMPL", "HSYSADMIN", "PATADMIN", "PATSFTY", "RECORDMGT", "HTEST"}
    care_sectors = {"SA01", "SA07", "SA08"}
    elsewhere = bool(actor.sectors) and not {each.rpartition("|")[2] for each in actor.sectors} & care_sectors
    occupational = any(code.rpartition("|")[2] in {"SM25", "SCH35", "C41"} for code in actor.specialties)
    insurers = {f"http://terminology.hl7.org/CodeSystem/organization-type|{code}" for code in ("ins", "pay", "bus")}
    social = any(code.startswith("urn:oid:1.2.250.1.213.1.6.1.4|") for code in actor.professions)
    return (
        not actor.is_active
        or asked.purpose not in care | personal | operations
        or actor.client_category not in {"care", "operator"}
        or bool(actor.organization_types & insurers)
        or occupational
        or (actor.kind == "professional" and (social or elsewhere))
    )


def is_outside_the_network(asked: Asked) -> bool:
    """A system writes only for a member of the network, where there is one."""
    if asked.actor.kind != "system" or asked.interaction in READS or not asked.world.network:
        return False
    return not any(
        ref(each.get("participatingOrganization")) == asked.actor.organization
        and asked.world.network in [ref(network) for network in each.get("network", [])]
        and each.get("active") is not False
        and in_period(each.get("period"), asked.now)
        and any(
            (coding.get("system"), coding.get("code")) == ("http://hl7.org/fhir/organization-role", "member")
            for concept in each.get("code", [])
            for coding in concept.get("coding", [])
        )
        for each in asked.world.of_type("OrganizationAffiliation")
    )


def is_in_scope(asked: Asked) -> bool:
    """Some scope covers context, type and interaction; one limited to a patient must fit every patient of the
    record."""
    letter = {"create": "c", "store": "c", "update": "u", "patch": "u", "delete": "d", "search": "s"}.get(
        asked.interaction, "r"
    )
    contexts = {
        "system": {"system"},
        "operator": {"user", "system"},
        "auditor": {"user", "system"},
        "link": {"patient"},
    }.get(asked.actor.kind, {"patient", "user"})
    for scope in asked.actor.scopes:
        if scope.context not in contexts or scope.parameters or scope.type not in {"*", asked.record["type"]}:
            continue
        if letter in scope.letters and (scope.context != "patient" or fits_patient_context(asked)):
            return True
    return False


def fits_patient_context(asked: Asked) -> bool:
    actor = asked.actor
    patient = actor.launch_patient or (actor.reference if actor.kind == "patient" else None)
    if patient is None or (actor.kind == "patient" and patient != actor.reference):
        return False
    patients = {subject["patient"] for subject in asked.record["subjects"]}
    return asked.record["kind"] == "directory" or patients == {patient}


def exists_for(asked: Asked) -> bool:
    record, actor = asked.record, asked.actor
    if record["lifecycle"] == "erased":
        return False
    if record["lifecycle"] == "withheld":
        sets_right = actor.kind == "system" and asked.interaction in {"update", "delete"}
        return sets_right and actor.organization in record["custodians"]
    if record["lifecycle"] == "entered-in-error":
        return actor.kind == "system" and actor.organization in record["custodians"]
    return not (
        record["kind"] == "clinical" and any(is_opposed(asked, subject["patient"]) for subject in record["subjects"])
    )


def is_opposed(asked: Asked, patient: str) -> bool:
    """Look at the data side and the period of each deny of an opposition; whoever asks, for whatever, it holds."""
    for consent in consents_of(asked, patient):
        if family(consent) != "opposition":
            continue
        if is_untyped_optout(consent):
            return True
        for provision in provisions_of(consent):
            if provision["type"] != "deny" or not within(provision, asked.now):
                continue
            if data_side(provision, asked.record) >= UNKNOWN:
                return True
    return False


def is_hidden(asked: Asked) -> bool:
    codes = {label.rpartition("|")[2] for label in asked.record["labels"] if VISIBILITY in label}
    kind = asked.actor.kind
    is_early = "released" in asked.record and asked.now < asked.record["released"]
    return (
        (kind == "professional" and "MASQUE_PS" in codes and not makers(asked) & set(asked.record["authors"]))
        or (kind in {"patient", "representative", "link"} and "INVISIBLE_PATIENT" in codes)
        or (kind == "representative" and "INVISIBLE_REPRESENTANTS_LEGAUX" in codes)
        or (kind == "link" and "RelatedPerson" in asked.actor.giver and "INVISIBLE_REPRESENTANTS_LEGAUX" in codes)
        or (kind in {"patient", "representative", "link"} and is_early)
    )


def link_may_read(asked: Asked) -> bool:
    """Whoever holds a link reads the exam it was given for and what hangs on it, if its giver may, and no more."""
    record, actor = asked.record, asked.actor
    fitting = (
        asked.interaction in {"read", "search", "retrieve"}
        and record["type"] in {"ImagingStudy", "DiagnosticReport", "DocumentReference", "Binary"}
        and record["kind"] == "clinical"
        and actor.shared in record["instances"]
        and not is_hidden(asked)
        and len(record["subjects"]) > 0
    )
    return fitting and all(link_is_good(asked, subject["patient"]) for subject in record["subjects"])


def link_is_good(asked: Asked, patient: str) -> bool:
    """Its giver is the patient or represents them; nothing refuses it, with whatever exception; a grant names it."""
    giver = asked.actor.giver
    if giver != patient and not represents(replace(asked, actor=replace(asked.actor, reference=giver)), patient):
        return False
    consents = consents_of(asked, patient)
    for consent in consents:
        asked_for = [replace(asked, purpose=purpose) for purpose in (asked.purpose, "TREAT")]
        refused = [each for one in asked_for for each in matching_provisions(consent, one) if each["type"] == "deny"]
        if refused or is_untyped_optout(consent) or (family(consent) == "restriction" and names_giver(consent, asked)):
            return False
    return any(family(consent) == "grant" and matching_permits(consent, asked) for consent in consents)


def names_giver(consent: Json, asked: Asked) -> bool:
    """Some deny names the giver, for whatever purpose."""
    return any(
        provision["type"] == "deny"
        and asked.actor.giver in literal_actors(provision)
        and within(provision, asked.now)
        and min(match_action(provision), data_side(provision, asked.record)) >= UNKNOWN
        for provision in provisions_of(consent)
    )


def patient_permits(asked: Asked, patient: str) -> bool:
    match asked.actor.kind:
        case "patient":
            return patient == asked.actor.reference and may_touch_as_person(asked)
        case "representative":
            return (
                represents(asked, patient)
                and may_touch_as_person(asked)
                and not is_blocked_representative(asked, patient)
            )
        case "professional":
            return professional_may_read(asked, patient)
        case _:
            return False


def may_touch_as_person(asked: Asked) -> bool:
    record = asked.record
    if asked.interaction in READS:
        return record["kind"] in PERSONAL
    return (
        record["type"] == "Consent"
        and record["kind"] == "consent"
        and record.get("family") in {"grant", "restriction"}
        and asked.actor.reference in record["authors"]
    )


def is_blocked_representative(asked: Asked, patient: str) -> bool:
    if asked.interaction not in READS:
        return False
    return any(
        effect == "deny" and family(consent) == "restriction" and asked.actor.reference in literal_actors(provision)
        for consent in consents_of(asked, patient)
        for effect, provision in voices(consent, asked)
    )


def professional_may_read(asked: Asked, patient: str) -> bool:
    record = asked.record
    if asked.interaction not in READS or record["kind"] not in CARE:
        return False
    consents = consents_of(asked, patient)
    said = {id(consent): {effect for effect, _ in voices(consent, asked)} for consent in consents}
    if any("deny" in effects for effects in said.values()):
        return False
    permits = [consent for consent in consents if "permit" in said[id(consent)]]
    if any(family(consent) == "grant" for consent in permits):
        return True
    base_in_force = any(
        family(consent) == "base" and is_typed(consent) and within(provisions_of(consent)[0], asked.now)
        for consent in consents
    )
    if emergency_permits(asked, patient, consents, base_in_force=base_in_force):
        return True
    if base_in_force:
        based = any(family(consent) == "base" for consent in permits)
    else:
        based = asked.purpose in {"TREAT", "ETREAT", "BTG"}
    if not based:
        return False
    in_person = {name for name in asked.names if name.startswith("Practitioner")}
    if in_person & set(record["authors"]):
        return True
    if not (is_declared(asked, patient) or is_treating(asked, patient)):
        return False
    ordinary = record["confidentiality"] <= 4 and not record["sensitivities"]
    return ordinary or bool(permits)


def emergency_permits(asked: Asked, patient: str, consents: list[dict[str, Any]], *, base_in_force: bool) -> bool:
    """A physician in a session for the patient: as one who is declared, unless the person objected beforehand."""
    physicians = {"urn:oid:1.2.250.1.71.1.2.7|10", "http://terminology.hl7.org/CodeSystem/practitioner-role|doctor"}
    if asked.purpose != "BTG" or patient not in asked.actor.emergencies or not asked.actor.professions & physicians:
        return False
    if any(objects_to_emergency(consent, asked) for consent in consents):
        return False
    for_btg = [consent for consent in consents if matching_permits(consent, asked)]
    based = not base_in_force or any(family(consent) == "base" for consent in for_btg)
    if not based:
        treating = replace(asked, purpose="TREAT")
        said = {effect for each in consents if family(each) == "base" for effect, _ in voices(each, treating)}
        based = said == {"permit"}
    named = any(
        coding.get("code") == "BTG" and coding.get("system", ACT_REASON) == ACT_REASON
        for consent in for_btg
        for permit in matching_permits(consent, asked)
        for coding in permit.get("purpose", [])
    )
    ordinary = asked.record["confidentiality"] <= 4 and not asked.record["sensitivities"]
    return based and (ordinary or named)


def matching_permits(consent: Json, asked: Asked) -> list[Json]:
    return [each for each in matching_provisions(consent, asked) if each["type"] == "permit"]


def objects_to_emergency(consent: Json, asked: Asked) -> bool:
    """A deny for an emergency or for anything; a permit for BTG nested in a denying root takes it back."""
    if is_untyped_optout(consent):
        return True
    for purpose in ("ETREAT", "BTG"):
        for deny in matching_provisions(consent, replace(asked, purpose=purpose)):
            if deny["type"] != "deny":
                continue
            excepted = not deny.get("nested") and any(p.get("nested") for p in matching_permits(consent, asked))
            if not excepted:
                return True
    return False


# ------------------------------------------------------------------------------------------------------------ relations


def names_of(asked: Asked) -> set[str]:
    """The actor, the organisation acted for, and the roles held in it."""
    actor = asked.actor
    names = {actor.reference}
    if actor.kind != "professional":
        return names
    if actor.organization:
        names.add(actor.organization)
    if asked.world.descends:
        names |= wholes_of(asked, actor.organization, depth=3)
    people = {actor.reference} | replaced_by(asked)
    names |= people
    for role in asked.world.of_type("PractitionerRole"):
        if (
            ref(role.get("practitioner")) in people
            and role.get("active") is not False
            and in_period(role.get("period"), asked.now)
            and ("organization" not in role or ref(role["organization"]) == actor.organization)
        ):
            names.add(f"PractitionerRole/{role['id']}")
    return names


def wholes_of(asked: Asked, part: str | None, depth: int) -> set[str]:
    """Every organisation that contains the part, three levels up."""
    for each in asked.world.of_type("Organization"):
        if depth and f"Organization/{each['id']}" == part and (whole := ref(each.get("partOf"))):
            return {whole} | wholes_of(asked, whole, depth - 1)
    return set()


def makers(asked: Asked) -> set[str]:
    """Under which names the actor made something: who replaces somebody only in person."""
    return {asked.actor.reference} if replaced_by(asked) else asked.names


def replaced_by(asked: Asked) -> set[str]:
    """Whom the actor replaces now in the organisation acted for."""
    found: set[str] = set()
    for role in asked.world.of_type("PractitionerRole"):
        period = role.get("period", {})
        named = [
            ref(each.get("valueReference"))
            for each in role.get("extension", [])
            if each["url"] == "urn:fhirserver:extension:replaces"
        ]
        if (
            len(named) == 1
            and (named[0] or "").startswith("Practitioner/")
            and named[0] != asked.actor.reference
            and ref(role.get("practitioner")) == asked.actor.reference
            and asked.actor.organization is not None
            and ref(role.get("organization")) == asked.actor.organization
            and role.get("active") is not False
            and {"start", "end"} <= set(period)
            and in_period(period, asked.now)
        ):
            found.add(named[0] or "")
    return found


def is_declared(asked: Asked, patient: str) -> bool:
    return any(
        ref(team.get("subject")) == patient and is_in_team(asked, team, patient, depth=0)
        for team in asked.world.of_type("CareTeam")
    )


def is_in_team(asked: Asked, team: Json, patient: str, depth: int) -> bool:
    """Say whether the actor is in the team now, by themselves or through inner teams about nobody else."""
    if team.get("status") != "active" or not in_period(team.get("period"), asked.now) or depth > 3:
        return False
    if "subject" in team and ref(team["subject"]) != patient:
        return False
    for participant in team.get("participant", []):
        member = ref(participant.get("member"))
        if member is None or not in_period(participant.get("period"), asked.now):
            continue
        if "onBehalfOf" in participant:
            in_person = member.startswith("Practitioner/") and member in asked.names
            if in_person and ref(participant["onBehalfOf"]) == asked.actor.organization:
                return True
        elif member in asked.names or (
            member.startswith("CareTeam/")
            and any(
                is_in_team(asked, inner, patient, depth + 1)
                for inner in asked.world.of_type("CareTeam")
                if f"CareTeam/{inner['id']}" == member
            )
        ):
            return True
    return False


def is_treating(asked: Asked, patient: str) -> bool:
    if asked.world.span == "exam":
        return False
    for record in asked.world.records.values():
        if record["type"] not in {"ImagingStudy", "DiagnosticReport"} or record["performed"] is None:
            continue
        if patient not in {subject["patient"] for subject in record["subjects"]}:
            continue
        in_person = {name for name in asked.names if name.startswith("Practitioner")}
        start = record["performed"]["from"]
        if in_person & set(record["authors"]) and start <= asked.now < start + timedelta(days=90):
            return True
    return False


def represents(asked: Asked, patient: str) -> bool:
    for person in asked.world.of_type("RelatedPerson"):
        if f"RelatedPerson/{person['id']}" != asked.actor.reference or ref(person.get("patient")) != patient:
            continue
        if person.get("active") is False or not in_period(person.get("period"), asked.now):
            continue
        codes = {
            coding["code"]
            for concept in person.get("relationship", [])
            for coding in concept["coding"]
            if coding.get("system") == ROLE_CODE
        }
        guardian = codes & {"GUARD", "GUADLTM"}
        parent = codes & {"PRN", "FTH", "MTH", "NFTH", "NMTH", "NPRN", "ADOPTP", "ADOPTF", "ADOPTM"}
        if guardian and "end" in person.get("period", {}):
            return True
        if (guardian or parent) and is_minor(asked, patient):
            return True
    return False


def is_minor(asked: Asked, patient: str) -> bool:
    for each in asked.world.of_type("Patient"):
        if f"Patient/{each['id']}" == patient and "birthDate" in each:
            born = bounds(each["birthDate"])[0].astimezone(PARIS)
            day = 28 if (born.month, born.day) == (2, 29) and (born.year + 18) % 4 else born.day
            return asked.now < datetime(born.year + 18, born.month, day, tzinfo=PARIS)
    return False


def groups_of(asked: Asked) -> set[str]:
    """Every group the actor is in now, directly or through groups, three levels deep."""
    found: set[str] = set()
    frontier = set(asked.names)
    for _ in range(3):
        reached = {
            f"Group/{group['id']}"
            for group in asked.world.of_type("Group")
            if group.get("actual") is True and group.get("active") is not False
            for member in group.get("member", [])
            if ref(member.get("entity")) in frontier
            and member.get("inactive") is not True
            and in_period(member.get("period"), asked.now)
        }
        frontier = reached - found
        found |= reached
    return found


# ---------------------------------------------------------------------------------------------------------- one Consent


def consents_of(asked: Asked, patient: str) -> list[dict[str, Any]]:
    return [
        consent
        for consent in asked.world.of_type("Consent")
        if consent.get("status") == "active"
        and ref(consent.get("patient")) == patient
        and any(coding["code"] == "patient-privacy" for coding in consent["scope"]["coding"])
    ]


def family(consent: Json) -> str | None:
    named = {each.get("uri", "").rpartition(":")[2] for each in consent.get("policy", [])}
    known = named & {"base", "grant", "restriction", "opposition"}
    return known.pop() if len(known) == 1 else None


def is_typed(consent: Json) -> bool:
    return consent.get("provision", {}).get("type") in {"permit", "deny"}


def is_untyped_optout(consent: Json) -> bool:
    return not is_typed(consent) and any(
        coding.get("code") == "OPTOUT" for coding in consent.get("policyRule", {}).get("coding", [])
    )


def provisions_of(consent: Json) -> list[dict[str, Any]]:
    """Root and nested provisions, each with what it inherits; periods as the list of those that limit it."""
    root = consent.get("provision", {})
    found: list[dict[str, Any]] = []
    if is_typed(consent):
        found.append({**root, "periods": [root.get("period")]})
    for child in root.get("provision", []):
        if child.get("type") in {"permit", "deny"}:
            inherited = {name: value for name, value in root.items() if name not in {"provision", "type", "period"}}
            stated = {name: value for name, value in child.items() if value}
            found.append({**inherited, **stated, "periods": [root.get("period"), child.get("period")], "nested": True})
    return found


def voices(consent: Json, asked: Asked) -> list[tuple[str, Json]]:
    """What the Consent says to this request, with the provisions that say it: one effect, or nothing.

    Nested provisions that match beat the root; among them a deny beats a permit.
    """
    if is_untyped_optout(consent):
        return [("deny", {"actor": None})]
    matching = matching_provisions(consent, asked)
    nested = [provision for provision in matching if provision.get("nested")]
    for speaking in ([each for each in nested if each["type"] == "deny"], nested, matching):
        if speaking:
            return [(speaking[0]["type"], provision) for provision in speaking]
    return []


def matching_provisions(consent: Json, asked: Asked) -> list[dict[str, Any]]:
    """The provisions that match the request and are enforced."""
    enforced = is_typed(consent) and not (family(consent) is None and consent["provision"]["type"] == "permit")
    return [
        provision
        for provision in provisions_of(consent)
        if (enforced or (provision.get("nested") and provision["type"] == "deny"))
        and not (provision["type"] == "permit" and family(consent) == "grant" and not provision.get("actor"))
        and matches(provision, asked)
    ]


def matches(provision: Json, asked: Asked) -> bool:
    """A permit counts on YES, a deny on YES or UNKNOWN, over all dimensions together."""
    if not within(provision, asked.now):
        return False
    match = min(
        match_actor(provision, asked),
        match_purpose(provision, asked.purpose),
        match_action(provision),
        data_side(provision, asked.record),
    )
    return match >= (YES if provision["type"] == "permit" else UNKNOWN)


def within(provision: Json, now: datetime) -> bool:
    return all(in_period(period, now) for period in provision["periods"])


def literal_actors(provision: Json) -> set[str]:
    return {found for actor in provision.get("actor") or [] if (found := ref(actor.get("reference")))}


def match_actor(provision: Json, asked: Asked) -> int:
    if not provision.get("actor"):
        return YES
    best = NO
    for actor in provision["actor"]:
        codes = {coding.get("code") for coding in actor.get("role", {}).get("coding", [])}
        reference = recipient(actor.get("reference"))
        if reference is None or (codes and not codes & {"IRCP", "PRCP", "CST"}):
            best = max(best, UNKNOWN)
        elif (
            reference in asked.names
            or (reference.startswith("Group/") and reference in groups_of(asked))
            or (reference.startswith("CareTeam/") and is_in_named_team(asked, reference))
        ):
            best = YES
    return best


def is_in_named_team(asked: Asked, reference: str) -> bool:
    patients = {subject["patient"] for subject in asked.record["subjects"]}
    return any(
        is_in_team(asked, team, patient, depth=1)
        for team in asked.world.of_type("CareTeam")
        if f"CareTeam/{team['id']}" == reference
        for patient in patients
    )


def match_purpose(provision: Json, purpose: str) -> int:
    if not provision.get("purpose"):
        return YES
    best = NO
    for coding in provision["purpose"]:
        system = coding.get("system", ACT_REASON)
        if system != ACT_REASON:
            best = max(best, YES if purpose == f"{system}|{coding['code']}" else UNKNOWN)
        elif coding["code"] == purpose:
            best = YES
    return best


def match_action(provision: Json) -> int:
    """Everything this service decides under a Consent is access."""
    if not provision.get("action"):
        return YES
    best = NO
    for concept in provision["action"]:
        codes = {coding["code"] for coding in concept["coding"]}
        if "access" in codes:
            return YES
        if "disclose" not in codes:
            best = UNKNOWN
    return best


def data_side(provision: Json, record: Json) -> int:
    return min(
        match_labels(provision, record),
        match_codes(provision.get("class"), record, system_of_types=True),
        match_codes([coding for concept in provision.get("code") or [] for coding in concept["coding"]], record),
        match_data_period(provision, record),
        match_data(provision, record),
    )


def match_labels(provision: Json, record: Json) -> int:
    labels = provision.get("securityLabel")
    if not labels:
        return YES
    ranks = [LADDER.index(each["code"]) + 1 for each in labels if each.get("system") == CONFIDENTIALITY]
    sensitive = {f"{ACT_CODE}|{each['code']}" for each in labels if each.get("system") == ACT_CODE}
    strange = [each for each in labels if each.get("system") not in {CONFIDENTIALITY, ACT_CODE}]
    carried = set(record["sensitivities"])
    if provision["type"] == "deny":
        if carried & sensitive or (ranks and record["confidentiality"] >= min(ranks)):
            return YES
        return UNKNOWN if strange else NO
    if strange:
        return UNKNOWN
    if carried - sensitive or (ranks and record["confidentiality"] > max(ranks)):
        return NO
    return YES if ranks or carried else NO


def match_codes(codings: list[Json] | None, record: Json, *, system_of_types: bool = False) -> int:
    if not codings:
        return YES
    best = NO
    for coding in codings:
        if system_of_types and coding.get("system") in {None, "http://hl7.org/fhir/resource-types"}:
            best = max(best, YES if coding["code"] in record["class"] else NO)
        elif coding.get("system") == LOINC:
            best = max(best, YES if f"{LOINC}|{coding['code']}" in record["class"] else NO)
        else:
            best = max(best, UNKNOWN)
    return best


def match_data_period(provision: Json, record: Json) -> int:
    if "dataPeriod" not in provision:
        return YES
    if record["kind"] != "clinical":
        return NO
    if record["performed"] is None:
        return UNKNOWN
    period = provision["dataPeriod"]
    start = bounds(period["start"])[0] if "start" in period else datetime.min.replace(tzinfo=UTC)
    end = bounds(period["end"])[1] if "end" in period else datetime.max.replace(tzinfo=UTC)
    first, last = record["performed"]["from"], record["performed"]["until"]
    if last <= start or first >= end:
        return NO
    return YES if start <= first and last <= end else UNKNOWN


def match_data(provision: Json, record: Json) -> int:
    if not provision.get("data"):
        return YES
    best = NO
    for entry in provision["data"]:
        reference = ref(entry.get("reference"))
        stated = {
            "instance": record["instances"],
            "related": record["related"],
            "dependents": [*record["instances"], *record["related"]],
            "authoredby": record["authors"],
        }.get(entry.get("meaning", ""))
        if reference is None or stated is None:
            best = max(best, UNKNOWN)
        elif reference in stated:
            best = YES
    return best


# ---------------------------------------------------------------------------------------------------- dates, references


def ref(reference: Json | None) -> str | None:
    text = (reference or {}).get("reference", "")
    return text if re.fullmatch(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]+", text) else None


def recipient(reference: Json | None) -> str | None:
    """Whom a Consent names: a resource, or a link by its identifier."""
    identifier = (reference or {}).get("identifier", {})
    if "reference" not in (reference or {}) and identifier.get("system") == "urn:fhirserver:link":
        return f"Link/{identifier['value']}"
    found = ref(reference)
    return None if found is not None and found.startswith("Link/") else found


def bounds(text: str) -> tuple[datetime, datetime]:
    """First instant of a FHIR date, and the first one after it."""
    if "T" in text:
        start = datetime.fromisoformat(text)
        return start, start + timedelta(seconds=1)
    parts = [int(part) for part in text.split("-")]
    following = {
        1: lambda: datetime(parts[0] + 1, 1, 1, tzinfo=PARIS),
        2: lambda: datetime(parts[0] + parts[1] // 12, parts[1] % 12 + 1, 1, tzinfo=PARIS),
        3: lambda: datetime(*parts, tzinfo=PARIS) + timedelta(days=1),
    }[len(parts)]()
    return datetime(*[*parts, 1, 1][:3], tzinfo=PARIS), following


def in_period(period: Json | None, now: datetime) -> bool:
    period = period or {}
    if "start" in period and now < bounds(period["start"])[0]:
        return False
    return not ("end" in period and now >= bounds(period["end"])[1])


def effects(consent: Json, asked: Asked) -> Iterator[str]:
    """The effect of one Consent, for the vectors."""
    yield from {effect for effect, _ in voices(consent, asked)}
