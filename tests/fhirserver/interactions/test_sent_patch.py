"""The patch document of an entry of a Bundle, before anything is known of the resource."""

from __future__ import annotations

import pytest

from fhirserver.errors import BadRequest
from fhirserver.interactions.patch import sent_patch


def test_a_binary_holds_a_patch_of_its_content_type():
    body = b'{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W10="}'
    assert sent_patch(body) == ("json-patch", b"[]")


@pytest.mark.parametrize(
    "body",
    [b'{"resourceType":"\x80"}', b'{"data":1}', b"[]", b"{", b'{"resourceType":"Binary","data":' + b"[" * 100_000],
    ids=["no UTF-8", "no text", "no object", "cut off", "nested without end"],
)
def test_what_is_no_patch_is_refused(body):
    with pytest.raises(BadRequest):
        sent_patch(body)
