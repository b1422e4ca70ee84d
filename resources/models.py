"""The one module that names the fhir.resources library: typed building of our own resources, and a second opinion.

fhir.resources 8 has no R4 models; its R4B ones (4.3.0) differ from R4 only in the types listed in `DIFFERENT`, and in
the ``_value[x]`` siblings of Extension, which `_patched` adds. It is never the gate (it accepts unknown codes) and
never serialises what a client sent (it rewrites decimals and dates): the gate is `resources.validation`. Loading a
model takes tens of milliseconds, so nothing here is imported before it is used.
https://pypi.org/project/fhir.resources/
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Optional

from resources.exact import encode, parse
from resources.structure import resource_types

if TYPE_CHECKING:
    from pydantic import BaseModel

DIFFERENT = frozenset(
    {"Evidence", "EvidenceVariable", "EffectEvidenceSynthesis", "RiskEvidenceSynthesis", "SubstanceSpecification"}
    | {"SubstanceNucleicAcid", "SubstancePolymer", "SubstanceProtein"}
    | {"SubstanceReferenceInformation", "SubstanceSourceMaterial"}
    | {name for name in resource_types() if name.startswith("MedicinalProduct")}
)
"""Types that R4B has not, or has in another shape; fhir.resources has nothing to say of them."""


class UnmodelledTypeError(LookupError):
    """fhir.resources has no R4 model of this type."""


def build(type_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """A resource of our own making: ``content`` validated by its model, as a dict ready for `exact.encode`.

    Raises UnmodelledTypeError, or ``pydantic.ValidationError`` where the content does not fit the model.
    """
    model = _model(type_name).model_validate({**content, "resourceType": type_name})
    built: dict[str, Any] = parse(model.model_dump_json().encode())
    return built


def opinion(resource: Mapping[str, Any]) -> list[str]:
    """What fhir.resources objects to in a parsed resource, in words; nothing where it has no model or no objection.

    It is more lenient than the gate in most respects; what it refuses and the gate accepts deserves a look.
    """
    from pydantic import ValidationError

    try:
        model = _model(resource["resourceType"])
    except UnmodelledTypeError:
        return []
    try:
        model.model_validate_json(encode(resource))
    except ValidationError as error:
        return [f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors()]
    except KeyError as error:  # what the library raises for an unknown resource type within
        return [f"unknown resource type: {error}"]
    return []


@cache
def _model(type_name: str) -> type[BaseModel]:
    if type_name not in resource_types() or type_name in DIFFERENT:
        raise UnmodelledTypeError(f"fhir.resources has no R4 model of {type_name}")
    _patched()
    model: type[BaseModel] = import_module("fhir.resources.R4B").get_fhir_model_class(type_name)
    return model


@cache
def _patched() -> type[BaseModel]:
    """Give the R4B Extension the siblings of its primitive values, as R4 has them, and make every model use it.

    Without them ``{"url": "...", "_valueString": {"extension": [...]}}``, valid R4, is refused in any resource.
    """
    from fhir.resources.R4B import extension, fhirtypes
    from fhir_core.utils import is_primitive_type
    from pydantic import Field, create_model

    siblings: dict[str, Any] = {
        # Optional is built at run time here; `X | None` needs a type, and this one is a validator.
        f"{name}__ext": (Optional[fhirtypes.FHIRPrimitiveExtensionType], Field(default=None, alias=f"_{name}"))  # noqa: UP045
        for name, entry in extension.Extension.model_fields.items()
        if name.startswith("value") and is_primitive_type(entry)
    }
    model: type[BaseModel] = create_model("Extension", __base__=extension.Extension, __module__=__name__, **siblings)
    model.__resource_type__ = "Extension"  # type: ignore[attr-defined] # the library's own class attribute
    globals()["Extension"] = model
    # The library looks the class up by name when a model with extensions is first validated.
    fhirtypes.ExtensionType._model_klass = f"{__name__}.Extension"  # type: ignore[attr-defined] # noqa: SLF001 - no other way
    return model
