"""The texts of a resource, for searching its words: the narrative, and every other string that people read.

Elements of type string and markdown count, wherever they are, contained resources included; codes, ids, addresses and
base64 do not, since nobody reads them as text. https://hl7.org/fhir/R4/search.html#text
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from html import unescape
from typing import Any

from resources.structure import PRIMITIVES, structures

_TAG = re.compile(r"<!--.*?-->|<[^>]*>", re.DOTALL)
_READ = frozenset({"string", "markdown"})
_ADDRESSES = ("urn:", "http://", "https://")
_NOT_READ = frozenset({("Reference", "reference")})


def narrative(resource: Mapping[str, Any]) -> str:
    """The words of the narrative, without its markup."""
    text = resource.get("text")
    div = text.get("div") if isinstance(text, dict) else None
    return _plain(div) if isinstance(div, str) else ""


def texts(resource: Mapping[str, Any]) -> list[str]:
    """Every string outside the narrative of the resource itself."""
    found: list[str] = []
    type_name = resource.get("resourceType")
    if isinstance(type_name, str):
        _gather({name: value for name, value in resource.items() if name != "text"}, _children(type_name), found)
    return found


_Children = Mapping[str, str]
"""The elements of a type that are text (`""`) or may hold some (their type), by JSON name."""


def _gather(node: Mapping[str, Any], children: _Children, found: list[str]) -> None:
    """Add the strings below a node to what was found."""
    for name, value in node.items():
        child = children.get(name)
        if child is None:
            continue
        if child == "":
            strings = value if isinstance(value, list) else (value,)
            found.extend(one for one in strings if isinstance(one, str) and not one.startswith(_ADDRESSES))
        elif isinstance(value, list):
            previous = None
            below = _children(child)
            for one in value:
                if isinstance(one, dict) and one != previous:
                    _below(one, child, below, found)
                    previous = one
        elif isinstance(value, dict):
            _below(value, child, _children(child), found)


def _below(node: Mapping[str, Any], type_name: str, children: _Children, found: list[str]) -> None:
    if type_name == "Narrative":
        found.append(narrative({"text": node}))
    elif type_name == "Resource":
        _gather(node, _children(str(node.get("resourceType"))), found)
    else:
        _gather(node, children, found)


@cache
def _children(type_name: str) -> _Children:
    structure = structures().get(type_name)
    if structure is None:
        return {}
    return {
        json_name: "" if child in _READ else child
        for name, element in structure.elements.items()
        for json_name, child in element.json_names(name)
        if (child in _READ or child not in PRIMITIVES) and (type_name, name) not in _NOT_READ and name != "id"
    }


def _plain(div: str) -> str:
    return unescape(_TAG.sub(" ", div))
