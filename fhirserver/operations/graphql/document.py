"""A GraphQL query, read: fields with their arguments, directives and selections, variables put in.

graphql-core reads the language; what FHIR makes of it is in the modules beside. Fragments are put in their places,
within bounds: a query that would unfold without end is refused before anything is asked of the store.

https://spec.graphql.org/, https://hl7.org/fhir/R4/graphql.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLError, parse, value_from_ast_untyped
from graphql.language import (
    DirectiveNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableNode,
    Visitor,
    visit,
)
from graphql.pyutils import Undefined

from fhirserver.errors import BadRequest, FhirError, NotSupported, TooCostly

MOST_TOKENS = 5_000
MOST_FIELDS = 1_000
DEEPEST = 20
"""Selections within selections; a patient, their reports, the observations of these and a quantity are seven, and what
clients ask of the schema is eighteen."""

DIRECTIVES: Mapping[str, frozenset[str]] = {
    "skip": frozenset({"if"}),
    "include": frozenset({"if"}),
    "flatten": frozenset(),
    "first": frozenset(),
    "singleton": frozenset(),
    "slice": frozenset({"path", "fhirpath"}),
}
"""The directives that are understood, with their arguments."""


@dataclass(frozen=True, eq=False, slots=True)
class Field:
    """One field that is asked for; `on` is the type that a fragment around it asks for, if any."""

    name: str
    alias: str
    on: str | None
    arguments: Mapping[str, Any]
    directives: Mapping[str, Mapping[str, Any]]
    selections: tuple[Field, ...]
    line: int
    column: int

    def error(self, text: str, kind: type[FhirError] = BadRequest) -> FhirError:
        """An error about this field, which says where in the query it stands."""
        return kind(text, expression=f"{self.name} (line {self.line}, column {self.column})")


def read_query(query: str, variables: str | None, name: str | None) -> tuple[Field, ...]:
    """The fields of the operation that is to be executed.

    Raises BadRequest for what is no GraphQL or leaves a variable open, NotSupported for a mutation or subscription,
    TooCostly for too much of it.
    """
    try:
        document = parse(query, max_tokens=MOST_TOKENS)
    except GraphQLError as error:
        where = ", ".join(f"line {place.line}, column {place.column}" for place in error.locations or ())
        kind = TooCostly if "tokens" in error.message else BadRequest
        raise kind(error.message, expression=where or None) from error
    except RecursionError as error:
        raise TooCostly("The query is nested too deeply.") from error
    operations = [one for one in document.definitions if isinstance(one, OperationDefinitionNode)]
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    if len(operations) + len(fragments) != len(document.definitions):
        raise BadRequest("A query holds operations and fragments only.")
    operation = _chosen(operations, name)
    if operation.operation is not OperationType.QUERY:
        raise NotSupported(f"A {operation.operation.value} is not offered: use the interactions of FHIR.")
    reader = _Reader(fragments, _variables(operation, variables))
    return tuple(reader.fields(operation.selection_set, None, ()))


def _chosen(operations: Sequence[OperationDefinitionNode], name: str | None) -> OperationDefinitionNode:
    named = [one for one in operations if name is None or (one.name is not None and one.name.value == name)]
    if len(named) != 1:
        raise BadRequest("Name one operation of the query by operationName." if operations else "There is no query.")
    return named[0]


def _variables(operation: OperationDefinitionNode, text: str | None) -> dict[str, Any]:
    """The values of the variables that the operation declares."""
    try:
        given = json.loads(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise BadRequest("variables is no JSON.", expression="variables") from error
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise BadRequest("variables is a JSON object.", expression="variables")
    values: dict[str, Any] = {}
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        if name in given:
            values[name] = given[name]
        elif definition.default_value is not None:
            values[name] = value_from_ast_untyped(definition.default_value)
        elif isinstance(definition.type, NonNullTypeNode):
            raise BadRequest(f"The variable ${name} is needed.", expression="variables")
        else:
            values[name] = None
        if values[name] is None and isinstance(definition.type, NonNullTypeNode):
            raise BadRequest(f"The variable ${name} may not be null.", expression="variables")
    return values


class _Unknown(Visitor):
    """Finds variables that are used and not declared."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        super().__init__()
        self._known = known

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        """Raises BadRequest for one."""
        if node.name.value not in self._known:
            raise BadRequest(f"The variable ${node.name.value} is not declared.", expression="variables")


class _Reader:
    """Reads selections; counts fields, which fragments may multiply."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode], variables: dict[str, Any]) -> None:
        self._fragments = fragments
        self._variables = variables
        self._unknown = _Unknown(variables)
        self._left = MOST_FIELDS

    def fields(
        self, selections: SelectionSetNode, on: str | None, within: tuple[str, ...], depth: int = 0
    ) -> Iterator[Field]:
        """The fields of a selection, those of its fragments in their places."""
        if depth > DEEPEST:
            raise TooCostly(f"A query goes {DEEPEST} selections deep at most.")
        for node in selections.selections:
            directives = self._directives(node.directives or ())
            if not _is_wanted(directives):
                continue
            match node:
                case FieldNode():
                    yield self._field(node, on, directives, within, depth)
                case InlineFragmentNode():
                    condition = node.type_condition.name.value if node.type_condition else on
                    _refuse_directives(directives)
                    yield from self.fields(node.selection_set, _narrowed(on, condition), within, depth + 1)
                case FragmentSpreadNode():
                    _refuse_directives(directives)
                    yield from self._spread(node.name.value, on, within, depth)

    def _field(
        self,
        node: FieldNode,
        on: str | None,
        directives: dict[str, dict[str, Any]],
        within: tuple[str, ...],
        depth: int,
    ) -> Field:
        self._left -= 1
        if self._left < 0:
            raise TooCostly(f"A query asks for {MOST_FIELDS} fields at most, with those of its fragments.")
        below = tuple(self.fields(node.selection_set, None, within, depth + 1)) if node.selection_set else ()
        place = node.loc.start_token if node.loc else None
        return Field(
            name=node.name.value,
            alias=node.alias.value if node.alias else node.name.value,
            on=on,
            arguments={one.name.value: self._value(one.value) for one in node.arguments or ()},
            directives=directives,
            selections=below,
            line=place.line if place else 0,
            column=place.column if place else 0,
        )

    def _spread(self, name: str, on: str | None, within: tuple[str, ...], depth: int) -> Iterator[Field]:
        fragment = self._fragments.get(name)
        if fragment is None:
            raise BadRequest(f"There is no fragment {name}.")
        if name in within:
            raise BadRequest(f"The fragment {name} contains itself.")
        condition = _narrowed(on, fragment.type_condition.name.value)
        yield from self.fields(fragment.selection_set, condition, (*within, name), depth + 1)

    def _directives(self, nodes: Sequence[DirectiveNode]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for node in nodes:
            name = node.name.value
            arguments = {one.name.value: self._value(one.value) for one in node.arguments or ()}
            if name not in DIRECTIVES or not arguments.keys() <= DIRECTIVES[name]:
                raise BadRequest(f"The directive @{name} is not known, or not with these arguments.")
            if name in {"skip", "include"} and not isinstance(arguments.get("if"), bool):
                raise BadRequest(f"@{name} needs if: true or false.")
            if name == "slice" and len(arguments) != 1:
                raise BadRequest("@slice needs a path.")
            found[name] = arguments
        return found

    def _value(self, node: Any) -> Any:
        visit(node, self._unknown)
        value = value_from_ast_untyped(node, self._variables)
        return None if value is Undefined else value


def _is_wanted(directives: Mapping[str, Mapping[str, Any]]) -> bool:
    is_skipped = directives.get("skip", {}).get("if", False)
    return not is_skipped and bool(directives.get("include", {}).get("if", True))


def _refuse_directives(directives: Mapping[str, Any]) -> None:
    if others := directives.keys() - {"skip", "include"}:
        raise BadRequest(f"@{min(others)} stands on a field, not on a fragment.")


_NEVER = "!"
"""No type has this name: what asks for two types at once is asked of none."""


def graphql_name(type_: str) -> str:
    """The name of a FHIR type in GraphQL, which has no points: `Patient_contact`."""
    return type_.replace(".", "_")


def _narrowed(on: str | None, condition: str | None) -> str | None:
    if condition is not None and not condition.startswith("__"):
        condition = condition.replace("_", ".")  # no name of FHIR has a `_`
    if condition in {None, "Resource", "DomainResource", "Element"}:
        return on
    return condition if on in {None, condition} else _NEVER
