"""QIDO-RS, the search transaction (PS3.18 10.6).

https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_10.6.html. Every answer is built from ImagingStudy
rows that the guarded store has given out, so what cannot be read cannot be found, counted or told from what is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from fhirserver.dicomweb.attributes import Level, tag
from fhirserver.dicomweb.dicom_json import element
from fhirserver.dicomweb.imaging_study import id_of, identifier_of
from fhirserver.dicomweb.matching import DicomQuery, Filter, below, holds, returned
from fhirserver.search import expression as e
from fhirserver.search.parse import parse
from fhirserver.store import instances
from fhirserver.store.database import Database
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row
from resources import SUPPORTED

_BATCH: Final = 200
"""Studies looked at together while series or instances are searched across studies."""

_NAMED: Final = 1000
"""The most studies that a list of UIDs can name."""

Result = dict[str, Any]


class Search:
    """One search at one level, of one caller."""

    def __init__(
        self,
        database: Database,
        store: ResourceStore,
        query: DicomQuery,
        base: str,
        zone: ZoneInfo,
        *,
        study: str | None = None,
        series: str | None = None,
    ) -> None:
        """`study` and `series` are the UIDs of the resource searched within; `base` is the DICOMweb base.

        `zone` is that of dates without an offset.
        """
        self._database = database
        self._store = store
        self._base = base
        self._zone = zone
        self._query = query
        self._study = study
        self._is_of_series = series is not None
        self._series = (*query.series, *([("SeriesInstanceUID", "eq", series)] if series else []))
        self._filters = [*query.study, *([("StudyInstanceUID", "eq", study)] if study else [])]
        self.rows: dict[str, Row] = {}
        """The studies that the results are of, by their UID, for the audit."""

    def results(self, level: Level) -> tuple[list[bytes], bool]:
        """The encoded results of the page asked for, and whether there are more."""
        all_results = {Level.STUDY: self._studies, Level.SERIES: self._all_series, Level.INSTANCE: self._instances}
        # At the study level the database skips; below it, results are counted here.
        offset = 0 if level is Level.STUDY else self._query.offset
        found = list(islice(all_results[level](), offset, offset + self._query.limit + 1))
        more = len(found) > self._query.limit
        page = found[: self._query.limit]
        for row, _ in page:
            self.rows[row.id] = row
        return [orjson.dumps(dict(sorted(result.items()))) for _, result in page], more

    def _studies(self) -> Iterator[tuple[Row, Result]]:
        wanted = returned(Level.STUDY, self._query)
        for row in self._candidates(self._query.limit + 1, self._query.offset):
            yield row, self._study_result(row, wanted)

    def _all_series(self) -> Iterator[tuple[Row, Result]]:
        wanted = returned(Level.SERIES, self._query)
        for row, kept_series in self._matching_series():
            # PS3.18 10.6.3.3.2: series of no particular study come with the attributes of theirs.
            above = {} if self._study else self._study_result(row, returned(Level.STUDY, self._query))
            yield row, {**above, **self._series_result(row, kept_series, wanted)}

    def _instances(self) -> Iterator[tuple[Row, Result]]:
        wanted = returned(Level.INSTANCE, self._query)
        for row, kept_series in self._matching_series():
            above = {} if self._study else self._study_result(row, returned(Level.STUDY, self._query))
            if not self._is_of_series:  # PS3.18 10.6.3.3.3: the series is told unless the address names it
                above = {**above, **self._series_result(row, kept_series, returned(Level.SERIES, self._query))}
            fields = ("class", "number", "series", "metadata")
            for instance in instances.of_study(
                self._database, row, fields, {"series": kept_series["SeriesInstanceUID"]}
            ):
                if holds(self._query.instance, _keys(instance)):
                    yield row, {**above, **self._instance_result(row, instance, wanted)}

    def _matching_series(self) -> Iterator[tuple[Row, Mapping[str, Any]]]:
        offset = 0
        while rows := self._candidates(_BATCH, offset):
            for row in rows:
                for one in _carried(row)["series"]:
                    if holds(self._series, one):
                        yield row, one
            if len(rows) < _BATCH:
                return
            offset += _BATCH

    def _candidates(self, limit: int, offset: int) -> list[Row]:
        """Readable studies that meet the filters of their level, and could have a series and an instance that does."""
        if (pairs := self._named()) is not None:
            found = self._store.find("ImagingStudy", self._either(pairs, self._ids()), limit=2 * _NAMED)
            matching = [row for row in found if row.dicom is not None and holds(self._filters, row.dicom)]
            matching.sort(key=lambda row: (_carried(row)["StudyDate"], row.id), reverse=True)
            return matching[offset : offset + limit]
        filters = [*below("dicom", self._filters), *below("dicom.series", self._series)]
        filters += [("dicom.SOPClassesInStudy", operation, value) for _, operation, value in self._classes()]
        return self._store.find_studies(filters, limit=limit, offset=offset)

    def _either(self, pairs: Sequence[tuple[str, str]], ids: Sequence[tuple[str, str]]) -> e.Expression:
        """What meets `pairs`, or has one of `ids`, in one query."""
        expressions = [self._parsed(each) for each in (pairs, ids) if each]
        if len(expressions) == 1:
            return expressions[0]
        # Alternatives on one level are one look into the index.
        return e.Any(tuple(part for one in expressions for part in (one.parts if isinstance(one, e.Any) else (one,))))

    def _parsed(self, pairs: Sequence[tuple[str, str]]) -> e.Expression:
        kind = SUPPORTED["ImagingStudy"]
        return parse(kind, pairs, handling="strict", zone=self._zone, supported=SUPPORTED).expression

    def _ids(self) -> list[tuple[str, str]]:
        """The studies named by the ids that they have here: a client may have changed their identifiers."""
        named = [value for path, operation, value in self._filters if path == "StudyInstanceUID" and operation == "eq"]
        return [("_id", ",".join(id_of(uid) for uid in named))] if named else []

    def _classes(self) -> list[Filter]:
        return [one for one in self._query.instance if one[0] == "SOPClassUID"]

    def _named(self) -> list[tuple[str, str]] | None:
        """The search parameters by which UIDs name the studies; they have an index, whatever the caller may see."""
        pairs = []
        for path, operation, value in (*self._filters, *self._series, *self._query.instance):
            if path in _UIDS and operation in {"eq", "in"}:
                uids = [value] if operation == "eq" else value
                parameter, form = _UIDS[path]
                pairs.append((parameter, ",".join(form(uid) for uid in uids)))
        return pairs or None

    # Results

    def _study_result(self, row: Row, wanted: frozenset[str]) -> Result:
        carried = _carried(row)
        attributes = orjson.loads(carried["attributes"])
        return {
            **{key: value for key, value in attributes.items() if key in wanted},
            tag("StudyInstanceUID"): element("UI", carried["StudyInstanceUID"]),
            tag("RetrieveURL"): element("UR", f"{self._base}/studies/{carried['StudyInstanceUID']}"),
        }

    def _series_result(self, row: Row, one: Mapping[str, Any], wanted: frozenset[str]) -> Result:
        url = f"{self._base}/studies/{_carried(row)['StudyInstanceUID']}/series/{one['SeriesInstanceUID']}"
        above = self._asked_above(row) if self._study else {}
        return {
            **above,
            **{key: value for key, value in orjson.loads(one["attributes"]).items() if key in wanted},
            tag("RetrieveURL"): element("UR", url),
        }

    def _instance_result(self, row: Row, instance: Mapping[str, Any], wanted: frozenset[str]) -> Result:
        study = _carried(row)["StudyInstanceUID"]
        metadata = orjson.loads(instance["metadata"])
        url = f"{self._base}/studies/{study}/series/{instance['series']}/instances/{instance['_id']}"
        chosen = metadata if self._query.everything else {key: metadata[key] for key in wanted & metadata.keys()}
        return {
            **(self._asked_above(row) if self._study else {}),
            **{key: value for key, value in chosen.items() if "BulkDataURI" not in value},
            tag("InstanceAvailability"): element("CS", "ONLINE"),
            tag("RetrieveURL"): element("UR", url),
        }

    def _asked_above(self, row: Row) -> Result:
        """The attributes of the study that includefield names, and the UID that every result of ours has."""
        attributes = orjson.loads(_carried(row)["attributes"])
        asked = {key: attributes[key] for key in self._query.included & attributes.keys()}
        return {**asked, tag("StudyInstanceUID"): element("UI", _carried(row)["StudyInstanceUID"])}


_UIDS: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "StudyInstanceUID": ("identifier", identifier_of),
    "SeriesInstanceUID": ("series", str),
    "SOPInstanceUID": ("instance", str),
}


def _carried(row: Row) -> Mapping[str, Any]:
    return row.dicom or {}


def _keys(instance: Mapping[str, Any]) -> dict[str, Any]:
    """An instance row under the keywords that filters name."""
    number = instance["number"]
    return {
        "SOPInstanceUID": instance["_id"],
        "SOPClassUID": instance["class"],
        "InstanceNumber": None if number is None else str(number),
    }
