"""The texts of a resource: what a person reads in it, and nothing that only machines read."""

from __future__ import annotations

from resources.texts import narrative, texts

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


def test_the_narrative_is_its_text_without_markup():
    div = DIV.format("<p title='hidden'>Caf&#233; &amp;<br/>th&eacute;<!-- not <b>this</b> --></p>")
    assert narrative({"text": {"status": "generated", "div": div}}).split() == ["Café", "&", "thé"]
    assert narrative({}) == ""
    assert narrative({"text": "no narrative"}) == ""


def test_strings_and_markdown_are_texts_wherever_they_are():
    report = {
        "resourceType": "DiagnosticReport",
        "id": "not-read",
        "status": "final",
        "language": "fr",
        "text": {"status": "generated", "div": DIV.format("narrative")},
        "code": {"text": "scanner", "coding": [{"system": "http://loinc.org", "code": "18748-4", "display": "Study"}]},
        "subject": {"reference": "Patient/p", "display": "Ada Martin"},
        "identifier": [{"system": "urn:s", "value": "A-17"}, {"value": "urn:oid:1.2.3"}],
        "conclusion": "no fracture",
        "presentedForm": [
            {"contentType": "text/plain", "data": "Zm9v", "url": "http://x.example/f", "title": "letter"}
        ],
        "extension": [{"url": "http://x.example/e", "valueString": "extended"}, {"url": "u", "valueCode": "coded"}],
        "contained": [
            {"resourceType": "Practitioner", "name": [{"family": "Durand", "given": ["Anne", "Marie"]}]},
            {"resourceType": "Basic", "text": {"status": "generated", "div": DIV.format("inner <i>story</i>")}},
        ],
    }
    found = [" ".join(text.split()) for text in texts(report)]
    assert sorted(found) == sorted(
        [
            "scanner",
            "Study",
            "Ada Martin",
            "A-17",
            "no fracture",
            "letter",
            "extended",
            "Durand",
            "Anne",
            "Marie",
            "inner story",
        ]
    )


def test_elements_that_repeat_themselves_are_followed_as_deep_as_they_go():
    item = {"linkId": "3", "text": "deep"}
    for depth in "21":
        item = {"linkId": depth, "text": "shallow", "item": [item]}
    assert texts({"resourceType": "Questionnaire", "item": [item]}).count("deep") == 1


def test_what_has_not_the_shape_of_its_type_gives_no_text():
    assert texts({"resourceType": "Nonsense", "a": "b"}) == []
    assert texts({"resourceType": "Patient", "name": "Ada", "contact": [None, 1, {"name": {"text": ["x"]}}]}) == ["x"]
    assert texts({}) == []
