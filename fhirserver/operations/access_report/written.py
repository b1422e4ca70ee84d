"""Lines in words: names from the directory, titles of exams that the caller may read, and one sentence for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any, Final

import msgspec

from fhirserver.audit import codes
from fhirserver.operations.access_report.told import Line
from fhirserver.operations.access_report.words import (
    ACTIONS,
    KINDS,
    PAGE,
    PURPOSES,
    RESULTS,
    Language,
    found_words,
    instant_words,
    profession_words,
    reason_words,
    times_words,
    type_words,
)
from fhirserver.store.actors import Described
from fhirserver.store.rows import Row

TITLED: Final = frozenset(
    {"ImagingStudy", "DiagnosticReport", "DocumentReference", "Observation", "Procedure", "RelatedPerson"}
)
"""The types of which a title, or the name of somebody, is told to whoever may read the resource."""

_DICOM = {"studies": "ImagingStudy", "series": "ImagingStudy", "instances": "ImagingStudy"}
# Titles told of one line; the others are counted.
_MOST_TITLES = 5


@dataclass(frozen=True, slots=True)
class Written:
    """A line and its words; `at` is its instant for programs, `text` all of it as one sentence."""

    line: Line
    at: str
    when: str
    name: str
    profession: str | None
    structure: str | None
    what: str
    why: str | None
    result: str
    because: str | None
    text: str


def written(
    line: Line, language: Language, directory: Mapping[str, Described], rows: Mapping[str, Row], zone: tzinfo
) -> Written:
    """A line in words. `rows` are the resources that it names, those that the caller may read."""
    who = line.who
    known = directory.get(who.reference)
    person = rows.get(who.reference)
    name = who.name or (known.name if known else None) or (_name(_content(person)) if person else None)
    structure = None
    if who.organization is not None:
        organization = directory.get(who.organization)
        structure = (organization.name if organization else None) or who.organization
    if who.kind in {"establishment", "service"} or name is None:  # a client is named by whom it works for
        name = KINDS[who.kind][language]
    elif who.kind == "link":
        name = f"{KINDS[who.kind][language]} ({name})"
    roles = known.roles if known else ()
    held = [code for place, coded in roles if place in {None, who.organization} for code in coded]
    profession = profession_words(held, language)
    what, result = _what(line, language, rows), RESULTS[line.is_permitted][language]
    why = None if who.purpose is None else PURPOSES.get(who.purpose, {}).get(language, who.purpose)
    because = "; ".join(filter(None, (reason_words(code, language) for code in line.reasons))) or None
    when = instant_words(line.when, zone, language)
    described = ", ".join(part for part in (name, profession, structure) if part)
    said = [described, what, *([why] if why else []), result, *([PAGE["first"][language]] if line.is_first else [])]
    text = f"{when} – {' – '.join(said)}."
    at = line.when.astimezone(zone).isoformat(timespec="milliseconds")
    return Written(line, at, when, name, profession, structure, what, why, result, because, text)


def parts(text: Written) -> list[dict[str, Any]]:
    """A line as parts of a Parameters resource: codes for programs, words for people."""
    line, who = text.line, text.line.who
    reference = {"reference": who.reference} if who.kind in _REFERABLE else {}
    found: list[dict[str, Any]] = [
        {"name": "when", "valueDateTime": text.at},
        {"name": "times", "valueUnsignedInt": line.times},
        {"name": "who", "valueReference": reference | {"display": text.name}},
        {"name": "kind", "valueCode": who.kind},
    ]
    if text.profession:
        found.append({"name": "profession", "valueString": text.profession})
    if who.organization is not None:
        place = {"reference": who.organization} | ({"display": text.structure} if text.structure else {})
        found.append({"name": "structure", "valueReference": place})
    found.append({"name": "action", "valueCode": line.action})
    found += [{"name": "resource", "valueReference": {"reference": reference}} for reference in line.of]
    if line.found is not None:
        found.append({"name": "found", "valueUnsignedInt": line.found})
    if who.purpose is not None:
        coding = {"system": codes.PURPOSE_SYSTEM, "code": who.purpose} | ({"display": text.why} if text.why else {})
        found.append({"name": "why", "valueCoding": coding})
    found.append({"name": "result", "valueCode": "permitted" if line.is_permitted else "refused"})
    found += [{"name": "reason", "valueCode": code} for code in line.reasons]
    if text.because:
        found.append({"name": "because", "valueString": text.because})
    found.append({"name": "first-access", "valueBoolean": line.is_first})
    found.append({"name": "text", "valueString": text.text})
    found += [{"name": "event", "valueReference": {"reference": f"AuditEvent/{id_}"}} for id_ in line.events]
    return found


def _what(line: Line, language: Language, rows: Mapping[str, Row]) -> str:
    """What was done, of what: types in words, with the titles that the caller may read."""
    done = ACTIONS[line.action][language]
    said = list(_objects(line, language, rows))
    if line.found is not None and line.action in {"search", "operation"}:
        said.append(found_words(line.found, language))
    if line.times > 1:
        said.append(times_words(line.times, language))
    colon = " : " if language == "fr" else ": "
    return f"{done}{colon}{', '.join(said)}" if said else done


def _objects(line: Line, language: Language, rows: Mapping[str, Row]) -> Iterable[str]:
    named = [one for one in line.of if one.partition("/")[0] != "Patient" or line.action not in {"search", "operation"}]
    if not named and line.asked:
        yield _asked(line.asked, language)
    types = Counter(one.partition("/")[0] for one in named)
    for type_, number in types.items():
        titles = list(
            dict.fromkeys(title for one in named if one.startswith(f"{type_}/") and (title := _title(rows.get(one))))
        )
        several = f"{number} × " if number > 1 else ""
        told = f" ({', '.join(titles[:_MOST_TITLES])})" if titles else ""
        yield f"{several}{type_words(type_, language)}{told}"


def _asked(path: str, language: Language) -> str:
    """What a search or an operation was asked of: the type, or the name of the operation."""
    last = path.rpartition("/")[2]
    return type_words(_DICOM.get(last, last), language)


def _content(row: Row) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.json.decode(row.body)
    return content


def _title(row: Row | None) -> str | None:
    """What an exam, a report or a document is called."""
    if row is None or row.type == "RelatedPerson":
        return None
    content = _content(row)
    if row.type == "ImagingStudy":
        modalities = [one["code"] for one in content.get("modality", ()) if "code" in one]
        return " ".join([*modalities, *([content["description"]] if "description" in content else [])]) or None
    concept = content.get("type" if row.type == "DocumentReference" else "code", {})
    displays = (one.get("display") for one in concept.get("coding", ()))
    title: str | None = content.get("description") or concept.get("text") or next(filter(None, displays), None)
    return title


def _name(person: dict[str, Any]) -> str | None:
    for name in person.get("name", ()):
        said = [*name.get("given", ()), name.get("family")]  # a given name may be null, beside an extension
        return name.get("text") or " ".join(part for part in said if part) or None
    return None


_REFERABLE = frozenset({"person", "representative", "professional"})
