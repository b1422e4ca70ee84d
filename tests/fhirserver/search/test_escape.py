r"""Escapes inside values: \, \| \$ \\."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import BadRequest
from fhirserver.search.escape import escape, split, unescape


def test_an_escaped_separator_does_not_separate():
    assert split(r"a\,b,c", ",") == [r"a\,b", "c"]
    assert split(r"a\\,b", ",") == [r"a\\", "b"]
    assert split("a|b", "|") == ["a", "b"]


def test_each_escape_stands_for_its_character():
    assert unescape(r"\,\|\$\\", "p") == ",|$\\"


@pytest.mark.parametrize("wrong", [r"\n", r"a\b", "a\\"])
def test_any_other_backslash_is_refused_naming_the_parameter(wrong):
    with pytest.raises(BadRequest) as raised:
        unescape(wrong, "given")
    assert raised.value.expression == "given"


@given(st.lists(st.text(alphabet=",|$\\ab"), min_size=1))
def test_what_is_escaped_and_joined_comes_apart_again(texts):
    escaped = [escape(text) for text in texts]
    assert [unescape(part, "p") for part in split(",".join(escaped), ",")] == texts
