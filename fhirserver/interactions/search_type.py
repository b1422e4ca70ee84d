"""Search one resource type: what was asked and what may be seen, answered by one query.

Permission, sorting, counting, including and paging all happen in the store's query, so a page is full, a total counts
what the caller may see and nothing else, and an include cannot bring what a read would refuse. A page link names a
position, never a right: the next page is decided afresh.

https://hl7.org/fhir/R4/http.html#search, https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from consent.eligibility import is_eligible
from fhirserver import audit
from fhirserver.errors import BadRequest
from fhirserver.interactions.context import PAGE, Context, Pairs
from fhirserver.search.cursor import Cursor
from fhirserver.search.query import Handling, Query
from fhirserver.store.contained import Inside
from fhirserver.store.resource_store import Page, Position
from fhirserver.store.rows import Row


@dataclass(frozen=True, slots=True)
class Searchset:
    """A page: its matches, what they include, the total where it is known, and the sealed position of the next.

    `path` is where the search was asked, below the FHIR base. `related` is the sealed position of what the page could
    not include. A page of such a rest has no matches; its `next` leads to what is still left. `is_stopped` says that
    iteration ended before its end. Where contained resources themselves are wanted, `inside` are the matches, and
    `rows` the rows that hold them. `may_break_glass` says that a
    physician named one patient and saw nothing of them.
    """

    path: str
    query: Query
    rows: Sequence[Row]
    included: Sequence[Row]
    total: int | None
    next: str | None
    related: str | None = None
    is_stopped: bool = False
    inside: Sequence[Inside] | None = None
    may_break_glass: bool = False


def search_type(context: Context, type_: str, pairs: Pairs, *, handling: Handling = "strict") -> Searchset:
    """A page of the resources of a type that meet `pairs` (name and value, as sent) and that the caller may see.

    The pair `_page` continues an earlier search and stands for all of its parameters.
    Raises Forbidden, BadRequest (a parameter that is unknown or cannot be read), or Gone for an expired page link.
    """
    context.access.admit("search", type_)
    after = continued(context, type_, pairs)
    asked = pairs if after is None else after.pairs
    return page(context, type_, context.query(type_, asked, handling, after=after, may_be_contained=True), after)


def page(context: Context, path: str, query: Query, after: Cursor | None, *, about: Row | None = None) -> Searchset:
    """A page of a search at `path`, from its beginning or `after` an earlier one; what it discloses is audited.

    `about` is the resource that the path names, whose compartment is searched.
    """
    position = _position(after, query)
    found = context.store.search(query, position=position)
    is_rest = position is not None and position.rest is not None
    note_disclosure(context, path, query, found, are_matches_given=not is_rest, about=about)
    following, related = _sealed(context, path, query, found.next), _sealed(context, path, query, found.rest)
    if is_rest:
        return Searchset(path, query, (), found.included, None, related, None, found.is_stopped)
    may = after is None and not found.rows and not found.total and _may_break_glass(context, path, query)
    return Searchset(
        path,
        query,
        found.rows,
        found.included,
        found.total,
        following,
        related,
        found.is_stopped,
        found.inside,
        may,
    )


def _may_break_glass(context: Context, path: str, query: Query) -> bool:
    """Whether a physician names one patient whom they may not see now: absent and refused are alike here, too.

    It is asked only where nothing was found, and costs the same query whether or not there is such a patient.
    """
    access = context.access
    if not is_eligible(access.actor, access.policy) or not access.admits("read", "Patient"):
        return False
    type_ = "Patient" if query.type == "Patient" else path.rpartition("/")[2]
    named = audit.named_patients(type_, urlencode(query.self_pairs))
    return len(named) == 1 and not context.store.readable(named)


def _sealed(context: Context, path: str, query: Query, position: Position | None) -> str | None:
    if position is None:
        return None
    return context.seal(
        path,
        query.self_pairs,
        count=query.count,
        after=position.after,
        snapshot=position.snapshot,
        rest=position.rest or position.given,
    )


def note_disclosure(
    context: Context,
    path: str,
    query: Query,
    found: Page,
    *,
    are_matches_given: bool = True,
    about: Row | None = None,
) -> None:
    """Keep for the audit what the answer to a search shows; the rest of an include is shown without its matches."""
    events = audit.search_events(
        context.access,
        path,
        urlencode(query.self_pairs),
        found.rows,
        included=found.included,
        labels=found.labels,
        named=found.named,
        types=[one for branch in query.branches for one in ([branch.contained] if branch.contained else branch.types)],
        are_matches_given=are_matches_given,
        about=about,
    )
    context.note(events)


def continued(context: Context, subject: str, pairs: Pairs) -> Cursor | None:
    """The position that a page link names; None where this is a first page.

    Raises BadRequest where other parameters stand beside the link, other than how the answer is to be written.
    """
    page = next((value for name, value in pairs if name == PAGE), None)
    if page is None:
        return None
    if others := [name for name, _ in pairs if name not in {PAGE, "_format", "_pretty"}]:
        raise BadRequest(
            f"A page link stands for its whole search; take {', '.join(others)} out.", expression=others[0]
        )
    return context.unseal(subject, page)


def _position(after: Cursor | None, query: Query) -> Position | None:
    """Where a page begins; the rest of a page is what it includes, or what its last row contains."""
    if after is None:
        return None
    if after.snapshot is None:
        raise BadRequest("This page link is not one of a search.")
    if query.gives_contained:
        return Position(after.snapshot, after.after, given=after.rest)
    return Position(after.snapshot, after.after, after.rest)
