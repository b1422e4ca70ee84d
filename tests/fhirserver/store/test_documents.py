"""Administrative records: clients, used assertions, revoked tokens, signing keys."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from mongoengine import ValidationError

from fhirserver.config import Config
from fhirserver.store import documents
from fhirserver.store.database import connect
from fhirserver.store.embedded import EmbeddedMongo

SOON = datetime.now(UTC) + timedelta(minutes=5)


@pytest.fixture(scope="module")
def mongo(tmp_path_factory):
    with EmbeddedMongo(tmp_path_factory.mktemp("documents")) as running:
        yield running


@pytest.fixture
def database(mongo):
    connected = connect(mongo.uri, Config(database="documents"))
    connected.client.drop_database("documents")
    documents._kept.clear()
    yield connected
    connected.client.drop_database("documents")
    connected.close()


@pytest.fixture
def add(database):
    def add_client(client_id="his-e1", **changes):
        values = {
            "name": "HIS of hospital 1",
            "category": "care",
            "organization": "Organization/e1",
            "jwks": {"keys": [{"kty": "EC", "crv": "P-384", "x": "x", "y": "y"}]},
            "scopes": "system/*.cruds",
        }
        return documents.add_client(client_id, **{**values, **changes})

    return add_client


def test_a_client_is_found_as_it_was_registered(add):
    add(patient_id_system="urn:oid:1.2.3")
    client = documents.get_client("his-e1")
    assert (client.name, client.organization, client.patient_id_system, client.active) == (
        "HIS of hospital 1",
        "Organization/e1",
        "urn:oid:1.2.3",
        True,
    )


def test_an_unknown_client_is_none(database):
    assert documents.get_client("nobody") is None


def test_an_id_that_is_taken_is_refused(add):
    add()
    with pytest.raises(ValueError, match="client his-e1 is registered already"):
        add(name="somebody else")
    assert documents.get_client("his-e1").name == "HIS of hospital 1"


def test_replacing_changes_the_scopes(add):
    add()
    add(scopes="system/Patient.rs", replace=True)
    assert documents.get_client("his-e1").scopes == "system/Patient.rs"


def test_a_removed_client_is_kept_but_not_active_and_its_id_may_be_registered_again(add):
    add()
    assert documents.remove_client("his-e1")
    assert not documents.get_client("his-e1").active
    assert not documents.remove_client("his-e1")
    assert add().active
    assert documents.get_client("his-e1").active


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": "../his"},
        {"client_id": "his e1"},
        {"category": "other"},
        {"organization": "Patient/p"},
        {"organization": "Organization/"},
    ],
)
def test_a_client_of_the_wrong_form_is_refused(add, wrong):
    with pytest.raises(ValidationError):
        add(**wrong)


def test_an_answer_may_be_as_old_as_asked_and_changes_in_this_process_are_seen_at_once(add, database):
    add()
    assert documents.get_client("his-e1", age=60).active
    database.database.clients.update_one({"_id": "his-e1"}, {"$set": {"active": False}})  # another process
    assert documents.get_client("his-e1", age=60).active
    assert not documents.get_client("his-e1").active
    add(replace=True)
    assert documents.get_client("his-e1", age=60).active


def test_an_assertion_is_used_once_per_client(database):
    assert documents.use_assertion("his-e1", "j1", SOON)
    assert not documents.use_assertion("his-e1", "j1", SOON)
    assert documents.use_assertion("his-e2", "j1", SOON)


def test_of_many_uses_at_the_same_moment_one_succeeds(database):
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: documents.use_assertion("his-e1", "j", SOON), range(8)))
    assert outcomes.count(True) == 1


def test_a_revoked_token_is_known_and_others_are_not(database):
    documents.revoke_token("t1", SOON)
    documents.revoke_token("t1", SOON)
    assert documents.is_revoked("t1")
    assert not documents.is_revoked("t2")


def test_expired_records_are_let_go_by_an_index(database):
    documents.create_indexes()
    for collection in ("revoked_tokens", "used_assertions"):
        indexes = database.database[collection].index_information()
        assert any(index.get("expireAfterSeconds") == 0 for index in indexes.values())


def test_the_first_signing_key_wins(database):
    assert documents.add_signing_key(1, {"kid": "a"})
    assert not documents.add_signing_key(1, {"kid": "b"})
    documents.add_signing_key(2, {"kid": "c"})
    assert [key["kid"] for key in documents.signing_keys()] == ["c", "a"]


def test_the_address_of_the_server_is_remembered(database):
    assert documents.known_base() is None
    documents.remember_base("http://127.0.0.1:8080")
    documents.remember_base("http://127.0.0.1:9090")
    assert documents.known_base() == "http://127.0.0.1:9090"
