"""Events of the access decision: BALP AuthZconsent (https://profiles.ihe.net/ITI/BALP/content.html, section 3:5.7.9).

Every refusal is told, and every permit that a Consent determined. Where no Consent took part the event has the same
shape with the subtype AuthZ-Role, and does not claim the profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consent.decision import Decision
from fhirserver.access import Access, Noted
from fhirserver.audit import codes, parts
from fhirserver.audit.caller import Caller, Moment
from fhirserver.audit.event import Event, event
from fhirserver.audit.hidden import labels_of, labels_refused, told_of
from fhirserver.audit.parts import Entity, Shape, frozen
from fhirserver.store.rows import Row


def refusal_events(access: Access, noted: Noted) -> list[Event]:
    """A request was refused, by its token or by the rules; nothing for a decision that permits."""
    if noted.decision.is_permit:
        return []
    labels = labels_refused(access, noted)
    return _decided(
        access, noted.interaction, noted.type, noted.id, noted.patients, noted.decision, labels, noted.about
    )


def consent_events(access: Access, interaction: str, row: Row, decision: Decision) -> list[Event]:
    """A request was permitted because a Consent says so; nothing where no Consent took part."""
    if not consents(decision):
        return []
    labels = labels_of(access, interaction, row)
    return _decided(access, interaction, row.type, row.id, row.patients, decision, labels, told_of(row))


def consents(decision: Decision) -> list[str]:
    """The Consents, each with its version, on which a decision rests; not those that spoke against it."""
    sources = [
        source
        for reason in decision.reasons
        for source in reason.sources
        if source.startswith("Consent/") and reason.code.startswith("permit-") == decision.is_permit
    ]
    return list(dict.fromkeys(sources))


def _decided(
    access: Access,
    interaction: str,
    type_: str,
    id_: str | None,
    patients: Sequence[str],
    decision: Decision,
    labels: Sequence[str],
    about: Sequence[str],
) -> list[Event]:
    caller, moment = Caller.of(access), Moment(access.now, access.request_id)
    determining = consents(decision)
    concerned: Sequence[str | None] = tuple(dict.fromkeys(patients)) or (None,)
    what = f"{type_}/{id_}" if id_ else type_
    return [
        event(
            _shape(decision, is_by_consent=bool(determining) and patient is not None, is_complete=_is_complete(caller)),
            caller,
            "decision",
            moment,
            tuple(_entities(access, interaction, what, patient, determining)),
            patient=patient,
            labels=labels,
            about=about,
            # What is absent has no patient; a caller who found it in their own trail would know that it is absent.
            is_callers=id_ is None,
        )
        for patient in concerned
    ]


def _is_complete(caller: Caller) -> bool:
    """Whether every agent that AuthZconsent asks for is known: the user, and the establishment acted for."""
    return caller.reference is not None and caller.organization is not None


def _shape(decision: Decision, *, is_by_consent: bool, is_complete: bool) -> Shape:
    profiles = (codes.profile("AuthZconsent"),) if is_by_consent and is_complete else ()
    return Shape(
        frozen(codes.SECURITY_ALERT),
        "E",
        (frozen(codes.AUTHZ_CONSENT if is_by_consent else codes.AUTHZ_ROLE),),
        outcome=codes.SUCCESS if decision.is_permit else codes.SERIOUS_FAILURE,
        reason=decision.told,
        profiles=(*profiles, codes.OAUTH_MINIMAL),
    )


def _entities(
    access: Access, interaction: str, what: str, patient: str | None, determining: Sequence[str]
) -> Iterable[Entity]:
    """AuthZconsent admits patient, Consents and token only: resource and request are then details of the Consent."""
    if patient is not None:
        yield parts.patient(patient)
    if patient is not None and determining:
        for reference in determining:
            yield parts.consent(reference, interaction, what, access.request_id)
    else:
        if "/" in what:
            yield parts.data(what)
        else:
            yield parts.subject_of_change(what, (("interaction", interaction),))
        yield parts.request(access.request_id)
        yield from parts.sessions_of(access, patient)
    if access.token_id:
        yield parts.token(access.token_id)
