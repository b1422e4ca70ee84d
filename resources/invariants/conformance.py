"""Invariants of conformance resources, https://hl7.org/fhir/R4/conformance-module.html."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from resources.invariants.row import (
    Node,
    Row,
    absent,
    both,
    either,
    entries,
    exactly_one,
    exists,
    has,
    holds,
    implies,
    is_code,
    is_distinct,
    needs,
    one_or_more,
    within,
)

SPECIFICATION = "http://hl7.org/fhir/StructureDefinition"
ASSERTIONS = (
    *("contentType", "expression", "headerField", "minimumId", "navigationLinks", "path", "requestMethod", "resource"),
    *("responseCode", "response", "validateProfileId"),
)


def _snapshot(node: Node) -> list[Any]:
    return within(node, "snapshot", "element")


def _differential(node: Node) -> list[Any]:
    return within(node, "differential", "element")


def _has_default(element: Node) -> bool:
    return any(name.lstrip("_").startswith("defaultValue") for name in element)


def _is_specification(node: Node) -> bool:
    return bool(node.get("url", "").startswith(SPECIFICATION))


def _root(elements: list[Any]) -> Iterator[Any]:
    return (element for element in elements if "." not in element.get("path", "."))


def _types_are_fhir(node: Node) -> bool:
    codes = within(node, "differential", "element", "type", "code") + within(
        node, "snapshot", "element", "type", "code"
    )
    return all(code.replace(".", "").isalnum() or code.startswith("http://hl7.org/fhirpath/System.") for code in codes)


def _has_one_source(operation: Node) -> bool:
    """tst-7 to tst-9: what the operation is performed on."""
    if "sourceId" in operation or sum(name in operation for name in ("targetId", "url", "params")) == 1:
        return True
    return operation.get("type", {}).get("code") in ("capabilities", "search", "transaction", "history")


ONE_SOURCE = holds(_has_one_source)
ONE_ASSERTION = either(exists("extension"), holds(lambda node: sum(name in node for name in ASSERTIONS) <= 1))
COMPARED_WITH = one_or_more("compareToSourceExpression", "compareToSourcePath")
COMPARISON = both(
    implies(exists("compareToSourceId"), COMPARED_WITH), implies(COMPARED_WITH, exists("compareToSourceId"))
)
RESPONSE_ONLY = either(
    absent("direction"), is_code("direction", "response"), both(absent("response"), absent("responseCode"))
)

ROWS: tuple[Row, ...] = (
    Row("CapabilityStatement", "cpb-1", one_or_more("rest", "messaging", "document")),
    Row(
        "CapabilityStatement",
        "cpb-3",
        holds(lambda node: node.get("kind") == "instance" or not within(node, "messaging", "endpoint")),
    ),
    Row(
        "CapabilityStatement",
        "cpb-7",
        holds(lambda node: is_distinct([(d.get("profile"), d.get("mode")) for d in entries(node, "document")])),
    ),
    Row("CapabilityStatement.rest", "cpb-9", holds(lambda node: is_distinct(within(node, "resource", "type")))),
    Row(
        "CapabilityStatement.rest.resource",
        "cpb-12",
        holds(lambda node: is_distinct(within(node, "searchParam", "name"))),
    ),
    Row("MessageDefinition.focus", "md-1", holds(lambda node: node.get("max", "*") == "*" or int(node["max"]) > 0)),
    Row("OperationDefinition.parameter", "opd-1", one_or_more("type", "part")),
    Row("OperationDefinition.parameter", "opd-2", implies(exists("searchType"), is_code("type", "string"))),
    Row(
        "OperationDefinition.parameter",
        "opd-3",
        implies(exists("targetProfile"), is_code("type", "Reference", "canonical")),
    ),
    Row("SearchParameter", "spd-1", needs("xpath", "xpathUsage")),
    Row("SearchParameter", "spd-2", implies(exists("chain"), is_code("type", "reference"))),
    Row(
        "StructureDefinition",
        "sdf-1",
        holds(
            lambda node: (
                node.get("derivation") == "constraint" or is_distinct(within(node, "snapshot", "element", "path"))
            )
        ),
    ),
    Row("StructureDefinition.mapping", "sdf-2", one_or_more("name", "uri")),
    Row(
        "StructureDefinition.snapshot",
        "sdf-3",
        holds(lambda node: all({"definition", "min", "max"} <= set(element) for element in entries(node, "element"))),
    ),
    Row("StructureDefinition", "sdf-4", holds(lambda node: node.get("abstract") is True or "baseDefinition" in node)),
    Row(
        "StructureDefinition",
        "sdf-5",
        implies(
            is_code("type", "Extension"),
            either(is_code("derivation", "specialization"), exists("context")),
        ),
    ),
    Row("StructureDefinition", "sdf-6", one_or_more("snapshot", "differential")),
    Row(
        "StructureDefinition.snapshot",
        "sdf-8b",
        holds(lambda node: all("base" in element for element in entries(node, "element"))),
    ),
    Row(
        "StructureDefinition",
        "sdf-10",
        holds(
            lambda node: all(
                "valueSet" in binding or "description" in binding
                for binding in within(node, "snapshot", "element", "binding")
            )
        ),
    ),
    Row(
        "StructureDefinition",
        "sdf-11",
        holds(
            lambda node: (
                node.get("kind") == "logical" or all(element["path"] == node["type"] for element in _snapshot(node)[:1])
            )
        ),
    ),
    Row(
        "StructureDefinition",
        "sdf-14",
        holds(lambda node: all("id" in element for element in _snapshot(node) + _differential(node))),
    ),
    Row(
        "StructureDefinition",
        "sdf-15",
        holds(
            lambda node: node.get("kind") == "logical" or all("type" not in element for element in _snapshot(node)[:1])
        ),
    ),
    Row(
        "StructureDefinition",
        "sdf-15a",
        holds(
            lambda node: (
                node.get("kind") == "logical"
                or all("type" not in element for element in _root(_differential(node)[:1]))
            )
        ),
    ),
    Row(
        "StructureDefinition",
        "sdf-16",
        holds(lambda node: is_distinct([element.get("id") for element in _snapshot(node)])),
    ),
    Row(
        "StructureDefinition",
        "sdf-17",
        holds(lambda node: is_distinct([element.get("id") for element in _differential(node)])),
    ),
    Row("StructureDefinition", "sdf-18", implies(exists("contextInvariant"), is_code("type", "Extension"))),
    Row(
        "StructureDefinition",
        "sdf-19",
        holds(lambda node: not _is_specification(node) or _types_are_fhir(node)),
    ),
    Row(
        "StructureDefinition.differential",
        "sdf-20",
        holds(lambda node: all("slicing" not in element for element in _root(entries(node, "element")))),
    ),
    Row(
        "StructureDefinition",
        "sdf-21",
        either(
            is_code("derivation", "specialization"),
            holds(lambda node: not any(_has_default(element) for element in _differential(node))),
        ),
    ),
    Row(
        "StructureDefinition",
        "sdf-22",
        holds(
            lambda node: (
                not _is_specification(node)
                or not any(_has_default(element) for element in _snapshot(node) + _differential(node))
            )
        ),
    ),
    Row(
        "StructureDefinition",
        "sdf-23",
        holds(lambda node: all("sliceName" not in e for e in _root(_snapshot(node) + _differential(node)))),
    ),
    Row("StructureMap.group.rule.target", "smp-1", needs("element", "context")),
    Row("StructureMap.group.rule.target", "smp-2", needs("context", "contextType")),
    Row("TestReport.setup.action", "inv-1", exactly_one("operation", "assert")),
    Row("TestReport.test.action", "inv-2", exactly_one("operation", "assert")),
    Row(
        "TestScript.metadata",
        "tst-4",
        holds(lambda node: all(has(c, "required") or has(c, "validated") for c in entries(node, "capability"))),
    ),
    Row("TestScript.variable", "tst-3", holds(lambda node: not {"expression", "headerField", "path"} <= set(node))),
    Row("TestScript.setup.action", "tst-1", exactly_one("operation", "assert")),
    Row("TestScript.test.action", "tst-2", exactly_one("operation", "assert")),
    Row("TestScript.setup.action.assert", "tst-5", ONE_ASSERTION),
    Row("TestScript.setup.action.assert", "tst-10", COMPARISON),
    Row("TestScript.setup.action.assert", "tst-12", RESPONSE_ONLY),
    Row("TestScript.setup.action.operation", "tst-7", ONE_SOURCE),
)
