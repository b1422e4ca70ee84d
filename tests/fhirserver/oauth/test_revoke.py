"""Revocation by RFC 7009: a client takes back its own tokens, and nobody else's."""

from __future__ import annotations

import pytest

from fhirserver.oauth import bearer
from fhirserver.oauth.keys import SigningKeys
from fhirserver.oauth.server import blueprint
from tests.fhirserver.oauth.assertions import STRANGER, claims, form, signed


@pytest.fixture
def revoke(http):
    def post(token, assertion=None, **changes):
        data = form(assertion, grant_type=None, scope=None, token=token, **changes)
        return http.post("/oauth/revoke", data=data)

    return post


def test_a_revoked_token_is_refused_at_once(revoke, tokens, whoami):
    token = tokens.issue()
    assert whoami(token).status_code == 200
    assert revoke(token).status_code == 200
    response = whoami(token)
    assert response.status_code == 401
    assert "The token was revoked." in response.headers["WWW-Authenticate"]


def test_another_process_refuses_it_too(revoke, tokens, config, database):
    token = tokens.issue()
    elsewhere = bearer.Bearer(config, database, SigningKeys.load())
    revoke(token)
    with pytest.raises(bearer.InvalidAccessTokenError, match="revoked"):
        elsewhere._verified(token, bearer.datetime.now(bearer.UTC))


def test_the_token_of_another_client_stays_good(revoke, tokens, whoami):
    token = tokens.issue(subject="his-e2", client_id="his-e2")
    response = revoke(token)
    assert (response.status_code, response.json["error"]) == (400, "invalid_grant")
    assert whoami(token).status_code == 200


@pytest.mark.parametrize("token", ["unknown", "e30.e30.e30", "é"])
def test_a_token_that_is_none_is_answered_like_one_that_is_over(revoke, token):
    assert revoke(token).status_code == 200


def test_who_does_not_prove_itself_revokes_nothing(revoke, tokens, whoami, http):
    token = tokens.issue()
    forged = signed(claims(), key=STRANGER)
    assert revoke(token, forged).json["error"] == "invalid_client"
    assert http.post("/oauth/revoke", data={"token": token}).json["error"] == "invalid_client"
    assert whoami(token).status_code == 200


def test_a_request_without_a_token_is_refused(revoke):
    assert revoke(None).json["error"] == "invalid_request"


def test_an_unknown_type_of_token_is_refused(revoke, tokens):
    response = revoke(tokens.issue(), token_type_hint="refresh_token")
    assert response.json["error"] == "unsupported_token_type"


def test_a_revocation_is_audited(revoke, tokens, audited):
    revoke(tokens.issue())
    (event,) = audited()
    assert "his-e1" in event
    assert "110123" in event  # DICOM: logout


def test_the_blueprint_may_be_made_again_for_another_worker(config, database):
    assert blueprint(config, database).name == "oauth"
