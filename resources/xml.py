"""FHIR XML, made from FHIR JSON and turned into it, with nothing lost on either way.

What is stored is JSON, so XML exists at the edge only: what comes as XML becomes JSON before the gate sees it, and what
goes out as XML is made from the stored bytes. Names, order and types are those of the generated structures; decimals
keep their digits, and a narrative is passed on as the text that it is. Comments, and which namespace prefix somebody
chose, are not FHIR content and do not pass.

The reader is expat without document types: there is no entity but those of XML, nothing is fetched, and reading stops
at the first thing that has no place in FHIR.

https://hl7.org/fhir/R4/xml.html, https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Any, Literal
from xml.parsers import expat

import msgspec

from resources.exact import encode, verbatim
from resources.issues import Invalid, Issue
from resources.structure import PRIMITIVES, structures

FHIR = "http://hl7.org/fhir"
XHTML = "http://www.w3.org/1999/xhtml"
_SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"  # xsi:schemaLocation may stand at the root
_XML = "http://www.w3.org/XML/1998/namespace"

MAX_DEPTH = 256
"""Elements within each other; the gate has a stricter limit of its own."""

Kind = Literal["attribute", "primitive", "xhtml", "resource", "complex"]

_NUMBERS = frozenset({"decimal", "integer", "positiveInt", "unsignedInt"})
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
_TRUTH = {"true": True, "false": False}

# What a reader of XML would otherwise take for the end of the value, for markup, or for a space (XML 1.0, 3.3.3).
_ESCAPES = {"&": "&amp;", "<": "&lt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
_ESCAPED = re.compile(r'[&<"\t\n\r]')
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""A character that XML 1.0 has not (https://www.w3.org/TR/xml/#charsets)."""


class NotXmlError(ValueError):
    """The resource holds something that XML has no way to say; the message is fit for the caller."""


@dataclass(frozen=True, slots=True)
class _Member:
    """One element of a structure: its name, its type, how it is written, and at which place of the order."""

    name: str
    type: str
    kind: Kind
    many: bool
    place: int


@cache
def _members(structure_name: str) -> Mapping[str, _Member]:
    """The members of a structure by their JSON names, siblings of primitives (``_birthDate``) included."""
    structure = structures()[structure_name]
    found: dict[str, _Member] = {}
    for place, (element_name, element) in enumerate(structure.elements.items()):
        for name, type_name in element.json_names(element_name):
            kind = _kind(type_name, is_attribute=element.plain and structure.kind != "resource")
            found[name] = _Member(name, type_name, kind, element.many, place)
            if kind in {"primitive", "xhtml"}:
                found[f"_{name}"] = found[name]
    return found


def _kind(type_name: str, *, is_attribute: bool) -> Kind:
    if is_attribute:
        return "attribute"
    if type_name in {"xhtml", "Resource"}:
        return "xhtml" if type_name == "xhtml" else "resource"
    return "primitive" if type_name in PRIMITIVES else "complex"


# -- writing ----------------------------------------------------------------------------------------------------------


def to_xml(body: bytes, *, is_pretty: bool = False) -> bytes:
    """The XML of a resource in JSON, in UTF-8. The resource must have passed the gate, or be of our own making.

    Raises NotXmlError where a text holds a character that XML cannot carry.
    """
    writer = _Writer(is_pretty=is_pretty)
    writer.resource(verbatim(body), f' xmlns="{FHIR}"', 0)
    text = "".join(writer.parts)
    if illegal := NOT_XML.search(text):
        raise NotXmlError(f"XML cannot carry the character U+{ord(illegal[0]):04X}; ask for JSON.")
    return text.encode()


class _Writer:
    """Collects the text of one document."""

    def __init__(self, *, is_pretty: bool) -> None:
        self.parts: list[str] = ['<?xml version="1.0" encoding="UTF-8"?>']
        self._break = "\n" if is_pretty else ""
        self._indent = "  " if is_pretty else ""

    def resource(self, node: Mapping[str, Any], attributes: str, depth: int) -> None:
        name = node["resourceType"]
        self._open(name, attributes, depth)
        self._content(name, node, depth + 1)
        self._close(name, depth)

    def _content(self, structure_name: str, node: Mapping[str, Any], depth: int) -> None:
        members = _members(structure_name)
        # A resource names its type so in JSON only; ExampleScenario.instance has an element of that name.
        names = {name.removeprefix("_"): members[name] for name in node if name != "resourceType" or name in members}
        for name, member in sorted(names.items(), key=_by_place):
            value = node.get(name)
            match member.kind:
                case "attribute":
                    continue
                case "primitive":
                    self._primitives(member, value, node.get(f"_{name}"), depth)
                case "xhtml" if f"_{name}" in node:
                    raise NotXmlError(f"XML has no extensions of {name}, which is XHTML; ask for JSON.")
                case _ if isinstance(value, list):
                    for one in value:
                        self._one(member, one, depth)
                case _:
                    self._one(member, value, depth)

    def _one(self, member: _Member, value: Any, depth: int) -> None:
        if member.kind == "xhtml":
            self.parts += [self._break, self._indent * depth, value.strip()]
        elif member.kind == "resource":
            self._open(member.name, "", depth)
            self.resource(value, "", depth + 1)
            self._close(member.name, depth)
        else:
            self._element(member.name, member.type, value, "", depth)

    def _primitives(self, member: _Member, value: Any, sibling: Any, depth: int) -> None:
        if not member.many:
            self._primitive(member.name, value, sibling, depth)
            return
        values, siblings = value or (), sibling or ()
        for index in range(max(len(values), len(siblings))):
            one = values[index] if index < len(values) else None
            self._primitive(member.name, one, siblings[index] if index < len(siblings) else None, depth)

    def _primitive(self, name: str, value: Any, sibling: Mapping[str, Any] | None, depth: int) -> None:
        attributes = "" if value is None else f' value="{_text(value)}"'
        if sibling:
            self._element(name, "Element", sibling, attributes, depth)
        else:
            self.parts += [self._break, self._indent * depth, "<", name, attributes, "/>"]

    def _element(self, name: str, type_name: str, node: Mapping[str, Any], attributes: str, depth: int) -> None:
        members = _members(type_name)
        own = [member for member in node if members[member].kind == "attribute"]
        attributes = "".join(f' {member}="{_text(node[member])}"' for member in own) + attributes
        if len(own) == len(node):
            self.parts += [self._break, self._indent * depth, "<", name, attributes, "/>"]
            return
        self._open(name, attributes, depth)
        self._content(type_name, node, depth + 1)
        self._close(name, depth)

    def _open(self, name: str, attributes: str, depth: int) -> None:
        self.parts += [self._break, self._indent * depth, "<", name, attributes, ">"]

    def _close(self, name: str, depth: int) -> None:
        self.parts += [self._break, self._indent * depth, "</", name, ">"]


def _by_place(item: tuple[str, _Member]) -> int:
    return item[1].place


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: _ESCAPES[found[0]], value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value)


# -- reading ----------------------------------------------------------------------------------------------------------


def to_json(body: bytes) -> bytes:
    """The JSON of a resource in XML: well-formed, with all that was said, and yet to pass the gate.

    Raises Invalid where the text is no XML, has a document type, or has an element, attribute or text that FHIR does
    not have at its place.
    """
    return encode(_Reader(body.removeprefix(b"\xef\xbb\xbf")).read())


def root_of(body: bytes) -> str | None:
    """The name of the root element where it is one of FHIR's; None for any other text."""
    found: list[str] = []

    def start(name: str, _: object) -> None:
        found.append(name)
        raise _EnoughError

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = _no_document_type
    parser.StartElementHandler = start
    with suppress(_EnoughError, Invalid, expat.ExpatError):
        parser.Parse(body, True)  # noqa: FBT003 - the library's own
    namespace, _, name = found[0].rpartition(" ") if found else ("", "", "")
    return name if namespace == FHIR else None


class _EnoughError(Exception):
    """The root has been seen."""


def _no_document_type(*_: object) -> None:
    raise Invalid([Issue("fatal", "structure", "", "FHIR XML has no document type")])


@dataclass(slots=True)
class _Frame:
    """An element that has begun.

    `members` are those of its structure (for a primitive: of Element); `items` what it holds so far, by name, each a
    value with the id and extensions that belong to it.
    """

    kind: Kind
    name: str
    index: int
    member: _Member | None
    members: Mapping[str, _Member]
    items: dict[str, tuple[_Member, list[tuple[Any, Any]]]] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    value: Any = None
    place: int = -1


class _Reader:
    """Reads one document; the handlers are called by expat in the order of the text."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._stack: list[_Frame] = []
        self._resource: dict[str, Any] | None = None
        self._narrative: _Narrative | None = None
        self._defaults: dict[str | None, str] = {}  # namespaces declared on the element that is about to begin
        self._parser = parser = expat.ParserCreate("UTF-8", " ")
        parser.namespace_prefixes = True
        parser.ordered_attributes = True
        parser.buffer_text = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = _no_document_type
        parser.StartNamespaceDeclHandler = self._namespace
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters

    def read(self) -> dict[str, Any]:
        try:
            self._parser.Parse(self._body, True)  # noqa: FBT003 - the library's own
        except expat.ExpatError as error:
            text = expat.errors.messages[error.code]
            raise self._wrong(f"The body is not well-formed XML: {text} (line {error.lineno})", "fatal") from error
        assert self._resource is not None  # noqa: S101 - expat refuses a document without a root
        return self._resource

    # What expat calls

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:  # noqa: ARG002 - expat's own
        if encoding is not None and encoding.lower() not in {"utf-8", "us-ascii"}:
            raise self._wrong(f"FHIR XML is sent in UTF-8, not in {encoding}", "fatal")

    def _namespace(self, prefix: str | None, uri: str) -> None:
        self._defaults[prefix] = uri

    def _start(self, name: str, attributes: list[str]) -> None:
        declared, self._defaults = self._defaults, {}
        namespace, local, prefix = _split(name)
        if self._narrative is not None:
            self._narrative.start(namespace, local, prefix, _pairs(attributes))
            if self._narrative.foreign is not None:
                raise self._wrong(f"A narrative holds XHTML only, not {self._narrative.foreign}")
            return
        top = self._stack[-1] if self._stack else None
        member = None if top is None or top.kind == "resource" else self._member_of(top, local)
        expected = XHTML if member is not None and member.kind == "xhtml" else FHIR
        if namespace != expected:
            raise self._wrong(f"{local} is not in the namespace {expected}")
        if len(self._stack) >= MAX_DEPTH:
            raise self._wrong("The XML is nested too deeply")
        if top is None or member is None:
            self._begin_resource(top, local)
        elif member.kind == "xhtml":
            top.place = member.place
            is_verbatim = not prefix and declared.get(None) == XHTML
            self._narrative = _Narrative(member, self._parser.CurrentByteIndex, is_verbatim=is_verbatim)
            self._narrative.start(namespace, local, prefix, _pairs(attributes))
            return
        else:
            self._begin_element(top, member)
        self._take(self._stack[-1], _pairs(attributes))

    def _end(self, _: str) -> None:
        if self._narrative is not None:
            if self._narrative.end():
                div = self._narrative.text(self._body, self._parser.CurrentByteIndex)
                self._put(self._stack[-1], self._narrative.member, div, None)
                self._narrative = None
            return
        frame = self._stack.pop()
        if frame.kind == "resource":
            if frame.value is None:
                raise self._wrong(f"{frame.name} holds no resource")
            self._put(self._stack[-1], frame.member, frame.value, None)
        elif frame.member is None:
            self._finish_resource(frame)
        elif frame.kind == "primitive":
            extra = _built(frame)
            if frame.value is None and not extra:
                raise self._wrong(f"{frame.name} has neither a value nor an extension")
            self._put(self._stack[-1], frame.member, frame.value, extra or None)
        else:
            self._put(self._stack[-1], frame.member, _built(frame), None)

    def _characters(self, text: str) -> None:
        if self._narrative is not None:
            self._narrative.characters(text)
        elif not text.isspace():
            raise self._wrong("FHIR XML has values in attributes; text stands in narratives only")

    # Steps

    def _member_of(self, top: _Frame, name: str) -> _Member:
        member = top.members.get(name)
        if member is None or member.kind == "attribute" or name.startswith("_"):
            raise self._wrong(f"There is no element {name} here")
        if member.place < top.place:
            raise self._wrong(f"{name} stands after an element that it must precede")
        if name in top.items and not member.many:
            raise self._wrong(f"{name} stands here more than once")
        return member

    def _begin_resource(self, top: _Frame | None, name: str) -> None:
        structure = structures().get(name)
        if structure is None or structure.kind != "resource" or structure.abstract:
            raise self._wrong(f"{name} is not a resource type", "fatal" if top is None else "error")
        if top is not None and top.value is not None:
            raise self._wrong(f"{top.name} holds more than one resource")
        self._stack.append(_Frame("complex", name, 0, None, _members(name)))

    def _begin_element(self, top: _Frame, member: _Member) -> None:
        top.place = member.place
        index = len(top.items[member.name][1]) if member.name in top.items else 0
        inner = {"primitive": "Element", "resource": ""}.get(member.kind, member.type)
        self._stack.append(_Frame(member.kind, member.name, index, member, _members(inner) if inner else {}))

    def _take(self, frame: _Frame, attributes: Mapping[str, str]) -> None:
        for name, value in attributes.items():
            namespace, local, _ = _split(name)
            if namespace == _SCHEMA_INSTANCE and len(self._stack) == 1:
                continue
            if name == "value" and frame.kind == "primitive" and frame.member is not None:
                frame.value = _json_value(value, frame.member.type)
            elif name in frame.members and frame.members[name].kind == "attribute":
                frame.attributes[name] = value
            else:
                raise self._wrong(f"There is no attribute {local} here")

    def _put(self, top: _Frame, member: _Member | None, value: Any, extra: Any) -> None:
        assert member is not None  # noqa: S101 - only resources have no member, and they are put by their container
        top.items.setdefault(member.name, (member, []))[1].append((value, extra))

    def _finish_resource(self, frame: _Frame) -> None:
        built = {"resourceType": frame.name, **_built(frame)}
        if self._stack:
            self._stack[-1].value = built
        else:
            self._resource = built

    def _wrong(self, text: str, severity: Literal["fatal", "error"] = "error") -> Invalid:
        return Invalid([Issue(severity, "structure", self._path(), text)])

    def _path(self) -> str:
        """The place reached, as FHIRPath."""
        steps = [
            f"{frame.name}[{frame.index}]" if frame.member is not None and frame.member.many else frame.name
            for frame in self._stack
            if frame.member is not None or frame is self._stack[0]  # a resource within is named by what holds it
        ]
        return ".".join(steps)


class _Narrative:
    """A div that has begun: kept as the text that was sent, or written anew where that text leans on what is around it.

    The text sent can stand alone where the div declares its namespace itself and nothing within has a prefix.
    """

    def __init__(self, member: _Member, begin: int, *, is_verbatim: bool) -> None:
        self.member = member
        self.foreign: str | None = None
        self._begin = begin
        self._is_verbatim = is_verbatim
        self._open: list[str] = []
        self._parts: list[str] = []

    def start(self, namespace: str, local: str, prefix: str, attributes: Mapping[str, str]) -> None:
        self._is_verbatim = self._is_verbatim and not prefix
        self._parts.append(f"<{local}" if self._open else f'<{local} xmlns="{XHTML}"')
        if namespace != XHTML:
            self.foreign = local
        for name, value in attributes.items():
            home, bare, _ = _split(name)
            if home not in {"", _XML}:
                self.foreign = bare
            self._parts.append(f' {"xml:" if home else ""}{bare}="{_text(value)}"')
        self._parts.append(">")
        self._open.append(local)

    def end(self) -> bool:
        """Whether that was the end of the div."""
        self._parts.append(f"</{self._open.pop()}>")
        return not self._open

    def characters(self, text: str) -> None:
        self._parts.append(escape(text, quote=False))

    def text(self, body: bytes, at: int) -> str:
        """The whole div, `at` being where its end tag begins."""
        if self._is_verbatim and body.startswith(b"</", at):
            return body[self._begin : body.index(b">", at) + 1].decode()
        return "".join(self._parts)


def _split(name: str) -> tuple[str, str, str]:
    """Namespace, local name and prefix of a name as expat gives it (`uri local prefix`)."""
    parts = name.split(" ")
    if len(parts) == 1:
        return "", parts[0], ""
    return parts[0], parts[1], parts[2] if len(parts) > 2 else ""


def _pairs(attributes: list[str]) -> dict[str, str]:
    return dict(zip(attributes[::2], attributes[1::2], strict=True))


def _json_value(text: str, type_name: str) -> Any:
    """The JSON value; what is no number or truth value stays text, for the gate to refuse."""
    if type_name == "boolean":
        return _TRUTH.get(text, text)
    if type_name in _NUMBERS and _NUMBER.fullmatch(text):
        return msgspec.Raw(text.encode())
    return text


def _built(frame: _Frame) -> dict[str, Any]:
    node: dict[str, Any] = frame.attributes
    for name, (member, found) in frame.items.items():
        if member.many:
            if any(value is not None for value, _ in found):
                node[name] = [value for value, _ in found]
            if any(extra is not None for _, extra in found):
                node[f"_{name}"] = [extra for _, extra in found]
            continue
        [(value, extra)] = found
        if value is not None:
            node[name] = value
        if extra is not None:
            node[f"_{name}"] = extra
    return node
