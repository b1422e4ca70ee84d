"""Invariants of Bundle, https://hl7.org/fhir/R4/bundle.html."""

from __future__ import annotations

from resources.invariants.row import (
    Node,
    Row,
    entries,
    exists,
    has,
    holds,
    implies,
    is_code,
    is_distinct,
    one_or_more,
    within,
)

REQUESTS = ("batch", "transaction", "history")
RESPONSES = ("batch-response", "transaction-response", "history")


def _full_urls_differ(bundle: Node) -> bool:
    """bdl-7: the same resource twice only in different versions."""
    if bundle.get("type") == "history":
        return True
    return is_distinct(
        [
            (entry["fullUrl"], entry.get("resource", {}).get("meta", {}).get("versionId", ""))
            for entry in entries(bundle, "entry")
            if "fullUrl" in entry
        ]
    )


def _starts_with(bundle: Node, type_name: str) -> bool:
    first = entries(bundle, "entry")[:1]
    return [entry.get("resource", {}).get("resourceType") for entry in first] == [type_name]


def _each_has(bundle: Node, name: str, types: tuple[str, ...]) -> bool:
    """The element is in every entry of bundles of these types, and in none of any other."""
    return all((name in entry) == (bundle.get("type") in types) for entry in entries(bundle, "entry"))


DOCUMENT = is_code("type", "document")

ROWS: tuple[Row, ...] = (
    Row("Bundle", "bdl-1", implies(exists("total"), is_code("type", "searchset", "history"))),
    Row(
        "Bundle",
        "bdl-2",
        holds(lambda node: node.get("type") == "searchset" or not within(node, "entry", "search")),
    ),
    Row("Bundle", "bdl-3", holds(lambda node: _each_has(node, "request", REQUESTS))),
    Row("Bundle", "bdl-4", holds(lambda node: _each_has(node, "response", RESPONSES))),
    Row("Bundle.entry", "bdl-5", one_or_more("resource", "request", "response")),
    Row("Bundle", "bdl-7", holds(_full_urls_differ)),
    Row("Bundle.entry", "bdl-8", holds(lambda node: "/_history/" not in node.get("fullUrl", ""))),
    Row(
        "Bundle",
        "bdl-9",
        implies(DOCUMENT, holds(lambda node: {"system", "value"} <= set(node.get("identifier", ())))),
    ),
    Row("Bundle", "bdl-10", implies(DOCUMENT, holds(lambda node: "timestamp" in node))),
    Row("Bundle", "bdl-11", implies(DOCUMENT, holds(lambda node: _starts_with(node, "Composition")))),
    Row(
        "Bundle", "bdl-12", implies(is_code("type", "message"), holds(lambda node: _starts_with(node, "MessageHeader")))
    ),
    Row("Linkage", "lnk-1", holds(lambda node: len(entries(node, "item")) > 1)),
    Row("List", "lst-1", implies(exists("emptyReason"), holds(lambda node: "entry" not in node))),
    Row(
        "List",
        "lst-2",
        holds(lambda node: node.get("mode") == "changes" or not any(has(e, "deleted") for e in entries(node, "entry"))),
    ),
    Row(
        "List",
        "lst-3",
        holds(lambda node: node.get("mode") == "working" or not any(has(e, "date") for e in entries(node, "entry"))),
    ),
)
