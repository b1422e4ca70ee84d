"""`_text` and `_content`: words of the narrative, and of everything."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirserver.errors import BadRequest
from fhirserver.search.text import LONGEST_TEXT, MOST_ASKED, MOST_WORDS, words

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


def report(narrative="", conclusion=None):
    resource = {"resourceType": "DiagnosticReport", "text": {"status": "generated", "div": DIV.format(narrative)}}
    return resource if conclusion is None else resource | {"conclusion": conclusion}


THORAX = report("<p>Scanner du <b>thorax</b>: métastases osseuses, sans épanchement.</p>", "Suspicion of liver lesions")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("thorax", True),
        ("THORAX", True),
        ("metastases", True),
        ("métastases", True),
        ("épanchement", True),
        ("scanner thorax", True),
        ("scanner abdomen", False),
        ("thor", False),
        ("thor*", True),
        ("hor*", False),
        ("liver", False),
        ("(bone OR osseuses) and metastases", True),
        ("(bone OR hepatic) and metastases", False),
        ("abdomen OR thorax", True),
        ("thorax NOT abdomen", True),
        ("thorax NOT metastases", False),
        ("NOT abdomen", True),
        ("NOT (abdomen OR thorax)", False),
        ("abdomen,thorax", True),
        ("thorax AND NOT (pelvis scanner)", True),
        ("osseuses,", None),
        ("p", False),
        ("www", False),
    ],
)
def test_words_of_the_narrative(matches, refusal, asked, expected):
    if expected is None:
        assert refusal("DiagnosticReport", f"_text={asked}").expression == "_text"
    else:
        assert matches(THORAX, f"_text={asked}") is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("liver", True), ("thorax liver", True), ("les* suspicion", True), ("NOT liver", False), ("spleen", False)],
)
def test_the_content_is_the_narrative_and_all_other_strings(matches, asked, expected):
    assert matches(THORAX, f"_content={asked}") is expected


def test_a_word_is_split_where_it_is_stored_split(matches):
    assert matches(report("CT-scan de l'abdomen"), "_text=ct-scan")
    assert matches(report("CT scan"), "_text=CT-scan")
    assert not matches(report("CT"), "_text=CT-scan")


def test_a_script_without_spaces_is_searched_by_its_characters(matches):
    assert matches(report("胸部CT検査"), "_text=検査")
    assert matches(report("胸部CT検査"), "_text=CT")
    assert not matches(report("胸部CT検査"), "_text=腹部")
    assert matches(report("Рентген грудной клетки"), "_text=рентген")
    assert matches(report("أشعة الصدر"), "_text=الصدر")


def test_the_words_of_a_very_long_text_are_kept_up_to_a_limit(written, matches):
    long = report(" ".join(f"w{number}" for number in range(MOST_WORDS + 50)), "outside")
    assert len([atom for atom in written(long).tk if atom.startswith(("_text", "_content"))]) == MOST_WORDS
    assert matches(long, f"_text=w{MOST_WORDS - 1}")
    assert matches(report("x" * 5000), "_text=" + "x" * 900)


@pytest.mark.parametrize("asked", ["(a", "a)", "()", "OR a", "a OR", "NOT", "AND a", "...", "*", "a AND", "a (OR b)"])
@pytest.mark.parametrize("name", ["_text", "_content"])
def test_what_cannot_be_read_is_refused(refusal, name, asked):
    error = refusal("DiagnosticReport", f"{name}={asked}", handling="lenient")
    assert (error.status, error.code, error.expression) == (400, "invalid", name)


PHRASES = report(
    "<p>Bone lesion.</p><p>Liver: old metastasis of the bone</p>", "CT-scan of the thorax; no liver lesion"
)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ('"bone lesion"', True),
        ('"BONE LÉSION"', True),
        ('"lesion bone"', False),
        ('"lesion liver"', True),
        ('"liver lesion"', False),
        ('"old bone"', False),
        ('"metastas* of"', True),
        ('"old meta*"', True),
        ('"ol* of"', False),
        ('"bone"', True),
        ('"bon"', False),
        ('"bon*"', True),
        ('"liver old" NOT "liver lesion"', True),
        ('NOT "bone lesion"', False),
        ('("bone metastasis" OR "old metastasis") AND bone', True),
        ('"bone metastasis","old metastasis of"', True),
    ],
)
def test_the_words_of_a_phrase_follow_one_another(matches, asked, expected):
    assert matches(PHRASES, f"_text={asked}") is expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ('"ct scan"', True),
        ('"CT-scan of"', True),
        ('"liver lesion"', True),
        ('"bone lesion"', True),
        ('"bone ct"', False),
        ('"lesion of"', False),
    ],
)
def test_a_phrase_is_found_within_one_text(matches, asked, expected):
    assert matches(PHRASES, f"_content={asked}") is expected


def test_a_phrase_does_not_go_from_one_text_into_another(matches):
    resource = {"resourceType": "Patient", "name": [{"text": "Anna Maria"}, {"text": "Berta Clara"}]}
    assert matches(resource, '_content="anna maria" "berta clara"')
    assert not matches(resource, '_content="maria berta"')
    assert not matches(resource, '_content="mari* berta"')


def test_a_phrase_of_a_script_without_spaces_is_its_characters_in_their_order(matches):
    assert matches(report("胸部CT検査"), '_text="部CT検"')
    assert not matches(report("胸部CT検査"), '_text="部検"')


def test_a_comma_within_a_phrase_is_escaped(matches, refusal):
    assert matches(PHRASES, '_text="bone\\, lesion"')
    assert "\\," in refusal("DiagnosticReport", '_text="bone, lesion"').diagnostics


@pytest.mark.parametrize("asked", ['"', '""', '"bone', 'bone"', '"..."', '"* bone"', '"bone *"', "b*n*", '"a" OR "'])
def test_a_phrase_that_cannot_be_read_is_refused(refusal, asked):
    error = refusal("DiagnosticReport", f"_text={asked}", handling="lenient")
    assert (error.status, error.code, error.expression) == (400, "invalid", "_text")


def test_a_text_is_searched_up_to_a_limit_by_its_words_and_its_phrases_alike(matches):
    long = report("a b " * (LONGEST_TEXT // 2) + "beyond it")
    assert matches(long, '_text="a b a b"')
    assert not matches(long, "_text=beyond")
    assert not matches(long, '_text="b beyond"')


@pytest.mark.parametrize(
    "asked",
    [
        " ".join(["a"] * (MOST_ASKED + 1)),
        '"' + " ".join(["a"] * (MOST_ASKED + 1)) + '"',
        "(" * 30 + "a" + ")" * 30,
        ",".join(["a"] * 150),
    ],
)
def test_a_query_that_asks_too_much_is_refused(refusal, asked):
    assert refusal("DiagnosticReport", f"_text={asked}").code == "too-costly"


def test_the_words_of_the_trail_are_not_kept(refusal, written):
    event = {
        "resourceType": "AuditEvent",
        "outcomeDesc": "refused",
        "text": {"status": "generated", "div": DIV.format("x")},
    }
    assert not [atom for atom in written(event).tk if atom.startswith(("_text", "_content"))]
    assert refusal("AuditEvent", "_content=refused").code == "not-supported"


@given(st.text(alphabet='aé検 ()"*ANDORNOT,-\\\\', max_size=30), st.sampled_from(["_text", "_content"]))
def test_any_text_is_a_query_of_words_or_refused(ask, text, name):
    with suppress(BadRequest):
        ask("DiagnosticReport", f"{name}={text}")


@given(st.text(max_size=60))
def test_a_word_that_was_kept_is_found(matches, text):
    for word in words(text):
        if word not in {"or", "and", "not"}:
            assert matches({"resourceType": "DiagnosticReport", "conclusion": text}, f"_content={word}")
