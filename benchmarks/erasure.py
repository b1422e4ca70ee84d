"""The erasure of a large record, from the request to the receipt, and what others who read meanwhile notice of it."""

from __future__ import annotations

import http.client
import time
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from benchmarks import data, dicom, load, workloads
from benchmarks.tokens import Tokens
from benchmarks.turns import Side
from benchmarks.workloads import Query

STUDIES, INSTANCES = 100, 100
_PATIENT = 90_000_000
_FIRST_STUDY = 500_000
_SIDE = 16
_STUDIES_A_TURN = 20
_READS = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds to the answer, and to the receipt; of reads the median before and meanwhile, and the longest."""

    instances: int
    locked: float
    erased: float
    before: float
    meanwhile: float
    longest: float


def measure(server: Side, tokens: Tokens) -> Figures:
    """Send a patient with studies of a hundred instances each, a portion of a hundred, and erase them again."""
    studies = max(2, round(STUDIES * server.portion))
    _send(server, tokens, studies)
    read = next(one for one in workloads.WORKLOADS if one.name == "read")
    reads = [
        workloads.wire(one, server.program.host, tokens.of("doctor")) for one in read.queries(server.region, 0, _READS)
    ]
    before = _delays(server, reads)
    token, delays, begun = tokens.of("system"), [], time.perf_counter()
    status = _ask(server, "POST", "$erase", token)
    locked = time.perf_counter() - begun
    while status == 202:
        delays += _delays(server, reads)
        status = _ask(server, "GET", "$erase-status", token)
    erased = time.perf_counter() - begun
    return Figures(studies * INSTANCES, locked, erased, median(before), median(delays or before), max(delays or before))


def _send(server: Side, tokens: Tokens, studies: int) -> None:
    template = dicom.template(_SIDE, _PATIENT)
    person = Query("PUT", f"/Patient/bench-p{_PATIENT}", data.encoded(data.patient(_PATIENT)))
    _expect(server, [workloads.wire(person, server.program.host, tokens.of("system"))], 201)
    for first in range(0, studies, _STUDIES_A_TURN):
        token = tokens.of("system")
        turn = range(first, min(first + _STUDIES_A_TURN, studies))
        sent = [dicom.Study(_FIRST_STUDY + number, INSTANCES) for number in turn]
        _expect(server, [dicom.stow(server.program, study, template, token) for study in sent], 200)


def _delays(server: Side, requests: list[bytes]) -> list[float]:
    return _expect(server, requests, 200).delays


def _expect(server: Side, requests: list[bytes], status: int) -> load.Outcome:
    """What came back. Raises RuntimeError where an answer is not what it should be."""
    outcome = load.run(server.program.address, requests, connections=dicom.CONNECTIONS)
    if set(outcome.statuses) != {status}:
        raise RuntimeError(f"{server.program.name} answered {dict(outcome.statuses)}: {outcome.sample[:600]!r}")
    return outcome


def _ask(server: Side, method: str, operation: str, token: str) -> int:
    """The status of one call. Raises RuntimeError where it is neither that of a receipt nor of work under way."""
    with closing(http.client.HTTPConnection(*server.program.address, timeout=60)) as connection:
        path = f"/fhir/Patient/bench-p{_PATIENT}/{operation}"
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in {200, 202}:
            raise RuntimeError(f"{operation}: {answer.status} {body[:600]!r}")
        return answer.status
