"""Refused and absent are one answer: the same status, headers and bytes, on every route and for every reason."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fhirserver.demo.http import Caller
from tests.leaks.compare import difference, seen
from tests.leaks.edges import EDGES, REQUEST_ID, Asked, Edge, by_parameter, parameters
from tests.leaks.known import KNOWN
from tests.leaks.outcomes import OUTCOMES, Outcome
from tests.leaks.world import TYPES, World

_BY_NAME = {outcome.name: outcome for outcome in OUTCOMES}

# The two questions are asked at once.
_BOTH = ThreadPoolExecutor(max_workers=2)

# One reason for each kind of caller: what a parameter finds does not depend on why the rest is refused.
_OF_EACH_KIND = ("blocked", "restricted", "in-error", "hidden-from-patient", "other-child", "other-establishment")


def cases() -> Iterator[Any]:
    """Every edge with every outcome, by outcome."""
    for outcome in OUTCOMES:
        for edge in EDGES:
            why = KNOWN.get((edge.name, outcome.name))
            marks = [] if why is None else [pytest.mark.xfail(reason=why, strict=True)]
            yield pytest.param(edge, outcome, id=f"{edge}-{outcome}", marks=marks)


def is_told_apart(world: World, edge: Edge, outcome: Outcome) -> str:
    """What differs between the answers of the record and of its twin; empty where nothing does."""
    refused, absent = _BOTH.map(lambda record: edge.put(outcome.caller(world, record), record), outcome.pair)
    one, other = seen(refused, outcome.here), seen(absent, outcome.gone)
    return "" if one == other else f"{edge}: {difference(one, other)}"


@pytest.mark.parametrize(("edge", "outcome"), list(cases()))
def test_a_refused_caller_cannot_tell_refused_from_absent(world: World, edge: Edge, outcome: Outcome) -> None:
    assert not is_told_apart(world, edge, outcome)


@pytest.mark.parametrize("name", _OF_EACH_KIND)
@pytest.mark.parametrize("type_", TYPES)
def test_no_search_parameter_finds_sorts_or_counts_what_is_refused(world: World, type_: str, name: str) -> None:
    asked = [edge for each, parameter in parameters(type_) for edge in by_parameter(type_, each, parameter)]

    assert [told for edge in asked if (told := is_told_apart(world, edge, _BY_NAME[name]))] == []


def named_in_feed(caller: Caller, path: str) -> set[str]:
    """The resources of which a history of a type or of all has versions, over all of its pages; none where refused."""
    named: set[str] = set()
    following: str | None = f"{path}?_count=1000"
    while following is not None:
        answer = caller.ask("GET", f"/fhir/{following}")
        if answer.status in {401, 403}:
            return set()
        bundle = answer.expect(200).json()
        named |= {"/".join(entry["fullUrl"].rsplit("/", 2)[-2:]) for entry in bundle.get("entry", ())}
        links = [one["url"] for one in bundle["link"] if one["relation"] == "next"]
        following = links[0].partition("/fhir/")[2] if links else None
    return named


@pytest.mark.parametrize("outcome", OUTCOMES, ids=str)
def test_no_history_of_a_type_or_of_all_names_what_is_refused(world: World, outcome: Outcome) -> None:
    for record in outcome.pair:  # of the twin, too: callers see in their own trail how often they asked
        caller = outcome.caller(world, record)
        refused = {record.reference(type_) for type_ in outcome.refused}

        assert named_in_feed(caller, "_history") & refused == set()
        for type_ in {"Patient", "ImagingStudy"} & set(outcome.refused):
            assert named_in_feed(caller, f"{type_}/_history") & refused == set()


def test_the_histories_of_a_type_and_of_all_name_what_may_be_seen(world: World) -> None:
    record = _BY_NAME["no-relation"].here

    assert {record.reference("Patient"), record.reference("ImagingStudy")} <= named_in_feed(world.home, "_history")
    assert record.reference("Patient") in named_in_feed(world.home, "Patient/_history")


@pytest.mark.parametrize("outcome", [one for one in OUTCOMES if one.is_denied], ids=str)
def test_what_the_token_alone_refuses_is_refused_alike_whatever_is_stored(world: World, outcome: Outcome) -> None:
    expected = 401 if outcome.name == "no-token" else 403
    for edge in EDGES:
        if edge.tells:
            answer = edge.put(outcome.caller(world, outcome.here), outcome.here)
            assert answer.status in {expected, 200 if edge.rule == "/fhir" else expected}, edge.name


@pytest.mark.parametrize("name", ["no-relation", "deleted", "other-patient", "other-establishment", "of-age"])
def test_a_refused_read_is_a_404_that_says_no_more_than_was_asked(world: World, name: str) -> None:
    outcome = _BY_NAME[name]
    record = outcome.here
    for type_ in outcome.refused:
        answer = outcome.caller(world, record).read(record.reference(type_))
        assert (answer.status, answer.json()["issue"]) == (
            404,
            [{"severity": "error", "code": "not-found", "diagnostics": f"{record.reference(type_)} is not known."}],
        )


def test_an_answer_carries_the_request_id_of_its_caller_and_of_nobody_else(world: World) -> None:
    outcome = _BY_NAME["no-relation"]
    for record in outcome.pair:
        caller = outcome.caller(world, record)
        path = f"/fhir/{record.reference('Patient')}"
        named = Edge("read", "GET", "", lambda _, path=path: Asked(path)).put(caller, record)
        unnamed = caller.ask("GET", path)
        assert named.headers["X-Request-Id"] == REQUEST_ID
        assert len(unnamed.headers["X-Request-Id"]) == 32
