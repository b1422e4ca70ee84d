"""The facts of a resource: what a rule of access may know of it.

`resources` says where facts are found and `consent` what they mean; this module joins the two. Facts are computed when
a version is written and stay beside its bytes, so that no decision ever parses a resource.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from consent.directive import family_of
from consent.facts import security_facts
from consent.period import OPEN_END, OPEN_START, interval
from consent.policy import Policy
from consent.release import released
from resources import SUPPORTED


def static_facts(resource: Mapping[str, Any], id_: str, custodians: Iterable[str], policy: Policy) -> dict[str, Any]:
    """The facts that the resource itself gives; `subjects` name the patients only.

    `custodians` are the establishments that answer for it; they come from the client that wrote it, never from the
    payload. Dates without an offset are read in the zone of the policy.
    """
    declaration = SUPPORTED[resource["resourceType"]]
    own = f"{declaration.type}/{id_}"
    patients = [own] if declaration.type == "Patient" else declaration.patients(resource)
    facts = {
        "type": declaration.type,
        "id": id_,
        "kind": declaration.kind,
        "custodians": sorted(set(custodians)),
        "authors": list(dict.fromkeys(declaration.authors(resource))),
        **security_facts(resource.get("meta", {}).get("security", ())),
        "lifecycle": "entered-in-error" if declaration.is_entered_in_error(resource) else "present",
        "instances": list(dict.fromkeys([own, *declaration.studies(resource)])),
        "related": list(dict.fromkeys(declaration.related(resource))),
        "performed": _performed(declaration.performed(resource), policy.zone),
        "class": [declaration.type, *declaration.codes(resource)],
        "subjects": [{"patient": patient} for patient in dict.fromkeys(patients)],
    }
    instant = released(resource.get("extension", ()))
    if instant is not None:
        facts["released"] = instant
    if declaration.kind == "consent":
        facts["family"] = family_of(resource, policy)
    return facts


def relative(resource: Mapping[str, Any], base: str) -> Mapping[str, Any]:
    """A copy with the references below this server's base made relative, as facts are found by."""
    prefix = f"{base}/"

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(value) for value in node]
        if not isinstance(node, dict):
            return node
        walked = {name: walk(value) for name, value in node.items()}
        address = walked.get("reference")
        if isinstance(address, str):
            walked["reference"] = address.removeprefix(prefix)
        return walked

    return {name: walk(value) for name, value in resource.items()}


def _performed(span: tuple[str, str] | None, zone: ZoneInfo) -> dict[str, datetime] | None:
    if span is None:
        return None
    start, end = span
    return {
        "from": interval(start, zone).start if start else OPEN_START,
        "until": interval(end, zone).until if end else OPEN_END,
    }


def absent_facts(type_: str, id_: str) -> dict[str, Any]:
    """Facts of a resource that is not there: nobody's, and so permitted to nobody."""
    return {
        "type": type_,
        "id": id_,
        "kind": "other",
        "custodians": [],
        "authors": [],
        **security_facts(()),
        "lifecycle": "present",
        "instances": [],
        "related": [],
        "performed": None,
        "class": [type_],
        "subjects": [],
    }
