"""The gate: is this body a valid FHIR R4 resource of this type?

`check` goes from the outside in: size and JSON, then the shape (a generated JSON Schema, compiled by type), then what a
schema cannot say well: required elements and choices, calendar dates, references, invariants, narratives. It lists all
that is wrong, up to a bound, with the FHIR issue code and the path of each. https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

import calendar
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any

import jsonschema_rs
import msgspec

from resources import narrative
from resources.exact import MalformedError, encode, has_duplicate_names, parse, rewrite_references, splice
from resources.invariants import Invariant, invariants_of, published_texts
from resources.issues import Invalid, Issue
from resources.paths import reference_type
from resources.structure import PRIMITIVES, definitions, resource_types, structures
from resources.xml import NOT_XML

__all__ = ["Invalid", "Issue", "MalformedError", "Parsed", "check", "encode", "parse", "rewrite_references", "splice"]

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
MAX_ISSUES = 50
MAX_CODES = 12
MAX_SHOWN = 80
MAX_LISTED_NODES = 2000
MAX_SCHEMAS = 32
"""Types that have a compiled schema each, some 0.8 MB made in 7 ms; that of all types at once takes 35 MB."""
TOO_DEEP = "The JSON is nested too deeply"


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
    resource = _read(type, body)
    issues = list(islice(_characters(resource, type), MAX_ISSUES)) if _SUSPECT.search(body) else []
    issues += validate(resource, max_depth=max_depth)
    if issues:
        raise Invalid(issues[:MAX_ISSUES])
    return Parsed(type, body, resource)


def _read(type_name: str, body: bytes) -> dict[str, Any]:
    """The steps before FHIR: JSON syntax, one object of the expected type, no name twice."""
    try:
        value = parse(body)
        is_ambiguous = has_duplicate_names(body, value)
    except MalformedError as error:
        raise Invalid([Issue("fatal", "structure", type_name, str(error))]) from error
    except RecursionError as error:
        raise Invalid([Issue("fatal", "structure", type_name, TOO_DEEP)]) from error
    if not isinstance(value, dict):
        raise Invalid([Issue("fatal", "structure", type_name, "The body must be one JSON object")])
    if is_ambiguous:
        raise Invalid([Issue("error", "structure", type_name, "An object of the body names the same member twice")])
    stated = value.get("resourceType")
    if stated is None:
        raise Invalid([Issue("error", "structure", type_name, "resourceType is missing")])
    if stated != type_name:
        raise Invalid([Issue("error", "invalid", type_name, f"The body must be a {type_name}, not {_shown(stated)}")])
    return value


# What may be a character that XML has not: U+FFFE and U+FFFF as they are, and these and the controls escaped.
_SUSPECT = re.compile(rb"\xef\xbf[\xbe\xbf]|\\u(00[01]|[fF]{3}[eEfF])")


def _characters(node: Any, path: str) -> Iterator[Issue]:
    """The texts with characters that XML has not: FHIR's two formats say the same, so no text may hold them."""
    if isinstance(node, str):
        if found := NOT_XML.search(node):
            text = f"The character U+{ord(found[0]):04X} has no place in FHIR, since XML cannot carry it"
            yield Issue("error", "value", path, text)
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from _characters(value, f"{path}.{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _characters(value, f"{path}[{index}]")


def validate(resource: dict[str, Any], *, max_depth: int = MAX_DEPTH) -> list[Issue]:
    """The issues of a parsed resource whose ``resourceType`` is a concrete R4 type, at most `MAX_ISSUES`."""
    visit = Visit(max_depth)
    type_name = resource["resourceType"]
    visit.container(resource, (None, type_name, None), type_name, 0)
    return visit.issues[:MAX_ISSUES]


# -- where ------------------------------------------------------------------------------------------------------------

Where = tuple["Where | None", str, int | None]
"""The place of an element: its parent's place, its name, its index; a chain, since only issues need the whole path."""


def path_of(where: Where) -> str:
    """The FHIRPath of a place."""
    parent, name, index = where
    step = name if index is None else f"{name}[{index}]"
    return step if parent is None else f"{path_of(parent)}.{step}"


# -- plans ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """What is to be looked at in one JSON member: its FHIRPath name, its type, the choice it belongs to, its targets.

    ``is_complex`` members are visited element by element; the others are primitives that need a look.
    """

    path: str
    type: str
    choice: str | None
    targets: frozenset[str]
    is_complex: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """How to visit elements of one structure: members worth a look, what is required, which invariants hold."""

    name: str
    members: Mapping[str, Member]
    required: tuple[tuple[str, frozenset[str]], ...]
    invariants: tuple[Invariant, ...]


CHECKED_PRIMITIVES = frozenset({"date", "dateTime", "instant", "decimal", "xhtml"})
_REFERENCE = re.compile(rb'"#/definitions/([^"]+)"')
NOT_ELEMENTS = PRIMITIVES | {"Reference", "Resource"}


@cache
def plan_of(name: str) -> Plan:
    """The plan for a structure, made when first needed."""
    members: dict[str, Member] = {}
    required: list[tuple[str, frozenset[str]]] = []
    for element_name, element in structures()[name].elements.items():
        choice = element_name if element.choice else None
        targets = frozenset() if "Resource" in element.targets else frozenset(element.targets)
        wanted: list[str] = []
        for json_name, type_name in element.json_names(element_name):
            path = f"{element_name}.ofType({type_name})" if choice else element_name
            is_primitive = type_name in PRIMITIVES
            wanted.append(json_name)
            if not is_primitive or type_name in CHECKED_PRIMITIVES or element.many or choice:
                members[json_name] = Member(path, type_name, choice, targets, type_name not in NOT_ELEMENTS)
            if is_primitive and not element.plain:
                wanted.append(f"_{json_name}")
                members[f"_{json_name}"] = Member(
                    path, "Element", choice and f"_{choice}", frozenset(), is_complex=True
                )
        if element.min:
            required.append((element_name, frozenset(wanted)))
    return Plan(name, members, tuple(required), invariants_of(name))


class _Published(msgspec.Struct):
    definitions: dict[str, msgspec.Raw]


@cache
def _published() -> dict[str, tuple[bytes, frozenset[str]]]:
    """Each definition of the generated schema as JSON text, with the names of those it refers to."""
    published = msgspec.json.decode(definitions("schema"), type=_Published).definitions
    return {
        name: (bytes(text), frozenset(named.decode() for named in _REFERENCE.findall(bytes(text))))
        for name, text in published.items()
    }


class _Schemas:
    """The compiled schemas of the types that were asked for; from `MAX_SCHEMAS` types on, the one of all types instead.

    So neither the memory of a process nor what one body can make it compile grows with the types that come.
    """

    def __init__(self) -> None:
        self._by_type: dict[str, jsonschema_rs.Draft4Validator] = {}
        self._whole: jsonschema_rs.Draft4Validator | None = None
        self._lock = threading.Lock()

    def of(self, type_name: str) -> jsonschema_rs.Draft4Validator:
        """A schema of ``{type_name: resource}``."""
        found = self._whole or self._by_type.get(type_name)
        if found is not None:
            return found
        with self._lock:
            if self._whole is None and type_name not in self._by_type:
                if len(self._by_type) < MAX_SCHEMAS:
                    self._by_type[type_name] = _compiled(type_name)
                else:
                    self._whole = jsonschema_rs.Draft4Validator(msgspec.json.decode(definitions("schema")))
                    self._by_type = {}
            return self._whole or self._by_type[type_name]


def _compiled(type_name: str) -> jsonschema_rs.Draft4Validator:
    """The schema of one type, with the definitions that it needs."""
    published = _published()
    needed: set[str] = set()
    waiting = {type_name}
    while waiting:
        name = waiting.pop()
        needed.add(name)
        waiting |= published[name][1] - needed
    return jsonschema_rs.Draft4Validator(
        {
            "properties": {type_name: {"$ref": f"#/definitions/{type_name}"}},
            "additionalProperties": False,
            "definitions": {name: msgspec.json.decode(published[name][0]) for name in sorted(needed)},
        }
    )


_SCHEMAS = _Schemas()


# -- the visit --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Visit:
    """One walk over one resource; collects issues."""

    max_depth: int = MAX_DEPTH
    issues: list[Issue] = field(default_factory=list)
    contained: frozenset[str] = frozenset()
    """Ids that a local reference may name here."""

    def report(self, code: str, where: Where, diagnostics: str) -> None:
        """Note an issue."""
        self.issues.append(Issue("error", code, path_of(where), diagnostics))

    # -- resources --------------------------------------------------------------------------------------------------

    def container(self, node: Any, where: Where, type_name: str, depth: int) -> None:
        """Validate a resource that may contain others: the one sent, or one in a Bundle entry or parameter."""
        outer = self.contained
        contained = node.get("contained", []) if isinstance(node, dict) else []
        inner = [entry for entry in contained if isinstance(entry, dict)] if isinstance(contained, list) else []
        self.contained = frozenset(entry["id"] for entry in inner if isinstance(entry.get("id"), str))
        is_readable = self.resource(node, where, type_name, depth)
        if inner and is_readable:
            self.contents(node, inner, where)
        self.contained = outer

    def contents(self, node: dict[str, Any], inner: list[dict[str, Any]], where: Where) -> None:
        """The invariants of contained resources, https://hl7.org/fhir/R4/references.html#contained."""
        named = set(_local_references(node))
        texts = published_texts()
        for index, entry in enumerate(inner):
            place = (where, "contained", index)
            meta = entry["meta"] if isinstance(entry.get("meta"), dict) else {}
            broken = {
                "dom-2": "contained" in entry,
                "dom-3": f"#{entry.get('id')}" not in named and "#" not in _local_references(entry),
                "dom-4": "versionId" in meta or "lastUpdated" in meta,
                "dom-5": "security" in meta,
            }
            for key in (key for key, is_broken in broken.items() if is_broken):
                self.report("invariant", place, f"{texts[key]} ({key})")

    def resource(self, node: Any, where: Where, type_name: str, depth: int) -> bool:
        """Validate a resource at any level: against the schema, then element by element.

        The answer is whether it could be read at all; what is nested too deeply is left alone from there on.
        """
        if len(self.issues) >= MAX_ISSUES:
            return False
        wrapped = {type_name: node}
        try:
            is_valid = _SCHEMAS.of(type_name).is_valid(wrapped)
            if not is_valid:
                self.issues.extend(islice(_schema_issues(wrapped, where), MAX_ISSUES))
        except (ValueError, RecursionError):  # jsonschema-rs refuses to read what is nested too deeply
            self.report("structure", where, TOO_DEEP)
            return False
        self.element(node, plan_of(type_name), where, depth)
        return True

    def embedded(self, node: Any, where: Where, depth: int) -> None:
        """A resource within: contained ones share the local references of their container, others have their own."""
        type_name = node.get("resourceType") if isinstance(node, dict) else None
        if type_name is None:
            return
        if not isinstance(type_name, str) or type_name not in _RESOURCE_TYPES:
            self.report("structure", where, f"{_shown(type_name)} is not a resource type of FHIR R4")
        elif where[1] == "contained":
            self.resource(node, where, type_name, depth)
        else:
            self.container(node, where, type_name, depth)

    # -- elements ---------------------------------------------------------------------------------------------------

    def element(self, node: Any, plan: Plan, where: Where, depth: int) -> None:
        """Visit one object. Where the schema found another shape there is nothing more to say."""
        if not isinstance(node, dict) or len(self.issues) >= MAX_ISSUES:
            return
        if depth > self.max_depth:
            self.report("structure", where, TOO_DEEP)
            return
        if _has_only_id(node) and plan.name != "Element":
            self.empty(where)
        for name, wanted in plan.required:
            if wanted.isdisjoint(node):
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
            if name[0] == "_" and name[1:] not in node and _has_only_id(value):
                self.empty((where, member.path, None))
            if isinstance(value, list):
                self.entries(node, name, value, member, where, depth)
            elif member.is_complex:
                self.element(value, plan_of(member.type), (where, member.path, None), depth + 1)
            else:
                self.value(value, member, (where, member.path, None), depth + 1)
        for invariant in plan.invariants:
            if not _holds(invariant, node):
                self.report("invariant", where, f"{invariant.human} ({invariant.key})")

    def entries(
        self, node: dict[str, Any], name: str, values: list[Any], member: Member, where: Where, depth: int
    ) -> None:
        """Visit each value of a list."""
        is_primitive = member.type in PRIMITIVES
        if is_primitive or name[0] == "_":
            self.alignment(node, name, values, (where, member.path, None))
            if is_primitive and member.type not in CHECKED_PRIMITIVES:
                return
        if member.is_complex:
            plan = plan_of(member.type)
            for index, entry in enumerate(values):
                self.element(entry, plan, (where, member.path, index), depth + 1)
        else:
            for index, entry in enumerate(values):
                self.value(entry, member, (where, member.path, index), depth + 1)

    def value(self, value: Any, member: Member, where: Where, depth: int) -> None:
        """Visit a Reference, an embedded resource, or a primitive that needs a look."""
        type_name = member.type
        if type_name == "Reference":
            self.reference(value, member.targets, where)
            self.element(value, plan_of(type_name), where, depth)
        elif type_name == "Resource":
            self.embedded(value, where, depth)
        elif type_name == "decimal":
            if isinstance(value, Decimal) and value and not -308 <= value.adjusted() <= 308:
                self.report("value", where, "The number is too large or too small to be exchanged")
        elif type_name in CHECKED_PRIMITIVES and isinstance(value, str):
            if type_name == "xhtml":
                for problem in narrative.problems(value):
                    self.report(problem.code, where, problem.text)
            elif not is_calendar_date(value):
                self.report("value", where, f"{_shown(value)} is no day of the calendar")

    def alignment(self, node: dict[str, Any], name: str, values: list[Any], where: Where) -> None:
        """A list of primitives and its ``_`` list go together: null only where the other has something.

        https://hl7.org/fhir/R4/json.html#primitive
        """
        other = node.get(name[1:] if name[0] == "_" else f"_{name}")
        if not isinstance(other, list):
            other = [None] * len(values)
        elif len(other) != len(values):
            if name[0] == "_":
                self.report("structure", where, f"{name} and {name[1:]} must have the same number of entries")
            return
        for index, (entry, sibling) in enumerate(zip(values, other, strict=True)):
            if entry is None and sibling is None:
                self.report("structure", (where[0], where[1], index), "null stands for nothing here")
            elif name[0] == "_" and sibling is None and _has_only_id(entry):
                self.empty((where[0], where[1], index))

    def empty(self, where: Where) -> None:
        """An element has neither value nor children: an id alone says nothing, except beside a primitive's value."""
        self.report("invariant", where, f"{published_texts()['ele-1']} (ele-1)")

    def reference(self, node: Any, targets: frozenset[str], where: Where) -> None:
        """The syntax of a Reference, the type it may point to, and that a local one has its contained resource."""
        if not isinstance(node, dict):
            return
        address, stated = node.get("reference"), node.get("type")
        if isinstance(address, str):
            if address[:1] == "#":
                if len(address) > 1 and address[1:] not in self.contained:
                    self.report("invariant", where, f"{published_texts()['ref-1']} (ref-1)")
                return
            if not _ADDRESS.fullmatch(address):
                expected = "Type/id, an absolute URI or #id is expected"
                self.report("value", where, f"{_shown(address)} is not a reference: {expected}")
                return
        target = reference_type(node)
        if target is None:
            return
        if targets and target not in targets:
            allowed = ", ".join(sorted(targets))
            self.report("value", where, f"A reference to {target} may not stand here; allowed: {allowed}")
        if isinstance(stated, str) and stated != target:
            self.report("value", where, f"The reference says that it is to {stated} and points to {target}")


def _has_only_id(node: Any) -> bool:
    return isinstance(node, dict) and len(node) == 1 and "id" in node


def _local_references(node: Any) -> Iterator[str]:
    """Every text within that begins with #: references, canonicals and addresses of contained resources."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, str):
            if value[:1] == "#":
                yield value
        elif isinstance(value, dict | list):
            yield from _local_references(value)


_RESOURCE_TYPES = frozenset(resource_types())
_TYPES = "|".join(resource_types())
_ADDRESS = re.compile(
    rf"(?:{_TYPES})/[A-Za-z0-9\-.]{{1,64}}(?:/_history/[A-Za-z0-9\-.]{{1,64}})?(?:#\S+)?"  # relative, maybe versioned
    r"|[A-Za-z][A-Za-z0-9+.\-]*:\S+"  # absolute
    rf"|(?:{_TYPES})\?\S+"  # conditional, in a transaction: https://hl7.org/fhir/R4/http.html#trules
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
    for error in _schema_errors(wrapped):
        type_name, *path = error.instance_path
        place = f"{path_of(where)}{_expression(str(type_name), path)}"
        yield from _issues_of(error, place)


def _schema_errors(wrapped: dict[str, Any]) -> list[jsonschema_rs.ValidationError]:
    """The errors of an invalid resource, or the first of them when they are too many to be counted.

    jsonschema-rs collects all errors before it gives the first, which for a body made of errors takes many seconds; so
    only the beginning of a large resource is listed.
    """
    (type_name,) = wrapped
    beginning = _beginning(wrapped, [MAX_LISTED_NODES])
    errors = list(_SCHEMAS.of(type_name).iter_errors(beginning))
    if errors:
        return errors
    try:
        _SCHEMAS.of(type_name).validate(wrapped)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _beginning(node: Any, budget: list[int]) -> Any:
    """A copy in which lists end where the budget of objects and list entries, shared by the whole copy, is spent."""
    if isinstance(node, dict):
        budget[0] -= 1
        return {name: _beginning(value, budget) for name, value in node.items()}
    if not isinstance(node, list):
        return node
    kept: list[Any] = []
    for entry in node:
        if kept and budget[0] <= 0:
            break
        budget[0] -= 1
        kept.append(_beginning(entry, budget))
    return kept


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
                "error",
                "structure",
                place,
                f"{_shown(error.instance)} is not of the JSON type {_words(details['types'])}",
            )
        case "enum":
            text = f"{_shown(error.instance)} is not one of the codes allowed here: {_allowed(details['options'])}"
            yield Issue("error", "code-invalid", place, text)
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


def _allowed(codes: list[Any]) -> str:
    """The first codes of an enumeration, in words."""
    named = [str(code) for code in codes if code is not None]
    return ", ".join(named[:MAX_CODES]) + (f" and {len(named) - MAX_CODES} more" if len(named) > MAX_CODES else "")


def _words(types: str | list[str]) -> str:
    """The JSON types of a rule; null is allowed only as a placeholder, which is not worth mentioning."""
    return types if isinstance(types, str) else " or ".join(name for name in types if name != "null")


def _shown(instance: object) -> str:
    """A short form of a JSON value for a message."""
    if isinstance(instance, dict):
        return "An object"
    if isinstance(instance, list):
        return "An array"
    text = encode(instance[:MAX_SHOWN] if isinstance(instance, str) else instance).decode()
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
