"""Search parameters that an operator adds: never answered in part, whatever other processes know or write meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import pytest
from pymongo import MongoClient

from fhirserver.config import Config
from fhirserver.errors import Gone, NotSupported, Unavailable
from fhirserver.search import values
from fhirserver.search.expression import evaluate
from fhirserver.search.parse import parse
from fhirserver.store.database import Database
from fhirserver.store.objects import Objects
from fhirserver.store.reindex import Reindex, resume
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.search_parameters import catalogue_of
from tests.conftest import Region


def parameter(id_: str, **fields: Any) -> dict[str, Any]:
    """A SearchParameter of Patient, by the place of birth unless `fields` say otherwise."""
    return {
        "resourceType": "SearchParameter",
        "id": id_,
        "url": f"http://example.org/SearchParameter/{id_}",
        "name": "X",
        "status": "active",
        "description": "x",
        "code": id_,
        "base": ["Basic"],
        "type": "token",
        "expression": "Basic.extension('http://example.org/x').value.as(code)",
        **fields,
    }


def basic(id_: str, code: str) -> dict[str, Any]:
    return {
        "resourceType": "Basic",
        "id": id_,
        "code": {"text": "x"},
        "extension": [{"url": "http://example.org/x", "valueCode": code}],
    }


@pytest.fixture(autouse=True)
def _quick(database: Database) -> Iterator[None]:
    """One clock and one process that knows at once: nothing to wait for. No parameter and no row is left behind."""
    database.search_parameters.age = 0.0
    database.in_flight.margin = timedelta(0)
    yield
    database.database["search_parameters"].delete_many({"_id": {"$ne": "generation"}})
    database.resources.delete_many({"t": {"$in": ["Basic", "~Basic", "SearchParameter", "~SearchParameter"]}})
    database.history.delete_many({})


@pytest.fixture
def other(config: Config) -> Iterator[Database]:
    """The same database, as another process has it, which learns of nothing new by itself."""
    database = Database(MongoClient(config.mongodb_uri, tz_aware=True, w="majority"), config.database, Objects(config))
    database.search_parameters.age = 1e9
    database.in_flight.margin = timedelta(0)
    database.search_parameters.refresh()
    yield database
    database.in_flight.close()
    database.client.close()


def reindex(database: Database, config: Config, rows: int = 200) -> Reindex:
    found = Reindex(database, config)
    found.pause, found.rows = 0.01, rows
    return found


def bring_up(database: Database, config: Config, *types: str) -> None:
    job = reindex(database, config)
    job.begin(types)
    assert job.run().status == "done"


def found(region: Region, database: Database, text: str, type_: str = "Basic") -> set[str]:
    """The ids that a search gives to the hospital system of e1."""
    store = ResourceStore(database, region.access("Client/e1", organization="Organization/e1"), region.config)
    catalogue = store.parameters()
    pairs = [tuple(pair.split("=")) for pair in text.split("&")]
    query = parse(catalogue.readable[type_], pairs, handling="strict", zone=UTC, supported=catalogue.readable)
    return {row.id for row in store.search(query).rows}


def rows(database: Database) -> dict[str, Any]:
    return {one["_id"]: one for one in database.resources.find({"t": "Basic"})}


def test_a_parameter_finds_what_was_there_before_it(region: Region, database: Database, config: Config) -> None:
    region.put(basic("a", "red"))
    region.put(basic("b", "blue"))
    region.put(parameter("colour"), by="operator")
    bring_up(database, config)
    assert found(region, database, "colour=red") == {"a"}
    assert found(region, database, "colour:missing=true") == set()


def test_until_it_is_indexed_it_is_refused_wherever_it_is_named(region: Region, database: Database) -> None:
    region.put(basic("a", "red"))
    region.put(parameter("colour"), by="operator")
    for text in ("colour=red", "colour:missing=true", "_sort=colour"):
        with pytest.raises(NotSupported, match="being indexed") as refused:
            found(region, database, text)
        assert refused.value.expression == "colour"


def test_what_is_written_after_it_is_indexed_at_once(region: Region, database: Database, config: Config) -> None:
    region.put(parameter("colour"), by="operator")
    region.put(basic("a", "red"))
    assert reindex(database, config).behind() == 0
    bring_up(database, config)
    assert found(region, database, "colour=red") == {"a"}


def test_versions_instants_and_bytes_stay(region: Region, database: Database, config: Config) -> None:
    region.put(basic("a", "red"))
    before = rows(database)["Basic/a"]
    region.put(parameter("colour"), by="operator")
    bring_up(database, config)
    after = rows(database)["Basic/a"]
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {"tk", "so", "g"}
    assert database.history.count_documents({"r": "Basic/a"}) == 0


def test_a_row_that_another_process_writes_without_knowing_the_parameter_is_found_behind(
    region: Region, database: Database, config: Config, other: Database
) -> None:
    region.put(parameter("colour"), by="operator")
    Region(other, config).put(basic("late", "red"))
    assert rows(database)["Basic/late"]["g"] < database.search_parameters.generation()
    assert reindex(database, config).behind() == 1
    bring_up(database, config)
    assert found(region, database, "colour=red") == {"late"}


def test_a_write_under_way_that_does_not_know_the_parameter_holds_it_back(
    region: Region, database: Database, config: Config, other: Database
) -> None:
    """The write begins before the parameter is known and is committed after the scan has passed."""
    region.put(basic("a", "red"))
    ignorant = Region(other, config)
    told: list[str] = []
    job = reindex(database, config)

    def work(unit: Any) -> None:
        region.put(parameter("colour"), by="operator")
        job.begin()
        job.pause = 0.0
        waited = 0

        def complete_until() -> Any:  # what the job waits for, looked at while this write is under way
            nonlocal waited
            waited += 1
            if waited == 3:
                raise InterruptedError
            return type(database.in_flight).complete_until(database.in_flight)

        database.in_flight.complete_until = complete_until  # type: ignore[method-assign]
        try:
            with pytest.raises(InterruptedError):
                job.run()
        finally:
            del database.in_flight.complete_until  # type: ignore[method-assign]
        with pytest.raises(NotSupported):
            found(region, database, "colour=red")
        told.append("held back")
        from resources import validation

        unit.create(validation.check("Basic", json.dumps(basic("late", "red")).encode()), id_="late")

    ignorant.store("Client/e1", organization="Organization/e1").transact(work)
    other.in_flight.close()
    assert told == ["held back"]
    assert rows(database)["Basic/late"]["g"] < database.search_parameters.generation()
    assert job.run().status == "done"
    assert found(region, database, "colour=red") == {"a", "late"}


def test_after_a_crash_another_process_goes_on(region: Region, database: Database, config: Config) -> None:
    for number in range(5):
        region.put(basic(f"r{number}", "red"))
    region.put(parameter("colour"), by="operator")
    first = reindex(database, config, rows=2)
    first.begin()

    def crash(job: Any) -> None:
        if job.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(crash)
    assert first.behind() == 3
    database.database["search_parameters"].update_one({"_id": "reindex"}, {"$unset": {"lease": ""}})  # it runs out
    told = []
    second = reindex(database, config, rows=2)
    assert second.run(told.append).status == "done"
    assert [job.done for job in told if job.done] == [2, 4, 5, 5] or [job.done for job in told][-1] == 5
    assert found(region, database, "colour=red") == {f"r{number}" for number in range(5)}


def test_a_job_that_is_at_work_is_watched_and_not_done_twice(
    region: Region, database: Database, config: Config
) -> None:
    region.put(basic("a", "red"))
    region.put(parameter("colour"), by="operator")
    first, second = reindex(database, config), reindex(database, config)
    first.begin()
    assert first._lease()
    assert not second._lease()
    assert first._lease()


def test_a_server_that_starts_goes_on_with_what_a_stop_left(region: Region, database: Database, config: Config) -> None:
    region.put(basic("a", "red"))
    region.put(parameter("colour"), by="operator")
    assert resume(database, config) is None
    reindex(database, config).begin()
    thread = resume(database, config)
    assert thread is not None
    thread.join(60)
    assert found(region, database, "colour=red") == {"a"}


def test_a_definition_that_changes_is_indexed_anew(region: Region, database: Database, config: Config) -> None:
    region.put(basic("a", "red"))
    region.put(parameter("colour"), by="operator")
    bring_up(database, config)
    region.put({**parameter("colour"), "description": "y"}, by="operator")
    assert found(region, database, "colour=red") == {"a"}
    region.put(parameter("colour", type="string", expression="Basic.code.text"), by="operator")
    with pytest.raises(NotSupported):
        found(region, database, "colour=x")
    bring_up(database, config)
    assert found(region, database, "colour=x") == {"a"}


@pytest.mark.parametrize("status", ["draft", "retired", "unknown"])
def test_one_that_is_no_longer_active_is_unknown(
    region: Region, database: Database, config: Config, status: str
) -> None:
    region.put(parameter("colour"), by="operator")
    bring_up(database, config)
    region.put(parameter("colour", status=status), by="operator")
    with pytest.raises(Exception, match="no search parameter 'colour'"):
        found(region, database, "colour=red")


def test_one_that_is_deleted_is_unknown(region: Region, database: Database, config: Config) -> None:
    region.put(parameter("colour"), by="operator")
    bring_up(database, config)
    region.store("Client/operator", category="operator").transact(lambda unit: unit.delete("SearchParameter", "colour"))
    with pytest.raises(Exception, match="no search parameter 'colour'"):
        found(region, database, "colour=red")


def test_one_that_an_establishment_stores_is_data(region: Region, database: Database) -> None:
    region.put(parameter("theirs"), by="Organization/e1")
    assert database.search_parameters.refresh().added == ()
    region.put({**parameter("theirs"), "description": "y"}, by="Organization/e1")
    assert database.search_parameters.refresh().added == ()


def test_a_search_by_parameters_that_have_changed_meanwhile_gives_nothing(
    region: Region, database: Database, config: Config, other: Database
) -> None:
    region.put(basic("a", "red"))
    region.put(parameter("colour"), by="operator")
    bring_up(database, config)
    other.search_parameters.refresh()
    store = ResourceStore(other, region.access("Client/e1", organization="Organization/e1"), config)
    from dataclasses import replace

    catalogue = store.parameters()
    query = parse(
        catalogue.readable["Basic"], [("colour", "red")], handling="strict", zone=UTC, supported=catalogue.readable
    )
    query = replace(query, generation=catalogue.generation)
    assert len(store.search(query).rows) == 1
    region.put(parameter("colour", expression="Basic.extension('http://example.org/y').value.as(code)"), by="operator")
    with pytest.raises(Unavailable):
        store.search(query)
    with pytest.raises(Unavailable):
        store.count(query)
    with pytest.raises(Unavailable):
        store.transact(lambda unit: unit.match(query))


def test_rows_of_another_release_are_behind_and_are_brought_up(
    region: Region, database: Database, config: Config
) -> None:
    region.put(basic("a", "red"))
    database.resources.update_one({"_id": "Basic/a"}, {"$set": {"tk": [], "rg": [], "so": {}}, "$unset": {"g": ""}})
    database.database["search_parameters"].update_one({"_id": "generation"}, {"$set": {"form": 0}})
    database.search_parameters.prepare(is_empty=False)
    assert reindex(database, config).behind(["Basic"]) == 1
    bring_up(database, config, "Basic")
    assert found(region, database, "_id=a") == {"a"}
    generation = database.search_parameters.generation()
    database.search_parameters.prepare(is_empty=False)
    assert database.search_parameters.generation() == generation


def test_a_rebuild_writes_every_row_and_leaves_usable_parameters_usable(
    region: Region, database: Database, config: Config
) -> None:
    region.put(basic("a", "red"))
    region.put(parameter("colour"), by="operator")
    bring_up(database, config)
    database.resources.update_one({"_id": "Basic/a"}, {"$set": {"tk": []}})
    job = reindex(database, config)
    job.begin(["Basic"], rebuild=True)
    assert job.job().total == 1
    assert found(region, database, "colour:missing=false") == set()
    assert job.run().done == 1
    assert found(region, database, "colour=red") == {"a"}


def test_writes_during_the_reindexing_lose_nothing(
    region: Region, database: Database, config: Config, other: Database
) -> None:
    """One process that knows and one that does not write between two batches: then a search equals brute force."""
    colours = ("red", "blue", "green")
    for number in range(12):
        region.put(basic(f"r{number}", colours[number % 3]))
    region.put(parameter("colour"), by="operator")
    ignorant = Region(other, config)
    steps = iter(range(10))

    def disturb(_job: Any) -> None:
        if (step := next(steps, None)) is None:
            return
        (region, ignorant)[step % 2].put(basic(f"r{step}", colours[(step + 1) % 3]))
        (ignorant, region)[step % 2].put(basic(f"n{step}", colours[step % 3]))
        other.in_flight.close()

    job = reindex(database, config, rows=3)
    job.begin()
    assert job.run(disturb).status == "done"
    assert reindex(database, config).behind() == 0
    catalogue = database.search_parameters.refresh()
    for colour in colours:
        query = parse(
            catalogue.readable["Basic"], [("colour", colour)], handling="strict", zone=UTC, supported=catalogue.readable
        )
        brute = {
            name.partition("/")[2]
            for name, row in rows(database).items()
            if evaluate(query.expression, values.extract(catalogue.written["Basic"], json.loads(row["b"]), UTC))
        }
        assert found(region, database, f"colour={colour}&_count=100") == brute
        assert brute


def test_a_page_link_from_before_a_definition_changed_is_gone(
    region: Region, database: Database, config: Config
) -> None:
    for number in range(3):
        region.put(basic(f"r{number}", "red"))
    region.put(parameter("colour"), by="operator")
    bring_up(database, config)
    store = region.store("Client/e1", organization="Organization/e1")
    from dataclasses import replace

    catalogue = store.parameters()
    query = parse(
        catalogue.readable["Basic"],
        [("colour", "red"), ("_count", "1")],
        handling="strict",
        zone=UTC,
        supported=catalogue.readable,
    )
    query = replace(query, generation=catalogue.generation)
    position = store.search(query).next
    assert position is not None
    assert len(store.search(query, position=position).rows) == 1
    earlier = replace(position, snapshot=(position.snapshot[0] - 60, 1))
    with pytest.raises(Gone):
        store.search(query, position=earlier)


def test_the_collection_is_read_in_one_form(database: Database) -> None:
    empty = catalogue_of([])
    assert empty.generation == 0
    assert empty.identity == (0,)
    assert not empty.is_named([("colour", "red")])
