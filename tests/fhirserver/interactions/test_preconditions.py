"""Entity tags and dates of conditional requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import BadRequest
from fhirserver.interactions.preconditions import (
    ANY_VERSION,
    etag,
    http_date,
    is_not_modified,
    parse_http_date,
    parse_versions,
)

NOON = datetime(2026, 1, 2, 12, 0, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ('W/"3"', (3,)),
        ('"3"', (3,)),
        ('W/"3", W/"4"', (3, 4)),
        ('"3","4"', (3, 4)),
        ("*", ANY_VERSION),
        ('W/"x"', ()),
        ('W/"03"', ()),
        ('W/"0"', ()),
        ('W/"-1"', ()),
        ('W/"' + "9" * 40 + '"', ()),
        ('W/""', ()),
    ],
)
def test_a_list_of_entity_tags_names_versions(header, versions):
    assert parse_versions(header, "If-Match") == versions


@pytest.mark.parametrize("header", ["", " ", "3", 'W/"3', 'W/"3" W/"4"', "W/3", '"3" junk'])
def test_what_is_no_list_of_entity_tags_is_refused(header):
    with pytest.raises(BadRequest, match="If-Match"):
        parse_versions(header, "If-Match")


@given(st.lists(st.integers(min_value=1, max_value=10**15), min_size=1))
def test_the_tags_that_we_give_are_the_tags_that_we_take(versions):
    assert parse_versions(", ".join(etag(version) for version in versions), "If-Match") == tuple(versions)


def test_a_date_that_we_give_is_not_older_than_the_change_that_it_tells():
    since = parse_http_date(http_date(NOON))
    assert is_not_modified(1, NOON, if_none_match=None, if_modified_since=since)
    assert not is_not_modified(1, NOON + timedelta(seconds=1), if_none_match=None, if_modified_since=since)


def test_a_resource_without_conditions_is_sent():
    assert not is_not_modified(1, NOON, if_none_match=None, if_modified_since=None)


@pytest.mark.parametrize("header", [None, "", "yesterday", "2026-01-02", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_a_date_that_cannot_be_read_is_passed_over(header):
    assert parse_http_date(header) is None
