"""SearchParameter: https://hl7.org/fhir/R4/searchparameter.html.

One that this server shall answer is read here into the same form as those that HL7 publishes, and every part of it is
checked: what would not be indexed in full is refused, since a search by it would miss resources in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from resources.declaration import Declaration, Published, published, search_parameter
from resources.paths import RESOURCE, UnsupportedExpressionError, types_of

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
_LONGEST = 1_000
_DEEPEST = 8
_MOST_COMPONENTS = 4

UNFIT = frozenset({"AuditEvent", "Binary"})
"""The trail is never written again, and Binaries are not searched."""

_PATHS = frozenset({"uri", "url", "canonical", "oid", "uuid"})
_MEASURES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "Money", "Range"})
VALUES: Mapping[str, frozenset[str]] = {
    "date": frozenset({"date", "dateTime", "instant", "Period", "Timing"}),
    "number": frozenset({"decimal", "integer", "positiveInt", "unsignedInt", "Range"}),
    "quantity": _MEASURES,
    "reference": frozenset({"Reference", "canonical", "uri"}),
    "string": frozenset({"string", "markdown", "code", "id", "HumanName", "Address"}),
    "token": frozenset({"code", "string", "id", "boolean", "Coding", "CodeableConcept", "Identifier", "ContactPoint"})
    | _PATHS,
    "uri": _PATHS,
}
"""The types of values that each type of parameter compares, https://hl7.org/fhir/R4/search.html#ptypes."""

_ORDERED = frozenset({"date", "number", "quantity"})


class DefinitionError(ValueError):
    """A SearchParameter that this server cannot answer: why, and which element is at fault."""

    def __init__(self, reason: str, element: str) -> None:
        """Keep both; `element` is a path below SearchParameter."""
        super().__init__(reason)
        self.expression = f"SearchParameter.{element}"


def read(resource: Mapping[str, Any], supported: Mapping[str, Declaration]) -> Published:
    """The parameter that a valid SearchParameter resource defines. Raises DefinitionError."""
    entry = Published(
        url=resource["url"],
        name=_name(resource),
        type=_type(resource),
        base=_base(resource, supported),
        expression=_expression(resource),
        targets=tuple(resource.get("target", ())),
        components=_components(resource),
    )
    if unknown := [name for name in entry.targets if name not in supported]:
        raise DefinitionError(f"{unknown[0]} is not a resource type of this server.", "target")
    for type_name in entry.base:
        _check(entry, type_name)
    return entry


def _name(resource: Mapping[str, Any]) -> str:
    code: str = resource["code"]
    if not _NAME.fullmatch(code):
        raise DefinitionError(
            "A code begins with a letter and has letters, digits, - and _ only, at most 64 of them.", "code"
        )
    return code


def _type(resource: Mapping[str, Any]) -> str:
    type_: str = resource["type"]
    if type_ not in VALUES and type_ != "composite":
        raise DefinitionError(f"Parameters of type {type_} cannot be defined.", "type")
    if resource.get("xpathUsage", "normal") != "normal":
        raise DefinitionError("Only the usage normal is offered.", "xpathUsage")
    return type_


def _base(resource: Mapping[str, Any], supported: Mapping[str, Declaration]) -> tuple[str, ...]:
    names: list[str] = resource["base"]
    for index, name in enumerate(names):
        element = f"base[{index}]"
        if name not in supported:
            raise DefinitionError(f"{name} is not a resource type of this server: name each type.", element)
        if name in UNFIT:
            raise DefinitionError(f"{name} has the parameters that R4 defines and no others.", element)
        if resource["code"] in supported[name].parameters:
            raise DefinitionError(f"{name} has a search parameter '{resource['code']}' already.", "code")
    return tuple(dict.fromkeys(names))


def _expression(resource: Mapping[str, Any]) -> str:
    expression: str = resource.get("expression", "")
    if not expression:
        raise DefinitionError("Without an expression there is nothing to index.", "expression")
    _check_size(expression, "expression")
    return expression


def _check_size(expression: str, element: str) -> None:
    """What is compiled by recursion has a bounded depth."""
    depth = deepest = 0
    for character in expression:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if len(expression) > _LONGEST or deepest > _DEEPEST:
        raise DefinitionError(
            f"An expression has at most {_LONGEST} characters and {_DEEPEST} parentheses within each other.", element
        )


def _components(resource: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    given = resource.get("component", ())
    if resource["type"] != "composite":
        if given:
            raise DefinitionError("Only a composite has components.", "component")
        return ()
    if not 1 < len(given) <= _MOST_COMPONENTS:
        raise DefinitionError(f"A composite has two to {_MOST_COMPONENTS} components.", "component")
    found = []
    for index, component in enumerate(given):
        element = f"component[{index}]"
        definition = published(component["definition"].partition("|")[0])
        if definition is None or definition.type not in VALUES:
            raise DefinitionError(f"{component['definition']} is no parameter of R4 that can be one.", element)
        _check_size(component["expression"], f"{element}.expression")
        found.append((definition.url, component["expression"]))
    _check_order([definition.type for url, _ in found if (definition := published(url))])
    return tuple(found)


def _check_order(types: list[str]) -> None:
    ordered = [type_ for type_ in types if type_ in _ORDERED]
    if len(ordered) > 1 and ordered != ["number", "number"]:
        raise DefinitionError("At most one component is a date, number or quantity, or two are numbers.", "component")
    if "string" in types[:-1]:
        raise DefinitionError("A component of type string stands last.", "component")


def _check(entry: Published, type_name: str) -> None:
    """Compile the parameter for one of its types, and see that it compares all that is found."""
    types = _found(entry.expression, type_name, "expression")
    if entry.type != "composite":
        _check_types(entry.type, types, "expression")
    for index, (url, expression) in enumerate(entry.components):
        element = f"component[{index}].expression"
        definition = published(url)
        for within in sorted(types):
            is_of_resource = expression.startswith(f"{RESOURCE}.")
            path = expression.removeprefix(f"{RESOURCE}.")
            found = _found(path, type_name if is_of_resource else within, element)
            if definition is not None:
                _check_types(definition.type, found, element)
    try:
        search_parameter(entry, type_name)
    except UnsupportedExpressionError as error:
        raise DefinitionError(f"This server cannot evaluate the expression: {error}", "expression") from error


def _found(expression: str, type_name: str, element: str) -> frozenset[str]:
    """The types of the values that an expression finds in a type."""
    try:
        types = types_of(expression, type_name)
    except UnsupportedExpressionError as error:
        raise DefinitionError(f"This server cannot evaluate the expression: {error}", element) from error
    if not types:
        raise DefinitionError(f"The expression finds nothing in {type_name}.", element)
    return types


def _check_types(parameter_type: str, types: frozenset[str], element: str) -> None:
    if unfit := sorted(types - VALUES[parameter_type]):
        raise DefinitionError(
            f"A {parameter_type} parameter compares no values of type {unfit[0]}, which the expression may find; "
            "narrow it with ofType().",
            element,
        )
