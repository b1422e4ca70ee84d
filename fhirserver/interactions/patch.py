"""Patch a resource: the changes are sent, and what comes of them is an update.

The version that is patched is read by the caller's own access in the transaction that writes the next one, so nothing
comes between. The result goes through the same gate as a resource that was sent whole, and is decided on twice.

https://hl7.org/fhir/R4/http.html#patch, https://hl7.org/fhir/R4/fhirpatch.html, RFC 6902, RFC 7396, RFC 5261
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from fhirserver.errors import (
    BadRequest,
    FhirError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
    TooCostly,
    Unprocessable,
    UnsupportedMediaType,
)
from fhirserver.interactions.condition import the_match
from fhirserver.interactions.context import Context, Pairs
from fhirserver.interactions.preconditions import ANY_VERSION, Versions
from fhirserver.store.rows import Row, Written
from fhirserver.store.unit import Unit
from resources.patch.document import CostlyPatchError, MalformedPatchError, Patch, PatchError, patched
from resources.patch.fhirpath_patch import FhirpathPatch
from resources.patch.json_patch import JsonPatch
from resources.patch.merge_patch import MergePatch
from resources.patch.xml_patch import XmlPatch
from resources.validation import Parsed

Form = Literal["json-patch", "merge-patch", "xml-patch", "fhirpath-patch"]

_READERS: Mapping[Form, Callable[[bytes], Patch]] = {
    "json-patch": JsonPatch.read,
    "merge-patch": MergePatch.read,
    "xml-patch": XmlPatch.read,
    "fhirpath-patch": FhirpathPatch.read,
}

MEDIA_TYPES: Mapping[str, Form] = {
    "application/json-patch+json": "json-patch",
    "application/merge-patch+json": "merge-patch",
    "application/xml-patch+xml": "xml-patch",
}
"""The media types that only a patch has; a FHIRPath Patch is a resource."""


def read_patch(form: Form, body: bytes) -> Patch:
    """A patch document of that form. Raises BadRequest where it is none, TooCostly where it asks for too much."""
    try:
        return _READERS[form](body)
    except PatchError as error:
        raise _refusal(error) from error


class _Sent(msgspec.Struct, rename="camel"):
    """What an entry of a Bundle sends instead of a resource."""

    resource_type: str = ""
    content_type: str = ""
    data: str = ""


def sent_patch(body: bytes) -> tuple[Form, bytes]:
    """The patch document of an entry of a Bundle: Parameters, or what a Binary holds in one of the other forms.

    Raises BadRequest, or UnsupportedMediaType for a Binary of another contentType.
    """
    try:
        sent = msgspec.json.decode(body, type=_Sent)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("A patch is sent as Parameters or Binary.", expression="resource") from error
    if sent.resource_type != "Binary":
        return "fhirpath-patch", body
    form = MEDIA_TYPES.get(sent.content_type.partition(";")[0].strip().lower())
    if form is None:
        raise UnsupportedMediaType(
            f"A Binary holds a patch as {' or '.join(MEDIA_TYPES)}, not as: {sent.content_type or 'no type'}",
            expression="Binary.contentType",
        )
    try:
        return form, base64.b64decode("".join(sent.data.split()), validate=True)
    except binascii.Error as error:
        raise BadRequest("The data of the Binary is no base64.", expression="Binary.data") from error


def patch(context: Context, type_: str, id_: str, document: Patch, *, if_match: Versions | None = None) -> Written:
    """The row as it now stands.

    Raises Forbidden, NotFound (absent or not to be read), PreconditionFailed, or Unprocessable where the patch does not
    fit or what comes of it is not valid.
    """
    admit_patch(context, type_)

    def work(unit: Unit) -> Written:
        return patch_in(context, unit, type_, id_, document, if_match=if_match)

    return context.transact(work)


def conditional_patch(
    context: Context, type_: str, pairs: Pairs, document: Patch, *, if_match: Versions | None = None
) -> Written:
    """The same for the one resource that meets the criteria `pairs`, the parameters of a search.

    Raises NotFound where none that the caller may see does, PreconditionFailed where several do.
    """
    admit_patch(context, type_)
    criteria = context.condition(type_, pairs)

    def work(unit: Unit) -> Written:
        row = the_match(context, unit, criteria)
        return patch_in(context, unit, type_, row.id, document, if_match=if_match)

    return context.transact(work)


def patch_in(
    context: Context,
    unit: Unit,
    type_: str,
    id_: str,
    document: Patch,
    *,
    if_match: Versions | None,
) -> Written:
    """The same within a transaction that somebody else began."""
    row = unit.read(type_, id_)
    try:
        parsed = _changed(context, row, document, if_match)
    except FhirError:  # it tells something of what is there
        context.note_read(row)
        raise
    try:
        written = unit.update(parsed, id_, interaction="patch")
    except NotFound as error:  # it may be read
        raise Forbidden(f"This {type_} may not be written by this client.") from error
    context.record_write(unit, "patch", written.row)
    return written


def _changed(context: Context, row: Row, document: Patch, if_match: Versions | None) -> Parsed:
    """What the patch makes of the present version, through the gate."""
    if if_match is not None and if_match != ANY_VERSION and row.version not in if_match:
        raise PreconditionFailed(f"{row.reference} is at version {row.version}.")
    try:
        body = patched(row.body, document, most_bytes=context.config.max_body)
    except PatchError as error:
        raise _refusal(error) from error
    return context.check(row.type, body)


def check_patched(type_: str) -> None:
    """Raise MethodNotAllowed for a Binary, which is content of another form: https://hl7.org/fhir/R4/http.html#patch."""
    if type_ == "Binary":
        raise MethodNotAllowed("A Binary is not patched: send it whole by PUT with If-Match.")


def admit_patch(context: Context, type_: str) -> None:
    """Raise Forbidden unless the token covers both patching and reading: the answer shows what a patch has tested.

    Raises MethodNotAllowed as `check_patched` does.
    """
    check_patched(type_)
    context.access.admit("patch", type_)
    context.access.admit("read", type_)


def _refusal(error: PatchError) -> FhirError:
    text = str(error)
    if isinstance(error, MalformedPatchError):
        return BadRequest(text, code="structure", expression=error.expression)
    if isinstance(error, CostlyPatchError):
        return TooCostly(text, expression=error.expression)
    return Unprocessable(text, expression=error.expression)
