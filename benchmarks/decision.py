"""What one decision costs: the pure package by itself, without a web or a database.

The typical patient has three Consents and a care team of eight, of which the doctor who asks is the last. The hard one
has a hundred Consents. Goals are microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import consent
from consent import care_team

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
PATIENT = "Patient/bench-p0"
DOCTOR = "Practitioner/bench-doctor"
_REPEATS = 7


@dataclass(frozen=True, slots=True)
class Timing:
    """One kind of decision: the best mean of several repetitions, in microseconds, and its goal."""

    name: str
    microseconds: float
    goal: float

    @property
    def met(self) -> bool:
        """Whether the goal is reached."""
        return self.microseconds <= self.goal


def _team() -> dict[str, Any]:
    members = [f"Practitioner/colleague-{number}" for number in range(7)] + [DOCTOR]
    return {
        "resourceType": "CareTeam",
        "id": "bench-t0",
        "status": "active",
        "subject": {"reference": PATIENT},
        "participant": [{"member": {"reference": member}} for member in members],
    }


def _consent(number: int) -> dict[str, Any]:
    """The patient keeps one professional from the studies of one code."""
    return {
        "resourceType": "Consent",
        "id": f"bench-c{number}",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": PATIENT},
        "dateTime": "2026-01-05T10:00:00+01:00",
        "performer": [{"reference": PATIENT}],
        "policy": [{"uri": "urn:fhirserver:policy:restriction"}],
        "provision": {
            "type": "deny",
            "actor": [
                {
                    "role": {
                        "coding": [
                            {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "PRCP"}
                        ]
                    },
                    "reference": {"reference": f"Practitioner/stranger-{number}"},
                }
            ],
        },
    }


def _facts(consents: int) -> dict[str, Any]:
    """The facts of an ImagingStudy of that patient, completed as the store does."""
    read = [consent.read_consent(_consent(number), 1) for number in range(consents)]
    directives = tuple(directive for directive in read if directive is not None)
    if len(directives) != consents:
        raise RuntimeError("a Consent of the benchmark was not taken for a directive")
    access = consent.PatientAccess(PATIENT, tuple(care_team.relations(_team(), 1)), directives)
    static = {
        "type": "ImagingStudy",
        "id": "bench-s0",
        "kind": "clinical",
        "custodians": ["Organization/bench-hospital"],
        "authors": ["Practitioner/radiologist"],
        **consent.security_facts(()),
        "lifecycle": "present",
        "instances": ["ImagingStudy/bench-s0"],
        "related": [],
        "performed": {"from": datetime(2026, 9, 1, tzinfo=UTC), "until": datetime(2026, 9, 2, tzinfo=UTC)},
        "class": ["ImagingStudy", "http://loinc.org|24627-2"],
        "subjects": [{"patient": PATIENT}],
    }
    return dict(consent.materialise(static, [access], consent.DEFAULT))


def _microseconds(work: Callable[[], object]) -> float:
    count = 2_000
    best = float("inf")
    for _ in range(_REPEATS):
        begun = time.process_time()
        for _ in range(count):
            work()
        best = min(best, (time.process_time() - begun) / count)
    return best * 1e6


def timings() -> list[Timing]:
    """Decisions to permit, of a typical patient and of one with a hundred Consents."""
    actor = consent.Actor(
        "professional",
        DOCTOR,
        organization="Organization/bench-hospital",
        keys=frozenset({DOCTOR, "Organization/bench-hospital"}),
        scopes=consent.parse_scopes("user/*.rs"),
    )
    request = consent.Request("read", "TREAT", NOW)
    results = []
    for name, consents, goal in (("typical patient", 3, 20.0), ("100 Consents", 100, 100.0)):
        facts = _facts(consents)
        decision = consent.decide(actor, request, facts)
        if not decision.is_permit:
            raise RuntimeError(f"the decision to be measured is {decision.code}")
        taken = _microseconds(partial(consent.decide, actor, request, facts))
        results.append(Timing(f"decide, {name}", taken, goal))
    return results
