"""`_filter` (https://hl7.org/fhir/R4/search_filter.html): the same parameters, joined by logic."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import BadRequest
from fhirserver.search.filter import DEEPEST, LONGEST, MOST_TESTS

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "gender": "female",
    "birthDate": "1974-12-25",
    "name": [{"family": "Durand", "given": ["Anne", "Marie"]}, {"family": "Peters-Smith"}],
    "identifier": [{"system": "urn:s", "value": "A-17|x"}],
    "telecom": [{"system": "email", "value": "Ada@Example.org"}],
    "generalPractitioner": [{"reference": "Practitioner/d"}],
    "deceasedBoolean": False,
}
OBSERVATION = {
    "resourceType": "Observation",
    "code": {"coding": [{"system": "http://loinc.org", "code": "1234-5"}]},
    "subject": {"reference": "Patient/p"},
    "effectivePeriod": {"start": "2024-01-10", "end": "2024-01-20"},
    "valueQuantity": {"value": 5, "system": "http://unitsofmeasure.org", "code": "g"},
}
VALUE_SET = {"resourceType": "ValueSet", "url": "http://x.example/ValueSet/a,b", "version": "1"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ('given eq "anne"', True),
        ("given eq ANNE", True),
        ("given eq ann", False),
        ("given ne anne", False),
        ("given ne paul", True),
        ('name co "pet"', True),
        ("name co eters-s", True),
        ("name sw dur", True),
        ("name sw ura", False),
        ("name ew and", True),
        ("name ew dura", False),
        ('name ew "smith"', True),
        ("gender eq female", True),
        ("gender eq http://hl7.org/fhir/administrative-gender|female", True),
        ("gender ne male", True),
        ("gender co ema", True),
        ("gender sw fem", True),
        ("gender ew male", True),
        ("gender ew emal", False),
        ("identifier sw urn", False),
        (r"identifier eq urn:s|A-17\|x", True),
        (r'identifier eq "urn:s|A-17\\|x"', True),
        ("identifier co 17", True),
        ("email co example", True),
        ("telecom ew .ORG", True),
        ("active eq true", True),
        ("birthdate eq 1974-12-25", True),
        ("birthdate ge 1974", True),
        ("birthdate gt 1975", False),
        ("birthdate lt 1975-01-01 and birthdate gt 1974-12-24", True),
        ("birthdate ne 1974", False),
        ("birthdate ap 1974-12-26", True),
        ("birthdate sa 1973", True),
        ("birthdate eb 1973", False),
        ("birthdate po 1974-12", True),
        ("birthdate po 1975", False),
        ("general-practitioner re Practitioner/d", True),
        ("general-practitioner eq d", True),
        ("general-practitioner re Practitioner/e", False),
        ("general-practitioner ne e", True),
        ("organization pr true", False),
        ("organization pr false", True),
        ("organization ne x", False),
        ("given pr true", True),
        ("_id eq p", True),
        ("not (gender eq male)", True),
        ("not (gender eq female)", False),
        ("not(gender eq female or gender eq male)", False),
        ("gender eq male or given eq anne", True),
        ("gender eq male and given eq anne or given eq marie", True),
        ("given eq marie or gender eq male and gender eq male", False),  # left to right, no precedence
        ("given eq marie or (gender eq male and gender eq male)", True),
        ("(gender eq female)", True),
        ("((gender eq female) and not (given eq paul))", True),
        ('  given   eq   "anne"  ', True),
        ('name eq "durand) or x"', False),
    ],
)
def test_a_filter_says_what_it_says(matches, asked, expected):
    assert matches(PATIENT, f"_filter={asked}") is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("code eq http://loinc.org|1234-5", True),
        ("code eq |1234-5", False),
        ("date po 2024-01-20", True),
        ("date po 2024-01-21", False),
        ("date eq 2024-01", True),
        ("date sa 2024-01-09", True),
        ("value-quantity eq 5000|http://unitsofmeasure.org|mg", True),
        ("value-quantity gt 4|http://unitsofmeasure.org|g", True),
        ("value-quantity ne 5", False),
        ("code-value-quantity eq http://loinc.org|1234-5$gt4", True),
        ("code-value-quantity eq http://loinc.org|1234-5$lt4", False),
        ("code-value-quantity ne http://loinc.org|1234-5$lt4", True),
        ("patient re Patient/p", True),
    ],
)
def test_a_filter_of_an_observation(matches, asked, expected):
    assert matches(OBSERVATION, f"_filter={asked}") is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("url eq http://x.example/ValueSet/a,b", True),
        ("url eq http://x.example/ValueSet/a", False),
        ("url sw http://x.example/", True),
        ("url co ValueSet", True),
        ("url ew a,b", True),
        ("url ew a", False),
        ("url ne http://x.example/ValueSet/a", True),
        ("url re http://x.example/ValueSet/a,b", True),
    ],
)
def test_a_comma_separates_nothing_inside_a_filter(matches, asked, expected):
    assert matches(VALUE_SET, f"_filter={asked}") is expected


def test_a_filter_joins_the_other_parameters(matches):
    assert matches(PATIENT, "_filter=gender eq female&given=anne&_filter=birthdate lt 1980")
    assert not matches(PATIENT, "_filter=gender eq female&given=paul")


@pytest.mark.parametrize(
    "asked",
    [
        "gender",
        "gender eq",
        "gender female",
        "gender is female",
        "gender EQ female",
        "gender eq female given eq anne",
        "gender eq female and",
        "and gender eq female",
        "(gender eq female",
        "gender eq female)",
        "gender eq )",
        "not gender eq female",
        'given eq "anne',
        'given eq ""',
        r'given eq "\x"',
        "given pr perhaps",
        "nonsense eq a",
        "gen*der eq a",
        "gender eq a]",
        "general-practitioner[name co x] eq a",
        "general-practitioner[name co x.name co y",
        "general-practitioner.",
        "general-practitioner.nosuch eq a",
        "_has:Observation:patient:nosuch eq a",
        "_has:Observation:patient eq a",
        "gender.name eq a",
    ],
)
@pytest.mark.parametrize("handling", ["strict", "lenient"])
def test_what_is_no_filter_is_refused_also_for_the_lenient(refusal, asked, handling):
    error = refusal("Patient", f"_filter={asked}", handling=handling)
    assert (error.status, error.code, error.expression) == (400, "invalid", "_filter")


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("birthdate eq soon", "birthdate"),
        ("birthdate po soon", "birthdate"),
        ("general-practitioner eq a/b/c", "general-practitioner"),
    ],
)
def test_a_value_of_the_wrong_form_is_refused_by_its_parameter(refusal, asked, named):
    assert refusal("Patient", f"_filter={asked}").expression == named


@pytest.mark.parametrize(
    "asked",
    [
        "gender:not eq x",
        "gender gt a",
        "birthdate co 19",
        "given po 2020",
        "birthdate in urn:v",
        "given re Practitioner/a",
        "general-practitioner sw Pra",
        "gender in urn:v",
    ],
)
def test_what_an_operator_does_not_offer_is_refused(refusal, asked):
    assert refusal("Patient", f"_filter={asked}", handling="lenient").code == "not-supported"


@pytest.mark.parametrize(
    "asked",
    [
        " or ".join(["gender eq a"] * (MOST_TESTS + 1)),
        "(" * (DEEPEST + 1) + "gender eq a" + ")" * (DEEPEST + 1),
        "not(" * (DEEPEST + 1) + "gender eq a" + ")" * (DEEPEST + 1),
        f"given eq {'a' * LONGEST}",
    ],
)
def test_a_filter_that_asks_too_much_is_refused(refusal, asked):
    assert refusal("Patient", f"_filter={asked}").code == "too-costly"


TESTS = st.sampled_from(
    [
        ("gender eq female", True),
        ("given eq paul", False),
        ("given sw mar", True),
        ("birthdate lt 1970", False),
        ("organization pr false", True),
    ]
)


def joined(parts):
    two = st.tuples(parts, st.sampled_from(["and", "or"]), parts)
    return st.one_of(
        parts.map(lambda one: (f"not ({one[0]})", not one[1])),
        two.map(
            lambda of: (
                f"({of[0][0]}) {of[1]} ({of[2][0]})",
                (of[0][1] and of[2][1]) if of[1] == "and" else (of[0][1] or of[2][1]),
            )
        ),
    )


@given(st.recursive(TESTS, joined, max_leaves=12))
def test_logic_of_any_depth_is_that_of_its_parts(matches, filtered):
    text, expected = filtered
    assert matches(PATIENT, f"_filter={text}") is expected


@given(st.text(alphabet='ge ndr"()[].,eqnotpr\\1|', max_size=40))
def test_any_text_is_a_filter_or_refused(ask, text):
    with suppress(BadRequest):
        ask("Patient", f"_filter={text}x")
