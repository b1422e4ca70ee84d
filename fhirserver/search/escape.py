r"""Escaping inside search values: \, \| \$ \\ stand for themselves (https://hl7.org/fhir/R4/search.html#escaping)."""

from __future__ import annotations

from fhirserver.errors import BadRequest

_ESCAPABLE = ",|$\\"


def split(text: str, separator: str) -> list[str]:
    """Cut a text at each separator that is not escaped; the parts keep their escapes."""
    if "\\" not in text:
        return text.split(separator)
    parts, start, position = [], 0, 0
    while position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == separator:
            parts.append(text[start:position])
            start = position + 1
        position += 1
    parts.append(text[start:])
    return parts


def escape(text: str) -> str:
    """The text as a search value that means just that."""
    return "".join(f"\\{character}" if character in _ESCAPABLE else character for character in text)


def unescape(text: str, parameter: str) -> str:
    """The text that was meant; a backslash before any other character is refused, naming the parameter."""
    if "\\" not in text:
        return text
    characters = iter(text)
    plain = []
    for character in characters:
        if character != "\\":
            plain.append(character)
            continue
        escaped = next(characters, "")
        if not escaped or escaped not in _ESCAPABLE:
            raise BadRequest(
                rf"{parameter}: a backslash may only stand before , | $ or another backslash", expression=parameter
            )
        plain.append(escaped)
    return "".join(plain)
