"""What this server offers, made from what is routed and from what is declared, so that it promises exactly that.

The statement is the same for every worker and every start of one release with the same search parameters, and so is its
entity tag.

https://hl7.org/fhir/R4/capabilitystatement.html, https://hl7.org/fhir/R4/http.html#capabilities
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from fhirserver import __version__
from fhirserver.config import Config
from fhirserver.operations import OFFERED
from fhirserver.operations.operation import Operation, Target
from fhirserver.rest.negotiation import FORMATS, PATCH_FORMATS
from fhirserver.rest.tagged import tag_of
from fhirserver.search import text
from fhirserver.search.compartment import COMPARTMENTS
from fhirserver.search.query import APART
from fhirserver.store.resource_store import WITHOUT_TYPE_HISTORY
from fhirserver.store.search_parameters import Catalogue
from resources import SUPPORTED, Declaration

# When the statement last changed in kind; a constant, since the statement may not differ between two starts.
CHANGED = "2026-11-24"

_MOST_BASES = 8  # a server is reached by few addresses

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"

Routed = Sequence[tuple[str, str, str, tuple[str, ...]]]
"""The rows of `routes.ROUTED`: method, address, view function, and the interactions that they answer."""
_WORDS = {
    "_content": "http://hl7.org/fhir/SearchParameter/Resource-content",
    "_text": "http://hl7.org/fhir/SearchParameter/DomainResource-text",
}

_MODIFIERS = (
    "Modifiers: :missing for all parameters but composites; for tokens :not :text :of-type :in :not-in :above :below; "
    "for strings :exact :contains; for references :[type] :identifier :above :below; for uris :above :below. Prefixes "
    "for dates, numbers and quantities: eq ne gt lt ge le sa eb ap. Quantities in units of UCUM are converted. "
    "References are followed: chained parameters and _has to any depth, and _list. Several types are searched together "
    "at the base, with _type."
)


TYPE_INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
"""The codes of https://hl7.org/fhir/R4/valueset-type-restful-interaction.html; a type has those that are routed."""

SYSTEM_INTERACTIONS = ("transaction", "batch", "search-system", "history-system")
"""The codes of https://hl7.org/fhir/R4/valueset-system-restful-interaction.html."""


Reverse = Mapping[str, list[str]]
"""By type, the reference parameters of all types that may point to it, as `Type:parameter`."""


class Statement:
    """The statement of one process, kept as bytes for each base by which it is asked and while the parameters stay."""

    def __init__(self, config: Config, routed: Routed) -> None:
        self._config = config
        self._routed = routed
        self._made: dict[str, tuple[Any, bytes, str]] = {}
        self._lock = threading.Lock()

    def bytes_and_tag(self, fhir_base: str, catalogue: Catalogue) -> tuple[bytes, str]:
        """The JSON for who came by this FHIR base, and its weak entity tag; where tokens are had is a setting."""
        with self._lock:
            found = self._made.get(fhir_base)
            if found is None or found[0] != catalogue.identity:
                config = self._config
                made = capability_statement(
                    fhir_base,
                    config.base,
                    self._routed,
                    catalogue.readable,
                    keeps_references=config.keeps_references,
                    delete_max=config.delete_max,
                )
                body = msgspec.json.encode(made)
                found = catalogue.identity, body, tag_of(body)
                if len(self._made) >= _MOST_BASES:
                    self._made.clear()
                self._made[fhir_base] = found
            return found[1:]


def capability_statement(
    fhir_base: str,
    base: str,
    routed: Routed,
    declarations: Mapping[str, Declaration] = SUPPORTED,
    *,
    keeps_references: bool = False,
    delete_max: int = 1,
) -> dict[str, Any]:
    """The CapabilityStatement of a server whose FHIR base and root are these addresses, and which answers `routed`.

    `keeps_references` and `delete_max` are settings.
    """
    policy = ["literal", "logical", *(["enforced"] if keeps_references else [])]
    reverse = reverse_includes(declarations)
    return {
        "resourceType": "CapabilityStatement",
        "id": "fhirserver",
        "url": f"{fhir_base}/metadata",
        "version": __version__,
        "name": "FhirServer",
        "title": "FHIR R4 and DICOMweb server for regional sharing of medical imaging",
        "status": "active",
        "date": CHANGED,
        "kind": "instance",
        "software": {"name": "fhirserver", "version": __version__},
        "implementation": {"description": "Every read is decided by Consent and CareTeam", "url": fhir_base},
        "fhirVersion": "4.0.1",
        "format": [*FORMATS, "json", "xml"],
        "patchFormat": [*PATCH_FORMATS],
        "rest": [
            {
                "mode": "server",
                "documentation": _MODIFIERS,
                "security": _security(base),
                "resource": [
                    {**_resource(one, routed, fhir_base, reverse, delete_max), "referencePolicy": policy}
                    for one in declarations.values()
                ],
                "interaction": _interactions(SYSTEM_INTERACTIONS, routed),
                "compartment": [f"http://hl7.org/fhir/CompartmentDefinition/{code}" for code in _compartments()],
                "operation": [_operation(one, fhir_base) for one in OFFERED if one.is_at(Target())],
            }
        ],
    }


def _compartments() -> list[str]:
    """The ids of the published definitions, which begin with a small letter."""
    return [code[0].lower() + code[1:] for code in COMPARTMENTS]


def _security(base: str) -> dict[str, Any]:
    return {
        "extension": [{"url": _OAUTH_URIS, "extension": [{"url": "token", "valueUri": f"{base}/oauth/token"}]}],
        "service": [
            {"coding": [{"system": _SECURITY_SERVICE, "code": code, "display": code}]}
            for code in ("OAuth", "SMART-on-FHIR")
        ],
        "description": "Bearer tokens (RFC 6750); backend clients obtain theirs by private_key_jwt (RS384, ES384).",
    }


def _interactions(codes: Sequence[str], routed: Routed) -> list[dict[str, str]]:
    """Those of the codes that some route answers."""
    answered = {code for _, _, _, interactions in routed for code in interactions}
    return [{"code": code} for code in codes if code in answered]


def _of_type(type_: str) -> Sequence[str]:
    """The interactions of a type: the history of all AuditEvents or Binaries is refused.

    A Binary is found by the resource that refers to it, never by criteria, and its content is replaced as a whole.
    """
    refused = {"history-type"} if type_ in WITHOUT_TYPE_HISTORY else set()
    if type_ == "Binary":
        refused |= {"patch", "search-type"}
    return [code for code in TYPE_INTERACTIONS if code not in refused]


def _resource(declaration: Declaration, routed: Routed, base: str, reverse: Reverse, delete_max: int) -> dict[str, Any]:
    is_searched = declaration.type != "Binary"
    conditional = {method for method, address, _, _ in routed if address == "/<type>" and is_searched}
    return {
        "type": declaration.type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{declaration.type}",
        "interaction": _interactions(_of_type(declaration.type), routed),
        "versioning": "versioned",
        "readHistory": True,
        # Whether a client may choose an id depends on its kind: systems and operators may.
        "updateCreate": True,
        "conditionalCreate": is_searched,
        "conditionalRead": "full-support",
        "conditionalUpdate": "PUT" in conditional,
        "conditionalDelete": _deletes(delete_max if "DELETE" in conditional else 0),
        **includes(declaration, reverse),
        "searchParam": search_parameters(declaration),
        **(
            {"operation": [_operation(one, base) for one in offered]} if (offered := _offered(declaration.type)) else {}
        ),
    }


def _deletes(most: int) -> str:
    """The code of https://hl7.org/fhir/R4/valueset-conditional-delete-status.html."""
    return {0: "not-supported", 1: "single"}.get(most, "multiple")


def _offered(type_: str) -> list[Operation]:
    """The operations of a type and of its instances."""
    return [one for one in OFFERED if one.is_at(Target(type_)) or one.is_at(Target(type_, "id"))]


def _operation(operation: Operation, base: str) -> dict[str, str]:
    return {"name": operation.name, "definition": operation.canonical(base)}


def _parameters_of_all(type_: str) -> list[dict[str, str]]:
    """What can be asked of a type beside its declared parameters (https://hl7.org/fhir/R4/search.html#all)."""
    words = {} if type_ in text.WITHOUT else _WORDS
    return [
        *({"name": name, "definition": definition, "type": "string"} for name, definition in words.items()),
        {"name": "_filter", "type": "special"},
    ]


def search_parameters(declaration: Declaration) -> list[dict[str, str]]:
    """The parameters by which a type is searched, as `searchParam` has them."""
    declared = sorted(declaration.parameters.items())
    return [
        *_parameters_of_all(declaration.type),
        *({"name": name, "definition": parameter.url, "type": parameter.type} for name, parameter in declared),
    ]


def includes(declaration: Declaration, reverse: Reverse | None = None) -> Mapping[str, list[str]]:
    """What a search of the type may include, as `searchInclude` and `searchRevInclude` have it.

    `reverse` are the parameters that refer to each type; those of R4 unless it is given.
    """
    reverse = _published_reverse() if reverse is None else reverse
    forward = [
        f"{declaration.type}:{name}"
        for name, parameter in sorted(declaration.parameters.items())
        if parameter.type == "reference"
    ]
    found = {"searchInclude": forward, "searchRevInclude": reverse.get(declaration.type, [])}
    return {name: values for name, values in found.items() if values}


@cache
def _published_reverse() -> Reverse:
    return reverse_includes(SUPPORTED)


def reverse_includes(declarations: Mapping[str, Declaration]) -> Reverse:
    """For each type, the reference parameters of all types that may point to it."""
    found: dict[str, list[str]] = {}
    for source in declarations.values():
        for name, parameter in sorted(source.parameters.items()) if source.type not in APART else ():
            for target in parameter.targets if parameter.type == "reference" else ():
                found.setdefault(target, []).append(f"{source.type}:{name}")
    return found
