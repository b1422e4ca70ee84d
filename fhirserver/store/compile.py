"""What may be seen and what was asked, compiled into one MongoDB filter.

A Condition (from `consent`) speaks of the facts beside a row, an Expression (from `search`) of its search values. Both
are closed languages and each node has one translation here; an unknown node is an error, never a missing filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

from consent import condition as c
from consent.engine import Permission
from fhirserver.search import expression as e
from fhirserver.store.indexes import BY_DATE, BY_START, BY_UPDATE, BY_VALUE, selective_values
from resources import SUPPORTED

Filter = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_OPERATORS = {"lt": "$lt", "lte": "$lte", "gt": "$gt", "gte": "$gte"}

# Matches no document: `_id` always exists.
NOTHING: Filter = {"_id": {"$exists": False}}


# Stands for the instant of the request in a filter that is encoded once; no stored window has this millisecond.
_INSTANT = datetime(1867, 5, 4, 3, 2, 1, 987_000, tzinfo=UTC)
_INSTANT_BYTES = bson.encode({"": _INSTANT})[6:14]

# Templates of so many actors and types are kept encoded; each is some hundred bytes.
_MOST_KEPT = 8_192
_encoded: dict[tuple[int, str], tuple[c.Condition, bytes]] = {}


def permission_filter(permission: Permission) -> RawBSONDocument:
    """The filter of a permission at its instant, for rows of its type.

    Each template is compiled and encoded once for each type, then only dated.
    """
    template = permission.template
    key = (id(template), permission.resource_type)
    kept = _encoded.get(key)
    if kept is None or kept[0] is not template:
        if len(_encoded) >= _MOST_KEPT:
            _encoded.clear()
        condition = c.bind(c.assume(template, _known(permission.resource_type)), _INSTANT)
        kept = (template, bson.encode(compile_condition(condition)))
        _encoded[key] = kept
    milliseconds = (permission.instant - _EPOCH) // timedelta(milliseconds=1)
    return RawBSONDocument(kept[1].replace(_INSTANT_BYTES, milliseconds.to_bytes(8, "little", signed=True)))


def _known(type_: str) -> c.Known:
    """What is true of the facts of every resource of a type.

    A Binary has the kind of the resource it hangs on, and a Task that reviews break-glass that of the trail.
    """
    declaration = None if type_ in {"Binary", "Task"} else SUPPORTED.get(type_)
    return {} if declaration is None else {"kind": declaration.kind, "subjects": {"kind": declaration.kind}}


def compile_condition(condition: c.Condition) -> Filter:
    """The filter that matches exactly the rows whose facts satisfy the condition."""
    return _condition(condition, "facts.")


# Matches no element of an array: `$in` of nothing.
_NO_ELEMENT: Filter = {"_": {"$in": []}}


def _condition(condition: c.Condition, prefix: str) -> Filter:
    match condition:
        case c.Everything():
            return {}
        case c.Nothing() | c.AnyOf(()):
            return _NO_ELEMENT
        case c.AllOf(conditions):
            return _all([_condition(one, prefix) for one in conditions])
        case c.AnyOf(conditions):
            return {"$or": [_condition(one, prefix) for one in conditions]}
        case c.Not(inner):
            return _negation(inner, prefix)
        case c.Some(path, inner):
            return {prefix + path: {"$elemMatch": _condition(inner, "")}}
        case c.Every(path, inner):
            exception = {"$elemMatch": _negation(inner, "")}
            return {prefix + path + ".0": {"$exists": True}, prefix + path: {"$not": exception}}
        case _:
            return _comparison(condition, prefix)


def _negation(condition: c.Condition, prefix: str) -> Filter:
    match condition:
        case c.AnyOf(conditions) if conditions:
            return {"$nor": [_condition(one, prefix) for one in conditions]}
        case c.Some(path, inner):
            return {prefix + path: {"$not": {"$elemMatch": _condition(inner, "")}}}
        case _:
            return {"$nor": [_condition(condition, prefix)]}


def _comparison(condition: c.Condition, prefix: str) -> Filter:
    match condition:
        case c.Is(path, ()):
            return {prefix + path: []}
        case c.Is(path, value):
            return {prefix + path: {"$eq": value, "$exists": True}} if value is None else {prefix + path: value}
        case c.In(path, values):
            wanted: Filter = {"$in": sorted(values, key=str)}
            # MongoDB takes a missing path for null; a Condition does not.
            return {prefix + path: {**wanted, "$exists": True} if None in values else wanted}
        case c.AtMost(path, value):
            return {prefix + path: {"$lte": value}}
        case c.AtLeast(path, value):
            return {prefix + path: {"$gte": value}}
        case c.LessThan(path, value):
            return {prefix + path: {"$lt": value}}
        case c.GreaterThan(path, value):
            return {prefix + path: {"$gt": value}}
        case _:
            raise TypeError(f"no translation for {type(condition).__name__}")


def _all(parts: list[Filter]) -> Filter:
    """All of the parts in one document, whose keys MongoDB joins by "and"; a part whose key is taken stands apart."""
    joined: Filter = {}
    apart = []
    for part in parts:
        if joined.keys().isdisjoint(part):
            joined |= part
        else:
            apart.append(part)
    return {"$and": [joined, *apart]} if apart else joined


def compile_expression(expression: e.Expression) -> Filter:
    """The filter that matches exactly the rows whose search values satisfy the expression."""
    match expression:
        case e.Always():
            return {}
        case e.Never():
            return {"tk": {"$in": []}}  # also of a contained resource, which has no `_id`
        case e.Equals(atom):
            return {"tk": atom}
        case e.StartsWith(prefix):
            return {"tk": {"$elemMatch": {"$gte": prefix, "$lt": expression.end}}}
        case e.Matches():
            return {"tk": {"$regex": expression.pattern}}
        case e.Phrase(name):
            return {f"wo.{name}": {"$regex": expression.pattern}}
        case e.Near():
            centre = [expression.longitude, expression.latitude]
            return {"place": {"$geoWithin": {"$centerSphere": [centre, expression.radians]}}}
        case e.Interval():
            return {"rg": {"$elemMatch": _interval(expression)}}
        case e.All(parts):
            return {"$and": _joined(parts)}
        case e.Any(parts) if all(isinstance(part, e.Equals) for part in parts):
            return {"tk": {"$in": [part.atom for part in parts if isinstance(part, e.Equals)]}}
        case e.Any(parts):
            return {"$or": [compile_expression(part) for part in parts]}
        case e.Not(part):
            return {"$nor": [compile_expression(part)]}
        case e.Refers() | e.ReferredBy():
            raise ValueError("references are followed first (store.links)")


def _joined(parts: Sequence[e.Expression]) -> list[Filter]:
    """The filters of what must hold together. Where one selects few rows, the index of values is asked for that one.

    Of several conditions on one array MongoDB takes the bounds of a single one, and tries no other: often those of a
    status, or of the beginning of a text, which half of all rows may have.
    """
    few = [part for part in parts if _is_selective(part)] or [part for part in parts if _is_of_a_record(part)]
    leading = min(few, key=_rank) if few else None
    return [
        unbounded(compile_expression(part))
        if leading is not None and part is not leading and isinstance(part, _BOUNDED)
        else compile_expression(part)
        for part in parts
    ]


def unbounded(wanted: Filter) -> Filter:
    """The same filter, negated twice, so that no index is asked for it."""
    return {"$nor": [{"$nor": [wanted]}]}


def compile_contained(type_: str, expression: e.Expression) -> Filter:
    """The filter that matches the rows that contain a resource of a type that satisfies the expression."""
    return {"in": {"$elemMatch": both({"t": type_}, compile_expression(expression))}}


def both(first: Filter, second: Filter) -> Filter:
    """What meets two filters; an empty second one asks nothing."""
    if not second:
        return first
    clauses = [*first.get("$and", ()), second]
    return {**{key: value for key, value in first.items() if key != "$and"}, "$and": clauses}


def compile_search(expression: e.Expression, *, is_trail: bool = False) -> Filter:
    """The filter of a search; one of the audit trail also goes by the values that its index holds."""
    wanted = compile_expression(expression)
    return both(audit_prefilter(expression), wanted) if is_trail else wanted


def _interval(interval: e.Interval) -> Filter:
    wanted: Filter = {"n": interval.name}
    for comparison in interval.comparisons:
        wanted.setdefault(comparison.bound, {})[_OPERATORS[comparison.operator]] = comparison.value
    if interval.unit is not None:
        wanted["u"] = interval.unit
    return wanted


# Parameters whose one value selects few rows: a search by them goes by value, whatever its order.
_SELECTIVE = frozenset(
    {"_id", "identifier", "patient", "subject", "encounter", "study", "based-on", "basedon", "entity"}
)

# What is written as bounds of the index of values.
_BOUNDED = (e.Equals, e.StartsWith, e.Matches, e.Any)

# Of more values than these the planner decides: it may be quicker to walk what the caller may see in order.
_MOST_SELECTIVE = 500


def hint_for(expression: e.Expression, order: Sequence[tuple[str, int]], *, is_trail: bool = False) -> str | None:
    """The index that answers a search, where we know better than a trial of plans would: None leaves it to the planner.

    Somebody who names a patient or an identifier gets few rows; somebody who names nothing gets the newest of all they
    may see, in the order of an index.
    """
    if any(_is_selective(part) for part in (expression.parts if isinstance(expression, e.All) else (expression,))):
        return BY_VALUE
    if isinstance(expression, e.Always):
        found = {"lu": BY_UPDATE, "so.started.z": BY_START, "so.date.z": BY_DATE}.get(order[0][0])
        # The trail has no index by update: an event is never updated.
        return None if is_trail and found == BY_UPDATE else found
    return None


def audit_prefilter(expression: e.Expression) -> Filter:
    """What an AuditEvent that meets the expression has in its value index; empty where nothing of it is there."""
    parts = expression.parts if isinstance(expression, e.All) else (expression,)
    wanted = [atoms for part in parts if (atoms := _atoms(part)) and selective_values(atoms) == atoms]
    return {"$and": [{"ix": {"$in": atoms}} for atoms in wanted]} if wanted else {}


def _atoms(expression: e.Expression) -> list[str]:
    """The atoms of which one must be there; none where the expression can hold without any."""
    match expression:
        case e.Equals(atom):
            return [atom]
        case e.Any(parts) if all(isinstance(part, e.Equals) for part in parts):
            return [part.atom for part in parts if isinstance(part, e.Equals)]
        case _:
            return []


def _rank(expression: e.Expression) -> tuple[bool, int]:
    """The smaller, the fewer rows: one resource by its id or identifier, then by how many values there are."""
    atoms = _atoms(expression)
    return not all(atom.startswith(("_id\x1f", "identifier\x1f")) for atom in atoms), len(atoms)


def _is_of_a_record(expression: e.Expression) -> bool:
    """Whether it names patients or encounters, by whatever parameters, as that of a compartment does."""
    atoms = _atoms(expression)
    return bool(atoms) and all(atom.partition("\x1f")[2].startswith(("Patient/", "Encounter/")) for atom in atoms)


def _is_selective(expression: e.Expression) -> bool:
    match expression:
        case e.Equals(atom):
            return atom.partition("\x1f")[0] in _SELECTIVE
        case e.Any(parts):
            return len(parts) <= _MOST_SELECTIVE and all(_is_selective(part) for part in parts)
        case _:
            return False
