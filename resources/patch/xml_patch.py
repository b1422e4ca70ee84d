"""XML Patch: operations on the XML of the resource, which is made for them and read back.

libxml2 finds the elements (`selector`); the operations are those of RFC 5261, each of one place. A resource is stored
as JSON, so what the patch left alone is taken from there, also the text of narratives, which libxml2 would write anew.

RFC 5261, RFC 7351, https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from lxml import etree

from resources.exact import encode, parse_literally
from resources.issues import Invalid
from resources.patch.document import (
    MOST_OPERATIONS,
    CostlyPatchError,
    InapplicablePatchError,
    MalformedPatchError,
)
from resources.patch.selector import Selector, read_selector
from resources.xml import FHIR, NotXmlError, to_json, to_xml

MOST_VISITS = 20_000_000
"""Elements looked at by the selectors of one patch: for each step those of the whole resource and of the patch, since
no step looks at more. A hundred bytes count as an element, for texts are compared."""

PATCH = "urn:ietf:rfc:7351"
_ROOTS = {etree.QName(PATCH, "patch").text: PATCH, etree.QName(FHIR, "diff").text: FHIR, "diff": None}
"""The root of RFC 7351, and the one of the examples of FHIR, with the namespace of the operations in it."""

_ATTRIBUTES = {
    "add": frozenset({"sel", "pos", "type"}),
    "replace": frozenset({"sel"}),
    "remove": frozenset({"sel", "ws"}),
}
_POSITIONS = frozenset({"prepend", "before", "after"})
_SPACES = frozenset({"before", "after", "both"})


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation: its name for the caller, where it is done, and the element that says what."""

    name: str
    kind: str
    selector: Selector
    content: etree._Element

    @property
    def text(self) -> str:
        """The text that it puts somewhere; raises MalformedPatchError where it holds elements."""
        if len(self.content):
            raise MalformedPatchError(f"{self.name}: a text is put there, not elements")
        return self.content.text or ""

    def nodes(self) -> list[etree._Element]:
        """The elements that it puts somewhere, of their own; raises MalformedPatchError where there is text between."""
        texts = [self.content.text, *(one.tail for one in self.content)]
        if not len(self.content) or any(text and text.strip() for text in texts):
            raise MalformedPatchError(f"{self.name}: elements are put there, not text")
        found = [copy.deepcopy(one) for one in self.content]
        for one in found:
            one.tail = None
            etree.cleanup_namespaces(one)
        return found


class XmlPatch:
    """An XML Patch that is one."""

    def __init__(self, operations: list[_Operation], size: int) -> None:
        """Keep the operations; `size` is what the document adds to a resource at the most."""
        self._operations = operations
        self._size = size

    @classmethod
    def read(cls, body: bytes) -> XmlPatch:
        """A patch document. Raises MalformedPatchError, CostlyPatchError."""
        root = _parsed(body)
        if root.tag not in _ROOTS:
            raise MalformedPatchError(f"An XML Patch is a <patch> of {PATCH}, or a <diff>")
        if len(root) > MOST_OPERATIONS:
            raise CostlyPatchError(f"At most {MOST_OPERATIONS} operations in one patch; this one has {len(root)}")
        return cls([_read(index, one, _ROOTS[root.tag]) for index, one in enumerate(root)], _size(root, body))

    def apply(self, resource: dict[str, Any], most_bytes: int) -> Any:  # noqa: ARG002 - nothing is copied
        """What the operations make of a resource. Raises InapplicablePatchError, CostlyPatchError.

        Members that the XML says in the same way before and after are the ones that were given, in their order.
        """
        try:
            text = to_xml(encode(resource))
        except NotXmlError as error:
            raise InapplicablePatchError("The resource holds a character that XML has not: patch it as JSON") from error
        root = _parsed(text)
        before = _back(root)
        document = _Document(root, self._size + _size(root, text))
        for operation in self._operations:
            document.do(operation)
        after = _back(root)
        written = dict(zip(_narratives(before), _narratives(resource), strict=True))
        kept = {name for name in before.keys() & after.keys() if encode(before[name]) == encode(after[name])}
        found = {name: resource[name] if name in kept else _restored(after[name], written) for name in after}
        return {**{name: found[name] for name in resource if name in found}, **found}


def _parsed(body: bytes) -> etree._Element:
    """The root of a document, without comments. Raises MalformedPatchError; nothing outside of the document is read."""
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
    )
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise MalformedPatchError("An XML Patch has no document type")
    try:
        return etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MalformedPatchError(f"The body is no XML: {error}") from error


def _size(root: etree._Element, text: bytes) -> int:
    """The elements of a document, and its bytes by the hundred."""
    return sum(1 for _ in root.iter()) + len(text) // 100


def _read(index: int, element: etree._Element, namespace: str | None) -> _Operation:
    """One operation. Raises MalformedPatchError."""
    own = etree.QName(element)
    name = f"Operation {index}"
    if own.localname not in _ATTRIBUTES or own.namespace != namespace:
        raise MalformedPatchError(f"{name} is none of {', '.join(_ATTRIBUTES)}")
    name = f"{name} ({own.localname} {element.get('sel')})"
    if unknown := set(map(str, element.attrib)) - _ATTRIBUTES[own.localname]:
        raise MalformedPatchError(f"{name}: there is no attribute {min(unknown)}")
    selected, position, spaces = element.get("sel"), element.get("pos"), element.get("ws")
    if not selected:
        raise MalformedPatchError(f"{name} needs a sel")
    if position is not None and position not in _POSITIONS:
        raise MalformedPatchError(f"{name}: pos is one of {', '.join(sorted(_POSITIONS))}")
    if spaces is not None and spaces not in _SPACES:
        raise MalformedPatchError(f"{name}: ws is one of {', '.join(sorted(_SPACES))}")
    kind = element.get("type")
    if kind is not None and (not kind.startswith("@") or position is not None or ":" in kind):
        raise MalformedPatchError(f"{name}: type names an attribute, as in @id, and has no pos beside it")
    selector = read_selector(selected, element.nsmap)
    operation = _Operation(name, own.localname, selector, element)
    _check_content(operation)
    return operation


def _check_content(operation: _Operation) -> None:
    """Raise MalformedPatchError where an operation holds what it cannot put there."""
    selector, content = operation.selector, operation.content
    is_of_element = selector.attribute is None and selector.text is None
    if operation.kind == "remove":
        if len(content) or (content.text or "").strip():
            raise MalformedPatchError(f"{operation.name} holds nothing")
    elif operation.kind == "add" and not is_of_element:
        raise MalformedPatchError(f"{operation.name}: something is added to an element")
    elif content.get("type") is not None or not is_of_element:
        operation.text  # noqa: B018 - raises
    elif len(operation.nodes()) != 1 and operation.kind == "replace":
        raise MalformedPatchError(f"{operation.name}: one element takes the place of one")


class _Document:
    """The XML of a resource while it is patched."""

    def __init__(self, root: etree._Element, size: int) -> None:
        self._root = root
        self._size = size
        self._left = MOST_VISITS

    def do(self, operation: _Operation) -> None:
        selector = operation.selector
        self._left -= self._size * selector.steps
        if self._left < 0:
            raise CostlyPatchError(f"{operation.name}: the selectors look at more than {MOST_VISITS} elements")
        found = selector.elements(self._root.getroottree())
        if len(found) != 1:
            raise InapplicablePatchError(f"{operation.name}: {'several places are' if found else 'nothing is'} there")
        [element] = found
        if selector.attribute is not None:
            _change_attribute(operation, element, selector.attribute)
        elif selector.text is not None:
            _change_text(operation, element, selector.text)
        elif operation.kind == "add":
            self._add(operation, element)
        else:
            self._replace(operation, element)

    def _add(self, operation: _Operation, element: etree._Element) -> None:
        attribute = operation.content.get("type")
        if attribute is not None:
            name = attribute.removeprefix("@")
            if name in element.attrib:
                raise InapplicablePatchError(f"{operation.name}: the attribute is there already")
            _set(operation, element, name)
            return
        nodes, position = operation.nodes(), operation.content.get("pos")
        if position in {"before", "after"}:
            parent = self._parent(operation, element)
            index = parent.index(element) + (position == "after")
            tail = element.tail
            if position == "after":
                element.tail = None
                nodes[-1].tail = tail
            parent[index:index] = nodes
        elif position == "prepend":
            nodes[-1].tail, element.text = element.text, None
            element[0:0] = nodes
        else:
            element.extend(nodes)

    def _replace(self, operation: _Operation, element: etree._Element) -> None:
        parent = self._parent(operation, element)
        if operation.kind == "replace":
            [node] = operation.nodes()
            node.tail = element.tail
            parent.replace(element, node)
            return
        tail, before = element.tail, element.getprevious()
        element.tail = None
        if tail and before is not None:
            before.tail = (before.tail or "") + tail
        elif tail:
            parent.text = (parent.text or "") + tail
        parent.remove(element)

    @staticmethod
    def _parent(operation: _Operation, element: etree._Element) -> etree._Element:
        parent = element.getparent()
        if parent is None:
            raise InapplicablePatchError(f"{operation.name}: the resource itself stays where it is")
        return parent


def _change_attribute(operation: _Operation, element: etree._Element, name: str) -> None:
    if name not in element.attrib:
        raise InapplicablePatchError(f"{operation.name}: nothing is there")
    if operation.kind == "remove":
        del element.attrib[name]
    else:
        _set(operation, element, name)


def _change_text(operation: _Operation, element: etree._Element, number: int) -> None:
    """Another text, or none, in the place of one of the texts of an element."""
    texts: list[tuple[str, Callable[[str | None], None]]] = [
        (text, put) for text, put in _texts(element) if text is not None
    ]
    if number > len(texts) or not texts or (number == 0 and len(texts) > 1):
        raise InapplicablePatchError(
            f"{operation.name}: {'several texts are' if len(texts) > 1 else 'no text is'} there"
        )
    texts[max(number, 1) - 1][1](None if operation.kind == "remove" else operation.text)


def _texts(element: etree._Element) -> Iterator[tuple[str | None, Callable[[str | None], None]]]:
    def own(text: str | None) -> None:
        element.text = text

    def behind(child: etree._Element) -> Callable[[str | None], None]:
        def put(text: str | None) -> None:
            child.tail = text

        return put

    yield element.text, own
    for child in element:
        yield child.tail, behind(child)


def _set(operation: _Operation, element: etree._Element, name: str) -> None:
    try:
        element.set(name, operation.text)
    except ValueError as error:
        raise InapplicablePatchError(f"{operation.name}: {error}") from error


def _back(root: etree._Element) -> dict[str, Any]:
    """The resource that the XML says, numbers as they are written. Raises InapplicablePatchError where it says none."""
    try:
        resource = parse_literally(to_json(etree.tostring(root, encoding="utf-8")))
    except Invalid as invalid:
        _refuse(invalid)
    return resource if isinstance(resource, dict) else {}


def _refuse(invalid: Invalid) -> NoReturn:
    issue = invalid.issues[0]
    raise InapplicablePatchError(
        f"The patch leaves no resource: {issue.diagnostics}", issue.expression or None
    ) from invalid


def _narratives(value: Any) -> Iterator[str]:
    """The narratives within a resource, in the order of their names, so that two of one content come in one order."""
    if isinstance(value, list):
        for one in value:
            yield from _narratives(one)
    elif isinstance(value, Mapping):
        for name in sorted(value):
            if name == "div" and isinstance(value[name], str):
                yield value[name]
            else:
                yield from _narratives(value[name])


def _restored(value: Any, written: Mapping[str, str]) -> Any:
    """The value with the narratives that the patch left alone as somebody wrote them."""
    if isinstance(value, list):
        return [_restored(one, written) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: written.get(one, one) if name == "div" and isinstance(one, str) else _restored(one, written)
        for name, one in value.items()
    }
