"""A client that follows the history sees every version, whatever was being written when it read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhirserver.access import Access
from fhirserver.errors import Unavailable
from fhirserver.store.in_flight import InFlight
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit
from fhirserver.store.versions import Span
from resources import validation
from tests.conftest import Region

BODY = b'{"resourceType":"Basic","code":{"text":"feed"}}'


@pytest.fixture(autouse=True)
def _prompt_promises(region: Region) -> Iterator[None]:
    """Promises without a margin, renewed all the time: what is held back is held back by what is under way alone."""
    promises = region.database.in_flight
    promises.close()
    promises.margin, promises.period, promises.idle, promises.fresh = timedelta(seconds=1), 0.01, 10.0, 45.0
    yield
    promises.close()


def now_store(region: Region) -> ResourceStore:
    """The store of the hospital system, as of this moment."""
    return region.store("Client/e1", organization="Organization/e1", now=datetime.now(UTC))


def create(region: Region, before_commit: Callable[[], Any] = lambda: None) -> Row:
    parsed = validation.check("Basic", BODY)

    def work(unit: Unit) -> Row:
        row = unit.create(parsed)
        before_commit()
        return row

    return now_store(region).transact(work)


class Follower:
    """Reads the feed page by page, and goes on from the instant up to which it was complete."""

    def __init__(self, region: Region, since: datetime, *, oldest_first: bool) -> None:
        self._region = region
        self.since = since
        self._oldest_first = oldest_first
        self.seen: set[tuple[str, int]] = set()
        self.latest = since

    def poll(self) -> None:
        store = now_store(self._region)
        complete_until = store.complete_until()
        after = None
        while True:
            span = Span(7, since=self.since, oldest_first=self._oldest_first, after=after)
            page = now_store(self._region).history_of(("Basic",), span)
            self.seen |= {(row.reference, row.version) for row in page.rows}
            self.latest = max([self.latest, *(row.last_updated for row in page.rows)])
            after = page.next
            if after is None:
                break
        self.since = max(self.since, complete_until)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    waiting = threading.Event()
    for _ in range(2_000):
        if condition():
            return
        waiting.wait(0.01)
    pytest.fail("it never happened")


def test_what_is_committed_late_with_an_early_instant_is_not_missed(region: Region) -> None:
    """A reader who went on from the latest instant seen would miss it."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        release.wait(30)

    follower = Follower(region, datetime.now(UTC) - timedelta(minutes=1), oldest_first=False)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(create, region, hold)
        held.wait(30)
        quick = create(region)
        until(lambda: datetime.now(UTC) - quick.last_updated > timedelta(seconds=2))
        follower.poll()
        assert (quick.reference, 1) in follower.seen
        assert follower.latest > follower.since
        release.set()
        late = slow.result()
    assert late.last_updated < follower.latest
    assert follower.since <= late.last_updated
    assert (late.reference, 1) not in follower.seen
    follower.poll()
    assert (late.reference, 1) in follower.seen


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_follower_among_many_writers_sees_every_version(region: Region, oldest_first: bool) -> None:
    stop = threading.Event()
    follower = Follower(region, datetime.now(UTC) - timedelta(seconds=30), oldest_first=oldest_first)

    def write(number: int) -> set[tuple[str, int]]:
        made = set()
        pause = threading.Event()
        while not stop.is_set():
            row = create(region, lambda: pause.wait(0.05 * number))
            made.add((row.reference, 1))
            changed = b'{"resourceType":"Basic","id":"%s","code":{"text":"changed"}}' % row.id.encode()
            parsed = validation.check("Basic", changed)
            now_store(region).transact(lambda unit, row=row, parsed=parsed: unit.update(parsed, row.id))
            made.add((row.reference, 2))
            if number % 2:
                now_store(region).transact(lambda unit, row=row: unit.delete("Basic", row.id))
                made.add((row.reference, 3))
        return made

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        for _ in range(12):
            follower.poll()
        stop.set()
        written = set().union(*(writer.result() for writer in writers))
    follower.poll()
    assert len(written) > 10
    assert written - follower.seen == set()


def test_the_feed_catches_up_when_nothing_is_under_way(region: Region) -> None:
    create(region)
    begun = datetime.now(UTC)
    until(lambda: region.database.in_flight.complete_until() > begun)


def test_a_process_that_writes_nothing_promises_nothing(region: Region) -> None:
    region.database.in_flight.idle = 0.05
    create(region)
    until(lambda: region.database.writers.count_documents({}) == 0)
    create(region)
    assert region.database.writers.count_documents({}) == 1


def test_a_process_that_died_holds_the_feed_up_for_a_while_only(region: Region) -> None:
    database = region.database
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    database.writers.insert_one({"_id": "dead", "until": long_ago, "at": datetime.now(UTC)})
    assert database.in_flight.complete_until() == long_ago.replace(microsecond=long_ago.microsecond // 1000 * 1000)
    database.writers.update_one({"_id": "dead"}, {"$set": {"at": datetime.now(UTC) - timedelta(minutes=4)}})
    assert database.in_flight.complete_until() > datetime.now(UTC) - timedelta(minutes=1)
    database.writers.delete_one({"_id": "dead"})


def test_another_process_is_waited_for(region: Region) -> None:
    """Two processes share nothing but the database."""
    other = InFlight(region.database.writers)
    instant = datetime.now(UTC) - timedelta(minutes=10)
    with other.writing(instant):
        assert region.database.in_flight.complete_until() <= instant
    other.close()
    assert region.database.in_flight.complete_until() > instant


def test_nothing_is_committed_under_a_promise_that_was_not_renewed(region: Region) -> None:
    before = region.database.resources.count_documents({})

    def lapse() -> None:
        region.database.in_flight.fresh = -1.0

    with pytest.raises(Unavailable):
        create(region, lapse)
    assert region.database.resources.count_documents({}) == before


def test_a_request_that_took_its_time_writes_with_a_later_instant(region: Region) -> None:
    access = region.access("Client/e1", organization="Organization/e1")
    assert access.instant() == access.now
    slow = Access(access.actor, access.purpose, access.now, "slow", began=access.began - 90)
    assert slow.instant() >= access.now + timedelta(seconds=90)
