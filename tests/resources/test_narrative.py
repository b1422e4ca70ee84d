from __future__ import annotations

import pytest

from resources.narrative import problems


def div(content: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{content}</div>'


@pytest.mark.parametrize(
    "content",
    [
        "text",
        "<p>Résumé&#160;: <b>normal</b>, <i>stable</i></p><hr/>",
        '<table class="grid" border="1"><tbody><tr><td colspan="2" style="color: red">x</td></tr></tbody></table>',
        '<a name="top">x</a> <a href="#top">x</a> <a href="https://example.org">x</a> <a href="Patient/1">x</a>',
        '<a href="mailto:a@example.org">mail</a>',
        '<img src="data:image/png;base64,iVBORw0KGgo=" alt="x"/>',
        '<img src="#photo" alt="x"/>',
        '<td style="background-image: url(tbl_bck1.png)">x</td>',
        '<p xml:lang="fr" lang="fr" dir="ltr">x</p><!-- a comment -->',
    ],
)
def test_plain_formatting_is_safe(content: str) -> None:
    assert problems(div(content)) == []


@pytest.mark.parametrize(
    "narrative",
    [
        div("<script>alert(1)</script>"),
        div("<style>p {}</style>x"),
        div("<iframe src='https://example.org'/>x"),
        div("<object data='x'/>x"),
        div("<embed src='x'/>x"),
        div("<form action='x'><input/></form>x"),
        div("<link rel='stylesheet' href='x'/>x"),
        div("<base href='https://example.org'/>x"),
        div("<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>x"),
        div("<x:script xmlns:x='http://www.w3.org/1999/xhtml'>x</x:script>"),
        div("<p onclick='x()'>x</p>"),
        div("<p ONCLICK='x()'>x</p>"),
        div("<P>x</P>"),
        div("<a href='javascript:x()'>x</a>"),
        div("<a href=' JaVaScRiPt:x()'>x</a>"),
        div("<a href='java&#10;script:x()'>x</a>"),
        div("<a href='&#1;javascript:x()'>x</a>"),
        div("<a href='vbscript:x'>x</a>"),
        div("<a href='data:text/html,x'>x</a>"),
        div("<img src='data:text/html,x'/>x"),
        div("<a xlink:href='javascript:x' xmlns:xlink='http://www.w3.org/1999/xlink'>x</a>"),
        div("<p style='background: url(javascript:x)'>x</p>"),
        div("<p style='background: url(https://example.org/pixel)'>x</p>"),
        div("<p style='background: url(//example.org/pixel)'>x</p>"),
        div("<p style='width: expression(x())'>x</p>"),
        div("<p style='@import x'>x</p>"),
        div(r"<p style='background: u\72l(//x)'>x</p>"),
        div("<p style='width: exp/**/ression(x)'>x</p>"),
        div(""),
        div("  <p> </p>"),
        div("&nbsp;x"),
        div("&e;"),
        div("<p>x"),
        "text",
        "",
        "<div>no namespace</div>",
        "<p xmlns='http://www.w3.org/1999/xhtml'>x</p>",
        "<!DOCTYPE div [<!ENTITY e 'boom'>]>" + div("&e;"),
        "<?xml version='1.0'?>" + div("x"),
        div("x") + div("y"),
        div("\x00"),
        div("<p>" * 1000 + "x" + "</p>" * 1000),
    ],
)
def test_what_could_run_load_or_mislead_is_refused(narrative: str) -> None:
    assert problems(narrative)


def test_external_entities_are_not_read(tmp_path: object) -> None:
    narrative = f"<!DOCTYPE div [<!ENTITY e SYSTEM 'file://{tmp_path}/x'>]>{div('&e;')}"
    assert problems(narrative) == [
        (
            "security",
            "A narrative may not contain a document type, entity declarations or processing instructions",
        )
    ]


def test_each_problem_has_the_issue_code_of_its_kind() -> None:
    assert [problem.code for problem in problems(div("<script/>"))] == ["security", "invariant"]
    assert [problem.code for problem in problems(div("<p>"))] == ["structure"]
    assert [problem.code for problem in problems("<div>x</div>")] == ["structure"]
