"""The keys of page links."""

from __future__ import annotations

from fhirserver.rest.page_keys import page_keys


def test_the_same_secret_gives_the_same_key_on_every_node_and_another_gives_another():
    assert page_keys([b"one"]) == page_keys([b"one"])
    assert len({*page_keys([b"one", b"two"]), b"one", b"two"}) == 4
    assert all(len(key) == 32 for key in page_keys([b"one", b"two"]))
