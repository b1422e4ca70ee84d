"""Search at an address within a Bundle: a type, a compartment, or the system.

https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

from fhirserver.interactions.context import ALL, Context, query_pairs
from fhirserver.interactions.entries import Target
from fhirserver.interactions.search_compartment import admit_compartment, compartment_query, search_compartment
from fhirserver.interactions.search_system import search_system, types_asked
from fhirserver.interactions.search_type import Searchset, search_type
from fhirserver.search.query import Handling


def search(context: Context, target: Target, handling: Handling) -> Searchset:
    """A page of the search that the target names. Raises what the search of its kind raises."""
    pairs = query_pairs(target.query)
    if target.member:
        return search_compartment(context, target.type, target.id or "", target.member, pairs, handling=handling)
    if target.type:
        return search_type(context, target.type, pairs, handling=handling)
    return search_system(context, pairs, handling=handling)


def check_search(context: Context, target: Target, handling: Handling) -> None:
    """Raise where the search cannot be understood or the token does not cover it, without asking anything."""
    pairs = query_pairs(target.query)
    if target.member:
        admit_compartment(context, target.type, target.member)
        compartment_query(context, target.type, target.id or "", target.member, pairs, handling)
    elif target.type:
        context.access.admit("search", target.type)
        context.query(target.type, pairs, handling, may_be_contained=True)
    else:
        types, rest = types_asked(context, pairs, ALL)
        context.query_of(types, rest, handling)
