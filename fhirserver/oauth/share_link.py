"""The access tokens of links: whoever shows a link is given one, for the exam that it opens, for a few minutes.

SMART Health Links, `application/smart-api-access`:
https://hl7.org/fhir/uv/smart-health-cards-and-links/STU1/links-specification.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from consent.link import link_key
from consent.request import DEFAULT_PURPOSE
from fhirserver import audit
from fhirserver.access import SHARE_LINK, Access
from fhirserver.audit import Event
from fhirserver.oauth import access_token
from fhirserver.oauth.access_token import Claims
from fhirserver.oauth.bearer import Bearer

SCOPE = "patient/Binary.r patient/DiagnosticReport.rs patient/DocumentReference.rs patient/ImagingStudy.rs"
"""What a token of a link covers; what it then opens is for the rules."""


def access_of(bearer: Bearer, link: Mapping[str, Any], recipient: str, now: datetime, name: str) -> Access:
    """The access that a token of this link would give; `name` stands for the id of a request."""
    return bearer.access_of_link(link, claims_of(link, recipient), now, name)


def token_of(
    bearer: Bearer, access: Access, link: Mapping[str, Any], recipient: str
) -> tuple[dict[str, Any], list[Event]]:
    """The token response (RFC 6749 section 5.1), and the events of it, which its caller makes durable first."""
    token, claims = access_token.issue(bearer.keys, bearer.config, claims_of(link, recipient), access.now)
    events = audit.token_events(
        "issued",
        now=access.now,
        client_id=SHARE_LINK,
        token_id=claims.token_id,
        request_id=access.request_id,
        address=access.client_address,
    )
    response = {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": claims.expires - int(access.now.timestamp()),
        "scope": SCOPE,
        "patient": claims.patient,
    }
    return response, events


def claims_of(link: Mapping[str, Any], recipient: str) -> Claims:
    """What a token of this link says."""
    return Claims(
        subject=link_key(link["_id"]),
        client_id=SHARE_LINK,
        scope=SCOPE,
        purpose=DEFAULT_PURPOSE["link"],
        patient=link["patient"].partition("/")[2],
        recipient=recipient,
    )
