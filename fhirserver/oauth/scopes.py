"""SMART scopes as text: what a client is granted of what it asks.

https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html. What a scope then covers is for `consent`.
"""

from __future__ import annotations

from consent.request import Scope, parse_scopes

_LETTERS = "cruds"


def narrow(requested: str | None, registered: str, *, context: str | None = None) -> str:
    """The scopes granted to a request, in version 2 form; empty where nothing asked for may be granted.

    Each requested scope is cut down to the types and letters that the client is registered for; without a request the
    registered scopes are granted. `context` ("system") leaves out scopes of other contexts. Scopes that are malformed,
    constrained by a search parameter, or not about resources grant nothing.
    """
    allowed = _unconstrained(registered, context)
    wanted = allowed if not requested else _unconstrained(requested, context)
    granted: dict[tuple[str, str], set[str]] = {}
    for ask in wanted:
        for permission in allowed:
            type_ = _common_type(ask, permission)
            letters = ask.letters & permission.letters
            if type_ and letters and ask.context == permission.context:
                granted.setdefault((ask.context, type_), set()).update(letters)
    return " ".join(f"{context}/{type_}.{_in_order(letters)}" for (context, type_), letters in granted.items())


def unknown(scopes: str) -> list[str]:
    """The words of a scope string that grant nothing, for a registration to refuse."""
    return [word for word in scopes.split() if not _unconstrained(word, None)]


def _unconstrained(scopes: str, context: str | None) -> list[Scope]:
    return [scope for scope in parse_scopes(scopes) if scope.parameters is None and (context in {None, scope.context})]


def _common_type(one: Scope, other: Scope) -> str | None:
    if one.type == "*":
        return other.type
    return one.type if other.type in {"*", one.type} else None


def _in_order(letters: set[str]) -> str:
    return "".join(letter for letter in _LETTERS if letter in letters)
