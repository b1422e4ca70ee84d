"""QIDO-RS query parameters (PS3.18 8.3.4 and 10.6.1.2) as filters over what `carry` keeps.

https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_8.3.4.html. A filter is a tuple (path, operator,
value) with an operator of eq, in, ge, le, regex; the store compiles those of the study together with the permission,
and `holds` evaluates those of series and instances on the rows that come back. What is not understood is refused.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from fhirserver.dicomweb.attributes import OFFERED, RETURNED, Level, tag
from fhirserver.dicomweb.carry import date_key, name_key, time_key
from fhirserver.errors import BadRequest

Filter: TypeAlias = tuple[str, str, Any]

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")


@dataclass(frozen=True, slots=True)
class DicomQuery:
    """What a QIDO-RS request asks for.

    Filters are by the level of their attribute, paths relative to that level. `included` are the tags asked for besides
    the default ones, `everything` is includefield=all. `warnings` are to be said in the answer.
    """

    study: tuple[Filter, ...] = ()
    series: tuple[Filter, ...] = ()
    instance: tuple[Filter, ...] = ()
    included: frozenset[str] = frozenset()
    everything: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    warnings: tuple[str, ...] = ()


def parse(pairs: Iterable[tuple[str, str]], level: Level) -> DicomQuery:
    """The query of a search at `level`, where attributes of that level and of those above may be matched.

    Raises BadRequest for a parameter that is unknown, of a level below, repeated, or of a malformed value.
    """
    filters: dict[Level, list[Filter]] = {one: [] for one in Level}
    included: set[str] = set()
    options: dict[str, Any] = {}
    seen: set[str] = set()
    for name, value in pairs:
        match name.lower():
            case "includefield":
                included.update(field for field in value.split(",") if field)
            case "limit" | "offset" as option:
                options[option] = _natural(option, value)
            case "fuzzymatching":
                options["warnings"] = _fuzzy(value)
            case "accept":
                continue  # PS3.18 8.3.3.1: an Accept header in the query
            case _:
                key = _key(name)
                if key in seen:
                    raise BadRequest(f"{name} is given more than once.", expression=name)
                seen.add(key)
                at, compiled = _compiled(key, name, value)
                if at > level:
                    raise BadRequest(f"{name} is an attribute of a level below this search.", expression=name)
                filters[at] += compiled
    everything = "all" in included
    tags = frozenset(_included(field, level) for field in included - {"all"})
    options["limit"] = min(options.get("limit", DEFAULT_LIMIT), MAX_LIMIT)
    return DicomQuery(
        tuple(filters[Level.STUDY]),
        tuple(filters[Level.SERIES]),
        tuple(filters[Level.INSTANCE]),
        tags,
        everything,
        **options,
    )


def holds(filters: Sequence[Filter], document: Mapping[str, Any]) -> bool:
    """Whether a document meets all filters, as MongoDB would say: a list meets one if an element does."""
    return all(_meets(document.get(path), operation, value) for path, operation, value in filters)


def below(prefix: str, filters: Iterable[Filter]) -> list[Filter]:
    """The filters with their paths moved below `prefix`."""
    return [(f"{prefix}.{path}", operation, value) for path, operation, value in filters]


# What matches how. Each matcher gives the filters of a value, none for an empty one (universal matching).

Matcher: TypeAlias = Callable[[str, str], list[Filter]]


def _text(path: str, value: str) -> list[Filter]:
    """Single value and wild card matching (PS3.4 C.2.2.2.1 and .4), case sensitive."""
    return [_wild(path, value)] if value else []


def _name(path: str, value: str) -> list[Filter]:
    """The same on folded names; a trailing component delimiter says nothing."""
    return [_wild(path, name_key(value))] if name_key(value) else []


def _uid(path: str, value: str) -> list[Filter]:
    """UID list matching (PS3.4 C.2.2.2.2); PS3.18 separates by commas, older clients by backslashes."""
    wanted = [item for item in re.split(r"[,\\]", value) if item]
    if any(not re.fullmatch(r"[0-9.]{1,64}", item) for item in wanted):
        raise BadRequest(f"{path} is a list of UIDs.", expression=path)
    return _one_of(path, wanted)


def _codes(path: str, value: str) -> list[Filter]:
    """One of several code strings."""
    if "*" in value or "?" in value:
        return [_wild(path, value)]
    return _one_of(path, [item for item in re.split(r"[,\\]", value) if item])


def _integer(path: str, value: str) -> list[Filter]:
    """An integer string, compared as the number that it writes."""
    if not value:
        return []
    if not re.fullmatch(r"[+-]?\d{1,12}", value):
        raise BadRequest(f"{path} is an integer.", expression=path)
    return [(path, "eq", str(int(value)))]


def _date(path: str, value: str) -> list[Filter]:
    """Range matching of dates (PS3.4 C.2.2.2.5.1)."""
    return _range(path, value, date_key, date_key)


def _time(path: str, value: str) -> list[Filter]:
    """Range matching of times (PS3.4 C.2.2.2.5.2): a time without seconds is the whole minute."""
    return _range(path, value, time_key, _end_of)


def _end_of(value: str) -> str:
    key = time_key(value)
    digits = len(value.replace(":", "").partition(".")[0])
    if not key or "." in value:
        return key
    return key[:digits] + "595959"[digits:] + ".999999"


def _range(path: str, value: str, lower: Callable[[str], str], upper: Callable[[str], str]) -> list[Filter]:
    if not value:
        return []
    first, hyphen, last = value.partition("-")
    bounds = [("ge", first, lower(first)), ("le", last if hyphen else first, upper(last if hyphen else first))]
    if any(text and not key for _, text, key in bounds) or not (first or last):
        raise BadRequest(f"{path} is a date or time, or two with a hyphen between.", expression=path)
    # An empty key would satisfy an open lower end.
    return [(path, operation, key) for operation, text, key in bounds if text] + ([] if first else [(path, "ge", "0")])


def _wild(path: str, value: str) -> Filter:
    if "*" not in value and "?" not in value:
        return (path, "eq", value)
    first, *pieces = [
        "".join("." if letter == "?" else re.escape(letter) for letter in piece) for piece in value.split("*")
    ]
    if not pieces:
        return (path, "regex", f"^{first}$")
    # Each piece is taken where it comes first and never again elsewhere, so that the cost is linear whatever is asked.
    inner = "".join(f"(?>.*?{piece})" for piece in pieces[:-1] if piece)
    return (path, "regex", f"^{first}{inner}.*{pieces[-1]}$")


def _one_of(path: str, wanted: list[str]) -> list[Filter]:
    if not wanted:
        return []
    return [(path, "eq", wanted[0]) if len(wanted) == 1 else (path, "in", wanted)]


MATCHED: Final[Mapping[str, tuple[Level, Matcher]]] = {
    "StudyDate": (Level.STUDY, _date),
    "StudyTime": (Level.STUDY, _time),
    "AccessionNumber": (Level.STUDY, _text),
    "ModalitiesInStudy": (Level.STUDY, _codes),
    "SOPClassesInStudy": (Level.STUDY, _uid),
    "ReferringPhysicianName": (Level.STUDY, _name),
    "StudyDescription": (Level.STUDY, _text),
    "PatientName": (Level.STUDY, _name),
    "PatientID": (Level.STUDY, _text),
    "IssuerOfPatientID": (Level.STUDY, _text),
    "PatientBirthDate": (Level.STUDY, _date),
    "PatientSex": (Level.STUDY, _codes),
    "StudyInstanceUID": (Level.STUDY, _uid),
    "StudyID": (Level.STUDY, _text),
    "Modality": (Level.SERIES, _codes),
    "SeriesInstanceUID": (Level.SERIES, _uid),
    "SeriesNumber": (Level.SERIES, _integer),
    "SeriesDescription": (Level.SERIES, _text),
    "BodyPartExamined": (Level.SERIES, _codes),
    "PerformedProcedureStepStartDate": (Level.SERIES, _date),
    "PerformedProcedureStepStartTime": (Level.SERIES, _time),
    "ScheduledProcedureStepID": (Level.SERIES, _text),
    "RequestedProcedureID": (Level.SERIES, _text),
    "SOPClassUID": (Level.INSTANCE, _uid),
    "SOPInstanceUID": (Level.INSTANCE, _uid),
    "InstanceNumber": (Level.INSTANCE, _integer),
}
"""The attributes that may be matched; the two of RequestAttributesSequence are named with or without the sequence."""

_IN_REQUEST_ATTRIBUTES = frozenset({"ScheduledProcedureStepID", "RequestedProcedureID"})


def _compiled(keyword: str, name: str, value: str) -> tuple[Level, list[Filter]]:
    if keyword not in MATCHED:
        raise BadRequest(f"{name} cannot be matched by this server.", expression=name)
    level, matcher = MATCHED[keyword]
    return level, matcher(keyword, value.strip())


def _key(name: str) -> str:
    """The keyword of a parameter, which may be a keyword, a tag, or a path through RequestAttributesSequence."""
    sequence, dot, inner = name.rpartition(".")
    keyword = _keyword(inner)
    if keyword is None or (
        dot and (_keyword(sequence) != "RequestAttributesSequence" or keyword not in _IN_REQUEST_ATTRIBUTES)
    ):
        raise BadRequest(f"{name} is not an attribute that can be matched.", expression=name)
    return keyword


def _keyword(name: str) -> str | None:
    if _TAG.fullmatch(name):
        return keyword_for_tag(int(name, 16)) or None
    return name if tag_for_keyword(name) is not None else None


def _included(field: str, level: Level) -> str:
    """The tag of an includefield value; a path into a sequence asks for the sequence."""
    field = field.partition(".")[0]
    keyword = _keyword(field)
    is_tag = _TAG.fullmatch(field) is not None
    if keyword is None and not (is_tag and level is Level.INSTANCE):  # where it may be a private attribute
        raise BadRequest(f"{field} is not an attribute.", expression="includefield")
    return field.upper() if is_tag or keyword is None else tag(keyword)  # a repeating group has many tags


def _fuzzy(value: str) -> tuple[str, ...]:
    match value.lower():
        case "true":
            return ("The fuzzymatching parameter is not supported. Only literal matching has been performed.",)
        case "false":
            return ()
        case _:
            raise BadRequest("fuzzymatching is true or false.", expression="fuzzymatching")


def _natural(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value):
        raise BadRequest(f"{name} is a number of results.", expression=name)
    return int(value)


_OPERATIONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "in": lambda value, wanted: value in wanted,
    "ge": operator.ge,
    "le": operator.le,
    "regex": lambda value, pattern: re.search(pattern, value) is not None,
}


def _meets(present: Any, operation: str, value: Any) -> bool:
    candidates = present if isinstance(present, list) else [] if present is None else [present]
    return any(_OPERATIONS[operation](one, value) for one in candidates)


def returned(level: Level, query: DicomQuery) -> frozenset[str]:
    """The tags of an answer's attributes at one level; all that are kept where everything is asked for."""
    wanted = _RETURNED[level] | query.included
    return wanted | _OFFERED[level] if query.everything else wanted


_RETURNED = {level: frozenset(map(tag, keywords)) for level, keywords in RETURNED.items()}
_OFFERED = {level: frozenset(map(tag, keywords)) for level, keywords in OFFERED.items()}
