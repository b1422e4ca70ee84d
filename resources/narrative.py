"""Narrative safety: which XHTML may stand in ``Narrative.div``.

https://hl7.org/fhir/R4/narrative.html: basic formatting only, no scripts, no forms, no external style, no active links.
The lists say what is allowed; everything else is refused, never silently removed, since a narrative is part of what an
author has signed.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from lxml import etree

MAX_PROBLEMS = 20
XHTML = "{http://www.w3.org/1999/xhtml}"
_ELEMENTS = """
a abbr acronym address area b big blockquote br caption cite code col colgroup dd del dfn div dl dt em h1 h2 h3 h4 h5 h6
hr i img ins kbd li map ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt u ul var
"""
_ATTRIBUTES = """
abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset cite
class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name noshade nowrap rel rev
rowspan rules scope shape span src start style summary tabindex title type valign value vspace width
"""
ELEMENTS = frozenset(_ELEMENTS.split())
ATTRIBUTES = frozenset(_ATTRIBUTES.split())
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
SCHEMES = frozenset({"http", "https", "mailto", "tel", "ftp", "urn"})
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_IMAGE_DATA = re.compile(r"data:image/(png|jpeg|gif|svg\+xml|webp)[;,]")
_ACTIVE_STYLE = re.compile(r"expression\s*\(|@import|javascript:|behavior\s*:|-moz-binding|\\|/\*", re.IGNORECASE)
_STYLE_ADDRESS = re.compile(r"url\s*\(\s*['\"]?([^'\")]*)", re.IGNORECASE)


class Problem(NamedTuple):
    """The FHIR issue code of a finding, and what to say."""

    code: str
    text: str


def problems(div: str) -> list[Problem]:
    """What is wrong with the XHTML of a narrative; nothing for a safe one."""
    if "<!DOCTYPE" in div or "<!ENTITY" in div or "<?" in div:
        text = "A narrative may not contain a document type, entity declarations or processing instructions"
        return [Problem("security", text)]
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(div.encode(), parser)
    except etree.XMLSyntaxError as error:
        return [Problem("structure", f"The narrative is not well-formed XHTML: {error.msg}")]
    if root.tag != f"{XHTML}div":
        text = "The narrative must be one <div> in the namespace http://www.w3.org/1999/xhtml"
        return [Problem("structure", text)]
    texts = islice((text for element in root.iter() for text in _element_problems(element)), MAX_PROBLEMS)
    found = [Problem("security", text) for text in texts]
    if not any(text.strip() for text in root.itertext()) and root.find(f".//{XHTML}img") is None:
        found.append(Problem("invariant", "The narrative SHALL have some non-whitespace content (txt-2)"))
    return found


def _element_problems(element: etree._Element) -> list[str]:
    if not isinstance(element.tag, str):
        # Comments are harmless; an unresolved entity is not, because a reader would show something else.
        return [] if element.tag is etree.Comment else ["A narrative may not contain entities beyond those of XML"]
    name = element.tag.removeprefix(XHTML)
    if name not in ELEMENTS:
        return [f"The element <{name.rpartition('}')[2]}> is not allowed in a narrative (txt-1)"]
    return [
        problem for key, value in element.attrib.items() for problem in _attribute_problems(name, str(key), str(value))
    ]


def _attribute_problems(element: str, name: str, value: str) -> list[str]:
    if name == LANGUAGE:
        return []
    if name not in ATTRIBUTES:
        return [f"The attribute {name} of <{element}> is not allowed in a narrative (txt-1)"]
    if name in ("href", "src", "cite", "longdesc") and not _is_passive(element, value):
        return [f"The address in {name} of <{element}> could run something and is not allowed in a narrative"]
    if name == "style" and not _is_plain_style(value):
        return [f"The style of <{element}> loads or runs something and is not allowed in a narrative"]
    return []


def _is_plain_style(style: str) -> bool:
    """Whether a style only formats: background images may be relative or inline, as HL7's own narratives have them."""
    if _ACTIVE_STYLE.search(style):
        return False
    addresses = [_compact(address) for address in _STYLE_ADDRESS.findall(style)]
    return all(
        _IMAGE_DATA.match(address) or not (_SCHEME.match(address) or address.startswith("//")) for address in addresses
    )


def _is_passive(element: str, address: str) -> bool:
    """Whether following the address can only show something: a known scheme, a relative address, or an inline image."""
    compact = _compact(address)
    scheme = _SCHEME.match(compact)
    if scheme is None or scheme[1].lower() in SCHEMES:
        return True
    return element == "img" and _IMAGE_DATA.match(compact) is not None


def _compact(address: str) -> str:
    """The address as a browser reads it: without the white space and controls that can hide a scheme."""
    return re.sub(r"[\x00-\x20\x7f-\xa0]", "", address)
