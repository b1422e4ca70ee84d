"""The selectors of an XML Patch: the part of XPath 1.0 that RFC 5261 takes, and its values of attributes.

    sel       = ["/"] step *("/" step) ["/" ("@" name / "text()" [ordinal])]
    step      = (qualified name / "*") *predicate
    predicate = ordinal / "[" (path / "@" name / ".") "=" literal "]"      path = name *("/" name) ["/@" name]

Every step goes one level down, so a selector looks at each element of the resource once for each of its steps, and
there is nothing in it that could lead elsewhere: no axis, no function, no variable. It is read here, and what was read
is written as an XPath whose names have their namespaces and whose literals are variables; libxml2 finds the elements.

https://www.rfc-editor.org/rfc/rfc5261#section-4.1
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lxml import etree

from resources.patch.document import MalformedPatchError

LONGEST = 1000
MOST_STEPS = 30
"""Characters of a selector, and its steps with those within predicates."""

_NCNAME = r"[A-Za-z_][A-Za-z0-9_.\-]*"
_NAME = re.compile(rf"(?:({_NCNAME}):)?({_NCNAME}|\*)(?!\()")
_ATTRIBUTE = re.compile(rf"@({_NCNAME})(?![\w:.\-])")
_ORDINAL = re.compile(r"\[\s*([1-9][0-9]{0,5})\s*\]")
_TEXT = re.compile(r"text\(\)")
_OPEN, _CLOSE = re.compile(r"\[\s*"), re.compile(r"\s*\]")
_IS, _SELF = re.compile(r"\s*=\s*"), re.compile(r"\.(?=\s*=)")
_LITERAL = re.compile(r"\"([^\"]*)\"|'([^']*)'")
_SLASH = re.compile(r"/")


@dataclass(slots=True)
class Selector:
    """A selector that was read: where elements are found, and what of the one element is meant.

    `attribute` is the name of one of its attributes; `text` the number of one of its texts, 0 for the only one.
    """

    path: etree.XPath
    literals: Mapping[str, str]
    steps: int
    attribute: str | None = None
    text: int | None = None

    def elements(self, root: etree._ElementTree) -> list[etree._Element]:
        """The elements of a document that it finds, in their order."""
        found = self.path(root, **self.literals)
        return [one for one in found if etree.iselement(one)] if isinstance(found, list) else []


def read_selector(text: str, namespaces: Mapping[str | None, str]) -> Selector:
    """A selector; `namespaces` are those in scope where it stands, a name without a prefix being in the default one.

    Raises MalformedPatchError.
    """
    return _Reader(text, namespaces).read()


@dataclass(slots=True)
class _Reader:
    text: str
    namespaces: Mapping[str | None, str]
    at: int = 0
    steps: int = 0
    prefixes: dict[str, str] = field(default_factory=dict)
    literals: dict[str, str] = field(default_factory=dict)

    def read(self) -> Selector:
        self.text = self.text.strip()
        if len(self.text) > LONGEST:
            raise MalformedPatchError(f"A selector has at most {LONGEST} characters")
        self._take(_SLASH)
        path, attribute, text = "", None, None
        while True:
            if path and (found := self._take(_ATTRIBUTE)):
                attribute = found[1]
                break
            if path and self._take(_TEXT):
                ordinal = self._take(_ORDINAL)
                text = int(ordinal[1]) if ordinal else 0
                break
            path += f"/{self._name()}{self._predicates()}"
            if not self._take(_SLASH):
                break
        if self.at < len(self.text):
            raise self._refusal()
        namespaces = {prefix: namespace for namespace, prefix in self.prefixes.items()}
        compiled = etree.XPath(path, namespaces=namespaces or None, regexp=False, smart_strings=False)
        return Selector(compiled, self.literals, self.steps, attribute, text)

    def _name(self) -> str:
        found = self._take(_NAME)
        if found is None:
            raise self._refusal()
        self._count()
        prefix, name = found[1], found[2]
        if name == "*" and prefix is None:
            return "*"
        namespace = self.namespaces.get(prefix)
        if namespace is None:
            if prefix is not None:
                raise MalformedPatchError(f"The prefix {prefix} of a selector is not declared")
            return name
        return f"{self.prefixes.setdefault(namespace, f'n{len(self.prefixes)}')}:{name}"

    def _count(self) -> None:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise MalformedPatchError(f"A selector has at most {MOST_STEPS} steps")

    def _predicates(self) -> str:
        found = ""
        while True:
            if ordinal := self._take(_ORDINAL):
                found += f"[{ordinal[1]}]"
            elif self._take(_OPEN):
                found += f"[{self._operand()}={self._literal()}]"
                if not self._take(_CLOSE):
                    raise self._refusal()
            else:
                return found

    def _operand(self) -> str:
        self._count()
        if self._take(_SELF):
            return "."
        path: list[str] = []
        while True:
            if attribute := self._take(_ATTRIBUTE):
                return "/".join((*path, f"@{attribute[1]}"))
            path.append(self._name())
            if not self._take(_SLASH):
                return "/".join(path)

    def _literal(self) -> str:
        found = self._take(_LITERAL) if self._take(_IS) else None
        if found is None:
            raise self._refusal()
        name = f"v{len(self.literals)}"
        self.literals[name] = found[1] if found[1] is not None else found[2]
        return f"${name}"

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
        return found

    def _refusal(self) -> MalformedPatchError:
        rest = self.text[self.at : self.at + 30] or "its end"
        return MalformedPatchError(f"A selector of RFC 5261 has no '{rest}' there: names, [n], [name='value'], @name")
