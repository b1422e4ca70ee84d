"""What says who may see what must be before it is stored: what we could not enforce as it was meant is refused (422).

The rules are those of `consent.problems`; what needs a look at the directory, that nobody opens a record to a payer or
to an employer, is here (FAQ 3 and 12, docs/policy.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.client_session import ClientSession

from consent import problems, release, substitution
from consent.policy import Policy
from fhirserver.errors import Issue, Unprocessable
from fhirserver.store.database import Database


def check_extensions(resource: Mapping[str, Any]) -> None:
    """Raise Unprocessable where the instant of a release, or who is replaced, is not stated as it must be."""
    found = release.problems(resource)
    if resource["resourceType"] == "PractitionerRole":
        found += substitution.problems(resource)
    issues = [Issue("error", "business-rule", one.message, one.expression) for one in found]
    if issues:
        raise Unprocessable(issues[0].diagnostics, code="business-rule", issues=tuple(issues))


def check_consent(
    consent: Mapping[str, Any], policy: Policy, database: Database, session: ClientSession | None = None
) -> None:
    """Raise Unprocessable with every reason why an active Consent cannot be kept."""
    issues = [Issue("error", "business-rule", one.message, one.expression) for one in problems(consent, policy)]
    if consent.get("status") == "active":
        issues += _banned_recipients(consent, policy, database, session)
    if issues:
        raise Unprocessable(issues[0].diagnostics, code="business-rule", issues=tuple(issues))


def _banned_recipients(
    consent: Mapping[str, Any], policy: Policy, database: Database, session: ClientSession | None
) -> list[Issue]:
    named = dict(_permitted_organizations(consent.get("provision", {}), "Consent.provision"))
    if not named:
        return []
    banned = sorted(policy.payer_organizations | policy.employer_organizations)
    found = database.actors.find({"_id": {"$in": sorted(named.values())}, "types": {"$in": banned}}, session=session)
    refused = {document["_id"] for document in found.to_list()}
    text = "A record is never opened to a payer or an employer."
    return [Issue("error", "business-rule", text, path) for path, name in named.items() if name in refused]


def _permitted_organizations(provision: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Where a permit names an Organization, and which."""
    if provision.get("type") == "permit":
        for index, actor in enumerate(provision.get("actor", ())):
            reference = actor.get("reference", {}).get("reference", "")
            if reference.startswith("Organization/"):
                yield f"{path}.actor[{index}].reference", reference
    for index, nested in enumerate(provision.get("provision", ())):
        yield from _permitted_organizations(nested, f"{path}.provision[{index}]")
