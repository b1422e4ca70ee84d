"""Plain HTTP to the server, as any client would speak it: no server code, no shortcuts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import urllib3

FHIR_JSON = "application/fhir+json"


class UnexpectedAnswer(OSError):
    """The server answered otherwise than the demo needs; the text says what was asked and what came.

    An OSError, as failures of the other side are in the standard library.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    asked: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises UnexpectedAnswer where it is none."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise UnexpectedAnswer(f"{self.asked}: {self.status} with a body that is not JSON") from error

    def expect(self, *statuses: int) -> Answer:
        """Return the same answer if its status is one of these. Raises UnexpectedAnswer otherwise."""
        if self.status in statuses:
            return self
        said = self.body[:2_000].decode("utf-8", "replace")
        raise UnexpectedAnswer(f"{self.asked}: {self.status} instead of {statuses[0]}\n{said}")


class Caller:
    """Someone who asks the server with a token of their own."""

    def __init__(self, base: str, token: Callable[[], str] | None = None) -> None:
        """`token` gives the access token of each request, None asks without one."""
        self.base = base.rstrip("/")
        self._token = token
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(60.0))

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str | None = None,
        accept: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. Raises UnexpectedAnswer where nothing answers."""
        sent = {"Accept": accept or FHIR_JSON, **(headers or {})}
        if content_type is not None:
            sent["Content-Type"] = content_type
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token()}"
        try:
            answer = self._pool.request(method, self.base + path, body=body, headers=sent)
        except urllib3.exceptions.HTTPError as error:
            raise UnexpectedAnswer(f"{method} {self.base}{path}: {error}") from error
        return Answer(f"{method} {path}", answer.status, answer.headers, answer.data)

    # FHIR

    def read(self, reference: str) -> Answer:
        """Read one resource."""
        return self.ask("GET", f"/fhir/{reference}")

    def search(self, type_: str, **parameters: str) -> Answer:
        """Search a type; `x__y` stands for the modifier in `x:y`."""
        query = urlencode({name.replace("__", ":"): value for name, value in parameters.items()})
        return self.ask("GET", f"/fhir/{type_}?{query}")

    def put(self, resource: Mapping[str, Any]) -> Answer:
        """Write a resource under its own id."""
        path = f"/fhir/{resource['resourceType']}/{resource['id']}"
        return self.ask("PUT", path, body=json.dumps(resource).encode(), content_type=FHIR_JSON)

    def post(self, resource: Mapping[str, Any]) -> Answer:
        """Create a resource, or send a Bundle."""
        path = "/fhir" if resource["resourceType"] == "Bundle" else f"/fhir/{resource['resourceType']}"
        return self.ask("POST", path, body=json.dumps(resource).encode(), content_type=FHIR_JSON)

    # DICOMweb

    def store(self, instances: Sequence[bytes]) -> Answer:
        """Store instances (STOW-RS)."""
        boundary = uuid.uuid4().hex
        parts = [
            f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + instance + b"\r\n"
            for instance in instances
        ]
        body = b"".join(parts) + f"--{boundary}--\r\n".encode()
        return self.ask(
            "POST",
            "/dicomweb/studies",
            body=body,
            content_type=f'multipart/related; type="application/dicom"; boundary={boundary}',
            accept="application/dicom+json",
        )

    def studies(self, **matching: str) -> Answer:
        """Search studies (QIDO-RS)."""
        return self.ask("GET", f"/dicomweb/studies?{urlencode(matching)}", accept="application/dicom+json")

    def instance(self, study: str, series: str, instance: str) -> Answer:
        """Retrieve one instance (WADO-RS), alone."""
        path = f"/dicomweb/studies/{study}/series/{series}/instances/{instance}"
        return self.ask("GET", path, accept='application/dicom; transfer-syntax="*"')


def resources_of(answer: Answer) -> list[dict[str, Any]]:
    """The matches of a searchset."""
    entries = answer.expect(200).json().get("entry", [])
    return [entry["resource"] for entry in entries if entry.get("search", {}).get("mode", "match") == "match"]
