"""From a token to an access: who it is, and every token that is not one."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from fhirserver import audit
from fhirserver.oauth import bearer
from fhirserver.oauth.access_token import InvalidAccessTokenError
from fhirserver.store import documents

STRANGER = ECKey.generate_key("P-256", auto_kid=True)


def challenge(response):
    assert response.status_code == 401
    return response.headers["WWW-Authenticate"]


# Accepted


def test_a_system_acts_for_its_establishment_to_treat(whoami, tokens):
    who = whoami(tokens.issue(organization="Organization/other")).json
    assert who["kind"] == "system"
    assert who["reference"] == "Client/his-e1"
    assert who["organization"] == "Organization/e1"  # as registered, whatever the token says
    assert who["purpose"] == "TREAT"
    assert who["category"] == "care"


def test_a_professional_acts_for_the_organisation_of_the_token(whoami, tokens):
    who = whoami(tokens.person("Practitioner/d", organization="Organization/e1")).json
    assert (who["kind"], who["reference"], who["purpose"]) == ("professional", "Practitioner/d", "TREAT")
    assert {"Practitioner/d", "Organization/e1"} <= set(who["keys"])
    assert who["client"] == "command_line"


def test_a_patient_reads_their_own_record(whoami, tokens):
    who = whoami(tokens.person("Patient/ada", scope="patient/*.rs", patient="ada")).json
    assert (who["kind"], who["patients"], who["purpose"]) == ("patient", ["Patient/ada"], "PATRQT")


def test_a_representative_has_a_purpose_of_their_own(whoami, tokens):
    who = whoami(tokens.person("RelatedPerson/mother")).json
    assert (who["kind"], who["purpose"], who["patients"]) == ("representative", "PWATRNY", [])


def test_a_token_carries_one_purpose(whoami, tokens):
    assert whoami(tokens.person("Practitioner/d", purpose="HPAYMT")).json["purpose"] == "HPAYMT"


def test_scopes_are_those_of_the_token_and_still_registered(whoami, tokens):
    who = whoami(tokens.issue(scope="system/ImagingStudy.rs")).json
    assert (who["reads_studies"], who["deletes_studies"]) == (True, False)
    who = whoami(tokens.issue(scope="system/*.cruds")).json
    assert (who["reads_studies"], who["deletes_studies"]) == (True, True)


def test_a_registration_that_is_narrowed_narrows_the_tokens_already_out(whoami, tokens, http, his):
    values = {"category": "care", "organization": "Organization/e1", "jwks": his.jwks, "name": "HIS"}
    documents.add_client("narrowed", scopes="system/*.cruds", **values)
    token = tokens.issue(subject="narrowed", client_id="narrowed", scope="system/*.cruds")
    documents.add_client("narrowed", scopes="system/Patient.rs", replace=True, **values)
    assert whoami(token).json["reads_studies"] is False


def test_a_retired_professional_is_seen_as_such_at_the_next_request(whoami, tokens, database):
    token = tokens.person("Practitioner/retiring")
    assert whoami(token).json["active"] is True
    database.actors.update_one({"_id": "Practitioner/retiring"}, {"$set": {"active": False}}, upsert=True)
    assert whoami(token).json["active"] is False


def test_the_interface_is_known_from_the_address(whoami, tokens):
    token = tokens.issue()
    assert whoami(token).json["transport"] == "FHIR"
    assert whoami(token, "/dicomweb/whoami").json["transport"] == "DICOMweb"


def test_the_scheme_may_be_written_in_any_case(http, tokens):
    response = http.get("/fhir/whoami", headers={"Authorization": f"bearer {tokens.issue()}"})
    assert response.status_code == 200


@pytest.mark.parametrize("sent", ["a-1.b_2", "5f0c"])
def test_a_plain_request_id_is_taken_over(whoami, tokens, sent):
    assert whoami(tokens.issue(), **{"X-Request-Id": sent}).json["request_id"] == sent


@pytest.mark.parametrize("sent", ["", "a b", "<script>", "x" * 65, "é"])
def test_any_other_request_id_is_replaced(whoami, tokens, sent):
    taken = whoami(tokens.issue(), **{"X-Request-Id": sent}).json["request_id"]
    assert taken != sent
    assert len(taken) >= 32


# Refused


def test_without_a_token_the_challenge_names_no_error_and_nothing_is_audited(http, audited):
    assert challenge(http.get("/fhir/whoami")) == 'Bearer realm="fhir"'
    assert audited() == []


@pytest.mark.parametrize("header", ["Basic aGlzOnNlY3JldA==", "Bearer", "Bearer ", "Bearer  \t", "token"])
def test_another_scheme_is_refused(http, header):
    assert "invalid_token" in challenge(http.get("/fhir/whoami", headers={"Authorization": header}))


def test_a_token_in_the_address_is_not_looked_at(http, tokens):
    assert challenge(http.get(f"/fhir/whoami?access_token={tokens.issue()}")) == 'Bearer realm="fhir"'


def unsigned(tokens):
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    return f"{head}.{tokens.issue().split('.')[1]}."


def altered(tokens):
    head, payload, signature = tokens.issue().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["scope"] = "system/*.cruds"
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{payload}.{signature}"


BAD_TOKENS = {
    "expired": lambda t: t.issue(now=datetime.now(UTC) - timedelta(seconds=301)),
    "of another server": lambda t: t.issue(config=replace(t.config, public_base="http://elsewhere")),
    "for another audience": lambda t: t.forge(aud="http://elsewhere/fhir"),
    "for nobody": lambda t: t.forge(aud=None),
    "of another issuer": lambda t: t.forge(iss="http://elsewhere/oauth"),
    "without issuer": lambda t: t.forge(iss=None),
    "without end": lambda t: t.forge(exp=None),
    "an end that is no number": lambda t: t.forge(exp="tomorrow"),
    "an endless end": lambda t: t.forge(exp=float("inf")),
    "without jti": lambda t: t.forge(jti=None),
    "without client": lambda t: t.forge(client_id=None),
    "without scope": lambda t: t.forge(scope=None),
    "a scope that is a list": lambda t: t.forge(scope=["system/*.rs"]),
    "a purpose that is a list": lambda t: t.forge(purpose=["TREAT"]),
    "not yet valid": lambda t: t.forge(nbf=int(datetime.now(UTC).timestamp()) + 100),
    "signed by a stranger under our kid": lambda t: t.forge(key=STRANGER),
    "signed by a stranger under its kid": lambda t: t.forge(key=STRANGER, header={"kid": STRANGER.kid}),
    "signed by RSA": lambda t: t.forge(key=RSAKey.generate_key(2048), header={"alg": "RS256"}),
    "of another type": lambda t: t.forge(header={"typ": "JWT"}),
    "of no type": lambda t: t.forge(header={"typ": None}),
    "unsigned": unsigned,
    "altered": altered,
    "cut short": lambda t: t.issue()[:-4],
    "of an unknown client": lambda t: t.issue(subject="nobody", client_id="nobody"),
    "of a person through an unknown client": lambda t: t.person("Practitioner/d", client_id="nobody"),
    "of a person that is none": lambda t: t.person("Device/x"),
    "of a person with a strange id": lambda t: t.person("Patient/../x"),
    "of a person who is not the subject": lambda t: t.issue(
        subject="Practitioner/d", person="Practitioner/e", client_id=bearer.COMMAND_LINE
    ),
    "a client assertion's shape": lambda _: "e30.e30.e30",
    "no JWT": lambda _: "opaque",
    "a header nested without end": lambda _: base64.urlsafe_b64encode(b'{"a":' + b"[" * 90_000).decode() + ".e30.e30",
    "not ASCII": lambda _: "t\xf6ken",
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_token_that_is_wrong_is_refused(whoami, tokens, token):
    response = whoami(token(tokens))
    assert 'error="invalid_token"' in challenge(response)


def test_an_expired_token_is_told_so(whoami, tokens):
    token = tokens.issue(now=datetime.now(UTC) - timedelta(hours=1))
    assert "The token has expired." in challenge(whoami(token))


def test_a_refused_token_is_audited_without_its_text(whoami, tokens, audited):
    token = tokens.forge(key=STRANGER)
    whoami(token, **{"X-Request-Id": "request-7"})
    (event,) = audited()
    assert "request-7" in event
    assert token not in event
    assert token.split(".")[1] not in event


def test_without_an_audit_a_refusal_is_not_even_told(whoami, tokens, database):
    audit.use(None)
    try:
        assert whoami(tokens.forge(key=STRANGER)).status_code == 503
    finally:
        audit.use(database.sealer)


# Kept for seconds


def test_a_token_that_was_kept_still_expires_to_the_second(whoami, tokens):
    start = datetime.now(UTC)
    with time_machine.travel(start, tick=False) as clock:
        token = tokens.issue(now=start)
        assert whoami(token).status_code == 200
        clock.shift(299)
        assert whoami(token).status_code == 200
        clock.shift(2)
        assert whoami(token).status_code == 401


def test_a_token_is_verified_once_and_again_when_what_is_kept_is_old(app, whoami, tokens, monkeypatch):
    verifier = app.extensions[bearer.EXTENSION].verifier
    verified = []
    verify = verifier.verify
    monkeypatch.setattr(verifier, "verify", lambda token: verified.append(token) or verify(token))
    token = tokens.issue()
    whoami(token)
    whoami(token)
    assert len(verified) == 1
    later = bearer.time.monotonic() + 6
    monkeypatch.setattr(bearer.time, "monotonic", lambda: later)
    whoami(token)
    assert len(verified) == 2


def test_a_removed_client_is_refused_when_what_is_kept_is_old(app, whoami, tokens, monkeypatch, his):
    documents.add_client(
        "leaving",
        name="Leaving",
        category="care",
        organization="Organization/e1",
        jwks=his.jwks,
        scopes="system/*.rs",
    )
    token = tokens.issue(subject="leaving", client_id="leaving")
    assert whoami(token).status_code == 200
    documents.remove_client("leaving")
    later = bearer.time.monotonic() + 6
    monkeypatch.setattr(bearer.time, "monotonic", lambda: later)
    assert whoami(token).status_code == 401


def test_what_is_kept_stays_within_bounds(app, whoami, tokens, monkeypatch):
    monkeypatch.setattr(bearer, "_MOST_KEPT", 3)
    for _ in range(8):
        assert whoami(tokens.issue()).status_code == 200
    assert len(app.extensions[bearer.EXTENSION]._kept) <= 3


# Any text at all


@given(text=st.text(max_size=200) | st.binary(max_size=120).map(lambda b: base64.urlsafe_b64encode(b).decode()))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_upsets_the_verifier(app, text):
    verifier = app.extensions[bearer.EXTENSION].verifier
    for token in (text, f"{text}.{text}.{text}", f"eyJhbGciOiJFUzI1NiJ9.{text}.{text}"):
        with pytest.raises(InvalidAccessTokenError):
            verifier.verify(token)
