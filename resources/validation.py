"""The gate: is this body a valid FHIR R4 resource of this type?

`check` goes from the outside in: size and JSON, then the shape (one generated JSON Schema, compiled once), then what a
schema cannot say well: required elements and choices, calendar dates, references, invariants, narratives. It lists all
that is wrong, up to a bound, with the FHIR issue code and the path of each. https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any

import jsonschema_rs
import msgspec

from resources import narrative
from resources.exact import MalformedError, encode, has_duplicate_names, parse, rewrite_references, splice
from resources.invariants import Invariant, invariants_of
from resources.issues import Invalid, Issue
from resources.paths import reference_type
from resources.structure import PRIMITIVES, definitions, resource_types, structures

__all__ = ["Invalid", "Issue", "MalformedError", "Parsed", "check", "encode", "parse", "rewrite_references", "splice"]

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
MAX_ISSUES = 50


@dataclass(frozen=True, slots=True)
class Parsed:
    """A valid resource: its type, the client's own bytes, and the same as a dict with exact decimals."""

    type: str
    body: bytes
    resource: dict[str, Any]


def check(
    type: str,
    body: bytes,
    *,
    max_bytes: int = MAX_BYTES,
    max_depth: int = MAX_DEPTH,
) -> Parsed:
    """Validate a body as a resource of ``type``; raises `Invalid` with every issue found, at most `MAX_ISSUES`."""
    if len(body) > max_bytes:
        raise Invalid([Issue("error", "too-long", type, f"The body has {len(body)} bytes, more than {max_bytes}")])
    resource = _read(type, body, max_depth)
    issues = validate(resource)
    if issues:
        raise Invalid(issues[:MAX_ISSUES])
    return Parsed(type, body, resource)


def _read(type_name: str, body: bytes, max_depth: int) -> dict[str, Any]:
    """The steps before FHIR: JSON syntax, one object of the expected type, no name twice, not too deep."""
    try:
        value = parse(body)
    except MalformedError as error:
        raise Invalid([Issue("fatal", "structure", type_name, str(error))]) from error
    if not isinstance(value, dict):
        raise Invalid([Issue("fatal", "structure", type_name, "The body must be one JSON object")])
    stated = value.get("resourceType")
    if stated != type_name:
        text = (
            f"The body must be a {type_name}; its resourceType is {stated!r}" if stated else "resourceType is missing"
        )
        raise Invalid([Issue("error", "structure" if stated is None else "invalid", type_name, text)])
    members = _count_members(value, max_depth)
    if members is None:
        raise Invalid([Issue("error", "structure", type_name, f"The JSON is nested deeper than {max_depth} levels")])
    if has_duplicate_names(body, members):
        raise Invalid([Issue("error", "structure", type_name, "An object of the body names the same member twice")])
    return value


def _count_members(node: Any, depth: int) -> int | None:
    """The members of all objects within, or None when nested deeper than ``depth``."""
    if depth < 0:
        return None
    count = 0
    values = node
    if isinstance(node, dict):
        count = len(node)
        values = node.values()
    for value in values:
        if isinstance(value, dict | list):
            inner = _count_members(value, depth - 1)
            if inner is None:
                return None
            count += inner
    return count


def validate(resource: dict[str, Any]) -> list[Issue]:
    """All issues of a parsed resource whose ``resourceType`` is a concrete R4 type."""
    visit = Visit()
    visit.resource(resource, Where(None, resource["resourceType"]), resource["resourceType"])
    return visit.issues


# -- where ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Where:
    """The place of an element, kept as a chain so that the path is only written out for an issue."""

    parent: Where | None
    name: str
    index: int | None = None

    def __str__(self) -> str:
        """The FHIRPath of the place."""
        step = self.name if self.index is None else f"{self.name}[{self.index}]"
        return step if self.parent is None else f"{self.parent}.{step}"


# -- plans ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """What is to be looked at in one JSON member: its FHIRPath name, its type, the choice it belongs to, its targets."""

    path: str
    type: str
    choice: str | None
    many: bool
    targets: frozenset[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to visit elements of one structure: members worth a look, what is required, which invariants hold."""

    name: str
    members: Mapping[str, Member]
    required: tuple[tuple[str, tuple[str, ...]], ...]
    invariants: tuple[Invariant, ...]


CHECKED_PRIMITIVES = frozenset({"date", "dateTime", "instant", "decimal", "xhtml"})


@cache
def plan_of(name: str) -> Plan:
    """The plan for a structure, made when first needed."""
    members: dict[str, Member] = {}
    required: list[tuple[str, tuple[str, ...]]] = []
    for element_name, element in structures()[name].elements.items():
        choice = element_name if element.choice else None
        names = element.json_names(element_name)
        for json_name, type_name in names:
            path = f"{element_name}.ofType({type_name})" if choice else element_name
            is_primitive = type_name in PRIMITIVES
            targets = frozenset() if "Resource" in element.targets else frozenset(element.targets)
            member = Member(path, type_name, choice, element.many, targets)
            if not is_primitive or type_name in CHECKED_PRIMITIVES or element.many or choice:
                members[json_name] = member
            if is_primitive and not element.plain:
                members[f"_{json_name}"] = Member(path, "Element", choice and f"_{choice}", element.many, frozenset())
        if element.min:
            wanted = [json_name for json_name, _ in names]
            wanted += [f"_{json_name}" for json_name, type_name in names if type_name in PRIMITIVES]
            required.append((element_name, tuple(wanted)))
    return Plan(name, members, tuple(required), invariants_of(name))


@cache
def _schema() -> jsonschema_rs.Draft4Validator:
    return jsonschema_rs.Draft4Validator(msgspec.json.decode(definitions("schema")))


# -- the visit --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Visit:
    """One walk over one resource; collects issues."""

    issues: list[Issue] = field(default_factory=list)
    contained: frozenset[str] = frozenset()
    in_transaction: bool = False

    def report(self, code: str, where: Where, diagnostics: str) -> None:
        """Note an issue."""
        self.issues.append(Issue("error", code, str(where), diagnostics))

    def resource(self, node: Any, where: Where, type_name: str) -> None:
        """Validate a resource at any level: against the schema, then element by element."""
        wrapped = {type_name: node}
        if not _schema().is_valid(wrapped):
            self.issues.extend(_schema_issues(wrapped, where))
        self.element(node, plan_of(type_name), where)

    def element(self, node: Any, plan: Plan, where: Where) -> None:
        """Visit one object. Where the schema found another shape there is nothing more to say."""
        if not isinstance(node, dict) or len(self.issues) >= MAX_ISSUES:
            return
        if len(node) == 1 and "id" in node:
            self.report("invariant", where, "All FHIR elements must have a @value or children (ele-1)")
        for name, wanted in plan.required:
            if not any(json_name in node for json_name in wanted):
                self.report("required", where, f"{plan.name}.{name} is required")
        chosen: dict[str, str] | None = None
        members = plan.members
        for name, value in node.items():
            member = members.get(name)
            if member is None:
                continue
            if member.choice is not None:
                chosen = {} if chosen is None else chosen
                other = chosen.setdefault(member.choice, name)
                if other != name:
                    self.report("structure", where, _two_choices(member.choice, other, name))
            self.member(node, name, value, member, where)
        for invariant in plan.invariants:
            if not _holds(invariant, node):
                self.report("invariant", where, f"{invariant.human} ({invariant.key})")

    def member(self, node: dict[str, Any], name: str, value: Any, member: Member, where: Where) -> None:
        """Visit the value of one member, or each of its values."""
        type_name = member.type
        if not isinstance(value, list):
            self.value(value, member, Where(where, member.path))
            return
        if type_name in PRIMITIVES or name[0] == "_":
            self.alignment(node, name, value, Where(where, member.path))
            if type_name in PRIMITIVES and type_name not in CHECKED_PRIMITIVES:
                return
        for index, entry in enumerate(value):
            self.value(entry, member, Where(where, member.path, index))

    def value(self, value: Any, member: Member, where: Where) -> None:
        """Visit one value by its type."""
        type_name = member.type
        if type_name == "Reference":
            self.reference(value, member.targets, where)
            self.element(value, plan_of(type_name), where)
        elif type_name == "Resource":
            self.embedded(value, where)
        elif type_name not in PRIMITIVES:
            self.element(value, plan_of(type_name), where)
        elif type_name == "decimal":
            self.decimal(value, where)
        elif isinstance(value, str):
            if type_name == "xhtml":
                for problem in narrative.problems(value):
                    self.report("security", where, problem)
            elif type_name in CHECKED_PRIMITIVES and not is_calendar_date(value):
                self.report("value", where, f"{value} is no day of the calendar")

    def alignment(self, node: dict[str, Any], name: str, value: list[Any], where: Where) -> None:
        """A list of primitives and its ``_`` list go together: null only where the other has something.

        https://hl7.org/fhir/R4/json.html#primitive
        """
        other = node.get(name[1:] if name[0] == "_" else f"_{name}")
        if isinstance(other, list):
            if len(other) != len(value):
                if name[0] == "_":
                    self.report("structure", where, f"{name} and {name[1:]} must have the same number of entries")
                return
        elif None not in value:
            return
        for index, entry in enumerate(value):
            if entry is None and (not isinstance(other, list) or other[index] is None):
                self.report("structure", Where(where.parent, where.name, index), "null stands for nothing here")

    def decimal(self, value: Any, where: Where) -> None:
        """A decimal may have any number of digits but must be of a size that other programs can read."""
        if isinstance(value, Decimal) and value and not -308 <= value.adjusted() <= 308:
            self.report("value", where, "The number is too large or too small to be exchanged")

    def embedded(self, node: Any, where: Where) -> None:
        """A contained resource, or the resource of a Bundle entry or parameter."""
        type_name = node.get("resourceType") if isinstance(node, dict) else None
        if type_name is None:
            return
        if not isinstance(type_name, str) or type_name not in resource_types():
            self.report("structure", where, f"{type_name!r} is not a resource type of FHIR R4")
            return
        self.resource(node, where, type_name)

    def reference(self, node: Any, targets: frozenset[str], where: Where) -> None:
        """The syntax of a Reference, the type it may point to, and that a local one has its contained resource."""
        if not isinstance(node, dict):
            return
        address = node.get("reference")
        if isinstance(address, str) and not _ADDRESS.match(address):
            self.report("value", where, f"{address!r} is not a reference: Type/id, an absolute URI or #id is expected")
            return
        target = reference_type(node)
        if targets and target is not None and target not in targets:
            allowed = ", ".join(sorted(targets))
            self.report("value", where, f"A reference to {target} may not stand here; allowed: {allowed}")


_ADDRESS = re.compile(
    r"#[A-Za-z0-9\-.]{0,64}$"
    rf"|(?:{'|'.join(resource_types())})/[A-Za-z0-9\-.]{{1,64}}(?:/_history/[A-Za-z0-9\-.]{{1,64}})?(?:#\S+)?$"
    r"|[A-Za-z][A-Za-z0-9+.\-]*:\S+$"
    rf"|(?:{'|'.join(resource_types())})\?\S+$"
)


def is_calendar_date(text: str) -> bool:
    """Whether the day of a date, dateTime or instant exists; shorter dates always do."""
    day = text[8:10]
    if day <= "28" or not day.isdigit():
        return True
    year, month = text[:4], text[5:7]
    if not (year.isdigit() and month.isdigit()) or not 1 <= int(month) <= 12 or year == "0000":
        return True
    return int(day) <= calendar.monthrange(int(year), int(month))[1]


def _holds(invariant: Invariant, node: dict[str, Any]) -> bool:
    """Ask a predicate; one that trips over a shape which the schema has already reported says nothing more."""
    try:
        return invariant.holds(node)
    except (TypeError, AttributeError, KeyError, ValueError):
        return True


def _two_choices(choice: str, first: str, second: str) -> str:
    return f"{choice.lstrip('_')}[x] may have one type only; both {first} and {second} are given"


# -- words for schema errors ------------------------------------------------------------------------------------------


def _schema_issues(wrapped: dict[str, Any], where: Where) -> Iterator[Issue]:
    for error in _schema().iter_errors(wrapped):
        type_name, *path = error.instance_path
        place = f"{where}{_expression(str(type_name), path)}"
        yield from _issues_of(error, place)


def _expression(type_name: str, path: list[str | int]) -> str:
    """The FHIRPath below a resource for a path of JSON names and indexes."""
    text, current = "", type_name
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        member = plan_of(current).members.get(step) if current in structures() else None
        text += f".{member.path if member else step.lstrip('_')}"
        current = member.type if member else ""
    return text


def _issues_of(error: jsonschema_rs.ValidationError, place: str) -> Iterator[Issue]:
    kind, details = error.kind.name, error.kind.as_dict()
    match kind:
        case "additionalProperties":
            for name in details["unexpected"]:
                yield Issue("error", "structure", f"{place}.{name}", f"{name} is not an element here")
        case "type":
            yield Issue(
                "error", "structure", place, f"{_shown(error.instance)} is not of the JSON type {_words(details)}"
            )
        case "enum":
            yield Issue("error", "code-invalid", place, error.message)
        case "minItems":
            yield Issue("error", "structure", place, "An array may not be empty: leave the element out instead")
        case "minProperties":
            yield Issue("error", "structure", place, "An object may not be empty: leave the element out instead")
        case "required":
            yield Issue("error", "structure", place, "A resource here must say its resourceType")
        case "maxLength":
            yield Issue("error", "too-long", place, "The text is longer than the standard allows")
        case "minLength":
            yield Issue("error", "value", place, "The text may not be empty")
        case "pattern":
            yield Issue("error", "value", place, f"{_shown(error.instance)} does not have the syntax of its type")
        case "minimum" | "maximum":
            yield Issue("error", "value", place, f"{_shown(error.instance)} is outside the range of its type")
        case _:
            yield Issue("error", "structure", place, error.message)


def _words(details: Mapping[str, Any]) -> str:
    types = details.get("types") or details.get("expected") or details.get("value") or "expected"
    return " or ".join(types) if isinstance(types, list | tuple) else str(types)


def _shown(instance: object) -> str:
    """A short form of a value for a message."""
    text = str(instance) if isinstance(instance, int | Decimal) and not isinstance(instance, bool) else repr(instance)
    return text if len(text) <= 80 else f"{text[:77]}..."
