"""What `meta.security` means for access: confidentiality, sensitivities, and labels that are neither."""

from __future__ import annotations

import pytest

from consent import rank_of, security_facts
from consent.facts import visibility

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
VISIBILITY = "https://mos.esante.gouv.fr/NOS/TRE_A07-StatutVisibiliteDocument/FHIR/TRE-A07-StatutVisibiliteDocument"


@pytest.mark.parametrize(
    ("code", "rank"), [("U", 1), ("L", 2), ("M", 3), ("N", 4), ("R", 5), ("V", 6), (None, 4), ("X", 6), ("", 6)]
)
def test_the_ladder_goes_from_unrestricted_to_very_restricted_and_unknown_is_highest(code: str | None, rank: int):
    assert rank_of(code) == rank


def test_no_label_is_normal_and_not_sensitive():
    assert security_facts([]) == {"confidentiality": 4, "sensitivities": [], "labels": []}


def test_of_several_confidentialities_the_highest_counts():
    found = security_facts([{"system": CONFIDENTIALITY, "code": code} for code in ("L", "R", "N")])
    assert found["confidentiality"] == 5


@pytest.mark.parametrize(
    ("system", "code", "is_sensitive"),
    [
        (ACT_CODE, "PSY", True),
        (ACT_CODE, "ANYTHING", True),
        (ACT_CODE, "NOINTEGRATE", False),
        (ACT_CODE, "OPTOUT", False),
        ("urn:example", "NOINTEGRATE", True),
        ("urn:example", "X", True),
        (VISIBILITY, "MASQUE_PS", False),
        (CONFIDENTIALITY, "N", False),
    ],
)
def test_whatever_we_do_not_know_to_be_harmless_is_sensitive(system: str, code: str, is_sensitive: bool):
    found = security_facts([{"system": system, "code": code}])
    assert found["sensitivities"] == ([f"{system}|{code}"] if is_sensitive else [])
    assert found["labels"] == [f"{system}|{code}"]


def test_a_label_without_a_system_is_sensitive():
    assert security_facts([{"code": "R"}])["sensitivities"] == ["|R"]


def test_only_the_labels_that_say_who_may_see_it_are_told_of_with_a_resource():
    labels = [{"system": VISIBILITY, "code": "INVISIBLE_PATIENT"}, {"system": ACT_CODE, "code": "PSY"}]
    assert visibility(security_facts(labels)) == (f"{VISIBILITY}|INVISIBLE_PATIENT",)
    assert visibility(security_facts(labels[1:])) == ()
    assert visibility({}) == ()
