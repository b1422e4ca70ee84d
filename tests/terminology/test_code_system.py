from __future__ import annotations

import pytest

from terminology.code_system import ACT_REASON, UnknownCodeError, descendants


@pytest.mark.parametrize(
    ("code", "below", "not_below"),
    [
        (
            "HPAYMT",
            {"HPAYMT", "CLMATTCH", "COVAUTH", "COVERAGE", "ELIGDTRM", "ELIGVER", "ENROLLM"},
            {"TREAT", "HOPERAT"},
        ),
        ("HRESCH", {"HRESCH", "BIORCH", "CLINTRCH", "CLINTRCHNPC", "DSRCH"}, {"TREAT"}),
        ("HMARKT", {"HMARKT"}, {"HPAYMT"}),
        ("PUBHLTH", {"PUBHLTH", "DISASTER", "THREAT"}, {"TREAT"}),
        ("PATRQT", {"PATRQT", "FAMRQT", "PWATRNY", "SUPNWK"}, {"TREAT"}),
        ("TREAT", {"TREAT", "CLINTRL", "COC", "ETREAT", "BTG", "ERTREAT"}, {"HRESCH", "HPAYMT", "PATRQT"}),
    ],
)
def test_a_purpose_includes_what_falls_under_it(code: str, below: set[str], not_below: set[str]) -> None:
    found = descendants(ACT_REASON, code)
    assert below <= found
    assert not not_below & found


def test_a_purpose_with_nothing_below_is_only_itself() -> None:
    assert descendants(ACT_REASON, "BTG") == {"BTG"}


def test_every_purpose_of_use_falls_under_the_whole() -> None:
    assert descendants(ACT_REASON, "PurposeOfUse") >= {"TREAT", "HPAYMT", "BTG", "CLINTRCHNPC"}


@pytest.mark.parametrize(
    ("system", "code"), [(ACT_REASON, "treat"), (ACT_REASON, ""), (ACT_REASON, "MEDNEC"), ("http://loinc.org", "TREAT")]
)
def test_an_unknown_meaning_is_an_error_and_never_nothing(system: str, code: str) -> None:
    with pytest.raises(UnknownCodeError):
        descendants(system, code)
