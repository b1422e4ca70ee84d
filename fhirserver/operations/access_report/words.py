"""What a report of accesses says, in French and in English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Final, Literal

from consent.decision import SENTENCES, sentences

Language = Literal["fr", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("fr", "en")
Words = Mapping[Language, str]


def _both(fr: str, en: str) -> Words:
    return {"fr": fr, "en": en}


ACTIONS: Final[Mapping[str, Words]] = {
    "read": _both("Consultation", "Read"),
    "search": _both("Recherche", "Search"),
    "images": _both("Consultation d'images", "Images viewed"),
    "store": _both("Dépôt d'images", "Images stored"),
    "create": _both("Ajout", "Added"),
    "update": _both("Modification", "Changed"),
    "delete": _both("Suppression", "Deleted"),
    "operation": _both("Opération", "Operation"),
    "trail": _both("Consultation des traces", "Audit trail read"),
    "access": _both("Demande d'accès", "Request for access"),
    "break-glass": _both("Ouverture en urgence (bris de glace)", "Opened in an emergency (break-glass)"),
    "break-glass-end": _both("Fin de l'ouverture en urgence", "End of the emergency access"),
    "link": _both("Consultation par un lien", "Opened by a link"),
    "session": _both("Connexion", "Sign-in"),
    "administration": _both("Administration du service", "Administration of the service"),
}
"""By the action of a line."""

TYPES: Final[Mapping[str, Words]] = {
    "ImagingStudy": _both("examen d'imagerie", "imaging exam"),
    "DiagnosticReport": _both("compte rendu", "report"),
    "DocumentReference": _both("document", "document"),
    "Binary": _both("contenu d'un document", "content of a document"),
    "Observation": _both("observation", "observation"),
    "ServiceRequest": _both("demande d'examen", "request for an exam"),
    "Encounter": _both("venue", "encounter"),
    "Condition": _both("problème de santé", "health problem"),
    "Procedure": _both("acte", "procedure"),
    "Composition": _both("document structuré", "structured document"),
    "Patient": _both("identité", "identity"),
    "RelatedPerson": _both("proche ou représentant", "related person"),
    "CareTeam": _both("équipe de soins", "care team"),
    "Consent": _both("consentement", "consent"),
    "Task": _both("tâche", "task"),
    "AuditEvent": _both("trace d'accès", "audit event"),
    "Provenance": _both("provenance", "provenance"),
    "Media": _both("image ou photo", "image or photo"),
    "Appointment": _both("rendez-vous", "appointment"),
    "AllergyIntolerance": _both("allergie", "allergy"),
    "MedicationRequest": _both("prescription", "prescription"),
}
"""Types of resources; others are told by their FHIR name."""

PURPOSES: Final[Mapping[str, Words]] = {
    "TREAT": _both("soins", "care"),
    "ETREAT": _both("urgence", "emergency"),
    "BTG": _both("bris de glace", "break-glass"),
    "PATRQT": _both("à la demande de la personne", "for the person themselves"),
    "FAMRQT": _both("à la demande de la famille", "for the family"),
    "PWATRNY": _both("pour la personne représentée", "for the person represented"),
    "COC": _both("coordination des soins", "coordination of care"),
    "HSYSADMIN": _both("administration du service", "administration of the service"),
    "HOPERAT": _both("fonctionnement de la structure", "operation of the establishment"),
}
"""Purposes of use (v3-ActReason); others are told by their code."""

PROFESSIONS: Final[Mapping[str, Words]] = {
    "10": _both("médecin", "physician"),
    "21": _both("pharmacien", "pharmacist"),
    "40": _both("chirurgien-dentiste", "dentist"),
    "50": _both("sage-femme", "midwife"),
    "60": _both("infirmier", "nurse"),
    "70": _both("masseur-kinésithérapeute", "physiotherapist"),
    "98": _both("manipulateur en électroradiologie médicale", "radiographer"),
    "doctor": _both("médecin", "physician"),
    "nurse": _both("infirmier", "nurse"),
    "pharmacist": _both("pharmacien", "pharmacist"),
}
"""TRE_G15, and HL7's examples of the same, by code."""

KINDS: Final[Mapping[str, Words]] = {
    "person": _both("La personne elle-même", "The person themselves"),
    "representative": _both("Représentant de la personne", "Representative of the person"),
    "professional": _both("Professionnel", "Professional"),
    "link": _both("Porteur d'un lien", "Holder of a link"),
    "establishment": _both("Système de l'établissement", "System of the establishment"),
    "service": _both("Service de la plateforme", "Service of the platform"),
}
RESULTS: Final[Mapping[bool, Words]] = {True: _both("permis", "permitted"), False: _both("refusé", "refused")}

PAGE: Final[Mapping[str, Words]] = {
    "title": _both("Qui a consulté le dossier", "Who looked at the record"),
    "when": _both("Quand", "When"),
    "who": _both("Qui", "Who"),
    "what": _both("Quoi", "What"),
    "why": _both("Pourquoi", "Why"),
    "result": _both("Résultat", "Result"),
    "first": _both("premier accès", "first access"),
    "next": _both("Accès plus anciens", "Earlier accesses"),
    "none": _both("Aucun accès pendant cette période.", "No access in this time."),
    "shown": _both("Heures de", "Times of"),
}
"""What stands on the page around the lines."""

_MONTHS: Final[Mapping[Language, Sequence[str]]] = {
    "fr": (
        "janvier", "février", "mars", "avril", "mai", "juin",
        "juillet", "août", "septembre", "octobre", "novembre", "décembre",
    ),
    "en": (
        "January", "February", "March", "April", "May", "June",
        "July", "August", "September", "October", "November", "December",
    ),
}  # fmt: skip


def type_words(type_: str, language: Language) -> str:
    """A type of resource in words."""
    return TYPES[type_][language] if type_ in TYPES else type_


def found_words(number: int, language: Language) -> str:
    """How many resources a search gave."""
    if language == "fr":
        return f"{number} élément{'s' if number > 1 else ''} trouvé{'s' if number > 1 else ''}"
    return f"{number} item{'' if number == 1 else 's'} found"


def times_words(times: int, language: Language) -> str:
    """How often something was done."""
    return f"{times} fois" if language == "fr" else f"{times} times"


def instant_words(instant: datetime, zone: tzinfo, language: Language) -> str:
    """An instant to the second, with the offset of its zone."""
    local = instant.astimezone(zone)
    day = f"{local.day} {_MONTHS[language][local.month - 1]} {local.year}"
    offset = local.strftime("%z")
    return f"{day}, {local:%H:%M:%S} (UTC{offset[:3]}:{offset[3:]})"


def profession_words(codings: Sequence[str], language: Language) -> str | None:
    """The professions among codings, `system|code`, that this service has a word for."""
    known = dict.fromkeys(
        PROFESSIONS[code][language] for coding in codings if (code := coding.rpartition("|")[2]) in PROFESSIONS
    )
    return ", ".join(known) or None


def reason_words(code: str, language: Language) -> str | None:
    """The sentence of a reason code."""
    return sentences(code)[language] if code in SENTENCES else None
