"""A body that is nested without end is refused, wherever it stands: no reader follows it until it falls."""

from __future__ import annotations

import pytest

DEPTHS = [70, 150, 300, 450, 700, 950, 1_200, 100_000]


def nested(depth, inside="1"):
    """A Patient with extensions in extensions."""
    extension = '{"url":"u","extension":['
    return f'{{"resourceType":"Patient","extension":[{extension * depth}{inside}{"]}" * depth}]}}'


def bundle(type_, resource):
    entry = f'{{"fullUrl":"urn:uuid:1","request":{{"method":"POST","url":"Patient"}},"resource":{resource}}}'
    return f'{{"resourceType":"Bundle","type":"{type_}","entry":[{entry}]}}'.encode()


INSIDE = {
    "a number": "1",
    "a reference of the Bundle": '{"url":"u","valueUri":"urn:uuid:1"}',
    "an escape": '{"url":"u","valueString":"\\u0001"}',
    "a name twice": '{"url":"u","url":"u","valueString":"x"}',
    "an escaped name": '{"\\u0075rl":"u"}',
}


def refused(response):
    assert response.status_code in {400, 413, 422}, response.text[:300]
    assert response.json["issue"][0]["severity"] in {"error", "fatal"}


@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_resource_that_is_nested_too_deeply_is_refused(his, depth, inside):
    refused(his.post("Patient", nested(depth, inside).encode()))


@pytest.mark.parametrize("inside", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("depth", DEPTHS)
def test_so_it_is_in_a_transaction_and_in_a_batch(his, depth, inside):
    refused(his.post("", bundle("transaction", nested(depth, inside))))
    answer = his.post("", bundle("batch", nested(depth, inside)))
    if answer.status_code == 200:  # the Bundle could be read, and its entry could not
        assert answer.json["entry"][0]["response"]["status"][:3] in {"400", "422"}
    else:
        refused(answer)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('{"contained":[', "]}")], ids=["lists", "objects", "both"]
)
def test_so_is_what_is_no_resource(his, patient, opening, closing, depth):
    text = opening * depth + "1" + closing * depth
    refused(his.post("Patient", text.encode()))
    refused(his.post("", bundle("transaction", text)))
    patch = f'[{{"op":"add","path":"/name","value":{text}}}]'.encode()
    refused(his.request("PATCH", patient, patch, Content_Type="application/json-patch+json"))
    refused(his.request("PATCH", patient, f'{{"name":{text}}}'.encode(), Content_Type="application/merge-patch+json"))
