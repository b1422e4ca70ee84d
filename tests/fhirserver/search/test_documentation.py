"""The page about search says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirserver.search import parse, reference, string, token, uri
from fhirserver.search.prefix import PREFIXES
from fhirserver.search.result_parameters import RESULT_PARAMETERS

PAGE = (Path(__file__).parents[3] / "docs/api/search.md").read_text()
MODIFIERS = token.MODIFIERS | reference.MODIFIERS | string.MODIFIERS | uri.MODIFIERS | {"missing"}


@pytest.mark.parametrize("prefix", sorted(PREFIXES))
def test_each_prefix_has_its_line(prefix):
    assert f"\n| `{prefix}`" in PAGE


@pytest.mark.parametrize("modifier", sorted(MODIFIERS))
def test_each_modifier_is_named(modifier):
    assert f"`:{modifier}`" in PAGE


@pytest.mark.parametrize("name", sorted(RESULT_PARAMETERS))
def test_each_result_parameter_is_named(name):
    assert f"`{name}`" in PAGE


def test_the_limits_are_said():
    assert f"more than {parse.MOST_PAIRS} parameters or {parse.MOST_COMPARISONS} comparisons" in PAGE
    assert f"at most {string.LONGEST} characters" in PAGE
