"""The routes of the Studies service: Flask ends here.

PS3.18 10.1 (https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_10.1.html) names the resources.
Errors are told as text with a Warning header (PS3.18 8.5), by `render_error`, which `app` calls for everything below
this prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, request

from fhirserver import audit
from fhirserver.access import Access
from fhirserver.config import Config
from fhirserver.dicomweb import dicom_json, matching, multipart
from fhirserver.dicomweb.attributes import Level
from fhirserver.dicomweb.media_types import DICOM, json_accepted
from fhirserver.dicomweb.qido import Search
from fhirserver.dicomweb.received import is_uid
from fhirserver.dicomweb.stow import StudyStore
from fhirserver.dicomweb.wado import Answer, Retrieve, frame_numbers
from fhirserver.errors import BadRequest, FhirError, Forbidden, NotFound, NotSupported, UnsupportedMediaType
from fhirserver.forwarded import BASE_KEY
from fhirserver.store import documents
from fhirserver.store.database import Database
from fhirserver.store.instances import Directory
from fhirserver.store.objects import Objects
from fhirserver.store.resource_store import ResourceStore

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

_WARNING_AGENT = "fhirserver"


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes of one process share."""

    config: Config
    database: Database
    objects: Objects
    directory: Directory
    zone: ZoneInfo
    authenticate: Callable[[], Access]

    def base(self) -> str:
        """The base by which links of the current request begin: where a listed proxy says that it came in."""
        told: str | None = request.environ.get(BASE_KEY)
        return self.config.dicomweb_base if told is None else f"{told}/dicomweb"

    def store(self, access: Access) -> ResourceStore:
        """The guarded store of one request."""
        return ResourceStore(self.database, access, self.config)


def blueprint(config: Config, database: Database, authenticate: Callable[[], Access]) -> Blueprint:
    """The Studies service under /dicomweb; `authenticate` gives the access of the request at hand, or raises."""
    service = Service(config, database, database.objects, Directory(database), ZoneInfo(config.zone), authenticate)
    routes = Blueprint("dicomweb", __name__, url_prefix="/dicomweb")
    _store_routes(routes, service)
    _search_routes(routes, service)
    _retrieve_routes(routes, service)
    _refused_routes(routes, service)
    return routes


def render_error(error: FhirError) -> Response:
    """The error as text, and as a Warning header for clients that show only that."""
    response = Response(f"{error.diagnostics}\n", status=error.status, content_type="text/plain; charset=utf-8")
    response.headers.extend(error.headers)
    response.headers["Warning"] = _warning(error.diagnostics)
    return response


# STOW-RS


def _store_routes(routes: Blueprint, service: Service) -> None:
    @routes.post("/studies")
    @routes.post("/studies/<study>")
    def store(study: str | None = None) -> Response:
        access = service.authenticate()
        content_type = json_accepted(_accept())
        if study is not None and not is_uid(study):
            raise BadRequest("The address does not name a study by its UID.")
        client = documents.get_client(access.actor.client_id or "", age=service.config.token_cache)
        own_system = client.patient_id_system if client is not None else None
        try:
            storing = StudyStore(service.database, service.objects, service.config, access, own_system)
        except Forbidden:
            _tell_refusals(access)
            raise
        if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
            # Pixel data are compressed within DICOM already.
            raise UnsupportedMediaType("Instances are sent as they are, without Content-Encoding.")
        boundary = multipart.boundary_of(request.content_type, DICOM)
        outcome = storing.store(multipart.parts(request.stream.read, boundary), study)
        body = dicom_json.encode(outcome.to_dataset(service.base()))
        return Response(body, status=outcome.status, content_type=content_type)


# QIDO-RS


def _search_routes(routes: Blueprint, service: Service) -> None:
    def search(level: Level, study: str | None = None, series: str | None = None) -> Response:
        access = service.authenticate()
        content_type = json_accepted(_accept())
        pairs = [(name, value) for name, value in request.args.items(multi=True)]
        query = matching.parse(pairs, level)
        try:
            access.admit("search", "ImagingStudy")
        except Forbidden:
            _tell_refusals(access)
            raise
        found = Search(
            service.database,
            service.store(access),
            query,
            service.base(),
            service.zone,
            study=study,
            series=series,
        )
        results, more = found.results(level)
        asked = f"{request.path}?{request.query_string.decode('latin-1')}"
        about = [] if study is None else [row.reference for row in found.rows.values()]
        events = [
            event
            for labels, patients in audit.by_labels(found.rows.values()).items()
            for event in audit.dicom_events(
                access, "query", study, patients=patients, labels=labels, query=asked, about=about
            )
        ]
        audit.flush(access, events)
        response = _Whole([dicom_json.joined(results)], content_type=content_type)
        for text in (*query.warnings, *([_MORE] if more else [])):
            response.headers.add("Warning", _warning(text))
        return response

    def route(path: str, level: Level) -> None:
        name = f"search_{path.strip('/').replace('<', '').replace('>', '').replace('/', '_')}"
        routes.add_url_rule(path, name, lambda study=None, series=None: search(level, study, series), methods=["GET"])

    route("/studies", Level.STUDY)
    route("/series", Level.SERIES)
    route("/instances", Level.INSTANCE)
    route("/studies/<study>/series", Level.SERIES)
    route("/studies/<study>/instances", Level.INSTANCE)
    route("/studies/<study>/series/<series>/instances", Level.INSTANCE)


_MORE = "There are more results; ask for them with offset."


# WADO-RS


def _retrieve_routes(routes: Blueprint, service: Service) -> None:
    study, series, instance = "/studies/<study>", "/series/<series>", "/instances/<instance>"

    def retrieval(uid: str) -> Retrieve:
        access = service.authenticate()
        try:
            return Retrieve(service.directory, service.store(access), service.objects, access, service.zone, uid)
        except (Forbidden, NotFound):
            _tell_refusals(access)
            raise

    @routes.get(study)
    @routes.get(study + series)
    @routes.get(study + series + instance)
    def retrieve(study: str, series: str | None = None, instance: str | None = None) -> Response:
        return _answer(retrieval(study).instances(_accept(), series, instance))

    @routes.get(f"{study}/metadata")
    @routes.get(f"{study}{series}/metadata")
    @routes.get(f"{study}{series}{instance}/metadata")
    def metadata(study: str, series: str | None = None, instance: str | None = None) -> Response:
        content_type = json_accepted(_accept())
        body = retrieval(study).metadata(service.base(), series, instance)
        return _Whole(body, content_type=content_type)

    @routes.get(f"{study}{series}{instance}/frames/<numbers>")
    def frames(study: str, series: str, instance: str, numbers: str) -> Response:
        wanted = frame_numbers(numbers)
        return _answer(retrieval(study).frames(_accept(), series, instance, wanted))

    @routes.get(f"{study}{series}{instance}/bulkdata/<path:path>")
    def bulk_data(study: str, series: str, instance: str, path: str) -> Response:
        return _answer(retrieval(study).bulk(_accept(), series, instance, path))


class _Whole(Response):
    """A response that hands a list body on as it is: the WSGI server sends a list at once, and asks for each piece of
    anything else. Nothing is run when it is closed.
    """

    def get_app_iter(self, environ: WSGIEnvironment) -> Iterable[bytes]:
        """The body of a GET that is a list; else as usual."""
        if environ["REQUEST_METHOD"] == "GET" and isinstance(self.response, list) and not self._on_close:
            return self.response
        return super().get_app_iter(environ)


def _answer(answer: Answer) -> Response:
    response = _Whole(answer.body, content_type=answer.content_type)
    if answer.length is not None:
        response.content_length = answer.length
    return response


# What is not offered


def _refused_routes(routes: Blueprint, service: Service) -> None:
    def refuse(**_: str) -> Response:
        service.authenticate()
        raise NotSupported("Rendered images and thumbnails are not offered; retrieve frames and render them.")

    places: Sequence[str] = (
        "/studies/<study>",
        "/studies/<study>/series/<series>",
        "/studies/<study>/series/<series>/instances/<instance>",
        "/studies/<study>/series/<series>/instances/<instance>/frames/<numbers>",
    )
    for at, place in enumerate(places):
        for kind in ("rendered", "thumbnail"):
            routes.add_url_rule(f"{place}/{kind}", f"{kind}_{at}", refuse, methods=["GET"])


def _accept() -> str | None:
    """The media types asked for; a query parameter stands for the header (PS3.18 8.3.3.1)."""
    return request.args.get("accept") or request.headers.get("Accept")


def _tell_refusals(access: Access) -> None:
    events = [event for noted in access.decisions for event in audit.refusal_events(access, noted)]
    audit.flush(access, events)


def _warning(text: str) -> str:
    """RFC 7234 5.5, which PS3.18 8.4.4 still uses: code 299 with the text in quotes."""
    plain = text.encode("ascii", "replace").decode().replace("\\", " ").replace('"', "'").replace("\n", " ")
    return f'299 {_WARNING_AGENT} "{plain}"'
