"""`$access-report`: who saw what of a person's record, when, why and with what result.

It is the trail of the person as the caller may search it, and is decided, paged and audited as that search: as the
AuditEvents themselves, or as lines for people to read, in French or in English, as a Parameters resource or as a page.

https://profiles.ihe.net/ITI/BALP/, https://profiles.ihe.net/ITI/TF/Volume2/ITI-81.html, docs/policy.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

from fhirserver import audit
from fhirserver.errors import BadRequest
from fhirserver.interactions.context import PAGE, Context
from fhirserver.operations.access_report.page import html
from fhirserver.operations.access_report.told import Line, lines, of_whole_requests
from fhirserver.operations.access_report.words import LANGUAGES, Language
from fhirserver.operations.access_report.written import TITLED, Written, parts, written
from fhirserver.operations.operation import Given, Made, Operation, Page, Parameter, Result, Target
from fhirserver.operations.parameters import parameters
from fhirserver.search import expression as e
from fhirserver.search.escape import escape
from fhirserver.search.query import Pair, Query
from fhirserver.store import resource_store
from fhirserver.store.resource_store import Position
from fhirserver.store.rows import Row
from fhirserver.store.search_values import fhir_instant
from resources import SUPPORTED

HTML: Final = "text/html"
SPAN: Final = timedelta(days=365)
"""How far back the report goes where no date is given."""

_NAME = "access-report"
# A page runs no script, loads nothing and sends nothing on.
_GUARDS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def _perform(context: Context, target: Target, given: Given) -> Result:
    context.access.admit("search", "AuditEvent")
    is_page, form = given.media_type == HTML, given.one("form", "events")
    if form not in {"events", "lines"}:
        raise BadRequest("The form is events or lines.", expression="form")
    language = _language(given)
    query = _query(context, target, given)
    position = None
    if given.after is not None and given.after.snapshot is not None:
        position = Position(given.after.snapshot, given.after.after)
    found = context.store.search(query, position=position)
    if form == "events" and not is_page:
        _note(context, target, given, found.rows)
        following = _sealed(context, target, given, query, found.next)
        return Page(target.address(_NAME), given.pairs, found.rows, total=found.total, next=following)
    rows = found.rows if found.next is None else of_whole_requests(found.rows)
    read = lines(rows)
    texts, named = _written(context, read, language)
    _note(context, target, given, [*rows, *named])
    following = _sealed(context, target, given, query, _after(rows, found))
    if is_page:
        rest = None if following is None else f"?{PAGE}={following}&_format=html"
        headers = {**_GUARDS, "Content-Language": language, "Vary": "Accept, Accept-Language"}
        return Made(html(texts, language, context.zone, rest), headers=headers, media_type=f"{HTML}; charset=utf-8")
    address = f"{context.config.fhir_base}/{target.address(_NAME)}"
    told = [{"name": "line", "part": parts(text)} for text in texts]
    if following is not None:
        told.append({"name": "next", "valueUrl": f"{address}?{PAGE}={following}"})
    return Made(parameters(told), headers={"Content-Language": language, "Vary": "Accept-Language"})


def _language(given: Given) -> Language:
    """The language asked for by name, else by Accept-Language, else French."""
    wanted = given.one("language") or given.language or LANGUAGES[0]
    found = next((one for one in LANGUAGES if one == wanted.partition("-")[0].lower()), None)
    if found is None:
        raise BadRequest(f"The language is {' or '.join(LANGUAGES)}.", expression="language")
    return found


def _query(context: Context, target: Target, given: Given) -> Query:
    """The search of the trail that the report is."""
    person = f"Patient/{target.id}"
    dates = given.all("date") or [f"ge{fhir_instant(context.access.now - SPAN)}"]
    count = given.one("_count", context.config.page_default)
    pairs = [("patient", person), *(("date", one) for one in dates), ("_sort", "-date"), ("_count", str(count))]
    query = context.query("AuditEvent", pairs, after=given.after)
    if given.one("own", default=True):
        return query
    own = [context.query("AuditEvent", [one]).expression for one in _agents(person, context.access.actor.reference)]
    return replace(query, expression=e.All((query.expression, *map(e.Not, own))))


def _agents(person: str, caller: str) -> list[Pair]:
    """The person and the caller as criteria; a client is no resource, and named by an identifier."""
    if caller.partition("/")[0] in SUPPORTED:
        return [("agent", f"{person},{caller}")]
    return [("agent", person), ("agent:identifier", f"|{escape(caller)}")]


def _after(rows: Sequence[Row], found: resource_store.Page) -> Position | None:
    """Where the report goes on after `rows`, the beginning of what a search has found."""
    if found.next is None or len(rows) == len(found.rows):
        return found.next
    return replace(found.next, after=(rows[-1].last_updated, rows[-1].reference))


def _sealed(context: Context, target: Target, given: Given, query: Query, after: Position | None) -> str | None:
    if after is None:
        return None
    return context.seal(
        target.address(_NAME), given.pairs, count=query.count, after=after.after, snapshot=after.snapshot
    )


def _written(context: Context, read: Sequence[Line], language: Language) -> tuple[list[Written], list[Row]]:
    """The lines in words, and the resources whose titles they tell, each of which the caller may read."""
    people = {name for line in read for name in (line.who.reference, line.who.organization) if name is not None}
    directory = context.store.described({name for name in people if name.startswith(("Practitioner", "Organization"))})
    wanted = {one for one in _named(read) if one.partition("/")[0] in TITLED}
    rows = context.store.readable(sorted(wanted)) if wanted else {}
    return [written(line, language, directory, rows, context.zone) for line in read], list(rows.values())


def _named(read: Iterable[Line]) -> Iterable[str]:
    for line in read:
        yield line.who.reference
        yield from line.of


def _note(context: Context, target: Target, given: Given, rows: Sequence[Row]) -> None:
    """That the trail was read is in the trail: of the person whom the address names, whatever was found."""
    person = (f"Patient/{target.id}",)
    asked = urlencode(given.pairs)
    context.note(audit.operation_events(context.access, "AuditEvent", target.address(_NAME), rows, asked, named=person))


OPERATION = Operation(
    name=_NAME,
    title="Who saw what of a person's record, when, why and with what result (access-report).",
    about="The trail of a person: who saw what, when, why and with what result, as AuditEvents or as lines to read.",
    definition="access-report",
    levels=("instance",),
    types=("Patient",),
    perform=_perform,
    takes=(
        Parameter("date", "string", "As in a search; from a year ago on where none is given.", max=None),
        Parameter("own", "boolean", "false leaves out what the person, and the caller, did themselves."),
        Parameter("form", "code", "events if not given, or lines, in words."),
        Parameter("language", "code", "fr or en, for lines; else as Accept-Language says, else French."),
        Parameter("_count", "positiveInt", "Events of a page; several of one request are one line."),
    ),
    gives=(
        Parameter("return", "Bundle", "A searchset of AuditEvents, latest first; the rest is behind its next link."),
        Parameter("line", "BackboneElement", "Who did what, when, why, with what result, in codes and words.", 0, None),
        Parameter("next", "url", "Where the report goes on."),
    ),
    is_hl7s=False,
    paged=True,
    offers=(HTML,),
    languages=LANGUAGES,
)
