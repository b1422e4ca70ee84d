"""What is told to clients is true: every address named answers, and nothing is named that is not there."""

from __future__ import annotations

from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet

from fhirserver.oauth.server import shared_secrets


def test_every_endpoint_named_is_there(http):
    document = http.get("/fhir/.well-known/smart-configuration")
    assert document.content_type == "application/json"
    named = {
        name: urlsplit(value).path for name, value in document.json.items() if name.endswith(("_endpoint", "_uri"))
    }
    assert set(named) == {"jwks_uri", "token_endpoint", "revocation_endpoint"}
    assert http.get(named["jwks_uri"]).status_code == 200
    assert http.post(named["token_endpoint"]).status_code == 400
    assert http.post(named["revocation_endpoint"]).status_code == 400


def test_what_is_offered_is_what_backend_services_need(http):
    document = http.get("/fhir/.well-known/smart-configuration").json
    assert document["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert document["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert document["grant_types_supported"] == ["client_credentials"]
    assert "client-confidential-asymmetric" in document["capabilities"]
    assert "launch-standalone" not in document["capabilities"]


def test_published_keys_verify_our_tokens_and_hold_nothing_private(http, tokens):
    jwks = http.get("/oauth/jwks").json
    assert all("d" not in key for key in jwks["keys"])
    token = jwt.decode(tokens.issue(), KeySet.import_key_set(jwks), algorithms=["ES256"])
    assert token.claims["iss"] == "http://fhir.example/oauth"
    assert token.claims["aud"] == "http://fhir.example/fhir"
    assert token.claims["exp"] - token.claims["iat"] <= 300


def test_a_person_in_a_token_is_an_absolute_url(tokens):
    jwks = tokens.keys.verifying
    claims = jwt.decode(tokens.person("Practitioner/d"), jwks, algorithms=["ES256"]).claims
    assert claims["fhirUser"] == "http://fhir.example/fhir/Practitioner/d"


def test_every_process_derives_from_the_same_secret(app, tokens):
    assert shared_secrets() == tokens.keys.secrets()
    assert len(shared_secrets()[0]) >= 43
