"""One server for the suite, with the record and the twin of every outcome.

FHIRSERVER_LEAKS_BASE and FHIRSERVER_LEAKS_DATA point the suite at a server that runs already: its address, and the
data folder on this machine by which its operator's commands give tokens. It is written to.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.conftest import Running
from tests.leaks.outcomes import OUTCOMES
from tests.leaks.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The region of the suite, built."""
    base = os.environ.get("FHIRSERVER_LEAKS_BASE")
    if base is not None:
        yield from _built(World(base, Path(os.environ["FHIRSERVER_LEAKS_DATA"])))
        return
    running = Running(tmp_path_factory.mktemp("leaks") / "data")
    try:
        running.start()
        yield from _built(World(running.base, running.data))
    finally:
        running.stop()


def _built(world: World) -> Iterator[World]:
    world.build()
    for outcome in OUTCOMES:
        for record, is_here in ((outcome.here, True), (outcome.gone, False)):
            outcome.write(world, record, is_here)
    world.sign_in(outcome.caller(world, record) for outcome in OUTCOMES for record in (outcome.here, outcome.gone))
    yield world
    world.close()
