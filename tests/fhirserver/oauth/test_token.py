"""The token endpoint: what a registered system is given, and everything that is refused."""

from __future__ import annotations

import base64
import hmac
import json
import time

import pytest
from joserfc.jwk import ECKey

from fhirserver import audit
from fhirserver.store import documents
from tests.fhirserver.oauth.assertions import EC, RSA, STRANGER, TOKEN_URL, claims, form, signed


@pytest.fixture
def ask(http):
    def post(data=None, **options):
        return http.post("/oauth/token", data=form() if data is None else data, **options)

    return post


def refusal(response):
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    return response.status_code, response.json["error"]


# Granted


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES384", "RS384"])
def test_a_registered_key_obtains_a_token_that_opens_the_server(ask, whoami, key):
    response = ask(form(signed(key=key)))
    assert response.status_code == 200
    assert response.json["token_type"] == "Bearer"
    assert response.json["scope"] == "system/*.rs"
    assert 0 < response.json["expires_in"] <= 300
    assert "refresh_token" not in response.json
    assert response.headers["Cache-Control"] == "no-store"
    who = whoami(response.json["access_token"]).json
    assert (who["kind"], who["reference"], who["organization"]) == ("system", "Client/his-e1", "Organization/e1")


def test_without_a_scope_all_that_is_registered_is_granted(ask):
    assert ask(form(scope=None)).json["scope"] == "system/*.cruds"


def test_scopes_are_narrowed_to_what_is_registered(ask, http):
    values = {"category": "care", "jwks": {"keys": [EC.as_dict(private=False)]}, "organization": "Organization/e1"}
    documents.add_client("reader", name="Reader", scopes="system/ImagingStudy.rs system/Patient.r", **values)
    assertion = signed(claims(iss="reader", sub="reader"))
    response = ask(form(assertion, scope="system/*.cruds system/Patient.write openid"))
    assert response.json["scope"] == "system/ImagingStudy.rs system/Patient.r"


@pytest.mark.parametrize(("category", "purpose"), [("operator", "HSYSADMIN"), ("auditor", "HCOMPL")])
def test_an_operator_acts_to_administer_and_an_auditor_to_control(ask, whoami, category, purpose):
    documents.add_client(
        category,
        name="Region",
        category=category,
        organization=None,
        jwks={"keys": [EC.as_dict(private=False)]},
        scopes="system/*.cruds",
    )
    token = ask(form(signed(claims(iss=category, sub=category)))).json["access_token"]
    who = whoami(token).json
    assert (who["kind"], who["purpose"], who["category"]) == (category, purpose, category)


def test_an_audience_may_be_one_of_several(ask):
    assert ask(form(signed(claims(aud=["http://elsewhere", TOKEN_URL])))).status_code == 200


def test_an_issued_token_is_audited_by_its_jti_and_never_by_its_text(ask, audited):
    token = ask().json["access_token"]
    jti = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["jti"]
    (event,) = audited()
    assert jti in event
    assert "his-e1" in event
    assert token not in event


# The client is refused


def now():
    return int(time.time())


def altered():
    head, _, signature = signed().split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims(sub="his-e2", iss="his-e2")).encode()).rstrip(b"=").decode()
    return f"{head}.{other}.{signature}"


def part(value):
    octets = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unsigned():
    return f"{part({'alg': 'none', 'kid': EC.kid})}.{part(claims())}."


def confused():
    """A verifier that believes the header would take the public key for a shared secret."""
    text = f"{part({'alg': 'HS384', 'kid': EC.kid})}.{part(claims())}"
    return f"{text}.{part(hmac.digest(EC.as_pem(private=False), text.encode(), 'sha384'))}"


BAD_ASSERTIONS = {
    "signed by a stranger under our kid": lambda: signed(key=STRANGER, header={"kid": EC.kid}),
    "signed by a stranger under its own kid": lambda: signed(key=STRANGER),
    "signed by HMAC with the public key": confused,
    "signed by a weaker algorithm": lambda: signed(key=RSA, header={"alg": "RS256"}),
    "signed by another curve": lambda: signed(key=ECKey.generate_key("P-256"), header={"alg": "ES256", "kid": EC.kid}),
    "the algorithm of another key type": lambda: signed(key=RSA, header={"kid": EC.kid}),
    "unsigned": unsigned,
    "altered": altered,
    "without kid": lambda: signed(header={"kid": None}),
    "with a key from elsewhere": lambda: signed(header={"jku": "http://elsewhere/jwks"}),
    "expired": lambda: signed(claims(exp=now() - 1)),
    "without an end": lambda: signed(claims(exp=None)),
    "an end that is no number": lambda: signed(claims(exp="soon")),
    "an endless end": lambda: signed(claims(exp=float("inf"))),
    "an end that is not a number": lambda: signed(claims(exp=float("nan"))),
    "longer than five minutes": lambda: signed(claims(exp=now() + 400)),
    "from the future": lambda: signed(claims(nbf=now() + 200)),
    "for another server": lambda: signed(claims(aud="http://elsewhere/oauth/token")),
    "for our base instead of the token endpoint": lambda: signed(claims(aud="http://fhir.example/fhir")),
    "for nobody": lambda: signed(claims(aud=None)),
    "issued by another": lambda: signed(claims(iss="his-e2")),
    "without issuer": lambda: signed(claims(iss=None)),
    "without subject": lambda: signed(claims(sub=None)),
    "a subject that is no text": lambda: signed(claims(sub=["his-e1"], iss=["his-e1"])),
    "of an unknown client": lambda: signed(claims(sub="nobody", iss="nobody")),
    "without jti": lambda: signed(claims(jti=None)),
    "an empty jti": lambda: signed(claims(jti="")),
    "an overlong jti": lambda: signed(claims(jti="j" * 300)),
    "a jti that is no text": lambda: signed(claims(jti=7)),
    "no JWT": lambda: "certainly.not.this",
    "empty parts": lambda: "..",
    "not ASCII": lambda: "é.à.ü",
    "a list": lambda: "e30.W10.e30",
    "control characters": lambda: "\x00\x01",
}


@pytest.mark.parametrize("assertion", BAD_ASSERTIONS.values(), ids=BAD_ASSERTIONS)
def test_an_assertion_that_is_wrong_is_refused(ask, assertion):
    assert refusal(ask(form(assertion()))) == (400, "invalid_client")


def test_the_algorithm_is_refused_before_any_key_is_tried(ask):
    response = ask(form(signed(key=RSA, header={"alg": "RS256"})))
    assert response.json["error_description"] == "The assertion is signed by RS384 or ES384."


def test_a_key_must_be_named_even_where_a_client_has_only_one(ask):
    values = {"category": "care", "jwks": {"keys": [EC.as_dict(private=False)]}, "organization": "Organization/e1"}
    documents.add_client("single", name="Single", scopes="system/*.rs", **values)
    payload = {"iss": "single", "sub": "single"}
    assert refusal(ask(form(signed(claims(**payload), header={"kid": None})))) == (400, "invalid_client")
    assert ask(form(signed(claims(**payload)))).status_code == 200


def test_an_assertion_works_once(ask):
    assertion = signed()
    assert ask(form(assertion)).status_code == 200
    response = ask(form(assertion))
    assert refusal(response) == (400, "invalid_client")
    assert response.json["error_description"] == "The assertion was used before."


def test_a_failed_assertion_does_not_use_up_its_jti(ask):
    payload = claims()
    assert ask(form(signed(payload, key=STRANGER, header={"kid": EC.kid}))).status_code == 400
    assert ask(form(signed(payload))).status_code == 200


def test_one_client_cannot_use_the_key_of_another(ask):
    documents.add_client(
        "his-e3",
        name="HIS of e3",
        category="care",
        organization="Organization/e3",
        jwks={"keys": [STRANGER.as_dict(private=False)]},
        scopes="system/*.cruds",
    )
    assert refusal(ask(form(signed(claims(sub="his-e3", iss="his-e3"))))) == (400, "invalid_client")


def test_a_removed_client_is_refused(ask):
    values = {"category": "care", "jwks": {"keys": [EC.as_dict(private=False)]}, "organization": "Organization/e1"}
    documents.add_client("former", name="Former", scopes="system/*.cruds", **values)
    documents.remove_client("former")
    assert refusal(ask(form(signed(claims(sub="former", iss="former"))))) == (400, "invalid_client")


def test_a_secret_is_not_a_way_in(ask):
    basic = base64.b64encode(b"his-e1:secret").decode()
    data = {"grant_type": "client_credentials"}
    assert refusal(ask(data, headers={"Authorization": f"Basic {basic}"})) == (400, "invalid_client")
    assert refusal(ask({**data, "client_id": "his-e1", "client_secret": "secret"})) == (400, "invalid_client")
    assert refusal(ask({**data, "client_id": "his-e1"})) == (400, "invalid_client")


def test_another_type_of_assertion_is_refused(ask):
    assert refusal(ask(form(client_assertion_type="urn:x"))) == (400, "invalid_client")


def test_a_refusal_is_audited_and_says_nothing_that_the_client_sent(ask, audited):
    response = ask(form(signed(claims(iss="his-e1", sub="his-e1", aud="http://\"'<leak>"))))
    assert "leak" not in response.get_data(as_text=True)
    (event,) = audited()
    assert "invalid_client" in event
    assert "leak" not in event


# The request is refused


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": 'x"\x00é'}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
        ({"scope": "patient/*.rs"}, "invalid_scope"),
        ({"scope": "system/ImagingStudy.rs?_id=a"}, "invalid_scope"),
        ({"scope": "openid fhirUser"}, "invalid_scope"),
        ({"scope": "system/*.sr"}, "invalid_scope"),
    ],
)
def test_a_request_that_is_wrong_is_refused(ask, changes, error):
    assert refusal(ask(form(**changes))) == (400, error)


def test_a_parameter_that_stands_twice_is_refused(ask):
    assert refusal(ask({**form(), "scope": ["system/*.rs", "system/*.cruds"]})) == (400, "invalid_request")


def test_parameters_in_the_address_are_refused(http):
    assert refusal(http.post("/oauth/token", query_string=form(), data={"a": "b"})) == (400, "invalid_request")


def test_a_body_of_another_type_is_refused(http):
    assert refusal(http.post("/oauth/token", json=form())) == (400, "invalid_request")


def test_a_huge_body_is_refused(http):
    assert http.post("/oauth/token", data={"client_assertion": "a" * 100_000}).status_code == 413


def test_without_an_audit_there_is_no_token(ask, database):
    audit.use(None)
    try:
        assert refusal(ask()) == (503, "temporarily_unavailable")
    finally:
        audit.use(database.sealer)
