"""The floor: the same stack without FHIR.

Flask on granian and one pymongo call a request on the embedded mongod: stored bytes returned or joined, journaled
writes; no token, no validation, no search values, no consent, no audit, no history. What the server costs is quoted as
a multiple of this.

FLOOR_MONGODB_URI says where the data are.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import flask
import msgspec
from pymongo import MongoClient
from pymongo.collection import Collection

from benchmarks import data

FHIR_JSON = "application/fhir+json"
DATABASE = "floor"

Row = dict[str, Any]


def make_app() -> flask.Flask:
    """The application of one worker, with a client of its own."""
    client: MongoClient[Row] = MongoClient(os.environ["FLOOR_MONGODB_URI"])
    rows = client[DATABASE]["resources"]
    app = flask.Flask("floor")

    @app.get("/fhir/<type_>/<identity>")
    def read(type_: str, identity: str) -> flask.Response:
        row = rows.find_one({"_id": f"{type_}/{identity}"}, {"body": 1})
        return flask.Response(row["body"], mimetype=FHIR_JSON) if row else flask.Response(status=404)

    @app.get("/fhir/<type_>")
    def search(type_: str) -> flask.Response:
        query: Row = {"type": type_}
        query.update(
            (name, flask.request.args[name]) for name in ("patient", "identifier") if name in flask.request.args
        )
        found = rows.find(query, {"body": 1, "_id": 0}).limit(int(flask.request.args.get("_count", "20")))
        return flask.Response(_searchset([row["body"] for row in found]), mimetype=FHIR_JSON)

    @app.post("/fhir/<type_>")
    def create(type_: str) -> flask.Response:
        identity = uuid.uuid4().hex
        body = flask.request.get_data()
        rows.insert_one({"_id": f"{type_}/{identity}", "type": type_, "body": body})
        return flask.Response(body, 201, {"Location": f"/fhir/{type_}/{identity}"}, mimetype=FHIR_JSON)

    @app.post("/fhir")
    def transaction() -> flask.Response:
        bundle = msgspec.json.decode(flask.request.get_data(), type=_Bundle)
        written = [
            {"_id": f"{entry.request.url}/{uuid.uuid4().hex}", "type": entry.request.url, "body": bytes(entry.resource)}
            for entry in bundle.entry
        ]
        with client.start_session() as session:
            session.with_transaction(lambda session: [rows.insert_one(row, session=session) for row in written])
        entries = [{"response": {"status": "201", "location": row["_id"]}} for row in written]
        answer = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
        return flask.Response(data.encoded(answer), mimetype=FHIR_JSON)

    return app


class _Request(msgspec.Struct):
    method: str
    url: str


class _Entry(msgspec.Struct):
    resource: msgspec.Raw
    request: _Request


class _Bundle(msgspec.Struct):
    entry: list[_Entry]


def _searchset(bodies: list[bytes]) -> bytes:
    joined = b'},{"resource":'.join(bodies)
    entries = b'{"resource":' + joined + b"}" if bodies else b""
    return b'{"resourceType":"Bundle","type":"searchset","entry":[' + entries + b"]}"


def fill(uri: str, region: data.Region) -> None:
    """Write the region into the floor's database, with the two indexes that its searches need."""
    with MongoClient[Row](uri) as client:
        rows = client[DATABASE]["resources"]
        rows.create_index([("type", 1), ("patient", 1)])
        rows.create_index([("type", 1), ("identifier", 1)], sparse=True)
        batch: list[Row] = []
        for row in _rows(region):
            batch.append(row)
            if len(batch) == 1_000:
                _insert(rows, batch)
                batch = []
        _insert(rows, batch)


def _insert(rows: Collection[Row], batch: list[Row]) -> None:
    if batch:
        rows.insert_many(batch, ordered=False)


def _rows(region: data.Region) -> Iterator[Row]:
    for number, resources in region.records():
        for resource in resources:
            type_ = resource["resourceType"]
            row = {"_id": f"{type_}/{resource['id']}", "type": type_, "body": data.encoded(resource)}
            if type_ == "Patient":
                row["identifier"] = f"{data.IDENTIFIER_SYSTEM}|{data.identifier_of(number)}"
            else:
                row["patient"] = f"Patient/bench-p{number}"
            yield row
