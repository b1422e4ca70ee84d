"""A page link is its caller's own, and carries no right."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from fhirserver.demo.http import Answer, Caller
from tests.leaks.outcomes import doctor, record_of
from tests.leaks.world import World


def asked_again(answer: Answer, caller: Caller) -> Answer:
    """The next page of an answer, asked for by this caller."""
    (link,) = [one["url"] for one in answer.expect(200).json()["link"] if one["relation"] == "next"]
    parts = urlsplit(link)
    return caller.ask("GET", f"{parts.path}?{parts.query}")


@pytest.mark.parametrize("path", ["Observation?_count=1", "AuditEvent?_count=1", "Patient/{key}/_history?_count=1"])
def test_the_link_of_another_caller_is_no_more_than_a_made_up_one(world: World, path: str) -> None:
    record = record_of("of-age-here")
    owner = world.home
    path = path.format(key=record.key)
    if path.startswith("AuditEvent"):
        owner = world.person(record_of("no-relation-here").reference("Patient"))
    answer = owner.ask("GET", f"/fhir/{path}")
    stranger = doctor(world, record)

    other = asked_again(answer, stranger)
    made_up = stranger.ask("GET", f"/fhir/{path.partition('?')[0]}?_page=AAAA")

    assert (other.status, other.body) == (made_up.status, made_up.body) == (400, made_up.body)


def test_a_link_that_is_asked_again_after_the_deletion_shows_nothing_of_it(world: World) -> None:
    records = [record_of(f"page-link-{number}") for number in (1, 2)]
    for record in records:
        world.write(record, only=("Patient", "Observation"))
    subject = ",".join(record.reference("Patient") for record in records)
    answer = world.home.search("Observation", _count="1", _sort="_lastUpdated", subject=subject)
    for record in records:
        world.home.ask("DELETE", f"/fhir/{record.reference('Observation')}").expect(204)

    rest = asked_again(answer, world.home).expect(200)

    assert "entry" not in rest.json()
