"""Search several resource types together, or all of them: one query, sorted across types, paged like any search.

`_type` names the types; without it they are all that the token covers. AuditEvents and Binaries are never among them:
the trail is searched by itself, and a Binary read by what refers to it. Every parameter is one that all types have.

https://hl7.org/fhir/R4/http.html#search, https://hl7.org/fhir/R4/search.html#all
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fhirserver.errors import BadRequest, NotSupported
from fhirserver.interactions.context import ALL, Context, Pairs
from fhirserver.interactions.search_type import Searchset, continued, page
from fhirserver.search.cursor import Cursor
from fhirserver.search.query import APART, Handling, Query

TYPE = "_type"


def search_system(context: Context, pairs: Pairs, *, handling: Handling = "strict") -> Searchset:
    """A page of the resources of several types that meet `pairs` and that the caller may see.

    Raises Forbidden where the token does not cover a type that is named, or none at all; else as `search_type`.
    """
    after = continued(context, "", pairs)
    return page(context, "", system_query(context, pairs if after is None else after.pairs, handling, after), after)


def system_query(context: Context, pairs: Pairs, handling: Handling, after: Cursor | None = None) -> Query:
    """What a search of several types asks; raises as `search_system` does."""
    types, rest = types_asked(context, pairs, ALL)
    return naming_types(context.query_of(types, rest, handling, after=after), pairs)


def naming_types(query: Query, asked: Pairs) -> Query:
    """The query with `_type` among its parameters, where it was said."""
    return replace(query, self_pairs=(*(pair for pair in asked if pair[0] == TYPE), *query.self_pairs))


def types_asked(context: Context, pairs: Pairs, possible: Sequence[str]) -> tuple[Sequence[str], Pairs]:
    """The types that are searched, and the other parameters.

    Raises BadRequest for a type that is not among the possible ones, Forbidden where the token does not cover one.
    """
    texts = [value for name, value in pairs if name == TYPE]
    rest = tuple((name, value) for name, value in pairs if name != TYPE)
    if len(texts) > 1:
        raise BadRequest("_type may be given once, with types separated by commas.", expression=TYPE)
    if not texts:
        context.access.admit_any("search", possible)
        return [type_ for type_ in possible if context.access.admits("search", type_)], rest
    types = tuple(dict.fromkeys(texts[0].split(",")))
    for type_ in types:
        if type_ in APART:
            raise NotSupported(f"_type: {type_} is not searched together with other types.", expression=TYPE)
        if type_ not in possible:
            raise BadRequest(f"_type: '{type_}' is not a resource type that can be searched here.", expression=TYPE)
        context.access.admit("search", type_)
    return types, rest
