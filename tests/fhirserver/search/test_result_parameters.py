"""How a result is wanted: `_count`, `_sort`, `_include` and the rest."""

from __future__ import annotations

import pytest

from fhirserver.search.query import Include


def test_count_is_the_size_of_a_page_within_the_servers_bounds(ask):
    assert ask("Patient", "").count == 20
    assert ask("Patient", "_count=7").count == 7
    assert ask("Patient", "_count=0").count == 0
    assert ask("Patient", "_count=5000").count == 1000
    assert ask("Patient", "_count=5", count_max=2).count == 2


def test_the_self_link_says_the_count_that_was_used(ask):
    assert ask("Patient", "_count=5000").self_pairs == (("_count", "1000"),)


def test_summary_count_asks_for_the_total_alone(ask):
    query = ask("Patient", "_summary=count&_count=10")
    assert (query.count, query.summary) == (0, "count")


@pytest.mark.parametrize("summary", ["true", "text", "data", "count", "false"])
def test_each_summary_is_read(ask, summary):
    assert ask("Patient", f"_summary={summary}").summary == summary


@pytest.mark.parametrize("total", ["none", "estimate", "accurate"])
def test_each_total_is_read_and_silence_is_kept_apart(ask, total):
    assert ask("Patient", f"_total={total}").total == total
    assert ask("Patient", "").total is None


def test_sort_keeps_the_order_of_precedence_and_the_directions(ask):
    query = ask("Observation", "_sort=status,-date,_lastUpdated")
    assert query.sort == (("status", False), ("date", True), ("_lastUpdated", False))


def test_elements_are_kept_once_each(ask):
    assert ask("Patient", "_elements=name,birthDate,name").elements == ("name", "birthDate")


def test_format_and_pretty_are_passed_over_and_stay_in_the_links(ask):
    query = ask("Patient", "_format=json&_pretty=true")
    assert query.self_pairs == (("_format", "json"), ("_pretty", "true"))


def test_contained_resources_are_searched_where_it_is_said_and_they_or_their_containers_returned(ask, refusal):
    def searched(text):
        query = ask("Patient", text)
        return [(branch.types, branch.contained) for branch in query.asked], query.gives_contained

    own, inside = (("Patient",), ""), ((), "Patient")
    assert searched("_contained=false&_containedType=contained") == ([own], False)
    assert searched("_contained=true") == ([inside], False)
    assert searched("_contained=both&_containedType=contained") == ([own, inside], True)
    assert refusal("AuditEvent", "_contained=true").code == "not-supported"
    assert refusal("Patient", "_contained=true&_containedType=x").expression == "_containedType"
    assert refusal("Patient", "_contained=true&_include=Patient:organization").expression == "_contained"
    assert refusal("Patient", "_contained=true&_sort=birthdate").expression == "_sort"


def test_includes_name_a_reference_of_the_type_searched(ask):
    query = ask("ImagingStudy", "_include=ImagingStudy:patient&_include=ImagingStudy:subject:Device")
    assert query.includes == (Include("ImagingStudy", "patient"), Include("ImagingStudy", "subject", "Device"))


def test_reverse_includes_name_a_reference_to_the_type_searched(ask):
    query = ask("ImagingStudy", "_revinclude=Provenance:target&_revinclude=Provenance:target:ImagingStudy")
    assert query.includes == (
        Include("Provenance", "target", reverse=True),
        Include("Provenance", "target", "ImagingStudy", reverse=True),
    )


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("_count=-1", "_count"),
        ("_count=many", "_count"),
        ("_count=9999999999", "_count"),
        ("_count=1&_count=2", "_count"),
        ("_summary=some", "_summary"),
        ("_total=perhaps", "_total"),
        ("_elements=name;id", "_elements"),
        ("_elements=name,", "_elements"),
        ("_sort=shoe-size", "_sort"),
        ("_sort=family,-family", "_sort"),
        ("_sort=", "_sort"),
        ("_contained=perhaps", "_contained"),
        ("_include=Patient", "_include"),
        ("_include=Observation:subject", "_include"),
        ("_include=Patient:nobody", "_include"),
        ("_include=Patient:family", "_include"),
        ("_include=Patient:organization:Patient", "_include"),
        ("_revinclude=Nothing:subject", "_revinclude"),
        ("_revinclude=Observation:code", "_revinclude"),
        ("_revinclude=Observation:device", "_revinclude"),
        ("_revinclude=Observation:subject:Group", "_revinclude"),
    ],
)
def test_any_other_value_is_refused_by_name(refusal, asked, named):
    error = refusal("Patient", asked)
    assert (error.status, error.code, error.expression) == (400, "invalid", named)


@pytest.mark.parametrize("asked", ["_sort=_score", "_sort=code-value-quantity"])
def test_what_has_no_order_cannot_be_sorted_by(refusal, asked):
    assert refusal("Observation", asked).code == "not-supported"


def test_a_lenient_caller_may_name_unknown_parameters_in_sort_and_include(ask):
    query = ask("Patient", "_sort=shoe-size&_include=Patient:nobody&_revinclude=Nothing:x", handling="lenient")
    assert [name for name, _ in query.ignored] == ["_sort", "_include", "_revinclude"]
    assert query.sort == ()
    assert query.includes == ()
