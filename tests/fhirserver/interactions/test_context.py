"""One request: what it notes for the audit is what was disclosed, once."""

from __future__ import annotations

import json
from zoneinfo import ZoneInfo

from fhirserver.interactions.context import Context
from fhirserver.store.resource_store import ResourceStore
from resources import validation


def test_an_attempt_that_conflicts_leaves_nothing_noted_beside_what_the_one_that_succeeds_noted(region, config):
    patient = {"resourceType": "Patient", "id": "noted"}
    region.put(patient)
    access = region.access("Client/e1", organization="Organization/e1")
    context = Context(ResourceStore(region.database, access, config), access, config, ZoneInfo(config.zone), ())
    attempts = []

    def work(unit):
        attempts.append(unit)
        context.note_read(unit.read("Patient", "noted"))
        if len(attempts) == 1:
            region.put({**patient, "active": True})  # which makes this attempt fail when it is sent
        unit.update(validation.check("Patient", json.dumps({**patient, "active": False}).encode()), "noted")

    before = region.database.audit.count_documents({})
    context.settle(lambda: context.transact(work))
    assert len(attempts) == 2
    assert region.database.audit.count_documents({}) - before == 2  # of the write in between, and of one reading
