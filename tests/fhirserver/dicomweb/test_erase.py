"""A person is erased: their images go from every route and from the disk, and none comes in again unknown."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydicom.uid import generate_uid
from werkzeug.test import TestResponse

from fhirserver.access import SystemAccess
from fhirserver.config import Config
from fhirserver.operations.erase import events_of_end
from fhirserver.store.database import Database
from fhirserver.store.erasing import Erasures
from fhirserver.store.resource_store import ResourceStore
from tests.conftest import NOW
from tests.fhirserver.conftest import NUMBERS
from tests.fhirserver.dicomweb.conftest import Caller, Person, instance, reasons
from tests.fhirserver.dicomweb.test_stow import objects

BY = {"reference": "test", "organization": None, "client": "test", "purpose": None, "request": None}


def erase(caller: Caller, patient: Person) -> TestResponse:
    return caller.ask("POST", f"/fhir/{patient.reference}/$erase")


def lock(config: Config, database: Database, patient: Person) -> None:
    store = ResourceStore(database, SystemAccess.named("operator", NOW, "test"), config)
    store.transact(lambda unit: unit.erase(patient.reference.partition("/")[2], BY, is_operator=True))


@pytest.mark.parametrize("is_removed", [False, True])
def test_images_are_gone_from_every_route(
    his: Caller, doctor: Caller, config: Config, database: Database, patient: Person, is_removed: bool
):
    study, series, uid = generate_uid(), generate_uid(), generate_uid()
    sent = instance(patient, StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=uid)
    assert his.store(sent).status_code == 200
    below = f"/studies/{study}/series/{series}/instances/{uid}"
    paths = [
        below,
        f"{below}/metadata",
        f"{below}/frames/1",
        f"{below}/rendered",
        f"/studies/{study}",
        f"/studies/{study}/metadata",
        f"/studies/{study}/series",
        f"/studies/{study}/instances",
    ]
    before = {path: doctor.get(path).status_code for path in paths}
    assert before[below] == 200
    lock(config, database, patient)
    if is_removed:
        Erasures(database, config).run(events_of_end)
        assert database.instances.find_one({"_id": uid}) is None
        assert not [path for path in objects(config) if uid in str(path)]
    for caller in (doctor, his):
        for path in paths:
            found, unknown = caller.get(path), caller.get(path.replace(study, "1.2.3"))
            assert found.status_code == unknown.status_code, path
            assert found.data.replace(study.encode(), b"") == unknown.data.replace(b"1.2.3", b""), path
        assert caller.get(f"/studies?StudyInstanceUID={study}").json == []


def test_an_image_of_the_person_that_comes_afterwards_is_of_nobody(
    his: Caller, config: Config, database: Database, patient: Person
):
    study = generate_uid()
    assert his.store(instance(patient, StudyInstanceUID=study)).status_code == 200
    lock(config, database, patient)
    unknown = reasons(his.store(instance(Person("no-such-number", ""))))
    for step in (lambda: None, lambda: Erasures(database, config).run(events_of_end)):
        step()
        again = instance(patient, StudyInstanceUID=study)
        assert reasons(his.store(again)) == unknown
    assert database.instances.count_documents({"study": study}) == 0


@pytest.mark.parametrize("is_opposed", [False, True])
def test_a_person_who_comes_back_is_kept_out_if_they_were_opposed(
    his: Caller, config: Config, database: Database, patient: Person, is_opposed: bool
):
    study = generate_uid()
    assert his.store(instance(patient, StudyInstanceUID=study)).status_code == 200
    if is_opposed:
        assert his.ask("POST", f"/fhir/{patient.reference}/$opposition").status_code == 200
    assert erase(his, patient).status_code == 202
    Erasures(database, config).run(events_of_end)
    his.put(
        {
            "resourceType": "Patient",
            "id": f"{patient.reference.partition('/')[2][:30]}-2",
            "identifier": [{"system": NUMBERS, "value": patient.number}],
            "name": [{"family": "Martin", "given": ["Ada"]}],
            "birthDate": "1985-12-10",
        }
    )
    answer = his.store(instance(patient, StudyInstanceUID=study))
    assert bool(reasons(answer)) is is_opposed
    assert database.instances.count_documents({"study": study}) == (0 if is_opposed else 1)


def test_images_that_arrive_meanwhile_are_erased_or_refused(
    his: Caller, config: Config, database: Database, patient: Person
):
    sent = [instance(patient) for _ in range(6)]
    begun = threading.Event()

    def store(one: bytes) -> TestResponse:
        answer = his.store(one)
        begun.set()
        return answer

    with ThreadPoolExecutor(max_workers=2) as pool:
        stored = [pool.submit(store, one) for one in sent]
        begun.wait(30)
        assert erase(his, patient).status_code == 202
        answers = [one.result().status_code for one in stored]
    Erasures(database, config).run(events_of_end)
    assert set(answers) <= {200, 409}
    left = database.resources.find({"facts.subjects.patient": patient.reference}, {"_id": 1}).to_list()
    assert [one["_id"] for one in left] == [patient.reference]
    kept = {row["object"] for row in database.instances.find({}, {"object": 1})}
    named = {str(path.relative_to(config.data / "objects")) for path in objects(config)}
    assert {one for one in named if one.startswith("dicom")} <= kept
