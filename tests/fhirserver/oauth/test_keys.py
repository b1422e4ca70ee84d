"""Keys of clients: public, strong enough, and of a kind that SMART uses."""

from __future__ import annotations

import pytest
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from fhirserver.oauth.keys import ClientKeyError, SigningKeys, client_key_set, client_key_set_of_pem
from fhirserver.store import documents

EC = ECKey.generate_key("P-384", auto_kid=True)
RSA = RSAKey.generate_key(2048)


@pytest.mark.parametrize("key", [EC, RSA], ids=["P-384", "RSA"])
def test_a_pem_is_registered_under_its_thumbprint(key):
    (registered,) = client_key_set_of_pem(key.as_pem(private=False))["keys"]
    assert registered["kid"] == key.thumbprint()
    assert "d" not in registered


def test_a_set_keeps_the_names_of_its_keys():
    named = ECKey.generate_key("P-384", parameters={"kid": "2026"})
    assert client_key_set(KeySet([named]).as_dict(private=False))["keys"][0]["kid"] == "2026"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (EC.as_dict(private=True), "private key"),
        (RSA.as_dict(private=True), "private key"),
        (ECKey.generate_key("P-256").as_dict(private=False), "RS384"),
        (OctKey.generate_key(256).as_dict(private=True), "RS384"),
        (OKPKey.generate_key("Ed25519").as_dict(private=False), "RS384"),
        ({"kty": "EC", "crv": "P-384", "x": "!", "y": "!"}, "read"),
        ({"kty": "other"}, "read"),
        ("text", "read"),
        (7, "read"),
        (None, "read"),
    ],
)
def test_any_other_key_is_refused(key, reason):
    with pytest.raises(ClientKeyError, match=reason):
        client_key_set({"keys": [key]})


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (EC.as_pem(private=True), "private key"),
        (RSA.as_pem(private=True), "private key"),
        (ECKey.generate_key("P-256").as_pem(private=False), "P-384"),
        (OKPKey.generate_key("Ed25519").as_pem(private=False), "read"),
        (b"", "read"),
        (b"-----BEGIN PUBLIC KEY-----\n", "read"),
    ],
)
def test_any_other_pem_is_refused(pem, reason):
    with pytest.raises(ClientKeyError, match=reason):
        client_key_set_of_pem(pem)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_an_rsa_key_that_is_too_small_is_refused():
    weak = RSAKey.generate_key(1024).as_dict(private=False)
    with pytest.raises(ClientKeyError, match="2048 bits"):
        client_key_set({"keys": [weak]})


@pytest.mark.parametrize("jwks", [{}, {"keys": []}, {"keys": "none"}, {"keys": None}])
def test_a_set_without_keys_is_refused(jwks):
    with pytest.raises(ClientKeyError, match="at least one key"):
        client_key_set(jwks)


def test_the_first_process_makes_the_key_and_all_others_share_it(database):
    first, second = SigningKeys.load(), SigningKeys.load()
    assert first.signing.kid == second.signing.kid
    assert first.secrets() == second.secrets()


def test_a_newer_key_signs_and_the_older_still_verifies(database):
    older = SigningKeys.load()
    newer = ECKey.generate_key("P-256", auto_kid=True)
    documents.add_signing_key(2, newer.as_dict(private=True))
    keys = SigningKeys.load()
    assert keys.signing.kid == newer.kid
    assert {key["kid"] for key in keys.as_jwks()["keys"]} == {newer.kid, older.signing.kid}
