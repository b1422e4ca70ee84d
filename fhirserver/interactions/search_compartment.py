"""Search a compartment: the resources of a type, or of all types, that belong to one Patient, Encounter or the like.

The resource whose compartment it is must be there and readable; otherwise the answer is that of an absent one. What
belongs is said by the published definitions and asked in the same query as everything else, so that nothing from
outside is counted or sorted. A type that has no place in the compartment is refused.

https://hl7.org/fhir/R4/http.html#search, https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from dataclasses import replace

from fhirserver.errors import NotSupported
from fhirserver.interactions.context import Context, Pairs
from fhirserver.interactions.search_system import naming_types, types_asked
from fhirserver.interactions.search_type import Searchset, continued, page
from fhirserver.search.compartment import COMPARTMENTS, EVERY_TYPE, members, within
from fhirserver.search.cursor import Cursor
from fhirserver.search.expression import All, Always, Expression
from fhirserver.search.query import APART, Branch, Handling, Query


def search_compartment(
    context: Context, code: str, id_: str, type_: str, pairs: Pairs, *, handling: Handling = "strict"
) -> Searchset:
    """A page of what belongs to `code/id_`, of a type or of every type (`*`, narrowed by `_type`).

    Raises NotSupported for a type that has no compartment or no place in it, NotFound or Gone for a resource that the
    caller cannot read; else as `search_type`.
    """
    admit_compartment(context, code, type_)
    path = f"{code}/{id_}/{type_}"
    after = continued(context, path, pairs)
    query = compartment_query(context, code, id_, type_, pairs if after is None else after.pairs, handling, after=after)
    about = context.store.read(code, id_, with_body=False)
    return page(context, path, query, after, about=about)


def admit_compartment(context: Context, code: str, type_: str) -> None:
    """Raise NotSupported as `check_compartment` does, and Forbidden where the token does not cover the search."""
    check_compartment(code, type_)
    context.access.admit("read", code)
    if type_ != EVERY_TYPE:
        context.access.admit("search", type_)


def check_compartment(code: str, type_: str) -> None:
    """Raise NotSupported where there is no such compartment, or no such type in it."""
    if code not in COMPARTMENTS:
        raise NotSupported(f"There is no compartment of a {code}; there are those of {', '.join(COMPARTMENTS)}.")
    if type_ == "Binary" or (type_ != EVERY_TYPE and type_ not in members(code)):
        raise NotSupported(f"{type_} is not in the {code} compartment.")


def compartment_query(
    context: Context,
    code: str,
    id_: str,
    type_: str,
    pairs: Pairs,
    handling: Handling = "strict",
    *,
    after: Cursor | None = None,
) -> Query:
    """What a search of a compartment asks; raises as `search_compartment` does, the resource's absence apart."""
    if type_ != EVERY_TYPE:
        query = context.query(type_, pairs, handling, after=after)
        return replace(query, expression=_and(within(code, id_, type_), query.expression))
    types, rest = types_asked(context, pairs, [one for one in members(code) if one not in APART])
    together = context.query_of(types, rest, handling, after=after)
    alike: dict[Expression, list[str]] = {}
    for branch in together.branches:
        for one in branch.types:
            alike.setdefault(_and(within(code, id_, one), branch.expression), []).append(one)
    branches = tuple(Branch(tuple(found), expression) for expression, found in alike.items())
    return naming_types(replace(together, branches=branches), pairs)


def _and(belongs: Expression, asked: Expression) -> Expression:
    match asked:
        case Always():
            return belongs
        case All(parts):
            return All((belongs, *parts))
        case _:
            return All((belongs, asked))
