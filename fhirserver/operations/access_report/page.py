"""A report as a page for people: a table, without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from html import escape

from fhirserver.operations.access_report.words import PAGE, Language
from fhirserver.operations.access_report.written import Written

_STYLE = (
    "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
    "th,td{border-bottom:1px solid #bbb;padding:.4em .8em;text-align:left;vertical-align:top}"
    "small{color:#444}"
)
_COLUMNS = ("when", "who", "what", "why", "result")


def html(texts: Sequence[Written], language: Language, zone: tzinfo, following: str | None) -> bytes:
    """The page; `following` is the address of the next, relative to this one."""
    title = PAGE["title"][language]
    body = _table(texts, language) if texts else f"<p>{PAGE['none'][language]}</p>"
    if following is not None:
        body += f'<p><a rel="next" href="{escape(following)}">{PAGE["next"][language]}</a></p>'
    page = (
        f'<!DOCTYPE html><html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{body}"
        f"<p><small>{PAGE['shown'][language]} {escape(str(zone))}</small></p></body></html>"
    )
    return page.encode()


def _table(texts: Iterable[Written], language: Language) -> str:
    head = "".join(f'<th scope="col">{PAGE[name][language]}</th>' for name in _COLUMNS)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(_row(text, language) for text in texts)}</tbody></table>"
    )


def _row(text: Written, language: Language) -> str:
    who = [text.name, *(one for one in (text.profession, text.structure) if one)]
    result = [text.result, *([PAGE["first"][language]] if text.line.is_first else [])]
    if text.because and not text.line.is_permitted:
        result.append(text.because)
    cells = (_lines([text.when]), _lines(who), _lines([text.what]), _lines([text.why or ""]), _lines(result))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _lines(texts: Iterable[str]) -> str:
    return "<br>".join(escape(text) for text in texts)
