"""The names that a sender chooses for the whole region: what is told of one that is taken, and no more.

An id or a UID that another establishment has used cannot be used again, so whoever may choose names learns that one is
taken. It is told to senders only, who are known and audited, and it is the same for whatever took the name.
"""

from __future__ import annotations

import pytest

from fhirserver.demo.http import Answer, Caller
from tests.leaks.outcomes import OUTCOMES, record_of
from tests.leaks.world import OTHER, Record, World

_TAKEN = {"other-establishment": "kept", "deleted-elsewhere": "deleted", "opposed-elsewhere": "opposed"}


def taken(name: str) -> Record:
    """The record of an outcome."""
    return next(outcome.here for outcome in OUTCOMES if outcome.name == name)


def put(caller: Caller, record: Record, type_: str) -> Answer:
    """Write under the id of the record's resource, about a patient of the writer's own."""
    about = {"reference": "Patient/taken-own"}
    content = {"Patient": {}, "Observation": {"status": "final", "code": {"text": "own"}, "subject": about}}
    return caller.put({"resourceType": type_, "id": record.id(type_), **content[type_]})


@pytest.fixture(scope="module")
def sender(world: World) -> Caller:
    """Another establishment with a patient of its own."""
    world.other.put({"resourceType": "Patient", "id": "taken-own"}).expect(200, 201)
    return world.other


@pytest.mark.parametrize("type_", ["Patient", "Observation"])
def test_an_id_is_taken_alike_by_what_is_kept_deleted_or_opposed(sender: Caller, type_: str) -> None:
    answers = {name: put(sender, taken(name), type_) for name in _TAKEN}
    told = {(one.status, one.body.replace(taken(name).key.encode(), b"")) for name, one in answers.items()}

    assert len(told) == 1
    assert told.pop()[0] == 404


def test_the_id_of_an_erased_patient_is_taken_like_any_other(sender: Caller) -> None:
    erased, kept = taken("erased-elsewhere"), taken("other-establishment")
    told = {
        (answer.status, answer.body.replace(record.key.encode(), b""))
        for record in (erased, kept)
        for answer in [put(sender, record, "Patient")]
    }

    assert len(told) == 1


def test_a_deleted_id_keeps_its_history_from_who_takes_no_part_in_it(sender: Caller) -> None:
    record = taken("deleted-elsewhere")
    put(sender, record, "Patient")

    answer = sender.read(f"{record.reference('Patient')}/_history")

    assert answer.status == 404


def test_a_study_is_taken_alike_by_what_is_kept_deleted_or_opposed(world: World) -> None:
    answers = [world.other.store([taken(name).instance]) for name in _TAKEN]
    reasons = {
        (answer.status, *(item["00081197"]["Value"][0] for item in answer.json()["00081198"]["Value"]))
        for answer in answers
    }

    assert len(reasons) == 1


def test_a_patient_of_another_establishment_is_unknown_by_its_number_there(world: World) -> None:
    """The number under which another establishment knows a patient identifies nobody to this sender's system."""
    here = world.other.search("Patient", identifier=f"urn:oid:{OTHER.oid}|{record_of('no-relation-here').key}")

    assert here.json()["resourceType"] == "Bundle"
    assert "entry" not in here.json()
