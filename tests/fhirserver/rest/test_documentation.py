"""Every interaction that is routed has its page, and every page says since when and where its code is."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhirserver import errors
from fhirserver.rest.routes import ROUTED

API = Path(__file__).parents[3] / "docs" / "api"
PAGES = {
    "search-type": "search",
    "search-system": "search",
    **dict.fromkeys(("history-instance", "history-type", "history-system"), "history"),
}


@pytest.mark.parametrize("code", sorted({code for _, _, _, codes in ROUTED for code in codes}))
def test_an_interaction_has_its_page(code):
    text = (API / f"{PAGES.get(code, code)}.md").read_text()
    assert "Since version" in text
    assert "https://hl7.org/fhir/R4/" in text
    assert "fhirserver/" in text


def test_every_status_that_an_error_may_have_is_explained():
    text = (API / "errors.md").read_text()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.FhirError)]
    assert [kind.__name__ for kind in kinds if str(kind.status) not in text] == []
