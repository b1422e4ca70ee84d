"""Narrowing: what is granted never exceeds what is asked nor what is registered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.request import parse_scopes
from fhirserver.oauth.scopes import narrow, unknown


@pytest.mark.parametrize(
    ("requested", "registered", "granted"),
    [
        (None, "system/*.rs", "system/*.rs"),
        ("", "system/*.rs", "system/*.rs"),
        ("system/Patient.cruds", "system/*.rs", "system/Patient.rs"),
        ("system/*.cruds", "system/Patient.rs system/Consent.cu", "system/Patient.rs system/Consent.cu"),
        ("system/Patient.read", "system/*.cruds", "system/Patient.rs"),
        ("system/Patient.write", "system/Patient.rs", ""),
        ("system/Patient.r system/Patient.s", "system/*.cruds", "system/Patient.rs"),
        ("user/Patient.rs", "system/*.cruds", ""),
        ("user/*.rs", "user/*.rs system/*.rs", ""),
        ("system/Observation.rs?category=x", "system/*.cruds", ""),
        ("openid fhirUser launch", "system/*.cruds", ""),
        ("nonsense", "system/*.cruds", ""),
    ],
)
def test_a_system_is_granted(requested, registered, granted):
    assert narrow(requested, registered, context="system") == granted


def test_words_that_grant_nothing_are_named():
    assert unknown("system/*.rs openid system/Patient.sr user/Patient.r?x=y") == [
        "openid",
        "system/Patient.sr",
        "user/Patient.r?x=y",
    ]


SCOPES = st.lists(
    st.builds(
        lambda context, type_, letters: f"{context}/{type_}.{''.join(c for c in 'cruds' if c in letters)}",
        st.sampled_from(["system", "user", "patient"]),
        st.sampled_from(["*", "Patient", "Consent"]),
        st.sets(st.sampled_from("cruds"), min_size=1),
    ),
    min_size=1,
    max_size=4,
).map(" ".join)


def covers(scopes, context, interaction, type_):
    return any(scope.context == context and scope.covers(interaction, type_) for scope in parse_scopes(scopes))


@given(requested=SCOPES, registered=SCOPES)
def test_the_grant_is_exactly_the_common_part(requested, registered):
    granted = narrow(requested, registered)
    for context in ("system", "user", "patient"):
        for type_ in ("Patient", "Consent", "Observation"):
            for interaction in ("create", "read", "update", "delete", "search"):
                question = (context, interaction, type_)
                assert covers(granted, *question) == (covers(requested, *question) and covers(registered, *question))
