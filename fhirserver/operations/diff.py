"""`$diff`: what changed between two versions of a resource, or what differs between two resources of one type.

The answer is a FHIRPath Patch that makes the first into the second, each change with the value that was there before.
Both are read as any version is, so a caller sees the difference of what they may see.

https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

from fhirserver.errors import BadRequest, NotFound
from fhirserver.interactions.context import Context, declaration_of
from fhirserver.interactions.entries import Target as Address
from fhirserver.interactions.entries import is_id, parse_target
from fhirserver.operations.operation import Given, Made, Operation, Parameter, Target
from fhirserver.operations.parameters import parameters
from fhirserver.store.rows import Row, version_of
from resources.differences import differences
from resources.validation import parse


def _of_versions(context: Context, target: Target, given: Given) -> Made:
    to = _version(context, target.type, target.id, given.one("toVersion"))
    earlier = given.one("fromVersion", str(to.version - 1))
    if earlier == "0":
        raise NotFound(f"{to.reference} has no version before its first.")
    return _differences(_version(context, target.type, target.id, earlier), to, given)


def _of_resources(context: Context, target: Target, given: Given) -> Made:
    one, other = (_address(context, given.one(name), name) for name in ("from", "to"))
    if one.type != other.type or (target.type and one.type != target.type):
        raise BadRequest("Two resources of one type are compared.", expression="to")
    first, second = (_version(context, each.type, each.id or "", each.version_id) for each in (one, other))
    return _differences(first, second, given)


def _address(context: Context, text: str, name: str) -> Address:
    address = parse_target(text, context.config.fhir_base)
    if address.id is None or address.is_history or address.query or address.operation:
        raise BadRequest(f"{name} is Type/id, with or without /_history/version.", expression=name)
    return address


def _version(context: Context, type_: str, id_: str, version: str | None) -> Row:
    """The version, read and noted as by its own interaction."""
    declaration_of(type_)
    if not is_id(id_):
        raise BadRequest(f"Not a resource id: {id_}")
    interaction = "read" if version is None else "vread"
    context.access.admit("read" if version is None else "vread", type_)
    if version is None:
        row = context.store.read(type_, id_)
    elif (number := version_of(version)) is not None:
        row = context.store.vread(type_, id_, number)
    else:
        raise NotFound(f"{type_}/{id_} has no version {version}.")
    context.note_read(row, interaction)
    return row


def _differences(one: Row, other: Row, given: Given) -> Made:
    left_out = ("id",) if given.one("includeMeta", default=False) else ("id", "meta")
    old, new = (
        {name: value for name, value in parse(row.body).items() if name not in left_out} for row in (one, other)
    )
    return Made(parameters(differences(one.type, old, new)))


_META = Parameter("includeMeta", "boolean", "Whether meta is compared too; false if not given.")
_RETURN = Parameter("return", "Parameters", "A FHIRPath Patch.", 1)

OF_VERSIONS = Operation(
    name="diff",
    title="What changed between two versions, or differs between two resources (diff).",
    about="What changed between two versions of a resource, as a FHIRPath Patch.",
    definition="fhirserver-version-diff",
    is_hl7s=False,
    levels=("instance",),
    perform=_of_versions,
    takes=(
        Parameter("fromVersion", "id", "The version to begin with; the one before the other if not given."),
        Parameter("toVersion", "id", "The version to end with; the present one if not given."),
        _META,
    ),
    gives=(_RETURN,),
)

OF_RESOURCES = Operation(
    name="diff",
    title=OF_VERSIONS.title,
    about="What differs between two resources of one type, as a FHIRPath Patch.",
    definition="fhirserver-diff",
    is_hl7s=False,
    levels=("system", "type"),
    perform=_of_resources,
    takes=(
        Parameter("from", "string", "Type/id, with or without /_history/version.", 1),
        Parameter("to", "string", "Likewise.", 1),
        _META,
    ),
    gives=(_RETURN,),
)
