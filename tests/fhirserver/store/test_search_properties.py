"""A search on a real MongoDB finds what a reading of the resources finds: every parameter type, modifier and prefix.

Each criterion is drawn together with its meaning, written here again from the specification and in the plainest way,
over the resource as it was sent and never over what was stored for it.
"""

from __future__ import annotations

import calendar
import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fhirserver.access import SystemAccess
from fhirserver.config import Config
from fhirserver.search.parse import parse
from fhirserver.search.query import Query
from fhirserver.search.values import extract
from fhirserver.store.database import Database
from fhirserver.store.resource_store import ResourceStore
from resources import SUPPORTED
from tests.conftest import NOW

Resource = dict[str, Any]
Meaning = Callable[[Resource], bool]
UCUM = "http://unitsofmeasure.org"
SEARCHES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@dataclass(frozen=True)
class Criterion:
    """A parameter as it is sent, and what it means."""

    name: str
    value: str
    holds: Meaning

    def __repr__(self) -> str:
        return f"{self.name}={self.value}"


PARENTS = {"a": None, "b": "a", "c": "b", "d": None}
SETS = {"urn:set:ab": {("s", "a"), ("s", "b")}, "urn:set:t": {("t", "a"), ("s", "d")}}


class Definitions:
    """One code system and two value sets, for the modifiers of tokens."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, ...], Any] = {}

    def code_system(self, canonical: str) -> Resource | None:
        if canonical != "s":
            return None
        concepts = [
            {"code": code, **({"property": [{"code": "parent", "valueCode": parent}]} if parent else {})}
            for code, parent in PARENTS.items()
        ]
        return {"resourceType": "CodeSystem", "url": "s", "content": "complete", "concept": concepts}

    def value_set(self, canonical: str) -> Resource | None:
        found = SETS.get(canonical)
        if found is None:
            return None
        include = [{"system": system, "concept": [{"code": code}]} for system, code in sorted(found)]
        return {"resourceType": "ValueSet", "url": canonical, "compose": {"include": include}}

    def referring(self, *_: Any) -> list[str]:
        return []

    referred = referring


class Searched:
    """Resources on a real MongoDB, and searches of them by the numbers in which they were given."""

    def __init__(self, database: Database, config: Config) -> None:
        self.database = database
        self.store = ResourceStore(database, SystemAccess.named("operator", NOW, "properties"), config)
        self.type = ""

    def hold(self, resources: list[Resource]) -> None:
        self.type = resources[0]["resourceType"]
        self.database.resources.delete_many({})
        self.database.resources.insert_many([row_of(number, resource) for number, resource in enumerate(resources)])

    def pages(self, pairs: list[tuple[str, str]], count: int = 100) -> list[list[int]]:
        query = asked(self.type, [*pairs, ("_count", str(count))])
        pages, position = [], None
        while True:
            page = self.store.search(query, position=position)
            pages.append([int(row.id) for row in page.rows])
            position = page.next
            if position is None:
                return pages

    def found(self, criteria: list[Criterion]) -> list[int]:
        [page] = self.pages([(criterion.name, criterion.value) for criterion in criteria])
        return sorted(page)


@pytest.fixture
def searched(database: Database, config: Config) -> Searched:
    return Searched(database, config)


def asked(type_: str, pairs: list[tuple[str, str]]) -> Query:
    return parse(SUPPORTED[type_], pairs, handling="strict", zone=UTC, supported=SUPPORTED, lookup=Definitions())


def row_of(number: int, resource: Resource) -> dict[str, Any]:
    type_ = resource["resourceType"]
    values = extract(SUPPORTED[type_], {**resource, "id": f"{number:03d}"}, UTC)
    place = {} if values.place is None else {"place": list(values.place)}
    return {
        "_id": f"{type_}/{number:03d}",
        "t": type_,
        "v": 1,
        "lu": NOW + timedelta(seconds=number),
        "b": b"{}",
        "m": "POST",
        "facts": {"subjects": []},
        "tk": values.tk,
        "rg": values.rg,
        "so": {name: {"a": low, "z": high} for name, (low, high) in values.so.items()},
        "wo": values.wo,
        **place,
    }


def without(value: Any) -> Any:
    """A resource without the elements that were drawn as absent."""
    if isinstance(value, dict):
        return {name: without(one) for name, one in value.items() if one is not None and one != []}
    return [without(one) for one in value] if isinstance(value, list) else value


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


# Strings

LETTERS = st.text(alphabet="aàAbé -'", min_size=1, max_size=5).filter(lambda text: any(c.isalnum() for c in text))
NAMES = maybe(st.lists(st.fixed_dictionaries({"family": LETTERS, "given": st.lists(LETTERS, max_size=2)}), max_size=2))
PATIENTS = st.fixed_dictionaries({"name": NAMES}).map(lambda one: without({"resourceType": "Patient", **one}))


def plain(text: str) -> str:
    apart = unicodedata.normalize("NFD", text.casefold())
    letters = [c for c in apart if not unicodedata.combining(c) and c != "'"]
    return " ".join("".join(c if c.isalnum() else " " for c in letters).split())


def given_names(patient: Resource) -> list[str]:
    return [given for name in patient.get("name", ()) for given in name.get("given", ())]


def families(patient: Resource) -> list[str]:
    return [name["family"] for name in patient.get("name", ())]


def ends_of(text: str) -> list[str]:
    words = plain(text).split(" ")
    return [" ".join(words[at:]) for at in range(len(words))]


def _strings(text: str) -> list[Criterion]:
    return [
        Criterion("given", text, lambda p: any(plain(one).startswith(plain(text)) for one in given_names(p))),
        Criterion("given:contains", text, lambda p: any(plain(text) in plain(one) for one in given_names(p))),
        Criterion("given:exact", text, lambda p: text in given_names(p)),
        Criterion(
            "family", text, lambda p: any(end.startswith(plain(text)) for one in families(p) for end in ends_of(one))
        ),
        Criterion("given:missing", "true", lambda p: not given_names(p)),
        Criterion("family:missing", "false", lambda p: bool(families(p))),
        Criterion("_filter", f'given eq "{text}"', lambda p: any(plain(one) == plain(text) for one in given_names(p))),
        Criterion(
            "_filter",
            f'given ne "{text}"',
            lambda p: bool(given_names(p)) and all(plain(one) != plain(text) for one in given_names(p)),
        ),
        Criterion("_filter", f'given co "{text}"', lambda p: any(plain(text) in plain(one) for one in given_names(p))),
        Criterion(
            "_filter", f'given sw "{text}"', lambda p: any(plain(one).startswith(plain(text)) for one in given_names(p))
        ),
        Criterion(
            "_filter", f'given ew "{text}"', lambda p: any(plain(one).endswith(plain(text)) for one in given_names(p))
        ),
        Criterion("_filter", "given pr true", lambda p: bool(given_names(p))),
    ]


STRINGS = LETTERS.flatmap(lambda text: st.sampled_from(_strings(text)))

# Tokens

SYSTEMS, CODES = st.sampled_from(["s", "t"]), st.sampled_from(["a", "b", "c", "d"])
CODINGS = st.fixed_dictionaries(
    {"system": maybe(SYSTEMS), "code": CODES, "display": maybe(st.sampled_from(["Lung", "lungs left"]))}
)
CONCEPTS = st.fixed_dictionaries({"coding": st.lists(CODINGS, max_size=2), "text": maybe(st.just("Left lung"))})
TYPES = st.sampled_from(["X", "Y"])
IDENTIFIERS = st.fixed_dictionaries(
    {
        "system": maybe(SYSTEMS),
        "value": CODES,
        "type": maybe(st.builds(lambda code: {"coding": [{"system": "v2", "code": code}]}, TYPES)),
    }
)
CODED = st.fixed_dictionaries({"code": maybe(CONCEPTS), "identifier": st.lists(IDENTIFIERS, max_size=2)}).map(
    lambda one: without({"resourceType": "Observation", **one})
)


def codings(observation: Resource) -> list[tuple[str | None, str]]:
    return [(one.get("system"), one["code"]) for one in observation.get("code", {}).get("coding", ())]


def texts_of(observation: Resource) -> list[str]:
    concept = observation.get("code", {})
    return [
        *filter(None, [concept.get("text")]),
        *(one["display"] for one in concept.get("coding", ()) if "display" in one),
    ]


def is_a(code: str, ancestor: str) -> bool:
    current: str | None = code
    while current is not None:
        if current == ancestor:
            return True
        current = PARENTS[current]
    return False


def _tokens(system: str, code: str, type_: str, set_: str) -> list[Criterion]:
    def has(*wanted: tuple[str | None, str]) -> Meaning:
        return lambda o: any(one in wanted for one in codings(o))

    def any_code(o: Resource) -> bool:
        return any(one == code for _, one in codings(o))

    def in_set(o: Resource) -> bool:
        return any(one in SETS[set_] for one in codings(o))

    def below(o: Resource) -> bool:
        return any(one == "s" and is_a(other, code) for one, other in codings(o))

    def above(o: Resource) -> bool:
        return any(one == "s" and is_a(code, other) for one, other in codings(o))

    def numbered(o: Resource) -> bool:
        return any(
            one["value"] == code and {"system": "v2", "code": type_} in one.get("type", {}).get("coding", ())
            for one in o.get("identifier", ())
        )

    def values(o: Resource) -> list[str]:
        return [one["value"] for one in o.get("identifier", ())]

    return [
        Criterion("code", code, any_code),
        Criterion("code", f"{system}|{code}", has((system, code))),
        Criterion("code", f"|{code}", has((None, code))),
        Criterion("code", f"{system}|", lambda o: any(one == system for one, _ in codings(o))),
        Criterion("code:not", f"{system}|{code}", lambda o: not has((system, code))(o)),
        Criterion("code:not", f"{code},a", lambda o: not any(one in {code, "a"} for _, one in codings(o))),
        Criterion("code:text", "lung", lambda o: any(plain(one).startswith("lung") for one in texts_of(o))),
        Criterion("code:text", "LEFT", lambda o: any(plain(one).startswith("left") for one in texts_of(o))),
        Criterion("code:in", set_, in_set),
        Criterion("code:not-in", set_, lambda o: not in_set(o)),
        Criterion("code:below", f"s|{code}", below),
        Criterion("code:above", f"s|{code}", above),
        Criterion("code:missing", "true", lambda o: not codings(o) and not texts_of(o)),
        Criterion("identifier:of-type", f"v2|{type_}|{code}", numbered),
        Criterion("identifier:missing", "false", lambda o: bool(o.get("identifier"))),
        Criterion("_filter", f"code ss s|{code}", below),
        Criterion("_filter", f"code sb s|{code}", above),
        Criterion("_filter", f"code in {set_}", in_set),
        Criterion("_filter", f"code ni {set_}", lambda o: not in_set(o)),
        Criterion("_filter", f"identifier co {code}", lambda o: code in values(o)),
        Criterion("_filter", f"identifier sw {code}", lambda o: code in values(o)),
        Criterion("_filter", f"identifier ew {code}", lambda o: code in values(o)),
        Criterion("_filter", f"identifier ne {code}", lambda o: bool(values(o)) and code not in values(o)),
    ]


TOKENS = st.tuples(SYSTEMS, CODES, TYPES, st.sampled_from(sorted(SETS))).flatmap(
    lambda drawn: st.sampled_from(_tokens(*drawn))
)

# References

REFERENCES = st.builds(
    lambda kind, id_, version, identifier: without(
        {
            "reference": None if kind is None else f"{kind}/{id_}{version}",
            "identifier": None if identifier is None else {"system": "s", "value": identifier},
        }
    ),
    maybe(st.sampled_from(["Patient", "Group"])),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["", "/_history/1"]),
    maybe(CODES),
).filter(bool)
REFERRING = maybe(REFERENCES).map(lambda one: without({"resourceType": "Observation", "subject": one}))


def _references(kind: str, id_: str, code: str) -> list[Criterion]:
    def target(o: Resource) -> tuple[str, str] | None:
        address = o.get("subject", {}).get("reference")
        return None if address is None else (address.split("/")[0], address.split("/")[1])

    def identified(o: Resource) -> bool:
        return o.get("subject", {}).get("identifier", {}).get("value") == code

    return [
        Criterion("subject", f"{kind}/{id_}", lambda o: target(o) == (kind, id_)),
        Criterion("subject", id_, lambda o: (target(o) or ("", ""))[1] == id_),
        Criterion(f"subject:{kind}", id_, lambda o: target(o) == (kind, id_)),
        Criterion(
            "subject",
            f"{kind}/{id_}/_history/1",
            lambda o: o.get("subject", {}).get("reference") == f"{kind}/{id_}/_history/1",
        ),
        Criterion("patient", id_, lambda o: target(o) == ("Patient", id_)),
        Criterion("subject:identifier", f"s|{code}", identified),
        Criterion("subject:identifier", code, identified),
        Criterion("subject:missing", "true", lambda o: "subject" not in o),
        Criterion("_filter", f"subject re {kind}/{id_}", lambda o: target(o) == (kind, id_)),
    ]


ASKED_REFERENCES = st.tuples(st.sampled_from(["Patient", "Group"]), st.sampled_from(["1", "2", "3"]), CODES).flatmap(
    lambda drawn: st.sampled_from(_references(*drawn))
)

# Dates: everything is an interval of whole milliseconds, both ends included.

_MS = timedelta(milliseconds=1)
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
DATES = st.one_of(
    st.sampled_from(["2023", "2024", "2024-01", "2024-02", "2024-12"]),
    st.sampled_from(["2024-01-01", "2024-01-31", "2024-02-01", "2024-02-29", "2023-12-31"]),
    st.sampled_from(
        ["2024-01-01T00:00:00Z", "2024-01-31T23:59:59Z", "2024-01-01T00:30:00+01:00", "2024-02-01T10:20:30.500Z"]
    ),
)
EFFECTIVE = st.one_of(
    DATES.map(lambda text: {"effectiveDateTime": text}),
    st.builds(
        lambda start, end: {"effectivePeriod": without({"start": start, "end": end})}, maybe(DATES), maybe(DATES)
    ),
    st.just({}),
)
DATED = EFFECTIVE.map(lambda one: {"resourceType": "Observation", **one})


def covered(text: str) -> tuple[datetime, datetime]:
    """The first and the last millisecond of a date."""
    if "T" in text:
        start = datetime.fromisoformat(text).astimezone(UTC)
        return start, start if "." in text else start + timedelta(seconds=1) - _MS
    year, *rest = (int(part) for part in text.split("-"))
    month, day = [*rest, 0, 0][:2]
    first = datetime(year, month or 1, day or 1, tzinfo=UTC)
    last = datetime(year, month or 12, day or calendar.monthrange(year, month or 12)[1], tzinfo=UTC)
    return first, last + timedelta(days=1) - _MS


def effective(observation: Resource) -> tuple[datetime, datetime] | None:
    if "effectiveDateTime" in observation:
        return covered(observation["effectiveDateTime"])
    period = observation.get("effectivePeriod")
    if not period:
        return None
    low = covered(period["start"])[0] if "start" in period else _FIRST
    return low, covered(period["end"])[1] if "end" in period else _LAST


def compared(prefix: str, low: Any, high: Any, first: Any, last: Any) -> bool:
    """How a stored range lies to the range asked, from the table of prefixes."""
    match prefix:
        case "eq":
            return first <= low and high <= last
        case "ne":
            return not (first <= low and high <= last)
        case "gt":
            return high > last
        case "lt":
            return low < first
        case "ge":
            return high >= first
        case "le":
            return low <= last
        case "sa":
            return low > last
        case "eb":
            return high < first
        case _:
            return low <= last and high >= first


PREFIXES = st.sampled_from(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"])


def _dates(prefix: str, text: str, is_filter: bool) -> Criterion:
    first, last = covered(text)
    if prefix == "ap":
        margin = max((last - first) / 10, timedelta(days=1))
        margin -= timedelta(microseconds=margin.microseconds % 1000)
        first, last = first - margin, last + margin
    if prefix == "po":
        return Criterion("_filter", f"date po {text}", _when("ap", *covered(text)))
    if is_filter:
        return Criterion("_filter", f"date {prefix} {text}", _when(prefix, first, last))
    return Criterion("date", (prefix if prefix != "eq" or len(text) % 2 else "") + text, _when(prefix, first, last))


def _when(prefix: str, first: datetime, last: datetime) -> Meaning:
    return lambda o: (span := effective(o)) is not None and compared(prefix, *span, first, last)


ASKED_DATES = st.one_of(
    st.builds(_dates, PREFIXES, DATES, st.booleans()),
    st.builds(_dates, st.just("po"), DATES, st.just(True)),
    st.just(Criterion("date:missing", "true", lambda o: effective(o) is None or effective(o) == (_FIRST, _LAST))),
)

# Numbers and quantities

DECIMALS = st.decimals(min_value=-30, max_value=30, places=2, allow_nan=False)
PROBABILITIES = st.lists(DECIMALS, max_size=2).map(
    lambda found: without(
        {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": one} for one in found]}
    )
)
NUMBERS = st.one_of(
    DECIMALS.map(str), st.integers(-30, 30).map(str), st.sampled_from(["1e1", "2e0", "1.5e1", "-1e1", "0", "0.0"])
)


def range_of(prefix: str, text: str) -> tuple[Decimal, Decimal, bool]:
    """The range of a number asked, and whether its end is open."""
    number = Decimal(text)
    if prefix not in {"eq", "ne", "ap"}:
        return number, number, False
    half = Decimal(1).scaleb(int(number.as_tuple().exponent)) / 2
    if "e" in text and "." not in text and len(text.lstrip("-").partition("e")[0]) == 1:
        half /= 10  # the specification's own example reads 1e2 as [95, 105)
    if prefix == "ap":
        half = max(half, abs(number) / 10)
    return number - half, number + half, prefix != "ap"


def is_in(prefix: str, low: Any, high: Any, first: Any, last: Any, *, is_open: bool) -> bool:
    """As `compared`; with an open end, a point at the end is outside."""
    within = first <= low and (high < last if is_open else high <= last)
    return not within if prefix == "ne" else within if prefix == "eq" else compared(prefix, low, high, first, last)


def _numbers(prefix: str, text: str, is_filter: bool) -> Criterion:
    first, last, is_open = range_of(prefix, text)

    def holds(risk: Resource) -> bool:
        return any(
            is_in(prefix, one["probabilityDecimal"], one["probabilityDecimal"], first, last, is_open=is_open)
            for one in risk.get("prediction", ())
        )

    if is_filter:
        return Criterion("_filter", f"probability {prefix} {text}", holds)
    return Criterion("probability", f"{prefix}{text}", holds)


ASKED_NUMBERS = st.one_of(
    st.builds(_numbers, PREFIXES, NUMBERS, st.booleans()),
    st.just(Criterion("probability:missing", "true", lambda risk: "prediction" not in risk)),
)

GRAMS = {"mg": Decimal("0.001"), "g": Decimal(1), "kg": Decimal(1000)}
UNITS = st.sampled_from([*GRAMS, "[iU]", "[pH]", "Cel", "K"])
QUANTITIES = st.fixed_dictionaries(
    {
        "value": st.one_of(DECIMALS, st.sampled_from([Decimal(1000), Decimal("0.5"), Decimal(1), Decimal("273.15")])),
        "code": UNITS,
        "system": st.sampled_from([UCUM, "urn:own"]),
        "comparator": maybe(st.sampled_from(["<", "<=", ">", ">="])),
    }
)
MEASURED = st.fixed_dictionaries({"valueQuantity": maybe(QUANTITIES), "code": maybe(CONCEPTS)}).map(
    lambda one: without({"resourceType": "Observation", **one})
)
_INFINITY = Decimal("Infinity")


def ends(quantity: Resource) -> tuple[Decimal, Decimal]:
    value = quantity["value"]
    match quantity.get("comparator"):
        case "<" | "<=":
            return -_INFINITY, value
        case ">" | ">=":
            return value, _INFINITY
        case _:
            return value, value


def scale(code: str) -> tuple[str, Callable[[Decimal], Decimal]]:
    """What a unit measures, and a number of it in the first unit of its kind."""
    if code in GRAMS:
        return "mass", lambda value: value * GRAMS[code]
    if code == "Cel":
        return "temperature", lambda value: value + Decimal("273.15")
    return ("temperature" if code == "K" else code), lambda value: value


def measures(quantity: Resource | None, prefix: str, text: str, system: str | None, code: str | None) -> bool:
    if quantity is None:
        return False
    first, last, is_open = range_of(prefix, text)
    low, high = ends(quantity)
    if system == UCUM:
        kind, to_first = scale(code or "")
        stored_kind, stored_to_first = scale(quantity["code"])
        if quantity["system"] != UCUM or kind != stored_kind:
            return False
        first, last, low, high = to_first(first), to_first(last), stored_to_first(low), stored_to_first(high)
    elif code is not None and (quantity["code"] != code or (system is not None and quantity["system"] != system)):
        return False
    return is_in(prefix, low, high, first, last, is_open=is_open)


def _quantities(prefix: str, text: str, system: str | None, code: str, form: str, token: str) -> Criterion:
    unit = {"number": "", "named": f"||{code}", "whole": f"|{system or UCUM}|{code}"}[form]
    meant_system = {"number": None, "named": None, "whole": system or UCUM}[form]
    meant_code = None if form == "number" else code

    def holds(o: Resource) -> bool:
        return measures(o.get("valueQuantity"), prefix, text, meant_system, meant_code)

    if token:
        return Criterion(
            "code-value-quantity",
            f"{token}${prefix}{text}{unit}",
            lambda o: holds(o) and any(one == token for _, one in codings(o)),
        )
    return Criterion("value-quantity", f"{prefix}{text}{unit}", holds)


ASKED_QUANTITIES = st.builds(
    _quantities,
    PREFIXES,
    st.one_of(NUMBERS, st.sampled_from(["1000", "500", "0.001", "1.0", "273.15"])),
    st.sampled_from([UCUM, "urn:own"]),
    UNITS,
    st.sampled_from(["number", "named", "whole", "whole"]),
    st.sampled_from(["", "", "a", "b"]),
)

# URIs

PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=3)
URLS = PATHS.map(lambda parts: "/".join(["http://x.example", *parts]))
IDENTIFIED = maybe(URLS).map(lambda url: without({"resourceType": "ValueSet", "url": url}))


def _uris(url: str) -> list[Criterion]:
    def parts(text: str) -> list[str]:
        return text.split("/")

    def is_below(v: Resource) -> bool:
        return "url" in v and parts(v["url"])[: len(parts(url))] == parts(url)

    def is_above(v: Resource) -> bool:
        return "url" in v and parts(url)[: len(parts(v["url"]))] == parts(v["url"])

    return [
        Criterion("url", url, lambda v: v.get("url") == url),
        Criterion("url:below", url, is_below),
        Criterion("url:above", url, is_above),
        Criterion("url:missing", "true", lambda v: "url" not in v),
        Criterion("_filter", f"url sw {url}", lambda v: v.get("url", "").startswith(url)),
        Criterion("_filter", f"url ew {url[-2:]}", lambda v: v.get("url", "").endswith(url[-2:])),
        Criterion("_filter", f"url co {url[9:]}", lambda v: url[9:] in v.get("url", "")),
    ]


URIS = URLS.flatmap(lambda url: st.sampled_from(_uris(url)))

# Words

WORDS = st.sampled_from(["lung", "liver", "Lungs", "métastase", "bone"])
SENTENCES = st.lists(WORDS, max_size=4).map(" ".join)
REPORTS = st.builds(
    lambda narrative, conclusion: without(
        {
            "resourceType": "DiagnosticReport",
            "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{narrative}</div>'},
            "conclusion": conclusion or None,
        }
    ),
    SENTENCES,
    SENTENCES,
)
Texts = list[list[str]]
"""The texts of a resource, each as its words in their order."""
WordsMean = Callable[[Texts], bool]


def _is(asked: str, word: str) -> bool:
    return word.startswith(plain(asked[:-1])) if asked.endswith("*") else word == plain(asked)


def _word(word: str) -> tuple[str, WordsMean]:
    return word, lambda texts: any(_is(word, one) for text in texts for one in text)


def _phrase(words: list[str]) -> tuple[str, WordsMean]:
    def holds(texts: Texts) -> bool:
        return any(
            all(_is(asked, one) for asked, one in zip(words, text[start:], strict=False))
            for text in texts
            for start in range(len(text) - len(words) + 1)
        )

    return f'"{" ".join(words)}"', holds


def _joined_words(parts: st.SearchStrategy[tuple[str, WordsMean]]) -> st.SearchStrategy[tuple[str, WordsMean]]:
    two = st.tuples(parts, parts)
    return st.one_of(
        two.map(lambda of: (f"({of[0][0]} {of[1][0]})", lambda texts: of[0][1](texts) and of[1][1](texts))),
        two.map(lambda of: (f"({of[0][0]} OR {of[1][0]})", lambda texts: of[0][1](texts) or of[1][1](texts))),
        parts.map(lambda of: (f"NOT {of[0]}", lambda texts: not of[1](texts))),
    )


ASKED = st.one_of(WORDS, st.sampled_from(["lu*", "meta*", "spleen"]))
QUERIES = st.recursive(
    st.one_of(ASKED.map(_word), st.lists(ASKED, min_size=1, max_size=3).map(_phrase)), _joined_words, max_leaves=5
)


def words_of(report: Resource, *, content: bool) -> Texts:
    narrative = report["text"]["div"].partition(">")[2].removesuffix("</div>")
    texts = [narrative, report.get("conclusion", "")] if content else [narrative]
    return [[plain(word) for word in text.split()] for text in texts]


ASKED_WORDS = st.builds(
    lambda query, content: Criterion(
        "_content" if content else "_text", query[0], lambda r: query[1](words_of(r, content=content))
    ),
    QUERIES,
    st.booleans(),
)

# Places

DEGREES = st.integers(-80, 80)
POSITIONS = st.builds(lambda latitude, longitude: {"latitude": latitude, "longitude": longitude * 2}, DEGREES, DEGREES)
LOCATIONS = maybe(POSITIONS).map(lambda one: without({"resourceType": "Location", "position": one}))


def metres(one: Resource, other: Resource) -> float:
    """The great circle by the law of cosines."""
    latitudes = [math.radians(float(each["latitude"])) for each in (one, other)]
    between = math.radians(float(one["longitude"]) - float(other["longitude"]))
    cosine = math.prod(map(math.sin, latitudes)) + math.prod(map(math.cos, latitudes)) * math.cos(between)
    return 6_378_100 * math.acos(max(-1.0, min(1.0, cosine)))


def _near(centre: Resource, kilometres: int) -> Criterion:
    def holds(place: Resource) -> bool:
        if "position" not in place:
            return False
        distance = metres(place["position"], centre)
        assume(abs(distance - kilometres * 1000) > 10)  # at the very edge two formulas may differ
        return distance <= kilometres * 1000

    return Criterion("near", f"{centre['latitude']}|{centre['longitude']}|{kilometres}|km", holds)


NEAR = st.one_of(
    st.builds(_near, POSITIONS, st.sampled_from([1, 50, 500, 5000, 15000, 20037, 40000])),
    st.just(Criterion("near:missing", "true", lambda place: "position" not in place)),
)

KINDS: dict[str, tuple[st.SearchStrategy[Resource], st.SearchStrategy[Criterion]]] = {
    "string": (PATIENTS, STRINGS),
    "token": (CODED, TOKENS),
    "reference": (REFERRING, ASKED_REFERENCES),
    "date": (DATED, ASKED_DATES),
    "number": (PROBABILITIES, ASKED_NUMBERS),
    "quantity and composite": (MEASURED, ASKED_QUANTITIES),
    "uri": (IDENTIFIED, URIS),
    "words": (REPORTS, ASKED_WORDS),
    "near": (LOCATIONS, NEAR),
}


def brute_force(resources: list[Resource], criteria: list[Criterion]) -> list[int]:
    return [
        number for number, resource in enumerate(resources) if all(criterion.holds(resource) for criterion in criteria)
    ]


@pytest.mark.parametrize("kind", KINDS)
@SEARCHES
@given(data=st.data())
def test_a_search_finds_what_a_reading_of_the_resources_finds(
    searched: Searched, kind: str, data: st.DataObject
) -> None:
    resources, criteria = KINDS[kind]
    drawn = data.draw(st.lists(resources, min_size=1, max_size=8))
    wanted = data.draw(st.lists(criteria, min_size=2, max_size=15))
    searched.hold(drawn)
    for criterion in wanted:
        assert searched.found([criterion]) == brute_force(drawn, [criterion])
    assert searched.found(wanted[:2]) == brute_force(drawn, wanted[:2])


@SEARCHES
@given(
    resources=st.lists(CODED, min_size=1, max_size=6),
    tests=st.lists(TOKENS.filter(lambda one: one.name == "_filter"), min_size=1, max_size=4),
    joins=st.lists(st.sampled_from(["and", "or"]), min_size=3, max_size=3),
    negated=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_the_logic_of_a_filter_is_evaluated_from_left_to_right(
    searched: Searched, resources: list[Resource], tests: list[Criterion], joins: list[str], negated: list[bool]
) -> None:
    def holds(test: Criterion, is_not: bool, resource: Resource) -> bool:
        return test.holds(resource) != is_not

    written = [f"not ({one.value})" if is_not else one.value for one, is_not in zip(tests, negated, strict=False)]
    text = written[0] + "".join(f" {join} {one}" for join, one in zip(joins, written[1:], strict=False))
    expected = []
    for number, resource in enumerate(resources):
        truth = holds(tests[0], negated[0], resource)
        for join, test, is_not in zip(joins, tests[1:], negated[1:], strict=False):
            other = holds(test, is_not, resource)
            truth = (truth and other) if join == "and" else (truth or other)
        if truth:
            expected.append(number)
    searched.hold(resources)
    [page] = searched.pages([("_filter", text)])
    assert sorted(page) == expected


# Sorting

SORTED = st.fixed_dictionaries(
    {
        "status": maybe(st.sampled_from(["a", "b"])),
        "effectiveDateTime": maybe(st.sampled_from(["2023", "2024-01", "2024-02-01"])),
    }
).map(lambda one: without({"resourceType": "Observation", **one}))
KEYS = {
    "status": lambda o: o.get("status"),
    "date": lambda o: covered(o["effectiveDateTime"]) if "effectiveDateTime" in o else None,
}


def in_order(resources: list[Resource], sort: list[tuple[str, bool]]) -> list[int]:
    """Ascending what is missing first, descending last; at the end by id."""

    def compare(one: int, other: int) -> int:
        for name, descending in sort:
            keys = [KEYS[name](resources[number]) for number in (one, other)]
            if name == "date":
                keys = [None if key is None else key[1 if descending else 0] for key in keys]
            if keys[0] != keys[1]:
                is_less = keys[0] is None or (keys[1] is not None and keys[0] < keys[1])
                return (-1 if is_less else 1) * (-1 if descending else 1)
        return one - other

    return sorted(range(len(resources)), key=cmp_to_key(compare))


@SEARCHES
@given(
    resources=st.lists(SORTED, min_size=1, max_size=8),
    sort=st.lists(
        st.tuples(st.sampled_from(sorted(KEYS)), st.booleans()), min_size=1, max_size=2, unique_by=lambda key: key[0]
    ),
    count=st.integers(1, 4),
)
def test_pages_in_any_order_hold_each_row_once_and_what_is_missing_at_its_end(
    searched: Searched, resources: list[Resource], sort: list[tuple[str, bool]], count: int
) -> None:
    text = ",".join(("-" if descending else "") + name for name, descending in sort)
    searched.hold(resources)
    pages = searched.pages([("_sort", text)], count)
    assert all(len(page) == count for page in pages[:-1])
    assert [number for page in pages for number in page] == in_order(resources, sort)
