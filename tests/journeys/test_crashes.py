"""Kill -9 during writes: what was acknowledged is there, what was not is whole or absent, the trail verifies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fhirserver.demo.build import Demo, register_clients, write_directory
from fhirserver.demo.http import Caller, UnexpectedAnswer, resources_of
from tests.journeys.conftest import wait_until

WRITERS = 4
BEFORE_THE_CRASH = 12


class Writers:
    """Establishments that write transactions of a patient and a care team until they are stopped."""

    def __init__(self, callers: list[Caller]) -> None:
        self.acknowledged: list[str] = []
        self.sent: list[str] = []
        self._stop = threading.Event()
        self._enough = threading.Semaphore(0)
        self._threads = [
            threading.Thread(target=self._write, args=(caller, number), name=f"writer-{number}")
            for number, caller in enumerate(callers)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def await_writes(self, count: int) -> None:
        """Return when so many more writes were acknowledged."""
        for _ in range(count):
            assert self._enough.acquire(timeout=60), "the writers are not heard"

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _write(self, caller: Caller, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            id_ = f"crash-{number}-{count}"
            self.sent.append(id_)
            try:
                answer = caller.post(transaction(id_))
            except UnexpectedAnswer:
                if self._stop.wait(0.05):
                    return
                continue
            if answer.status == 200:
                self.acknowledged.append(id_)
                self._enough.release()


def transaction(id_: str) -> dict[str, Any]:
    patient = {"resourceType": "Patient", "id": id_, "active": True, "name": [{"family": "Crash", "given": [id_]}]}
    team = {
        "resourceType": "CareTeam",
        "id": id_,
        "status": "active",
        "subject": {"reference": f"Patient/{id_}"},
        "participant": [{"member": {"reference": "Practitioner/durand"}}],
    }
    entry = [
        {"resource": each, "request": {"method": "PUT", "url": f"{each['resourceType']}/{id_}"}}
        for each in (patient, team)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entry}


@pytest.fixture
def writers(fresh: Any) -> Writers:
    demo: Demo = fresh.demo
    for _ in register_clients(demo):
        pass
    for _ in write_directory(demo):
        pass
    return Writers([demo.establishment("sainte-odile") for _ in range(WRITERS)])


def nothing_is_lost_or_halved(fresh: Any, writers: Writers) -> None:
    hospital = fresh.demo.establishment("sainte-odile")
    for id_ in writers.acknowledged:
        assert hospital.read(f"Patient/{id_}").status == 200, id_
    for id_ in writers.sent:
        found = {hospital.read(f"Patient/{id_}").status, hospital.read(f"CareTeam/{id_}").status}
        assert len(found) == 1, f"half of {id_} is there"


def the_trail_tells_every_write(fresh: Any, writers: Writers) -> None:
    verdict = json.loads(fresh.demo.operator.run("verify-audit", "--json"))
    assert verdict["intact"], verdict["faults"]
    assert verdict["unsealed"] == 0
    for id_ in writers.acknowledged[-3:]:
        events = resources_of(fresh.demo.person(f"Patient/{id_}").search("AuditEvent", patient=f"Patient/{id_}"))
        assert {"update", "create"} & {event["subtype"][0]["code"] for event in events}, id_


def test_a_killed_server_loses_no_acknowledged_write(fresh: Any, writers: Writers) -> None:
    writers.start()
    writers.await_writes(BEFORE_THE_CRASH)

    fresh.kill()
    writers.stop()
    fresh.start()

    nothing_is_lost_or_halved(fresh, writers)
    the_trail_tells_every_write(fresh, writers)


def test_a_killed_mongod_comes_back_without_losing_an_acknowledged_write(fresh: Any, writers: Writers) -> None:
    writers.start()
    writers.await_writes(BEFORE_THE_CRASH)

    fresh.kill_mongod()
    writers.await_writes(BEFORE_THE_CRASH)
    writers.stop()

    nothing_is_lost_or_halved(fresh, writers)
    fresh.stop()
    fresh.start()
    the_trail_tells_every_write(fresh, writers)


def test_a_server_that_is_asked_to_stop_ends_cleanly_and_keeps_its_data(fresh: Any, writers: Writers) -> None:
    hospital = fresh.demo.establishment("sainte-odile")
    hospital.post(transaction("kept")).expect(200)

    assert fresh.stop() == 0
    fresh.start()

    assert fresh.demo.establishment("sainte-odile").read("Patient/kept").status == 200


def test_a_second_server_does_not_take_the_data_folder_of_the_first(fresh: Any) -> None:
    demo: Callable[..., str] = fresh.demo.operator.run

    with pytest.raises(UnexpectedAnswer, match=r"exit [23]"):
        demo("serve", "--port", "0")


def test_a_killed_server_goes_on_with_an_erasure_when_it_starts(fresh: Any, writers: Writers) -> None:
    hospital, operator = fresh.demo.establishment("sainte-odile"), fresh.demo.operator
    subject = {"reference": "Patient/erased"}
    about = {"resourceType": "ServiceRequest", "status": "active", "intent": "order", "subject": subject}
    record = transaction("erased")
    record["entry"] += [{"resource": about, "request": {"method": "POST", "url": "ServiceRequest"}}] * 400
    hospital.post(record).expect(200)
    hospital.ask("POST", "/fhir/Patient/erased/$erase").expect(202)

    fresh.kill()
    fresh.start()

    assert fresh.demo.establishment("sainte-odile").read("Patient/erased").status == 404
    # Asked on the machine, which only looks: `$erase-status` would begin the work anew.
    wait_until(
        lambda: json.loads(operator.run("erase", "Patient/erased", "--status", "--json"))["status"] == "done",
        120,
        lambda: "the erasure is not finished",
    )
    removed = json.loads(operator.run("erase", "Patient/erased", "--status", "--json"))["removed"]
    assert removed["resources"] == 402
    assert json.loads(operator.run("verify-audit", "--json"))["intact"]
