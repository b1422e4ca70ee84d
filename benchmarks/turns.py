"""A program with what it holds and who asks it: one turn of a workload, and single requests for the set-up."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from benchmarks import compare, data, workloads
from benchmarks.compare import Comparison, Figure
from benchmarks.programs import Program
from benchmarks.tokens import Tokens
from benchmarks.workloads import Query, Workload


@dataclass(frozen=True, slots=True)
class Side:
    """A program under measurement, the region it holds, and its tokens (the floor has none).

    `portion` is how much of each workload's requests a turn sends.
    """

    program: Program
    region: data.Region
    tokens: Tokens | None
    portion: float = 1.0

    def turn(self, workload: Workload, seed: int) -> Figure:
        """Send a workload once; the token is renewed before, so that its renewal is not in the figure."""
        token = None if self.tokens is None else self.tokens.of("system" if workload.writes else "doctor")
        queries = workload.queries(self.region, seed, max(8, round(workload.count * self.portion)))
        sent = [workloads.wire(query, self.program.host, token) for query in queries]
        return compare.measure(self.program, sent, workload.status, connections=workload.connections)

    def bundle(self, query: Query) -> dict[str, Any]:
        """The doctor's answer to one query. Raises RuntimeError where there is none."""
        return next(self._pages(query))

    def page(self, query: Query, number: int) -> Query:
        """What asks for that page of a search (1 is the first), found by following its links of relation `next`.

        Raises RuntimeError where the search has fewer pages.
        """
        wanted = query
        for place, page in enumerate(self._pages(query), start=1):
            if place == number:
                return wanted
            following = _next_of(page)
            if following is None:
                break
            wanted = following
        raise RuntimeError(f"{query.target} has no page {number}")

    def _pages(self, query: Query | None) -> Iterator[dict[str, Any]]:
        if self.tokens is None:
            raise RuntimeError("the floor has no pages")
        with closing(http.client.HTTPConnection(*self.program.address, timeout=60)) as connection:
            while query is not None:
                headers = {"Authorization": f"Bearer {self.tokens.of('doctor')}", "Accept": workloads.FHIR_JSON}
                connection.request("GET", f"/fhir{query.target}", headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"{query.target}: {answer.status} {body[:600]!r}")
                page: dict[str, Any] = json.loads(body)
                yield page
                query = _next_of(page)


def _next_of(page: Mapping[str, Any]) -> Query | None:
    """The link of a page to the next one, below the FHIR base."""
    for link in page["link"]:
        if link["relation"] == "next":
            url = urlsplit(link["url"])
            return Query("GET", f"{url.path.removeprefix('/fhir')}?{url.query}")
    return None


def beside(name: str, base: tuple[Side, Workload], ours: tuple[Side, Workload], goal: float, times: int) -> Comparison:
    """Two workloads in rounds that alternate: the processor time of `ours` over that of `base`."""
    figures = compare.rounds(times, {"base": partial(base[0].turn, base[1]), "ours": partial(ours[0].turn, ours[1])})
    ratio = figures["ours"].cpu / figures["base"].cpu
    return Comparison(name, figures["base"], figures["ours"], ratio, goal)
