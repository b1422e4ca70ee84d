"""A decision is a value that carries its reasons: for the audit trail, for explanations and for tests.

The caller of a refused read never sees the code; `status` says which of the two public answers it gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from consent.documents import Effect

Status = Literal["permitted", "forbidden", "absent"]


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that spoke: its stable code, its name, a detail in words, and the versions it rests on.

    `told` is the code that the person is told where it is another one.
    """

    code: str
    rule: str
    detail: str = ""
    sources: tuple[str, ...] = ()
    told: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Permit or deny at an instant, with every rule that matched.

    `status` is "forbidden" for a refusal that follows from the token alone and reveals nothing about any resource, and
    "absent" for a refusal of data, which must look exactly as if the resource did not exist.
    """

    effect: Effect
    code: str
    instant: datetime
    status: Status
    reasons: tuple[Reason, ...] = ()
    obligations: tuple[str, ...] = ("audit-decision",)

    @property
    def told(self) -> str:
        """The code that the person is told, by their trail.

        It does not depend on what relates a professional to them, which may be an exam that is hidden from them.
        """
        if not self.is_permit:
            return (self.reasons[0].told if self.reasons else "") or self.code
        codes = [reason.code for reason in self.reasons if reason.code not in _RELATIONS]
        if codes:
            return codes[0]
        return "permit-relation" if self.code in _RELATIONS else self.code

    @property
    def is_permit(self) -> bool:
        """Say whether the decision is to permit."""
        return self.effect == "permit"


_RELATIONS = frozenset({"permit-declared", "permit-treating", "permit-organisation"})

SENTENCES: dict[str, dict[str, str]] = {
    "permit-self": {
        "fr": "La personne consulte son propre dossier.",
        "en": "The person reads their own record.",
    },
    "permit-representative": {
        "fr": "Le représentant légal agit pour la personne.",
        "en": "The legal representative acts for the person.",
    },
    "permit-custodian": {
        "fr": "L'établissement répond lui-même de cet élément.",
        "en": "The establishment itself answers for this record.",
    },
    "permit-declared": {
        "fr": "Le professionnel est déclaré dans l'équipe de soins.",
        "en": "The professional is declared in the care team.",
    },
    "permit-relation": {
        "fr": "Le professionnel participe à la prise en charge de la personne.",
        "en": "The professional takes part in the person's care.",
    },
    "permit-treating": {
        "fr": "Le professionnel a réalisé ou interprété un examen.",
        "en": "The professional performed or interpreted an exam.",
    },
    "permit-organisation": {
        "fr": "Le professionnel agit pour une structure déclarée dans l'équipe de soins.",
        "en": "The professional acts for an organisation declared in the care team.",
    },
    "permit-grant": {
        "fr": "La personne a ouvert cet élément à ce destinataire.",
        "en": "The person opened this record to this recipient.",
    },
    "permit-link": {
        "fr": "La personne a ouvert cet examen à qui détient le lien.",
        "en": "The person opened this exam to whoever holds the link.",
    },
    "permit-break-glass": {
        "fr": "Le médecin a ouvert le dossier en urgence (bris de glace).",
        "en": "The physician opened the record in an emergency (break-glass).",
    },
    "permit-directory": {
        "fr": "L'annuaire est lisible par tous les utilisateurs admis.",
        "en": "The directory may be read by every admitted user.",
    },
    "permit-operator": {
        "fr": "L'exploitant tient l'annuaire.",
        "en": "The operator keeps the directory.",
    },
    "permit-auditor": {
        "fr": "L'auditeur consulte les traces.",
        "en": "The auditor reads the audit trail.",
    },
    "insufficient-scope": {
        "fr": "Le jeton n'autorise pas cette interaction sur ce type de ressource.",
        "en": "The token does not allow this interaction with this type of resource.",
    },
    "patient-context-mismatch": {
        "fr": "Le jeton est limité à un autre patient.",
        "en": "The token is limited to another patient.",
    },
    "beyond-link": {
        "fr": "Le lien n'a pas été donné pour cet élément.",
        "en": "The link was not given for this record.",
    },
    "ban-payer": {
        "fr": "Aucun accès pour un assureur ou pour un remboursement.",
        "en": "No access for an insurer, or for payment.",
    },
    "ban-employer": {
        "fr": "Aucun accès pour un employeur ni pour la médecine du travail.",
        "en": "No access for an employer, or for occupational medicine.",
    },
    "ban-profession": {
        "fr": "La profession n'est pas une profession de santé reconnue.",
        "en": "The profession is not a recognised health profession.",
    },
    "ban-sector": {
        "fr": "L'activité choisie n'est pas une activité de soins.",
        "en": "The chosen activity is not in a care sector.",
    },
    "ban-inactive": {
        "fr": "Le compte ou le professionnel n'est plus actif.",
        "en": "The account or the professional is no longer active.",
    },
    "ban-app-category": {
        "fr": "Cette catégorie d'application n'est pas admise.",
        "en": "This category of application is not admitted.",
    },
    "ban-purpose": {
        "fr": "Cette finalité n'est pas offerte.",
        "en": "This purpose of use is not offered.",
    },
    "not-adherent": {
        "fr": "L'établissement n'adhère pas à la région à cette date.",
        "en": "The establishment does not adhere to the region at this date.",
    },
    "erased": {
        "fr": "Le dossier de la personne a été effacé.",
        "en": "The record of the person was erased.",
    },
    "entered-in-error": {
        "fr": "L'élément a été saisi par erreur.",
        "en": "The record was entered in error.",
    },
    "opposed": {
        "fr": "La personne s'est opposée au partage.",
        "en": "The person is opposed to sharing.",
    },
    "consent-deny": {
        "fr": "Un consentement de la personne refuse cet accès.",
        "en": "A Consent of the person denies this access.",
    },
    "blocked-professional": {
        "fr": "La personne a bloqué ce professionnel.",
        "en": "The person blocked this professional.",
    },
    "masked": {
        "fr": "L'élément est masqué aux professionnels.",
        "en": "The record is masked from professionals.",
    },
    "hidden-from-patient": {
        "fr": "L'élément n'est pas encore visible par la personne.",
        "en": "The record is not yet visible to the person.",
    },
    "not-released": {
        "fr": "L'élément n'est pas encore publié pour la personne.",
        "en": "The record has not been released to the person yet.",
    },
    "hidden-from-representatives": {
        "fr": "L'élément est masqué aux représentants légaux.",
        "en": "The record is hidden from legal representatives.",
    },
    "authority-ended": {
        "fr": "L'autorité du représentant a pris fin ou n'a pas commencé.",
        "en": "The representative's authority has ended, or has not begun.",
    },
    "btg-not-eligible": {
        "fr": "Ce professionnel ne peut pas ouvrir un dossier en urgence.",
        "en": "This professional may not open a record in an emergency.",
    },
    "btg-objection": {
        "fr": "La personne s'est opposée à la consultation de son dossier en urgence.",
        "en": "The person objected to their record being read in an emergency.",
    },
    "no-relationship": {
        "fr": "Aucune relation en vigueur avec la personne.",
        "en": "No relation with the person is in force.",
    },
    "careteam-participation-expired": {
        "fr": "La participation à l'équipe de soins a pris fin ou n'a pas commencé.",
        "en": "The participation in the care team has ended, or has not begun.",
    },
    "acting-for-other-structure": {
        "fr": "Le professionnel n'agit pas pour la structure au titre de laquelle il est déclaré.",
        "en": "The professional does not act for the organisation on whose behalf they are declared.",
    },
    "matrix-refusal": {
        "fr": "Cette interaction n'est pas ouverte à ce type d'utilisateur.",
        "en": "This interaction is not open to this kind of user.",
    },
    "not-covered-by-consent": {
        "fr": "Le consentement de la personne ne couvre pas cet accès.",
        "en": "The person's Consent does not cover this access.",
    },
    "label-not-covered": {
        "fr": "L'étiquette de confidentialité de l'élément n'est pas couverte.",
        "en": "The security label of the record is not covered.",
    },
    "grant-expired": {
        "fr": "L'ouverture accordée par la personne n'est pas en vigueur.",
        "en": "The grant made by the person is not in force.",
    },
    "decision-error": {
        "fr": "La décision n'a pas pu être calculée; l'accès est refusé.",
        "en": "The decision could not be computed; access is refused.",
    },
}
"""A sentence in French and in English for every stable reason code."""


def sentences(code: str) -> dict[str, str]:
    """Return the French and English sentence of a reason code.

    Raises:
        KeyError: there is no such code.

    """
    return SENTENCES[code]
