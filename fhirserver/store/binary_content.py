"""The content of a large Binary, in the object store: its `data`, cut out of the stored bytes and put back when read.

What is kept is the text as it was sent, in base64, so the version that is read is the one that was written, byte for
byte. A small `data`, and one that JSON escapes, stays where it is.

https://hl7.org/fhir/R4/binary.html
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from fhirserver.errors import NotFound, Unavailable
from fhirserver.store.database import Database, Document
from fhirserver.store.objects import Objects
from fhirserver.store.rows import Row, row_of

LEAST: Final = 1 << 14
"""Characters of `data` from which it is worth a file."""

_KEY = re.compile(r"binary/of-([A-Za-z0-9.-]{1,64})/[0-9a-f]{32}")


class Contents:
    """The contents that one transaction writes. What an attempt that failed has written is taken back."""

    def __init__(self, objects: Objects) -> None:
        """Nothing is written yet."""
        self._objects = objects
        self._keys: list[str] = []
        self._pending = ExitStack()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take them back, or leave them to the next start where it is not known whether the rows were committed."""
        self._pending.__exit__(kind, error, trace)

    def keep(self) -> None:
        """The transaction was committed."""
        self._keys.clear()
        self._pending.close()

    def take_back(self) -> None:
        """Forget what was written so far: the transaction begins anew."""
        for key in self._keys:
            self._objects.delete(key)
        self.keep()

    def cut_out(self, document: Document, resource: Mapping[str, Any]) -> None:
        """Move the `data` of the Binary in `document` to the object store. Raises Unavailable where that fails."""
        text = str(resource.get("data", "")).encode()
        at = document["b"].find(text)
        if len(text) < LEAST or at < 0:
            return
        key = f"binary/of-{resource['id']}/{uuid.uuid4().hex}"
        self._pending.enter_context(self._objects.pending([key]))
        self._keys.append(key)
        with self._objects.begin() as upload:
            upload.write(text)
            upload.finish(key)
        document["b"] = document["b"][:at] + document["b"][at + len(text) :]
        document["content"] = {"object": key, "at": at, "size": len(text)}


def whole(document: Mapping[str, Any], objects: Objects) -> bytes:
    """The bytes of a version, with what was cut out of them. Raises Unavailable where the object store has lost it."""
    body: bytes = document.get("b", b"")
    content = document.get("content")
    if content is None:
        return body
    at = content["at"]
    try:
        return b"".join((body[:at], *objects.open(content["object"]), body[at:]))
    except (NotFound, OSError) as error:
        raise Unavailable("The content of this Binary cannot be read.") from error


def whole_row(document: Document, objects: Objects) -> Row:
    """`row_of` a version with its whole body. Raises Unavailable as `whole` does."""
    return row_of({**document, "b": whole(document, objects)} if "content" in document else document)


def is_whole(document: Mapping[str, Any], body: bytes, objects: Objects) -> bool:
    """Whether these are the bytes of that version. What was cut out is read only where the lengths agree."""
    content = document.get("content")
    if content is None:
        return bool(body == document["b"])
    if len(body) != len(document["b"]) + content["size"]:
        return False
    try:
        return body == whole(document, objects)
    except Unavailable:  # a content that was lost can be sent again
        return False


def named_contents(database: Database, keys: Sequence[str]) -> set[str]:
    """Those of the object keys that a version of a Binary names: what `Objects.sweep` must keep."""
    references = sorted({f"Binary/{found[1]}" for key in keys if (found := _KEY.fullmatch(key))})
    if not references:
        return set()
    field = {"content.object": 1}
    versions = [
        *database.resources.find({"_id": {"$in": references}}, field),
        *database.history.find({"r": {"$in": references}}, field),
    ]
    return {one["content"]["object"] for one in versions if "content" in one} & set(keys)
