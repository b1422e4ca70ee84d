"""The instant of release: read from the extension, never earlier than it is written, refused where it says nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consent.facts import security_facts, visibility
from consent.period import OPEN_END
from consent.release import EXTENSION, as_label, of_labels, problems, released


def _at(*instants: object) -> datetime | None:
    return released([{"url": EXTENSION, "valueInstant": each} for each in instants])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T10:00:00+01:00", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24T09:00:00Z", datetime(2026, 11, 24, 9, tzinfo=UTC)),
        ("2026-11-24T09:00:00.5Z", datetime(2026, 11, 24, 9, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-11-24T09:00:00.1230Z", datetime(2026, 11, 24, 9, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-11-24T09:00:00.1230001Z", datetime(2026, 11, 24, 9, 0, 0, 124_000, tzinfo=UTC)),
        ("2026-11-24T09:00:00", OPEN_END),
        ("2026-11-24", OPEN_END),
        ("2026-02-30T09:00:00Z", OPEN_END),
        ("soon", OPEN_END),
        (7, OPEN_END),
        (None, OPEN_END),
    ],
)
def test_an_instant_is_read_to_the_millisecond_and_what_is_none_is_never_reached(text: object, expected: datetime):
    assert _at(text) == expected


def test_of_several_the_last_counts_and_other_extensions_say_nothing():
    assert _at("2026-11-24T09:00:00Z", "2027-01-01T00:00:00Z") == datetime(2027, 1, 1, tzinfo=UTC)
    assert released([{"url": "urn:other", "valueInstant": "2027-01-01T00:00:00Z"}]) is None
    assert released([]) is None


@pytest.mark.parametrize(
    ("resource", "expressions"),
    [
        ({"extension": [{"url": EXTENSION, "valueInstant": "2027-01-01T00:00:00Z"}]}, []),
        ({"extension": [{"url": EXTENSION, "valueDate": "2027-01-01"}]}, ["ImagingStudy.extension"]),
        ({"extension": [{"url": EXTENSION, "valueInstant": "2027-01-01T00:00:00Z"}] * 2}, ["ImagingStudy.extension"]),
        (
            {"modifierExtension": [{"url": EXTENSION, "valueInstant": "2027-01-01T00:00:00Z"}]},
            ["ImagingStudy.modifierExtension"],
        ),
        ({}, []),
    ],
)
def test_a_release_that_could_not_be_kept_is_a_problem(resource: dict[str, object], expressions: list[str]):
    found = problems({"resourceType": "ImagingStudy", **resource})
    assert [one.expression for one in found] == expressions
    assert all(one.message for one in found)


def test_of_a_resource_without_a_type_the_extension_is_named_all_the_same():
    (problem,) = problems({"extension": [{"url": EXTENSION, "valueDate": "2027-01-01"}]})
    assert problem.expression == "Resource.extension"


def test_what_tells_of_a_resource_has_its_release_as_a_label_that_is_taken_apart_again():
    instant = datetime(2027, 1, 1, tzinfo=UTC)
    told = visibility({**security_facts([]), "released": instant})

    assert told == (as_label(instant),)
    assert of_labels(["urn:x|y", *told]) == (["urn:x|y"], instant)


def test_labels_without_a_release_are_kept_as_they_are():
    assert of_labels(["urn:x|y", "urn:x|z"]) == (["urn:x|y", "urn:x|z"], None)
    assert of_labels([]) == ([], None)
