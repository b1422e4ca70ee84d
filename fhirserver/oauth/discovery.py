"""What this server offers, told to SMART clients: only what is there.

https://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html. There is no authorization endpoint yet, so none is named,
and neither is a PKCE method.
"""

from __future__ import annotations

from typing import Any

from fhirserver.config import Config
from fhirserver.oauth.access_token import issuer
from fhirserver.oauth.client_assertion import METHOD
from fhirserver.oauth.keys import CLIENT_ALGORITHMS


def smart_configuration(config: Config) -> dict[str, Any]:
    """The document at `/fhir/.well-known/smart-configuration`."""
    base = issuer(config)
    return {
        "issuer": base,
        "jwks_uri": f"{base}/jwks",
        "token_endpoint": f"{base}/token",
        "token_endpoint_auth_methods_supported": [METHOD],
        "token_endpoint_auth_signing_alg_values_supported": list(CLIENT_ALGORITHMS),
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": ["system/*.cruds", "system/*.rs"],
        "revocation_endpoint": f"{base}/revoke",
        "revocation_endpoint_auth_methods_supported": [METHOD],
        "capabilities": ["client-confidential-asymmetric", "permission-v1", "permission-v2"],
    }
