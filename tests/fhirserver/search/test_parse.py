"""Reading a whole search: AND by repetition, OR by comma, refusals by name, leniency."""

from __future__ import annotations

import pytest

from fhirserver.search.expression import Always, Any, Equals
from fhirserver.search.parse import MOST_COMPARISONS, MOST_PAIRS, parse
from resources import SUPPORTED

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "gender": "female",
    "birthDate": "1974-12-25",
    "name": [{"family": "Durand", "given": ["Anne", "Marie"]}],
}


def test_without_criteria_everything_was_asked_for_and_it_says_so(ask):
    assert ask("Patient", "").expression == Always()
    assert ask("Patient", "_count=5&_sort=name").expression == Always()


def test_repetition_means_and(matches):
    assert matches(PATIENT, "given=anne&given=marie")
    assert not matches(PATIENT, "given=anne&given=paul")


def test_commas_mean_or(matches):
    assert matches(PATIENT, "given=paul,marie")
    assert not matches(PATIENT, "given=paul,pierre")


def test_different_parameters_must_all_hold(matches):
    assert matches(PATIENT, "gender=female&birthdate=1974-12-25&family=durand")
    assert not matches(PATIENT, "gender=female&birthdate=1975")


def test_alternatives_of_one_parameter_become_one_list(ask):
    assert ask("Patient", "_id=a,b").expression == Any((Equals("_id\x1f|a"), Equals("_id\x1f|b")))


def test_an_unknown_parameter_is_an_error_that_names_it(refusal):
    error = refusal("Patient", "favourite-colour=blue")
    assert (error.status, error.code, error.expression) == (400, "invalid", "favourite-colour")
    assert error.diagnostics == "Patient has no search parameter 'favourite-colour'"


def test_a_lenient_caller_is_told_what_was_ignored(ask):
    query = ask("Patient", "favourite-colour=blue&gender=female", handling="lenient")
    assert query.ignored == (("favourite-colour", "Patient has no search parameter 'favourite-colour'"),)
    assert query.self_pairs == (("gender", "female"),)
    assert query.expression == ask("Patient", "gender=female").expression


def test_a_parameter_without_a_value_is_an_error_unless_lenient(ask, refusal):
    assert refusal("Patient", "gender=").expression == "gender"
    assert ask("Patient", "gender=", handling="lenient").ignored == (("gender", "gender has no value"),)


@pytest.mark.parametrize("name", ["_query", "organization._query", "_has:Observation:patient:_query"])
def test_a_named_query_is_refused_and_by_leniency_named(ask, refusal, name):
    error = refusal("Patient", f"{name}=everybody")
    assert (error.status, error.code, error.expression) == (400, "not-supported", name.partition(":")[0])
    query = ask("Patient", f"{name}=everybody&gender=female", handling="lenient")
    assert query.ignored == ((name, "_query: no named query is defined on this server"),)
    assert query.self_pairs == (("gender", "female"),)


@pytest.mark.parametrize("handling", ["strict", "lenient"])
@pytest.mark.parametrize(
    "asked",
    [
        "_list=$current-problems",
        "_list:not=a",
        "gender:in=urn:v",
        "gender:not-in=urn:v",
        "gender:above=s|a",
        "gender:below=s|a",
        "_text:exact=a",
        "_filter:exact=gender eq a",
        "gender:exact=a",
        "birthdate:exact=2000",
        "family:text=a",
        "family:nonsense=a",
        "organization:above=a",
        "_count:exact=1",
    ],
)
def test_what_is_not_offered_is_refused_and_never_ignored(refusal, handling, asked):
    error = refusal("Patient", asked, handling=handling)
    assert (error.status, error.code) == (400, "not-supported")
    assert error.expression == asked.partition("=")[0].partition(":")[0]


def test_the_text_of_an_included_resource_is_not_asked_for(refusal):
    assert refusal("Patient", "_summary=text&_include=Patient:organization").expression == "_summary"


@pytest.mark.parametrize("handling", ["strict", "lenient"])
@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("birthdate=soon", "birthdate"),
        ("given=a,", "given"),
        ("given=a,,b", "given"),
        ("_profile=urn:a,", "_profile"),
        ("gender:missing=perhaps", "gender"),
        (r"given=a\nb", "given"),
        ("given=a\\", "given"),
    ],
)
def test_a_value_that_is_not_understood_is_refused_also_for_the_lenient(refusal, handling, asked, named):
    error = refusal("Patient", asked, handling=handling)
    assert (error.status, error.code, error.expression) == (400, "invalid", named)


@pytest.mark.parametrize("value", ["a\x00b", "a\x1fb", "a\x1eb", "a\x7f", "\ud800"])
def test_a_control_character_is_refused(value):
    with pytest.raises(Exception, match="control character") as raised:
        parse(SUPPORTED["Patient"], [("given", value)], handling="lenient", zone=None, supported=SUPPORTED)
    assert raised.value.status == 400


def test_a_search_may_not_ask_too_much_at_once(refusal):
    many_pairs = "&".join(["gender=male"] * (MOST_PAIRS + 1))
    many_values = "_id=" + ",".join(["a"] * (MOST_COMPARISONS + 1))
    ids_of_any_type = "target=" + ",".join(["a"] * 100)
    assert refusal("Patient", many_pairs).code == "too-costly"
    assert refusal("Patient", many_values).code == "too-costly"
    assert refusal("Provenance", ids_of_any_type).code == "too-costly"


def test_every_declared_parameter_of_every_type_can_be_asked_for(ask):
    """No parameter that is declared, and so advertised, fails to be read."""
    samples = {
        "token": "a",
        "reference": "a",
        "date": "2024",
        "string": "a",
        "quantity": "1",
        "number": "1",
        "uri": "urn:a",
        "special": "48.8|2.3",
    }
    for declaration in SUPPORTED.values():
        for parameter in declaration.parameters.values():
            parts = [component.type for component in parameter.components] or [parameter.type]
            query = f"{parameter.name}={'$'.join(samples[part] for part in parts)}"
            assert ask(declaration.type, query).expression != Always(), (declaration.type, query)


def test_missing_can_be_asked_of_every_parameter_but_composites(ask, refusal):
    for parameter in SUPPORTED["Observation"].parameters.values():
        question = f"{parameter.name}:missing=true"
        if parameter.type == "composite":
            assert refusal("Observation", question).code == "not-supported"
        else:
            assert ask("Observation", question).expression != Always()
