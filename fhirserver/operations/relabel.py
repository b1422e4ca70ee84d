"""A change of the tags, profiles or security labels of a resource, as a new version of it.

R4 says of `$meta-add` and `$meta-delete` that they make no new version. Here they do (docs/adr/0013): labels say who
may see a resource, so a writer who has not seen a change of them must not undo it, who follows the history must learn
of it, and an AuditEvent must name what it tells of. They are decided as an update, on the state before and on the one
after; the rest of the resource keeps its bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirserver.errors import FhirError, Forbidden, NotFound, PreconditionFailed, Unprocessable
from fhirserver.interactions.context import Context
from fhirserver.interactions.preconditions import etag
from fhirserver.operations.operation import Given, Made, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.rows import Row
from fhirserver.store.unit import Unit
from resources.exact import encode, members_of
from resources.validation import parse

LABELS = ("profile", "security", "tag")
Labels = dict[str, list[Any]]
Change = Callable[[list[Any], list[Any]], list[Any]]
"""What becomes of the present values of one element, given those that were sent."""

TAKES = (Parameter("meta", "Meta", "Profiles, tags and security labels.", 1),)
GIVES = (Parameter("return", "Meta", "The metadata as they now stand.", 1),)

# The server's own, which a client may send back as it got them.
_STAMPS = frozenset({"versionId", "lastUpdated"})


def relabel(context: Context, target: Target, given: Given, change: Change) -> Made:
    """The resource's metadata after the change, which is made and recorded.

    As of a patch, the token must cover reading too, since the answer shows what is there.

    Raises Forbidden (by the token, or for what may be read and not written), NotFound (absent or not to be read),
    Unprocessable, or PreconditionFailed where If-Match does not hold.
    """
    context.access.admit("update", target.type)
    context.access.admit("read", target.type)
    labels = _labels(given.one("meta"))

    def work(unit: Unit) -> Row:
        row = unit.read(target.type, target.id)
        try:
            check_version(context, unit, row, given)
            parsed = context.check(target.type, _changed(row.body, labels, change))
        except FhirError:  # it tells something of what is there, as with a patch
            context.note_read(row)
            raise
        try:
            written = unit.update(parsed, target.id).row
        except NotFound as error:  # it may be read
            raise Forbidden(f"This {target.type} may not be written by this client.") from error
        context.record_write(unit, "update", written)
        return written

    row = context.transact(work)
    return Made(
        parameters([{"name": "return", "valueMeta": parse(row.body)["meta"]}]), headers={"ETag": etag(row.version)}
    )


def identity(value: Any) -> Any:
    """What makes two labels the same: system and code of a Coding, or the whole address of a profile."""
    return (value.get("system"), value.get("code")) if isinstance(value, dict) else value


def check_version(context: Context, unit: Unit, row: Row, given: Given) -> None:
    """Raise PreconditionFailed where If-Match names versions, and the present one is none of them."""
    versions = context.matching(unit, row.type, row.id, given.if_match)
    if versions is not None and row.version not in versions:
        raise PreconditionFailed(f"{row.reference} is at version {row.version}.")


def _labels(meta: Mapping[str, Any]) -> Labels:
    """Raises Unprocessable for an element that the operation would ignore, or a label without a code."""
    if others := sorted(meta.keys() - {*LABELS, *_STAMPS}):
        raise Unprocessable(f"Only profile, tag and security are changed, not {others[0]}.", expression="meta")
    for name in ("security", "tag"):
        if any("code" not in coding for coding in meta.get(name, ())):
            raise Unprocessable(f"A {name} without a code names no label.", expression=f"meta.{name}")
    return {name: list(meta.get(name, ())) for name in LABELS}


def _changed(body: bytes, labels: Labels, change: Change) -> bytes:
    members = members_of(body)
    meta: dict[str, Any] = dict(members_of(bytes(members["meta"])))
    for name, sent in labels.items():
        if not sent:
            continue
        if f"_{name}" in meta:
            raise Unprocessable(f"The {name}s of this resource have extensions: update it as a whole.")
        present = parse(bytes(meta[name])) if name in meta else []
        meta[name] = change(present, sent)
        if not meta[name]:
            del meta[name]
    return encode({**members, "meta": meta})
