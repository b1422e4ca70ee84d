"""What the server knows of a resource type: search parameters, compartment, authors, dates, relations.

A declaration is data read from HL7's published definitions, plus the `Behaviour` of the few types that have one of
their own (``resources/<type>.py``). Search parameters and extractors are compiled when a type is first asked for, never
again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast

import msgspec

from resources.paths import RESOURCE, Extractor, Value, compile_expression, targets_of, with_resource
from resources.structure import Structure, definitions, is_a, resource_types, structures

Kind = Literal["clinical", "patient", "consent", "care-team", "audit", "directory", "other"]
ParameterType = Literal["token", "reference", "date", "string", "quantity", "number", "uri", "composite", "special"]
Resource = Mapping[str, Any]


class Component(NamedTuple):
    """One component of a composite: the parameter that defines it, its path below the composite's element, its type."""

    name: str
    expression: str
    type: ParameterType


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One search parameter of one type, https://hl7.org/fhir/R4/searchparameter.html.

    ``extract`` gives the values of a resource with their FHIR types. For a composite it gives the elements within which
    the components are to be matched together; `component_values` takes each of those apart.
    """

    name: str
    type: ParameterType
    expression: str
    url: str
    targets: frozenset[str]
    components: tuple[Component, ...]
    extract: Extractor

    def component_values(self, element: Value) -> tuple[list[Value], ...]:
        """The values of each component within one element that ``extract`` of this composite gave."""
        node, type_name = element
        return tuple(_compiled(component.expression, type_name)(node) for component in self.components)


_compiled = cache(compile_expression)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a type does differently from the rest; each expression is a search-parameter expression on the type.

    ``None`` means the general rule that `Declaration` documents; an empty expression means nothing at all.
    """

    kind: Kind | None = None
    patients: tuple[str, ...] | None = None
    """Names of the search parameters that make a Patient the subject, instead of the published compartment's."""
    authors: str | None = None
    performed: str | None = None
    related: str | None = None
    studies: str | None = None
    codes: str | None = None


GENERAL = Behaviour()

CODES = ("code", "type", "category")
AUTHORS = ("author", "performer", "recorder", "asserter", "performer.actor")
AUTHORS_OF_REQUESTS = ("author", "requester", "recorder")
"""Of a request (a type with ``intent``) the performer is only asked to do something, which makes nobody its author."""
RELATED = ("encounter", "context", "episodeOfCare", "basedOn", "partOf")


@dataclass(frozen=True)
class Declaration:
    """One concrete resource type. All functions are pure; those that find nothing give an empty list or None."""

    type: str
    kind: Kind
    behaviour: Behaviour = GENERAL
    offered: Mapping[str, SearchParameter] | None = None
    """The search parameters by name, where they are not the published ones alone."""

    # -- data -----------------------------------------------------------------------------------------------------

    @cached_property
    def parameters(self) -> Mapping[str, SearchParameter]:
        """The search parameters of the type and of its bases (``_id``, ``_lastUpdated``, ...), by name."""
        if self.offered is not None:
            return self.offered
        bases = [base for base in ("Resource", "DomainResource", self.type) if is_a(self.type, base)]
        found = [entry for base in bases for entry in _published_by_base().get(base, ())]
        return MappingProxyType({entry.name: search_parameter(entry, self.type) for entry in found})

    @cached_property
    def elements(self) -> frozenset[str]:
        """The JSON names of the top-level elements."""
        return frozenset(name for name, _ in _json_names(self._structure))

    @cached_property
    def summary_elements(self) -> frozenset[str]:
        """Dotted JSON paths of the elements in the summary, down to where a data type begins (``link.other``).

        https://hl7.org/fhir/R4/search.html#summary
        """
        return frozenset(_paths(self._structure, summary=True))

    @cached_property
    def mandatory_elements(self) -> frozenset[str]:
        """Dotted JSON paths of the elements that every resource of the type has, in whatever form it is shortened."""
        return frozenset(_paths(self._structure, summary=False))

    def offering(self, parameters: Mapping[str, SearchParameter]) -> Declaration:
        """The same type with these search parameters."""
        return replace(self, offered=parameters)

    # -- functions ------------------------------------------------------------------------------------------------

    def patients(self, resource: Resource) -> list[str]:
        """Whose record this is: ``["Patient/p1"]``, by the published Patient compartment, with three exceptions.

        - A Patient belongs to itself only: ``Patient.link`` names another record, it does not share this one.
        - An Observation or CareTeam belongs to its subject only: a patient who *performed* an observation, or is a
          *participant* of another's team, does not thereby own it.
        - A type whose `Behaviour` names parameters uses those.

        Only references relative to this server count; an absolute URL, a ``urn:`` or a contained patient is nobody
        here. https://hl7.org/fhir/R4/compartmentdefinition-patient.html
        """
        if self.type == "Patient":
            return [f"Patient/{resource['id']}"] if isinstance(resource.get("id"), str) else []
        addresses = (local_reference(value) for extract in self._patients for value, _ in extract(resource))
        return _distinct(address for address in addresses if address and address.startswith("Patient/"))

    def authors(self, resource: Resource) -> list[str]:
        """Who performed, interpreted or wrote it; by default the elements in `AUTHORS` or `AUTHORS_OF_REQUESTS`."""
        return _references(self._authors, resource)

    def performed(self, resource: Resource) -> tuple[str, str] | None:
        """When it took place, as FHIR dates: start and end, equal for a point in time, ``""`` for an open end.

        By default the value of the search parameter ``date`` of a clinical type.
        """
        for value, type_name in self._performed(resource):
            if type_name == "Period":
                return value.get("start", ""), value.get("end", "")
            if isinstance(value, str):
                return value, value
        return None

    def related(self, resource: Resource) -> list[str]:
        """The encounters, episodes and requests it is part of; by default the elements named in `RELATED`."""
        return _references(self._related, resource)

    def studies(self, resource: Resource) -> list[str]:
        """The ImagingStudies it belongs to, itself included; by default the elements that may point to one."""
        if self.type == "ImagingStudy":
            return [f"ImagingStudy/{resource['id']}"] if isinstance(resource.get("id"), str) else []
        return [address for address in _references(self._studies, resource) if address.startswith("ImagingStudy/")]

    def codes(self, resource: Resource) -> list[str]:
        """What it is about, as ``system|code``; by default the codings of the elements named in `CODES`."""
        return _distinct(code for value, type_name in self._codes(resource) for code in _codings(value, type_name))

    def is_entered_in_error(self, resource: Resource) -> bool:
        """Whether its status, document status or verification status says that it should never have existed."""
        if "entered-in-error" in (resource.get("status"), resource.get("docStatus")):
            return True
        verification = resource.get("verificationStatus")
        if not isinstance(verification, dict):
            return verification == "entered-in-error"
        return any(coding.get("code") == "entered-in-error" for coding in verification.get("coding", ()))

    def references(self, resource: Resource) -> list[str]:
        """Every address in a Reference anywhere in the resource, contained ones included, each once."""
        return _distinct(_addresses(resource))

    # -- compiled once --------------------------------------------------------------------------------------------

    @property
    def _structure(self) -> Structure:
        return structures()[self.type]

    @cached_property
    def _patients(self) -> tuple[Extractor, ...]:
        names = self.behaviour.patients
        if names is None:
            names = tuple(compartment("Patient").get(self.type, ()))
        return tuple(self.parameters[name].extract for name in names)

    @cached_property
    def _authors(self) -> Extractor:
        default = AUTHORS_OF_REQUESTS if "intent" in self._structure.elements else AUTHORS
        return self._expression(self.behaviour.authors, default)

    @cached_property
    def _related(self) -> Extractor:
        return self._expression(self.behaviour.related, RELATED)

    @cached_property
    def _codes(self) -> Extractor:
        return self._expression(self.behaviour.codes, CODES)

    @cached_property
    def _studies(self) -> Extractor:
        return self._expression(self.behaviour.studies, tuple(_elements_pointing_to(self.type, "ImagingStudy")))

    @cached_property
    def _performed(self) -> Extractor:
        if self.behaviour.performed is None and self.kind == "clinical" and "date" in self.parameters:
            return self.parameters["date"].extract
        return self._expression(self.behaviour.performed, ())

    def _expression(self, expression: str | None, default: tuple[str, ...]) -> Extractor:
        """Compile a behaviour's expression, or the default elements as far as the type has them."""
        if expression is None:
            expression = " | ".join(path for path in default if _has(self.type, path))
        return compile_expression(expression, self.type) if expression else lambda _: []


def local_reference(reference: object) -> str | None:
    """``Type/id`` of a Reference that is relative to this server, without its version; otherwise None."""
    address = reference.get("reference") if isinstance(reference, dict) else None
    return local_address(address) if isinstance(address, str) else None


def local_address(address: str, base: str = "") -> str | None:
    """``Type/id`` of an address that is relative to this server or lies below its ``base``; otherwise None."""
    segments = (address.removeprefix(f"{base}/") if base else address).split("/")
    is_versioned = len(segments) == 4 and segments[2] == "_history"
    if (len(segments) == 2 or is_versioned) and segments[0] in structures() and segments[1]:
        return f"{segments[0]}/{segments[1]}"
    return None


# -- published definitions --------------------------------------------------------------------------------------------


class Published(msgspec.Struct, frozen=True):
    """A SearchParameter as generated (``tools/generate_definitions.py``), or as ``search_parameter.read`` reads one."""

    url: str
    name: str
    type: str
    base: tuple[str, ...]
    expression: str
    targets: tuple[str, ...]
    components: tuple[tuple[str, str], ...]


@cache
def _published() -> Mapping[str, Published]:
    entries = msgspec.json.decode(definitions("search_parameters"), type=list[Published])
    return {entry.url: entry for entry in entries}


@cache
def _published_by_base() -> Mapping[str, list[Published]]:
    found: dict[str, list[Published]] = {}
    for entry in _published().values():
        for base in entry.base:
            found.setdefault(base, []).append(entry)
    return found


@cache
def _compartments() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    return msgspec.json.decode(definitions("compartments"), type=dict[str, dict[str, tuple[str, ...]]])


def compartment(code: str) -> Mapping[str, tuple[str, ...]]:
    """The published compartment: resource type to the names of the search parameters that make it a member."""
    return _compartments()[code]


def published(url: str) -> Published | None:
    """The parameter that HL7 publishes under a canonical address."""
    return _published().get(url)


def search_parameter(entry: Published, type_name: str) -> SearchParameter:
    """The parameter of one of its types; raises UnsupportedExpressionError."""
    components = tuple(
        Component(_published()[url].name, expression, cast("ParameterType", _published()[url].type))
        for url, expression in entry.components
    )
    extract = compile_expression(entry.expression, type_name)
    if any(RESOURCE in component.expression for component in components):
        extract = with_resource(extract)
    return SearchParameter(
        name=entry.name,
        type=cast("ParameterType", entry.type),
        expression=entry.expression,
        url=entry.url,
        targets=_targets(entry, type_name),
        components=components,
        extract=extract,
    )


def _targets(entry: Published, type_name: str) -> frozenset[str]:
    """The published targets, as far as this type's own elements may point there.

    ``clinical-patient`` is published once for many types, with the targets Patient and Group; of an ImagingStudy it
    finds Patients only.
    """
    published = frozenset(entry.targets)
    if entry.type != "reference":
        return published
    possible = targets_of(entry.expression, type_name)
    return published if "Resource" in possible else published & possible or published


# -- elements ---------------------------------------------------------------------------------------------------------


def _json_names(structure: Structure) -> Iterator[tuple[str, str]]:
    for name, element in structure.elements.items():
        yield from element.json_names(name)


def _paths(structure: Structure, *, summary: bool) -> Iterator[str]:
    """Dotted JSON paths of the summary (or else the mandatory) elements, through elements with children."""
    for name, element in structure.elements.items():
        if not (element.summary if summary else element.min):
            continue
        for json_name, type_name in element.json_names(name):
            yield json_name
            # An element that repeats the content of an ancestor (Questionnaire.item.item) would unfold for ever.
            if "." in type_name and structures()[type_name] is not structure:
                yield from (f"{json_name}.{path}" for path in _paths(structures()[type_name], summary=summary))


def _has(type_name: str, path: str) -> bool:
    """Whether a dotted path of element names exists in a type."""
    structure = structures().get(type_name)
    for name in path.split("."):
        if structure is None or name not in structure.elements:
            return False
        structure = structures().get(structure.elements[name].types[0])
    return True


def _elements_pointing_to(type_name: str, target: str) -> Iterator[str]:
    """Paths of the type's own elements (and of those with children, one level down) that may refer to the target."""
    for name, element in structures()[type_name].elements.items():
        if target in element.targets:
            yield name
        elif element.types[0].startswith(f"{type_name}."):
            inner = structures()[element.types[0]].elements
            yield from (f"{name}.{child}" for child, entry in inner.items() if target in entry.targets)


# -- values -----------------------------------------------------------------------------------------------------------


def _distinct(values: Iterator[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _references(extract: Extractor, resource: Resource) -> list[str]:
    addresses = (local_reference(value) for value, type_name in extract(resource) if type_name == "Reference")
    return _distinct(address for address in addresses if address)


def _codings(value: Any, type_name: str) -> Iterator[str]:
    if type_name == "CodeableConcept":
        for coding in value.get("coding", ()):
            yield from _codings(coding, "Coding")
    elif type_name == "Coding" and "code" in value:
        yield f"{value.get('system', '')}|{value['code']}"


def _addresses(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "reference" and isinstance(value, str):
                yield value
            elif isinstance(value, dict | list):
                yield from _addresses(value)
    elif isinstance(node, list):
        for entry in node:
            if isinstance(entry, dict | list):
                yield from _addresses(entry)


def declare(type_name: str, kind: Kind, behaviour: Behaviour = GENERAL) -> Declaration:
    """The declaration of a concrete type; raises ValueError for a name that R4 does not have."""
    if type_name not in resource_types():
        raise ValueError(f"{type_name} is not a concrete resource type of FHIR R4")
    return Declaration(type_name, behaviour.kind or kind, behaviour)
