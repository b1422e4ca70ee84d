"""References that are searches (`Patient?identifier=…`) or temporary (`urn:uuid:…`), found in a body's own bytes.

Both have a meaning within a transaction only. They are looked for in the text, so that a resource without any (nearly
every one) costs no walk.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re

import msgspec

# The quotes around a member's name would be escaped inside a string, so only elements match.
_CONDITIONAL = re.compile(rb'"reference"\s*:\s*("[A-Z][A-Za-z]+\?(?:[^"\\]|\\.)*")')
_TEMPORARY = re.compile(rb'"reference"\s*:\s*"(urn:(?:uuid|oid):[^"]*)"')


def conditional_references(body: bytes) -> list[str]:
    """The searches that stand as references in a resource, each once, in order."""
    if b"?" not in body:
        return []
    return list(dict.fromkeys(msgspec.json.decode(match, type=str) for match in _CONDITIONAL.findall(body)))


def temporary_references(body: bytes) -> list[str]:
    """The `urn:uuid:` and `urn:oid:` references of a resource, each once, in order."""
    if b"urn:" not in body:
        return []
    return list(dict.fromkeys(match.decode() for match in _TEMPORARY.findall(body)))
