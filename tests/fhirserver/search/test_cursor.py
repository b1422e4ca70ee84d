"""Page links: opened only here, only by their caller, only for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import BadRequest, Gone
from fhirserver.search.cursor import Cursor, seal, unseal
from fhirserver.search.stored import END, START

KEY, OLDER_KEY = b"k" * 32, b"o" * 32
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CURSOR = Cursor(
    pairs=(("patient", "p"), ("_sort", "-started")),
    caller="Practitioner/d",
    snapshot=(1_700_000_000, 3),
    after=(NOW, "durand anne", 1.5, None, "study-7"),
    count=20,
    issued=NOW,
)

GOLDEN = (
    "Qn2YgWAjhgpi9LuFiv6alCO_bZBmKvZe695bbHkUZx7704IJabmfzFNABE962bsut5TV0B-7gLwCh1h0do7TID8eTFdxKFNlAdD0"
    "kByxZU5J5fk7I57d-kJkOIQkSPe4R3SfK86XWDlBp4jQHM_Am-Ytoa3A8B8Gpk10xE1vXjKYqm3HcEwkKeH_VR2E8MA0-FDZLCz2"
    "MpYqnKP8EPBck4B5tuWh3pzA1JInhCPqvADPMFcNVMipMj7M"
)


def opened(text, *, keys=(KEY,), caller="Practitioner/d", now=NOW, lifetime=HOUR):
    return unseal(text, keys, caller=caller, now=now, lifetime=lifetime)


INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(  # noqa: DTZ001 - Hypothesis wants them naive
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CURSORS = st.builds(
    Cursor,
    pairs=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    caller=TEXT,
    snapshot=st.none() | st.tuples(st.integers(0, 2**32), st.integers(0, 2**32)),
    after=st.lists(st.none() | TEXT | INSTANTS | st.integers() | st.floats(allow_nan=False), max_size=4).map(tuple),
    count=st.integers(0, 1000),
    issued=INSTANTS,
    direction=st.sampled_from(["next", "previous"]),
)


@given(CURSORS)
def test_what_is_sealed_is_what_is_opened(cursor):
    text = seal(cursor, KEY)
    assert unseal(text, [KEY], caller=cursor.caller, now=cursor.issued, lifetime=HOUR) == cursor


def test_the_open_ends_of_time_and_number_survive():
    cursor = Cursor((), "a", None, (START, END, float("inf"), float("-inf")), 1, NOW)
    assert opened(seal(cursor, KEY), caller="a") == cursor


def test_a_link_is_url_safe_and_hides_the_search():
    text = seal(CURSOR, KEY)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert "patient" not in text
    assert seal(CURSOR, KEY) != text


@given(position=st.integers(0), replacement=st.sampled_from("AZaz09-_"))
def test_a_link_with_one_character_changed_is_refused(position, replacement):
    text = seal(CURSOR, KEY)
    position %= len(text) - 1  # the last character of base64 may hold bits that are not used
    changed = text[:position] + replacement + text[position + 1 :]
    if changed != text:
        with pytest.raises(BadRequest):
            opened(changed)


@pytest.mark.parametrize("text", ["", "A", "not a link", "é", "A" * 100, "A" * 100_000, "%00", "===="])
def test_text_that_was_never_a_link_is_refused(text):
    with pytest.raises(BadRequest) as raised:
        opened(text)
    assert (raised.value.status, raised.value.code) == (400, "invalid")


def test_another_callers_link_is_refused_like_one_that_was_tampered_with():
    with pytest.raises(BadRequest) as foreign:
        opened(seal(CURSOR, KEY), caller="Practitioner/e")
    with pytest.raises(BadRequest) as tampered:
        opened(seal(CURSOR, KEY)[:-8])
    assert foreign.value.diagnostics == tampered.value.diagnostics


def test_another_servers_link_is_refused():
    with pytest.raises(BadRequest):
        opened(seal(CURSOR, OLDER_KEY))


def test_a_link_sealed_with_an_older_key_still_opens_while_the_key_is_in_force():
    assert opened(seal(CURSOR, OLDER_KEY), keys=[KEY, OLDER_KEY]) == CURSOR


def test_without_a_key_no_link_opens():
    with pytest.raises(BadRequest):
        opened(seal(CURSOR, KEY), keys=[])


def test_a_link_is_gone_once_its_lifetime_has_passed():
    text = seal(CURSOR, KEY)
    assert opened(text, now=NOW + HOUR) == CURSOR
    with pytest.raises(Gone) as raised:
        opened(text, now=NOW + HOUR + timedelta(milliseconds=1))
    assert (raised.value.status, raised.value.code) == (410, "expired")


def test_a_sort_key_of_an_unknown_kind_is_not_sealed():
    with pytest.raises(TypeError):
        seal(Cursor((), "a", None, (object(),), 1, NOW), KEY)


def test_a_link_of_the_first_version_still_opens():
    """Pins the wire form: if this fails, links already handed out no longer open."""
    assert opened(GOLDEN) == CURSOR
