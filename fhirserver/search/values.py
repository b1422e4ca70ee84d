"""The search values of a resource, as they are stored beside it. Their shapes are described in `stored`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from fhirserver.errors import Unprocessable
from fhirserver.search import composite, date, near, number, quantity, reference, string, text, token, uri
from fhirserver.search.stored import Collector, Context, Values
from resources.declaration import Declaration

__all__ = ["Values", "extract"]

_ADD = {
    "date": date.add,
    "number": number.add,
    "quantity": quantity.add,
    "reference": reference.add,
    "special": near.add,
    "string": string.add,
    "token": token.add,
    "uri": uri.add,
}


def extract(declaration: Declaration, resource: Mapping[str, Any], zone: tzinfo, base: str | None = None) -> Values:
    """The values of every declared parameter in a resource as it will be stored, id and meta included.

    `zone` is where dates without an offset were written; a reference to a URL below `base` is kept in relative form.
    Raises Unprocessable for a resource that has not the shape of its type, which one that was validated has.
    """
    into = Collector(Context(zone, base))
    try:
        for name, parameter in declaration.parameters.items():
            found = parameter.extract(resource)
            if not found:
                continue
            if parameter.type == "composite":
                composite.add(parameter, found, resource, into)
            elif (add := _ADD.get(parameter.type)) is not None:
                add(name, found, into)
        if declaration.type not in text.WITHOUT:
            text.add(resource, into)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # Values may be asked of a body that is not validated yet, to find out whether it would match a criterion.
        raise Unprocessable(f"the content has not the shape of {declaration.type}", code="structure") from error
    return into.values()
