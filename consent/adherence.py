"""Which establishments adhere to a region, and since when: the operator's OrganizationAffiliations say so.

https://hl7.org/fhir/R4/organizationaffiliation.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from consent.documents import Affiliation
from consent.period import window
from consent.policy import DEFAULT, Policy
from consent.reference import literal, type_of
from consent.request import Actor

MEMBER = ("http://hl7.org/fhir/organization-role", "member")


def affiliations(resource: Mapping[str, Any], policy: Policy = DEFAULT) -> list[Affiliation]:
    """Return the networks of which an OrganizationAffiliation makes its participating organisation a member, and when.

    None where it is inactive, where no code of it says member, or where an organisation is not a literal reference.
    """
    member = literal(resource.get("participatingOrganization"))
    spent = window(resource.get("period"), policy.zone)
    if resource.get("active") is False or MEMBER not in set(_codes(resource)) or spent.is_empty:
        return []
    if member is None or type_of(member) != "Organization":
        return []
    networks = [literal(each) for each in resource.get("network", ())]
    return [
        {"member": member, "network": network, "from": spent.start, "until": spent.until}
        for network in dict.fromkeys(networks)
        if network is not None and type_of(network) == "Organization"
    ]


def _codes(resource: Mapping[str, Any]) -> Iterator[tuple[str | None, str | None]]:
    for concept in resource.get("code", ()):
        for coding in concept.get("coding", ()):
            yield coding.get("system"), coding.get("code")


def may_write(actor: Actor, policy: Policy) -> bool:
    """Say whether an establishment's system may write: where the policy names a network, as one of its members now."""
    return actor.kind != "system" or not policy.network or policy.network in actor.networks
