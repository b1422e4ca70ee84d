"""Invariants of terminology resources, https://hl7.org/fhir/R4/terminology-module.html."""

from __future__ import annotations

from typing import Any

from resources.invariants.row import (
    Node,
    Row,
    absent,
    both,
    either,
    entries,
    exists,
    holds,
    implies,
    is_code,
    is_distinct,
    needs,
    not_both,
    one_or_more,
    within,
)


def concept_codes(node: Node) -> list[Any]:
    """The codes of all concepts at any depth."""
    return [code for concept in entries(node, "concept") for code in (concept.get("code"), *concept_codes(concept))]


IS_ABSTRACT = holds(lambda node: node.get("abstract") is True)
# What both kinds of capability statement say of software and installation.
SAYS_WHAT_IT_IS = one_or_more("description", "software", "implementation")
INSTANCE = implies(is_code("kind", "instance"), exists("implementation"))
CAPABILITY = implies(is_code("kind", "capability"), both(exists("software"), absent("implementation")))
REQUIREMENTS = implies(is_code("kind", "requirements"), both(absent("implementation"), absent("software")))

ROWS: tuple[Row, ...] = (
    Row("CodeSystem", "csd-1", holds(lambda node: is_distinct(concept_codes(node)))),
    Row(
        "ConceptMap.group.element.target",
        "cmd-1",
        implies(is_code("equivalence", "narrower", "inexact"), exists("comment")),
    ),
    Row("ConceptMap.group.unmapped", "cmd-2", implies(is_code("mode", "fixed"), exists("code"))),
    Row("ConceptMap.group.unmapped", "cmd-3", implies(is_code("mode", "other-map"), exists("url"))),
    Row(
        "NamingSystem",
        "nsd-1",
        holds(lambda node: node.get("kind") != "root" or "uuid" not in within(node, "uniqueId", "type")),
    ),
    Row(
        "NamingSystem",
        "nsd-2",
        holds(
            lambda node: is_distinct([e["type"] for e in entries(node, "uniqueId") if e.get("preferred") is True]),
        ),
    ),
    Row(
        "TerminologyCapabilities.codeSystem",
        "tcp-1",
        holds(lambda node: len(entries(node, "version")) < 2 or all("code" in v for v in entries(node, "version"))),
    ),
    Row("ValueSet.compose.include", "vsd-1", one_or_more("valueSet", "system")),
    Row("ValueSet.compose.include", "vsd-2", implies(one_or_more("concept", "filter"), exists("system"))),
    Row("ValueSet.compose.include", "vsd-3", not_both("concept", "filter")),
    Row("ValueSet.expansion.contains", "vsd-6", one_or_more("code", "display")),
    Row("ValueSet.expansion.contains", "vsd-9", either(exists("code"), IS_ABSTRACT)),
    Row("ValueSet.expansion.contains", "vsd-10", needs("code", "system")),
    Row("CapabilityStatement", "cpb-2", SAYS_WHAT_IT_IS),
    Row("CapabilityStatement", "cpb-14", INSTANCE),
    Row("CapabilityStatement", "cpb-15", CAPABILITY),
    Row("CapabilityStatement", "cpb-16", REQUIREMENTS),
    Row("TerminologyCapabilities", "tcp-2", SAYS_WHAT_IT_IS),
    Row("TerminologyCapabilities", "tcp-3", INSTANCE),
    Row("TerminologyCapabilities", "tcp-4", CAPABILITY),
    Row("TerminologyCapabilities", "tcp-5", REQUIREMENTS),
)
