"""Search in the background (`Prefer: respond-async`) a type, a compartment or the system: begin, ask, fetch, cancel.

The search itself is done for the caller who began it, and only the names of what it found are kept; the audit tells of
it before it begins, and again of what is fetched. Whoever fetches it
must be the same caller, and is decided on at that moment: what they may not see by then, and what does not match any
more, is not in the answer. So no total is told that was counted earlier, and a search that asks for one is not done in
the background.

The process that was asked does the work. If it dies, the next question about the job lets another process take it over.

https://hl7.org/fhir/R5/async-bundle.html, https://hl7.org/fhir/R4/async.html
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import cast

import structlog

from fhirserver.errors import FhirError, NotFound, Unavailable
from fhirserver.interactions.context import PAGE, Context, Pairs
from fhirserver.interactions.search_compartment import admit_compartment, compartment_query
from fhirserver.interactions.search_system import system_query
from fhirserver.interactions.search_type import Searchset, note_disclosure
from fhirserver.search.query import Handling, Query
from fhirserver.store.documents import DatabaseError
from fhirserver.store.jobs import Found, Job, Jobs
from fhirserver.store.resource_store import Page
from fhirserver.store.rows import Row

MOST_UNFINISHED = 10
"""Searches that one caller may have under way; a further one is answered at once."""

_SUBJECT = "search-later"
_THREADS = 2
_BEAT = 5.0  # seconds between two signs of life
_DEAD = timedelta(seconds=30)  # without a sign of life
_IDLE = 10.0  # seconds after which a thread without work ends

_NOTHING_YET = Page([], [], None, None)
_UNFINISHED = (Unavailable.status, Unavailable.code, "The search could not be finished.")

_log = structlog.get_logger()


class Background:
    """The searches that one process does in the background; safe to use from all its threads."""

    def __init__(self, jobs: Jobs) -> None:
        """No thread is started before there is work."""
        self._jobs = jobs
        self._waiting: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()

    def begin(
        self, context: Context, other: Context, path: str, pairs: Pairs, *, handling: Handling = "strict"
    ) -> Job | None:
        """Begin a search at a path (a type, `Patient/1/Observation`, nothing), or None where it is answered at once.

        `other` is a context of the same caller, for the work that goes on when this request is answered.
        Raises what a search raises for what was asked: Forbidden, BadRequest; of a compartment NotFound and Gone.
        """
        if any(name == PAGE for name, _ in pairs):
            return None
        query = _asked(context, path, pairs, handling)
        if query.is_of_contained or _asks_for_total(query) or path == "Binary":
            return None
        about = _about(context, path)
        caller = context.caller(_SUBJECT)
        if self._jobs.unfinished(caller) >= MOST_UNFINISHED:
            return None
        note_disclosure(context, path, query, _NOTHING_YET, about=about)
        context.settle_now()
        now = _now()
        lifetime = timedelta(seconds=context.config.page_lifetime)
        job = Job(secrets.token_urlsafe(24), path, tuple(pairs), handling, "running", now, now + lifetime, now)
        self._jobs.add(job, caller)
        self._do(other, job)
        return job

    def ask(self, context: Context, other: Context, id_: str) -> Job | Searchset:
        """How a search stands, or what it found, decided anew; `other` is for work that has to be taken over.

        Raises NotFound for what is not this caller's, the error that the search ended in, and Forbidden.
        """
        job = self._of_caller(context, id_)
        if job.state == "running":
            if _now() - job.beat > _DEAD and self._jobs.take_over(job, _now()):
                self._do(other, job)
            return job
        if job.state == "failed" or job.found is None:
            raise _error_of(job.error or _UNFINISHED)
        return _fetched(context, job, job.found)

    def cancel(self, context: Context, id_: str) -> None:
        """Forget a search and what it found. Raises NotFound for what is not this caller's."""
        job = self._of_caller(context, id_)
        self._jobs.remove(job.id, context.caller(_SUBJECT))

    def _of_caller(self, context: Context, id_: str) -> Job:
        job = self._jobs.get(id_, context.caller(_SUBJECT), _now())
        if job is None:
            raise NotFound("There is no such search, or it has expired.")
        return job

    # The work

    def _do(self, context: Context, job: Job) -> None:
        self._waiting.put(partial(self._perform, context, job))
        with self._lock:
            if self._threads < _THREADS:
                self._threads += 1
                threading.Thread(target=self._work, name="search-later", daemon=True).start()

    def _work(self) -> None:
        while True:
            try:
                work = self._waiting.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    if self._waiting.empty():
                        self._threads -= 1
                        return
                continue
            work()

    def _perform(self, context: Context, job: Job) -> None:
        is_done = threading.Event()
        threading.Thread(target=self._show_life, args=(job.id, is_done), daemon=True).start()
        try:
            self._jobs.finish(job.id, _search(context, job))
        except FhirError as error:
            self._jobs.fail(job.id, error.status, error.code, error.diagnostics)
        except Exception as error:  # noqa: BLE001 - whatever failed, who asks must be told
            _log.error("search-later", error=type(error).__name__)
            self._fail(job.id)
        finally:
            is_done.set()

    def _fail(self, id_: str) -> None:
        try:
            self._jobs.fail(id_, *_UNFINISHED)
        except DatabaseError as error:  # the job dies, and is taken over
            _log.error("search-later", error=type(error).__name__)

    def _show_life(self, id_: str, is_done: threading.Event) -> None:
        while not is_done.wait(_BEAT):
            try:
                self._jobs.beat(id_, _now())
            except DatabaseError as error:  # the next one may succeed
                _log.error("search-later", error=type(error).__name__)


def _asked(context: Context, path: str, pairs: Pairs, handling: Handling) -> Query:
    """What a search at a path asks. Raises Forbidden where the token does not cover it, and what a search raises."""
    match path.split("/"):
        case [code, id_, member]:
            admit_compartment(context, code, member)
            return compartment_query(context, code, id_, member, pairs, handling)
        case [type_] if type_:
            context.access.admit("search", type_)
            return context.query(type_, pairs, handling, may_be_contained=True)
        case _:
            return system_query(context, pairs, handling)


def _about(context: Context, path: str) -> Row | None:
    """The resource whose compartment is searched. Raises NotFound or Gone where the caller cannot read it."""
    match path.split("/"):
        case [code, id_, _]:
            return context.store.read(code, id_, with_body=False)
        case _:
            return None


def _asks_for_total(query: Query) -> bool:
    return query.count == 0 or query.summary == "count" or query.total not in {None, "none"}


def _search(context: Context, job: Job) -> Found:
    """What the search finds now; nothing is disclosed, and that it was asked is in the audit already."""
    query = _asked(context, job.path, job.pairs, cast("Handling", job.handling))
    page = context.store.search(replace(query, includes=()))
    following = None
    if page.next is not None:
        following = context.seal(
            job.path, query.self_pairs, count=query.count, after=page.next.after, snapshot=page.next.snapshot
        )
    return Found([row.reference for row in page.rows], following, following is None)


def _fetched(context: Context, job: Job, found: Found) -> Searchset:
    query = _asked(context, job.path, job.pairs, cast("Handling", job.handling))
    about = _about(context, job.path)
    page = context.store.search_again(query, found.rows)
    note_disclosure(context, job.path, query, page, about=about)
    total = len(page.rows) if found.is_whole else None
    return Searchset(job.path, query, page.rows, page.included, total, found.next, is_stopped=page.is_stopped)


def _error_of(told: tuple[int, str, str]) -> FhirError:
    """The error that the search ended in, as one of the same status."""
    status, code, text = told
    kinds: list[type[FhirError]] = [FhirError, *FhirError.__subclasses__()]
    kind = next((kind for kind in kinds if kind.status == status), FhirError)
    return kind(text, code=code)


def _now() -> datetime:
    return datetime.now(UTC)
