"""A patch document, whatever its form, and what it makes of a resource.

The members of the resource that come out as they went in keep their own text, so that a patch which changes nothing
gives back the same bytes, and a decimal that it does not touch keeps its digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from resources.exact import MalformedError, encode, has_duplicate_names, members_of, parse_literally

MOST_OPERATIONS = 1000
"""Operations of one patch."""

_SERVERS = ("versionId", "lastUpdated")
# https://hl7.org/fhir/R4/valueset-narrative-status.html: made from the data, so stale once they change.
_GENERATED = frozenset({"generated", "extensions"})


class PatchError(ValueError):
    """A patch that is not done; the message says why in words for the client, ``expression`` where."""

    def __init__(self, diagnostics: str, expression: str | None = None) -> None:
        """Keep the text."""
        super().__init__(diagnostics)
        self.expression = expression


class MalformedPatchError(PatchError):
    """The document is no patch of its form."""


class InapplicablePatchError(PatchError):
    """The patch does not fit this resource: something is not there, a test fails, or it may not be changed."""


class CostlyPatchError(PatchError):
    """The patch asks for more than one request may."""


class Patch(Protocol):
    """A patch that has been read."""

    def apply(self, resource: dict[str, Any], most_bytes: int) -> Any:
        """The changed resource; ``resource``, as `parse_literally` reads it, is the patch's to change.

        ``most_bytes`` bounds what it copies. Raises PatchError.
        """


def read_json(body: bytes) -> Any:
    """The JSON of a patch document, numbers as they are written. Raises MalformedPatchError."""
    try:
        value = parse_literally(body)
        is_ambiguous = has_duplicate_names(body, value)
    except MalformedError as error:
        raise MalformedPatchError(str(error)) from error
    except RecursionError as error:
        raise MalformedPatchError("The JSON is nested too deeply") from error
    if is_ambiguous:
        raise MalformedPatchError("An object of the patch names the same member twice")
    return value


def patched(body: bytes, patch: Patch, *, most_bytes: int) -> bytes:
    """A stored resource as the patch leaves it. Raises PatchError.

    The type, the id and what the server stamps stay as they are. A narrative that was made from the data is taken out
    where the patch changes the data and not the narrative: it might say what is no longer so.
    """
    before = parse_literally(body)
    own = {name: bytes(text) for name, text in members_of(body).items()}
    try:
        after = patch.apply(parse_literally(body), most_bytes)
        if not isinstance(after, dict):
            raise InapplicablePatchError("The patch leaves no resource.")
        _refuse_identity(before, after)
        texts = {name: encode(value) for name, value in after.items()}
        kept = {name for name, value in before.items() if texts.get(name) == encode(value)}
    except RecursionError as error:
        raise InapplicablePatchError("The patch makes the resource nest too deeply.") from error
    changed = (before.keys() | after.keys()) - kept
    if _is_stale(before.get("text"), changed):
        del texts["text"]
    members = (encode(name) + b":" + (own[name] if name in kept else text) for name, text in texts.items())
    return b"{" + b",".join(members) + b"}"


def _refuse_identity(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for name in ("resourceType", "id"):
        if after.get(name) != before.get(name):
            raise InapplicablePatchError(f"A patch does not change {name}.")
    was, now = before.get("meta"), after.get("meta")
    if isinstance(was, dict) and isinstance(now, dict):
        for name in _SERVERS:
            if name in now and now[name] != was.get(name):
                raise InapplicablePatchError(f"A patch does not change meta.{name}: the server sets it.")


def _is_stale(narrative: Any, changed: AbstractSet[str]) -> bool:
    """Whether the narrative has to go, since it was made from data that are no longer so.

    "The server SHALL ensure that the narrative in a resource is not clinically unsafe after the PATCH operation."
    Raises InapplicablePatchError where somebody wrote what the data do not say, which only its author can bring up to
    date. https://hl7.org/fhir/R4/http.html#patch
    """
    if not isinstance(narrative, dict) or "text" in changed or changed <= {"meta"}:
        return False
    if narrative.get("status") == "additional":
        raise InapplicablePatchError("The narrative says more than the data: the patch must say what becomes of it.")
    return narrative.get("status") in _GENERATED
