"""Search-parameter expressions, compiled once to closures.

The FHIRPath that R4's search parameters use is small (https://hl7.org/fhir/R4/search.html): paths joined by ``|``,
``as``, ``.as()``, ``ofType()``, ``where(x='y')``, ``where(resolve() is T)``, ``where(hasExtension('url'))``,
``extension('url')``, an index, and for ``Patient.deceased`` one comparison. Everything else is refused when compiling.

Because the StructureDefinitions say which types a choice element has, each expression is first unfolded into plain
paths (``Observation.value`` becomes eleven, ``valueQuantity`` and so on), each with the FHIR type it ends in. A name
that merely begins like a choice element (``performerType`` beside ``performer``) is therefore never mistaken for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from resources.structure import PRIMITIVES, is_a, structures

Value = tuple[Any, str]
"""A value found in a resource and its FHIR type, such as ``("1970-01-01", "date")`` or ``({...}, "HumanName")``."""

Extractor = Callable[[Mapping[str, Any]], list[Value]]
"""A compiled expression: a resource (or element) in, the values found in document order of each path out."""

Predicate = Callable[[Any], bool]
Step = Callable[[list[Any]], list[Any]]


RESOURCE = "%resource"
"""The variable by which a composite's component names the whole resource; `with_resource` puts it into an element."""


class UnsupportedExpressionError(ValueError):
    """The expression uses FHIRPath that no R4 search parameter uses, or an element that does not exist."""


@dataclass(frozen=True, slots=True)
class Path:
    """One unfolded path: its steps, the JSON names alone while it is only names, and the type it has reached."""

    type: str
    names: tuple[str, ...] | None = ()
    steps: tuple[Step, ...] = ()
    targets: frozenset[str] = frozenset()


def compile_expression(expression: str, type_name: str) -> Extractor:
    """Compile the parts of ``expression`` that concern ``type_name``.

    Parts are relative to the type, as in composite components (``value.as(Quantity)``), or begin with the type, one of
    its bases, or another type; parts about another type are left out. Raises UnsupportedExpressionError.
    """
    special = re.fullmatch(r"(\w+)\.(\w+)\.exists\(\) and \1\.\2 != false", expression)
    if special:
        return _exists_and_is_not_false(type_name, special[2])
    extractors = [_extractor(path) for part in split(expression, "|") for path in _unfold(part, type_name)]
    if len(extractors) == 1:
        return extractors[0]
    return _joined(tuple(extractors))


def with_resource(extract: Extractor) -> Extractor:
    """The same elements, each also knowing the resource that it is in, for components that begin with ``%resource``."""

    def extracted(resource: Mapping[str, Any]) -> list[Value]:
        return [({**node, RESOURCE: resource}, type_name) for node, type_name in extract(resource)]

    return extracted


def types_of(expression: str, type_name: str) -> frozenset[str]:
    """The FHIR types in which the parts of an expression that concern ``type_name`` may end."""
    return frozenset(path.type for part in split(expression, "|") for path in _unfold(part, type_name))


def targets_of(expression: str, type_name: str) -> frozenset[str]:
    """The resource types that the References found may point to; ``Resource`` among them means any."""
    return frozenset().union(*(path.targets for part in split(expression, "|") for path in _unfold(part, type_name)))


def split(expression: str, separator: str) -> list[str]:
    """The parts of an expression at a separator outside parentheses and quotes, stripped."""
    parts, depth, quoted, start = [], 0, False, 0
    for position, character in enumerate(expression):
        if character == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == separator and not depth:
            parts.append(expression[start:position].strip())
            start = position + 1
    return [*parts, expression[start:].strip()]


# -- unfolding --------------------------------------------------------------------------------------------------------


def _unfold(part: str, type_name: str) -> list[Path]:
    """The plain paths of one part, none when the part begins with an unrelated type."""
    cast = re.fullmatch(r"(.+) as (\w+)", part)
    if cast:
        return _cast(_unfold(cast[1], type_name), cast[2])
    first, *rest = split(part, ".")
    if not first:
        raise UnsupportedExpressionError("an empty step")
    if first.startswith("(") and first.endswith(")"):
        paths = [path for inner in split(first[1:-1], "|") for path in _unfold(inner, type_name)]
    elif first[0].isupper():
        if not is_a(type_name, first):
            return []
        paths = [Path(type_name)]
    else:
        paths, rest = [Path(type_name)], [first, *rest]
    for token in rest:
        paths = _follow(paths, token)
    return [found for path in paths for found in (_children(path, "value") if path.type == "Extension" else [path])]


def _follow(paths: list[Path], token: str) -> list[Path]:
    """One step further: a function, or an element with an optional index."""
    call = re.fullmatch(r"(\w+)\((.*)\)", token)
    if not call:
        return _child(paths, token)
    name, argument = call[1], call[2].strip()
    if name in ("as", "ofType"):
        return _cast(paths, argument)
    if name == "extension":
        return _extension(paths, _literal(argument))
    if name == "where":
        return _where(paths, argument)
    raise UnsupportedExpressionError(f"function {token}")


def _child(paths: list[Path], token: str) -> list[Path]:
    if token == RESOURCE:
        # Only at the beginning of a composite's component: back from the element to the resource that it is in.
        return [Path(path.type.partition(".")[0], (RESOURCE,), (_get(RESOURCE),)) for path in paths]
    indexed = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", token)
    if not indexed:
        raise UnsupportedExpressionError(f"step {token}")
    name, index = indexed[1], indexed[2]
    found = [child for path in paths for child in _children(path, name)]
    if not found:
        raise UnsupportedExpressionError(f"element {name} of {', '.join(sorted({path.type for path in paths}))}")
    if index is not None:
        at = int(index)
        found = [replace(path, names=None, steps=(*path.steps, lambda nodes: nodes[at : at + 1])) for path in found]
    return found


def _children(path: Path, name: str) -> list[Path]:
    structure = structures().get(path.type)
    element = structure.elements.get(name) if structure else None
    if element is None:
        return []
    return [
        Path(
            type=type_name,
            names=(*path.names, json_name) if path.names is not None else None,
            steps=(*path.steps, _get(json_name)),
            targets=frozenset(element.targets),
        )
        for json_name, type_name in element.json_names(name)
    ]


def _cast(paths: list[Path], wanted: str) -> list[Path]:
    """Keep the paths of the wanted type; some parameters write ``DateTime`` for ``dateTime``."""
    plain = wanted[0].lower() + wanted[1:]
    target = plain if plain in PRIMITIVES else wanted
    return [path for path in paths if is_a(path.type, target)]


def _extension(paths: list[Path], url: str) -> list[Path]:
    """The extensions of that url; a search has no use for one itself: at the end of a path ``value[x]`` is meant."""
    return [
        replace(path, type="Extension", names=None, steps=(*path.steps, _get("extension"), _keep(_equals("url", url))))
        for path in paths
    ]


def _where(paths: list[Path], condition: str) -> list[Path]:
    resolves = re.fullmatch(r"resolve\(\) is (\w+)", condition)
    equality = re.fullmatch(r"(\w+)\s*=\s*('[^']*')", condition)
    extension = re.fullmatch(r"hasExtension\(('[^']*')\)", condition)
    if resolves:
        return [_narrowed(path, resolves[1]) for path in paths]
    if equality:
        predicate = _equals(equality[1], _literal(equality[2]))
    elif extension:
        predicate = _has_extension(_literal(extension[1]))
    else:
        raise UnsupportedExpressionError(f"condition {condition}")
    return [replace(path, names=None, steps=(*path.steps, _keep(predicate))) for path in paths]


def _narrowed(path: Path, target: str) -> Path:
    """``resolve() is T`` asks nothing of an element that may only point to T anyway."""
    if path.targets == {target}:
        return path
    step = _keep(refers_to(target))
    return replace(path, names=None, steps=(*path.steps, step), targets=frozenset({target}))


def _literal(text: str) -> str:
    if len(text) < 2 or text[0] != "'" or text[-1] != "'":
        raise UnsupportedExpressionError(f"literal {text}")
    return text[1:-1]


# -- predicates -------------------------------------------------------------------------------------------------------


def reference_type(reference: Mapping[str, Any]) -> str | None:
    """The resource type a Reference points to: by ``Type/id`` in its address, else by ``type``, else unknown.

    https://hl7.org/fhir/R4/references.html#Reference
    """
    address = reference.get("reference")
    if isinstance(address, str) and not address.startswith(("#", "urn:")):
        segments = address.partition("/_history/")[0].rsplit("/", 2)
        if len(segments) > 1 and segments[-2] in structures():
            return segments[-2]
    stated = reference.get("type")
    return stated if isinstance(stated, str) else None


def refers_to(target: str) -> Predicate:
    """Whether a Reference points to that type; a contained or unresolved one only when it states its type."""
    infix, prefix = f"/{target}/", f"{target}/"

    def predicate(node: Any) -> bool:
        if not isinstance(node, dict):
            return False
        address = node.get("reference")
        if isinstance(address, str) and (address.startswith(prefix) or infix in address):
            return reference_type(node) == target
        return node.get("type") == target and reference_type(node) == target

    return predicate


def _equals(name: str, literal: str) -> Predicate:
    return lambda node: isinstance(node, dict) and node.get(name) == literal


def _has_extension(url: str) -> Predicate:
    return lambda node: (
        isinstance(node, dict) and any(extension.get("url") == url for extension in node.get("extension", ()))
    )


# -- closures ---------------------------------------------------------------------------------------------------------


def _get(name: str) -> Step:
    def step(nodes: list[Any]) -> list[Any]:
        found: list[Any] = []
        for node in nodes:
            value = node.get(name)
            if value is None:
                continue
            if isinstance(value, list):
                found.extend(entry for entry in value if entry is not None)
            else:
                found.append(value)
        return found

    return step


def _keep(predicate: Predicate) -> Step:
    return lambda nodes: [node for node in nodes if predicate(node)]


def _extractor(path: Path) -> Extractor:
    """The fastest closure for the shape of the path: most parameters are one or two names deep."""
    if path.names is not None and len(path.names) == 1:
        return _one_name(path.names[0], path.type)
    if path.names is not None and len(path.names) == 2:
        return _two_names(path.names[0], path.names[1], path.type)
    return _steps(path.steps, path.type)


def _one_name(name: str, type_name: str) -> Extractor:
    def extract(resource: Mapping[str, Any]) -> list[Value]:
        value = resource.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return [(entry, type_name) for entry in value if entry is not None]
        return [(value, type_name)]

    return extract


def _two_names(first: str, second: str, type_name: str) -> Extractor:
    inner = _one_name(second, type_name)

    def extract(resource: Mapping[str, Any]) -> list[Value]:
        value = resource.get(first)
        if value is None:
            return []
        if not isinstance(value, list):
            return inner(value)
        return [found for entry in value for found in inner(entry)]

    return extract


def _steps(steps: tuple[Step, ...], type_name: str) -> Extractor:
    first, *others = steps or (list,)

    def extract(resource: Mapping[str, Any]) -> list[Value]:
        nodes = first([resource])
        for step in others:
            if not nodes:
                return []
            nodes = step(nodes)
        return [(node, type_name) for node in nodes]

    return extract


def _joined(extractors: Iterable[Extractor]) -> Extractor:
    def extract(resource: Mapping[str, Any]) -> list[Value]:
        return [found for extractor in extractors for found in extractor(resource)]

    return extract


def _exists_and_is_not_false(type_name: str, name: str) -> Extractor:
    """``X.exists() and X != false``: one boolean for every resource."""
    names = [json_name for json_name, _ in structures()[type_name].elements[name].json_names(name)]

    def extract(resource: Mapping[str, Any]) -> list[Value]:
        return [(any(resource.get(json_name, False) is not False for json_name in names), "boolean")]

    return extract
