"""How the database would answer a search: for the operator who wonders whether it goes by an index.

What is disclosed is the plan. A search of resources that the operator may not read is planned and not run, and the
index that a trial of plans would choose is not told, since it depends on how many resources match: told are those among
which it would choose, which depend on the question alone. Only of the directory, which the operator keeps, is the plan
run and the work counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import json_util
from pymongo.errors import ExecutionTimeout

from fhirserver.errors import TooCostly
from fhirserver.search import expression as e
from fhirserver.search.links import replaced
from fhirserver.search.stored import SEPARATOR
from fhirserver.store.compile import Filter, both, compile_search, hint_for
from fhirserver.store.database import Database, Document
from resources import SUPPORTED

_SOMEBODY = "(the caller)"
"""Stands for the keys of whoever searches: nobody has it, so nothing is found."""

FOLLOWED = "(found)"
"""Stands for the references that a chain or `_has` leads to, which is a step of its own."""

_LONGEST = 5_000
"""Milliseconds for which a plan is run."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One query of a search: its type or types, the filter and order as sent, without the caller's permission.

    `indexes` are those that may answer it, and `is_chosen` says that it is the one. `keys` and `documents` count what
    was looked at, where it was run.
    """

    types: tuple[str, ...]
    filter: str
    order: str
    indexes: tuple[str, ...]
    is_chosen: bool
    keys: int | None = None
    documents: int | None = None


def explain(
    database: Database, types: Sequence[str], expression: e.Expression, order: Sequence[tuple[str, int]], count: int
) -> list[Explained]:
    """The queries of a search as they are sent: those of its chains, the innermost first, and its own."""
    steps: list[Explained] = []

    def answer(node: e.Refers | e.ReferredBy) -> e.Expression:
        inner = node.types if isinstance(node, e.Refers) else (node.type,)
        steps.append(_step(database, inner, node.part, [("_id", 1)], None))
        if isinstance(node, e.Refers):
            return e.Equals(f"{node.param}{SEPARATOR}{FOLLOWED}")
        return e.Equals(f"_id{SEPARATOR}|{FOLLOWED}")

    resolved = replaced(expression, answer)
    return [*steps, _step(database, types, resolved, order, count + 1)]


def _step(
    database: Database,
    types: Sequence[str],
    expression: e.Expression,
    order: Sequence[tuple[str, int]],
    limit: int | None,
) -> Explained:
    is_trail = tuple(types) == ("AuditEvent",)
    asked = compile_search(expression, is_trail=is_trail)
    hint = hint_for(expression, order, is_trail=is_trail)
    is_kept = all(SUPPORTED[type_].kind == "directory" for type_ in types)
    wanted: Filter = {"t": types[0] if len(types) == 1 else {"$in": sorted(types)}}
    if not is_kept:
        wanted["aud"] = {"$in": [_SOMEBODY]}
    find: Document = {
        "find": database.collection_of(types[0]).name,
        "filter": both(wanted, asked),
        "sort": dict(order),
        "maxTimeMS": _LONGEST,
        **({} if limit is None else {"limit": limit}),
        **({} if hint is None else {"hint": hint}),
    }
    try:
        told = database.command("explain", find, verbosity="executionStats" if is_kept else "queryPlanner")
    except ExecutionTimeout as error:
        raise TooCostly(f"The search takes more than {_LONGEST / 1_000:g} seconds to run.") from error
    planner = told["queryPlanner"]
    winning = _indexes(planner["winningPlan"])
    possible = winning if is_kept or hint else winning | _indexes(planner["rejectedPlans"])
    stats = told.get("executionStats", {})
    return Explained(
        tuple(types),
        json_util.dumps(both({"t": wanted["t"]}, asked), json_options=json_util.RELAXED_JSON_OPTIONS),
        ", ".join(f"{'-' if direction < 0 else ''}{path}" for path, direction in order),
        tuple(sorted(possible)),
        is_kept or hint is not None,
        stats.get("totalKeysExamined"),
        stats.get("totalDocsExamined"),
    )


def _indexes(plan: Any) -> set[str]:
    """The names of the indexes anywhere in a plan, or in several."""
    return set(_names(plan))


def _names(plan: Any) -> Iterator[str]:
    if isinstance(plan, Mapping):
        if isinstance(name := plan.get("indexName"), str):
            yield name
        if plan.get("stage") == "IDHACK":
            yield "_id_"
        for inner in plan.values():
            yield from _names(inner)
    elif isinstance(plan, list):
        for inner in plan:
            yield from _names(inner)
