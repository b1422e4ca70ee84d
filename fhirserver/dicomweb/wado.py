"""WADO-RS, the retrieve transaction (PS3.18 10.4), of instances, frames, metadata and bulk data.

https://dicom.nema.org/medical/dicom/current/output/chtml/part18/sect_10.4.html. A study is retrieved exactly when its
ImagingStudy may be; refused and absent are the same answer. Bytes leave as they came in: nothing is transcoded, so a
representation in another transfer syntax is not acceptable rather than costly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from fhirserver import audit
from fhirserver.access import Access
from fhirserver.audit.dicom import Trigger
from fhirserver.dicomweb import dicom_json, multipart, part10
from fhirserver.dicomweb.frames import Frames
from fhirserver.dicomweb.imaging_study import id_of, identifier_of
from fhirserver.dicomweb.media_types import DICOM, MULTIPART, OCTETS, MediaType, accepted, matches
from fhirserver.errors import BadRequest, Gone, NotAcceptable, NotFound
from fhirserver.search.parse import parse
from fhirserver.store.database import Document
from fhirserver.store.instances import Directory, Place
from fhirserver.store.objects import Objects
from fhirserver.store.resource_store import ResourceStore
from fhirserver.store.rows import Row
from resources import SUPPORTED

COMPRESSED: Final[Mapping[str, str]] = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.100": "video/mpeg2",
    "1.2.840.10008.1.2.4.101": "video/mpeg2",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
    "1.2.840.10008.1.2.4.107": "video/H265",
    "1.2.840.10008.1.2.4.108": "video/H265",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""The media type of a frame by its transfer syntax (PS3.18 Table 8.7.3-5)."""

_SMALL: Final = 1 << 22
"""An answer up to this size is read before it is sent, which saves a round of the server per chunk."""

_ANNOUNCED: Final = 10
"""ImagingStudies of one study to look through: one holds the images, others may have been announced."""

_ABSENT: Final = "The study, series, instance or frame is not known."


Part: TypeAlias = tuple[bytes, int]
"""The head of a part of the answer, and the length of its content."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A body in chunks, its type, and its length where it is known."""

    content_type: str
    body: Iterable[bytes]
    length: int | None = None


class Retrieve:
    """One retrieval of one caller, from one study."""

    def __init__(
        self,
        directory: Directory,
        store: ResourceStore,
        objects: Objects,
        access: Access,
        zone: ZoneInfo,
        study: str,
    ) -> None:
        """Find the study by its guarded ImagingStudy. Raises Forbidden, or NotFound where absent or refused."""
        access.admit("retrieve", "ImagingStudy")
        self._directory = directory
        self._store = store
        self._objects = objects
        self._access = access
        self._uid = study
        self.row = self._find(study, zone)

    def _find(self, study: str, zone: ZoneInfo) -> Row:
        """By the id that a study has here, which also notes a refusal for the audit; else by its identifier."""
        with contextlib.suppress(NotFound, Gone):
            return self._holding(self._store.read("ImagingStudy", id_of(study), with_body=False), study)
        pairs = [("identifier", identifier_of(study))]
        query = parse(SUPPORTED["ImagingStudy"], pairs, handling="strict", zone=zone, supported=SUPPORTED)
        for row in self._store.find("ImagingStudy", query.expression, limit=_ANNOUNCED, interaction="retrieve"):
            with contextlib.suppress(NotFound):
                if self._access.decide("retrieve", row.facts).effect == "permit":
                    return self._holding(row, study)
        raise NotFound(_ABSENT)

    def _holding(self, row: Row, study: str) -> Row:
        """The row, if images of the study belong to it."""
        if row.dicom is None or row.dicom["StudyInstanceUID"] != study:
            raise NotFound(_ABSENT)
        return row

    # What is retrieved

    def metadata(self, base: str, series: str | None = None, instance: str | None = None) -> Iterable[bytes]:
        """The stored metadata as one JSON array."""
        rows = self._rows(series, instance, ("metadata",))
        self._tell("metadata", len(rows))
        return [dicom_json.placed(dicom_json.joined(row["metadata"] for row in rows), base)]

    def instances(self, accept: str | None, series: str | None = None, instance: str | None = None) -> Answer:
        """Whole instances as they were stored, in parts, or one by itself where that is asked for."""
        places = self._places(series, instance)
        wanted = self._acceptable(accept, {place.syntax for place in places}, single=instance is not None)
        self._tell("retrieve", len(places))
        if not wanted.is_multipart:
            (place,) = places
            content = self._objects.open(place.object)
            return Answer(f"{DICOM}; transfer-syntax={place.syntax}", _body(content, place.size), place.size)
        parts = [_head(f"{DICOM}; transfer-syntax={place.syntax}", place.size) for place in places]
        return self._in_parts(DICOM, parts, (self._objects.open(place.object) for place in places))

    def frames(self, accept: str | None, series: str, instance: str, numbers: Sequence[int]) -> Answer:
        """Frames of one instance, in the order asked for."""
        (place,) = self._places(series, instance)
        if place.frames is None:
            raise NotFound(_ABSENT)
        located = Frames.from_document(place.frames)
        try:
            spans = [located.of(number) for number in numbers]
        except IndexError as error:
            raise NotFound(_ABSENT) from error
        content_type, content, is_multipart = _frame_type(accept, place.syntax, single=len(numbers) == 1)
        self._tell("retrieve", 1)
        lengths = [sum(length for _, length in frame) for frame in spans]
        bodies = (self._spans(place.object, frame, located.word) for frame in spans)
        if not is_multipart:
            return Answer(content_type, _body(next(bodies), lengths[0]), lengths[0])
        return self._in_parts(content, [_head(content_type, length) for length in lengths], bodies)

    def bulk(self, accept: str | None, series: str, instance: str, path: str) -> Answer:
        """One long binary value, little endian, by the path that metadata name it by."""
        (row,) = self._rows(series, instance, ("object", "syntax", "bulk"))
        is_multipart = _octets(accept)
        places = (dicom_json.BulkPlace(*place) for place in row["bulk"])
        place = next((one for one in places if one.path == path.upper()), None)
        if place is None:
            raise NotFound(_ABSENT)
        self._tell("retrieve", 1)
        content = self._bulk_content(row, place)
        if not is_multipart:
            return Answer(OCTETS, content, place.length)
        return self._in_parts(OCTETS, [_head(OCTETS, place.length)], iter([content]))

    # Steps

    def _places(self, series: str | None, instance: str | None) -> list[Place]:
        """Where the instances lie. Raises NotFound where there is none."""
        if series is None or instance is None:
            places = self._directory.series(self.row, series)
        else:
            place = self._directory.instance(self.row, series, instance)
            places = [] if place is None else [place]
        if not places:
            raise NotFound(_ABSENT)
        return places

    def _rows(self, series: str | None, instance: str | None, fields: Sequence[str]) -> list[Document]:
        match = {"series": series} if series else {}
        if instance:
            match["_id"] = instance
        rows = list(self._directory.rows(self.row, fields, match))
        if not rows:
            raise NotFound(_ABSENT)
        return rows

    def _acceptable(self, accept: str | None, syntaxes: set[str], *, single: bool) -> MediaType:
        """The first acceptable type whose transfer syntax is the stored one, for every instance."""
        for media in accepted(accept):
            if not matches(media.content, DICOM) or not (media.is_multipart or single or media.name == "*/*"):
                continue
            asked = media.parameters.get("transfer-syntax", "*")
            if asked == "*" or syntaxes == {asked}:
                is_whole = single and media.name in {DICOM, "application/*"}
                return MediaType(DICOM if is_whole else MULTIPART, {"type": DICOM})
        raise NotAcceptable(
            f'Instances are offered as {MULTIPART}; type="{DICOM}", or one as {DICOM}, '
            'in the transfer syntax they are stored in (transfer-syntax="*").'
        )

    def _tell(self, trigger: Trigger, instances: int) -> None:
        """The audit of what is about to leave; nothing leaves where it cannot be written."""
        decision = self._access.decisions[-1].decision
        events = [
            *audit.dicom_events(
                self._access,
                trigger,
                self._uid,
                patients=self.row.patients,
                labels=audit.labels_of(self._access, "retrieve", self.row),
                study=self.row.reference,
                instances=instances,
            ),
            *audit.consent_events(self._access, "retrieve", self.row, decision),
        ]
        audit.flush(self._access, events)

    def _spans(self, key: str, spans: Sequence[tuple[int, int]], word: int) -> Iterator[bytes]:
        for offset, length in spans:
            if word == 1:
                yield from self._objects.open_range(key, offset, length)
            else:
                yield dicom_json.little_endian("OW", self._objects.read_range(key, offset, length))

    def _in_parts(self, content: str, parts: Sequence[Part], bodies: Iterator[Iterable[bytes]]) -> Answer:
        boundary = multipart.new_boundary()
        envelope = multipart.envelope(boundary, [head for head, _ in parts])
        length = sum(map(len, envelope)) + sum(size for _, size in parts)
        body = _body(multipart.write(envelope, bodies), length)
        return Answer(f'{MULTIPART}; type="{content}"; boundary={boundary}', body, length)

    def _bulk_content(self, row: Mapping[str, Any], place: dicom_json.BulkPlace) -> Iterable[bytes]:
        if row["syntax"] == part10.DEFLATED:
            file = part10.inflated(b"".join(self._objects.open(row["object"])))
            return [bytes(file[place.offset : place.offset + place.length])]
        if row["syntax"] == part10.BIG_ENDIAN:
            value = self._objects.read_range(row["object"], place.offset, place.length)
            return [dicom_json.little_endian(place.vr, value)]
        return self._objects.open_range(row["object"], place.offset, place.length)


@lru_cache(maxsize=256)  # the instances of a series are mostly of one length
def _head(content_type: str, length: int) -> Part:
    return multipart.head({"Content-Type": content_type, "Content-Length": str(length)}), length


def _body(chunks: Iterable[bytes], length: int) -> Iterable[bytes]:
    """The chunks themselves, or a list of them all where they are few: the server sends a list in one piece."""
    return list(chunks) if length <= _SMALL else chunks


def _frame_type(accept: str | None, syntax: str, *, single: bool) -> tuple[str, str, bool]:
    """How frames of this transfer syntax may be sent: the type of a part, that of the whole, and whether in parts.

    Native frames are octets. Compressed ones are of their own media type, or octets where the caller takes the stored
    transfer syntax or any. Raises NotAcceptable.
    """
    own = COMPRESSED.get(syntax)
    is_native = syntax in part10.NATIVE
    for media in accepted(accept):
        in_parts = media.is_multipart or media.name == "*/*"
        if not (in_parts or single):
            continue
        asked = media.parameters.get("transfer-syntax")
        if asked not in {None, "*", syntax, *({part10.EXPLICIT} if is_native else ())}:
            continue
        if is_native and matches(media.content, OCTETS):
            return OCTETS, OCTETS, in_parts
        if own and matches(media.content, own):
            return f"{own}; transfer-syntax={syntax}", own, in_parts
        if not is_native and asked is not None and matches(media.content, OCTETS):
            return f"{OCTETS}; transfer-syntax={syntax}", OCTETS, in_parts
    raise NotAcceptable(f"Frames of this instance are offered as {own or OCTETS}, in transfer syntax {syntax}.")


def _octets(accept: str | None) -> bool:
    """Whether bulk data are wanted in a part. Raises NotAcceptable for another type than octets."""
    for media in accepted(accept):
        if matches(media.content, OCTETS):
            return media.is_multipart
    raise NotAcceptable(f"Bulk data are offered as {OCTETS}.")


def frame_numbers(text: str) -> list[int]:
    """The list of a frames resource (PS3.18 10.1.4). Raises BadRequest."""
    numbers = text.replace("%2C", ",").replace("%2c", ",").split(",")
    if not all(number.isascii() and number.isdigit() and 0 < len(number) < 10 for number in numbers) or "0" in numbers:
        raise BadRequest("Frames are numbers from one, separated by commas.")
    return [int(number) for number in numbers]
