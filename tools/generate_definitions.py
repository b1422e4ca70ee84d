"""Generate the checked-in FHIR R4 (4.0.1) data from HL7's own CC0 packages.

    python tools/generate_definitions.py [--check] [FOLDER]

FOLDER holds ``hl7.fhir.r4.examples-4.0.1.tgz`` and ``hl7.fhir.r4.expansions-4.0.1.tgz`` as ``npm pack`` writes them.
Without it the two packages are fetched with ``npm pack`` into a temporary folder. ``--check`` writes nothing and
answers with exit status 1 when a checked-in file differs from what the packages say. The output is deterministic: keys
are sorted, those of the structures excepted, whose order is the standard's, and the gzip header carries no time.

What is written, and who reads it:

- ``resources/definitions/structures.json.gz``: elements of every type (``resources.structure``)
- ``resources/definitions/schema.json.gz``: one JSON Schema over all types (``resources.validation``)
- ``resources/definitions/invariants.json.gz``: texts of the error invariants (``resources.invariants``)
- ``resources/definitions/search_parameters.json.gz`` (``resources.declaration``)
- ``resources/definitions/compartments.json.gz`` (``resources.declaration``)
- ``terminology/data/v3-ActReason.json``: parents of each purpose of use (``terminology.code_system``)
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("hl7.fhir.r4.examples", "hl7.fhir.r4.expansions")
VERSION = "4.0.1"
ROOT = Path(__file__).resolve().parent.parent
EXTENSION_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

Json = dict[str, Any]

# Regular expressions of the primitive types, https://hl7.org/fhir/R4/datatypes.html#primitive. They are the published
# ones with four reasoned differences: they are anchored; uri, url and canonical may not be empty; string and markdown
# refuse control characters instead of using \S, which would also refuse the no-break space of French typography; code
# allows single plain spaces only, as its text says.
YEAR = r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)"
DAY = r"(0[1-9]|1[0-2])-(0[1-9]|[1-2][0-9]|3[0-1])"
CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?"
OFFSET = r"(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
TEXT = {"type": "string", "minLength": 1, "maxLength": 1048576, "pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f]*$"}
PRIMITIVES: Mapping[str, Json] = {
    "base64Binary": {"type": "string", "pattern": r"^(\s*([0-9a-zA-Z\+/=]){4}\s*)+$"},
    "boolean": {"type": "boolean"},
    "canonical": {"type": "string", "pattern": r"^\S+$"},
    "code": {"type": "string", "pattern": r"^[^\s]+( [^\s]+)*$"},
    "date": {"type": "string", "pattern": f"^{YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1]))?)?$"},
    "dateTime": {
        "type": "string",
        "pattern": f"^{YEAR}(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1])(T{CLOCK}{OFFSET})?)?)?$",
    },
    "decimal": {"type": "number"},
    "id": {"type": "string", "pattern": r"^[A-Za-z0-9\-\.]{1,64}$"},
    "instant": {"type": "string", "pattern": f"^{YEAR}-{DAY}T{CLOCK}{OFFSET}$"},
    "integer": {"type": "integer", "minimum": -2147483648, "maximum": 2147483647},
    "markdown": TEXT,
    "oid": {"type": "string", "pattern": r"^urn:oid:[0-2](\.(0|[1-9][0-9]*))+$"},
    "positiveInt": {"type": "integer", "minimum": 1, "maximum": 2147483647},
    "string": TEXT,
    "time": {"type": "string", "pattern": f"^{CLOCK}$"},
    "unsignedInt": {"type": "integer", "minimum": 0, "maximum": 2147483647},
    "uri": {"type": "string", "pattern": r"^\S+$"},
    "url": {"type": "string", "pattern": r"^\S+$"},
    "uuid": {
        "type": "string",
        "pattern": r"^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    },
    "xhtml": {"type": "string", "minLength": 1},
}


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` compare them; the result is the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="folder with the two .tgz files")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    if options.folder:
        files = generate(options.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            fetch(Path(folder))
            files = generate(Path(folder))
    stale = [path for path, content in files.items() if not is_current(ROOT / path, content)]
    if options.check:
        for path in stale:
            print(f"differs from the HL7 packages: {path}", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(files[path])
        print(f"wrote {path} ({len(files[path])} bytes)")
    return 0


def fetch(folder: Path) -> None:
    """Download the two packages with the ordinary npm client."""
    for package in PACKAGES:
        command = ["npm", "pack", "--silent", f"{package}@{VERSION}"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def generate(folder: Path) -> dict[str, bytes]:
    """Every generated file, by its path from the root of the repository."""
    structure_definitions: list[Json] = []
    search_parameters: list[Json] = []
    compartments: list[Json] = []
    act_reason: Json = {}
    for resource in package(folder / f"{PACKAGES[0]}-{VERSION}.tgz", PREFIXES):
        match resource["resourceType"]:
            case "StructureDefinition" if is_base_type(resource):
                structure_definitions.append(resource)
            case "SearchParameter":
                search_parameters.append(resource)
            case "CompartmentDefinition":
                compartments.append(resource)
            case "CodeSystem":
                act_reason = resource
    value_sets = {
        resource["url"]: codes_of(resource)
        for resource in package(folder / f"{PACKAGES[1]}-{VERSION}.tgz", ("ValueSet-",))
        if resource["resourceType"] == "ValueSet"
    }
    definitions = {definition["type"]: definition for definition in structure_definitions}
    structures = structures_of(definitions)
    return {
        # XML has the elements in the order of the definitions, which therefore is kept here.
        "resources/definitions/structures.json.gz": zipped(dict(sorted(structures.items())), sort_keys=False),
        "resources/definitions/schema.json.gz": zipped(schema_of(structures, bindings_of(definitions), value_sets)),
        "resources/definitions/invariants.json.gz": zipped(invariants_of(definitions)),
        "resources/definitions/search_parameters.json.gz": zipped(search_parameters_of(search_parameters)),
        "resources/definitions/compartments.json.gz": zipped(compartments_of(compartments)),
        "terminology/data/v3-ActReason.json": (encoded(parents_of(act_reason), indent=1) + "\n").encode(),
    }


PREFIXES = ("StructureDefinition-", "SearchParameter-", "CompartmentDefinition-", "CodeSystem-v3-ActReason.")


def package(archive: Path, prefixes: tuple[str, ...]) -> Iterator[Json]:
    """The resources of an npm package whose file names begin so, in the order of their names."""
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if Path(m.name).name.startswith(prefixes) and m.name.endswith(".json")]
        for member in sorted(members, key=lambda member: member.name):
            stream = tar.extractfile(member)
            if stream is not None:
                yield json.load(stream)


def is_base_type(definition: Json) -> bool:
    """Whether a StructureDefinition defines a type of the base standard rather than a profile or a pattern."""
    return definition["kind"] != "logical" and definition.get("derivation") != "constraint"


# -- structures -------------------------------------------------------------------------------------------------------


def structures_of(definitions: Mapping[str, Json]) -> dict[str, Json]:
    """Every complex type, resource type and backbone element: its kind, its base, its elements."""
    structures: dict[str, Json] = {}
    for name, definition in definitions.items():
        if definition["kind"] == "primitive-type":
            continue
        base = definition.get("baseDefinition", "").rpartition("/")[2]
        structures[name] = {
            "kind": "resource" if definition["kind"] == "resource" else "complex",
            "base": base,
            "abstract": definition["abstract"],
            "elements": {},
        }
        for element in definition["snapshot"]["element"][1:]:
            parent, _, child = element["path"].rpartition(".")
            if parent not in structures:
                structures[parent] = {"kind": "backbone", "base": "BackboneElement", "abstract": False, "elements": {}}
            structures[parent]["elements"][child.removesuffix("[x]")] = element_of(element, definition)
    return structures


def element_of(element: Json, definition: Json) -> Json:
    """What the server needs to know of one ElementDefinition."""
    types = [type_of(entry, element, definition) for entry in element.get("type", [])]
    targets = sorted(
        {url.rpartition("/")[2] for entry in element.get("type", []) for url in entry.get("targetProfile", ())}
    )
    if "contentReference" in element:
        types = [element["contentReference"].rpartition("#")[2]]
    elif types[0] in ("BackboneElement", "Element") and element["path"].count("."):
        types = [element["path"]]
    return {
        "types": types,
        "min": element["min"],
        "many": element["max"] != "1",
        "choice": element["path"].endswith("[x]"),
        "summary": element.get("isSummary", False),
        "plain": any(entry["code"].startswith("http://hl7.org/fhirpath/") for entry in element.get("type", [])),
        "targets": targets,
    }


def type_of(entry: Json, element: Json, definition: Json) -> str:
    """The FHIR type of a snapshot type entry; System types are what the fhir-type extension says they are.

    ``Resource.id`` is typed string there although its own text gives it the rules of id.
    """
    code: str = entry["code"]
    if not code.startswith("http://hl7.org/fhirpath/"):
        return code
    if definition["kind"] == "resource" and element["path"].endswith(".id") and element["path"].count(".") == 1:
        return "id"
    extensions = {
        extension["url"]: extension["valueUrl"] for extension in entry.get("extension", ()) if "valueUrl" in extension
    }
    return str(extensions.get(EXTENSION_FHIR_TYPE, "string"))


def invariants_of(definitions: Mapping[str, Json]) -> dict[str, str]:
    """The text of every invariant that is an error, by its key; by ``Type.key`` where types share a key (``inv-1``)."""
    found: dict[str, dict[str, str]] = {}
    for name, definition in definitions.items():
        for element in definition["snapshot"]["element"]:
            for constraint in element.get("constraint", ()):
                if constraint["severity"] == "error":
                    found.setdefault(constraint["key"], {})[name] = " ".join(constraint["human"].split())
    texts: dict[str, str] = {}
    for key, by_type in found.items():
        if len(set(by_type.values())) == 1:
            texts[key] = next(iter(by_type.values()))
        else:
            texts |= {f"{name}.{key}": text for name, text in by_type.items()}
    return texts


# -- the JSON Schema --------------------------------------------------------------------------------------------------


def bindings_of(definitions: Mapping[str, Json]) -> dict[str, str]:
    """Element path to the value set its code is bound to with strength required."""
    bindings: dict[str, str] = {}
    for definition in definitions.values():
        for element in definition["snapshot"]["element"]:
            binding = element.get("binding", {})
            is_code = [entry["code"] for entry in element.get("type", ())] == ["code"]
            if is_code and binding.get("strength") == "required" and "valueSet" in binding:
                bindings[element["path"]] = binding["valueSet"].partition("|")[0]
    return bindings


def codes_of(value_set: Json) -> list[str]:
    """All codes of an expanded value set, or none where the package does not carry a whole expansion."""
    expansion = value_set.get("expansion", {})
    codes: set[str] = set()
    waiting = list(expansion.get("contains", ()))
    while waiting:
        entry = waiting.pop()
        waiting.extend(entry.get("contains", ()))
        if "code" in entry and not entry.get("abstract", False):
            codes.add(entry["code"])
    return sorted(codes) if expansion.get("total", len(codes)) == len(codes) else []


def schema_of(structures: Mapping[str, Json], bindings: Mapping[str, str], value_sets: Mapping[str, list[str]]) -> Json:
    """One JSON Schema (draft 4, where 1.0 is no integer) over an object whose only member is named as its type.

    Wrapping the resource as ``{"Patient": {...}}`` lets one compiled schema serve all types without a choice between
    146 branches, and errors then point at the element itself. Contained resources and entries are wrapped by the caller
    in the same way. What needs words of its own (required elements, choices, dates, references) is not in the schema.
    """
    definitions: dict[str, Json] = {f"primitive.{name}": rule for name, rule in PRIMITIVES.items()}
    definitions |= {
        f"primitive.{name}.null": rule | {"type": [rule["type"], "null"]} for name, rule in PRIMITIVES.items()
    }
    definitions["embedded"] = {"type": "object", "required": ["resourceType"]}
    used = {url for url in bindings.values() if value_sets.get(url)}
    definitions |= {f"codes.{url.rpartition('/')[2]}": {"enum": value_sets[url]} for url in used}
    definitions |= {f"codes.{url.rpartition('/')[2]}.null": {"enum": [*value_sets[url], None]} for url in used}
    definitions["Element.null"] = {"anyOf": [reference("Element"), {"type": "null"}]}
    for name, structure in structures.items():
        if structure["abstract"] and structure["kind"] == "resource":
            continue
        properties: dict[str, Json] = {}
        for element_name, element in structure["elements"].items():
            properties |= properties_of(name, element_name, element, bindings, definitions)
        if structure["kind"] == "resource":
            properties["resourceType"] = {"enum": [name]}
        definitions[name] = {
            "type": "object",
            "properties": properties,
            "additionalProperties": False,
            "minProperties": 1,
        }
    resources = [
        name for name, structure in structures.items() if structure["kind"] == "resource" and name in definitions
    ]
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": {name: reference(name) for name in resources},
        "additionalProperties": False,
        "definitions": definitions,
    }


def properties_of(
    owner: str, name: str, element: Json, bindings: Mapping[str, str], definitions: Mapping[str, Json]
) -> dict[str, Json]:
    """The JSON properties of one element: one per type of a choice, and the ``_`` sibling of each primitive."""
    properties: dict[str, Json] = {}
    for type_name in element["types"]:
        json_name = name + type_name[0].upper() + type_name[1:] if element["choice"] else name
        primitive = type_name in PRIMITIVES
        codes = f"codes.{bindings.get(f'{owner}.{name}', '').rpartition('/')[2]}"
        if type_name == "Resource":
            rule = "embedded"
        elif codes in definitions:
            rule = codes
        else:
            rule = f"primitive.{type_name}" if primitive else type_name
        properties[json_name] = member(rule, many=element["many"], nullable=primitive)
        if primitive and not element["plain"] and type_name != "xhtml":
            properties[f"_{json_name}"] = member("Element", many=element["many"], nullable=True)
    return properties


def reference(definition: str) -> Json:
    """A pointer to a named definition of the schema."""
    return {"$ref": f"#/definitions/{definition}"}


def member(definition: str, *, many: bool, nullable: bool) -> Json:
    """The rule of a property; lists of primitives hold null where only the sibling list has something."""
    if not many:
        return reference(definition)
    return {"type": "array", "minItems": 1, "items": reference(f"{definition}.null" if nullable else definition)}


# -- search parameters, compartments, purposes of use -----------------------------------------------------------------


def search_parameters_of(resources: list[Json]) -> list[Json]:
    """The search parameters that have an expression, in the order of their URLs, with what the server needs of each."""
    found: dict[str, Json] = {}
    for resource in resources:
        if "expression" not in resource or not resource.get("base") or "/SearchParameter/example" in resource["url"]:
            continue
        found[resource["url"]] = {
            "url": resource["url"],
            "name": resource["code"],
            "type": resource["type"],
            "base": sorted(resource["base"]),
            "expression": resource["expression"],
            "targets": sorted(resource.get("target", ())),
            "components": [[c["definition"], c["expression"]] for c in resource.get("component", ())],
        }
    return [found[url] for url in sorted(found)]


def compartments_of(resources: list[Json]) -> Json:
    """Compartment code to resource type to the search parameters that make it a member; the example is left out."""
    return {
        resource["code"]: {entry["code"]: entry["param"] for entry in resource["resource"] if entry.get("param")}
        for resource in resources
        if resource["url"] != "http://hl7.org/fhir/CompartmentDefinition/example"
    }


def parents_of(code_system: Json) -> Json:
    """The purposes of use of v3-ActReason, each with the codes directly above it (nesting and ``subsumedBy``)."""
    parents: dict[str, set[str]] = {}

    def visit(concept: Json, above: str | None) -> None:
        known = parents.setdefault(concept["code"], set())
        if above:
            known.add(above)
        known.update(p["valueCode"] for p in concept.get("property", ()) if p["code"] == "subsumedBy")
        for child in concept.get("concept", ()):
            visit(child, concept["code"])

    for concept in code_system["concept"]:
        visit(concept, None)
    purposes = {"PurposeOfUse"}
    while more := {code for code, above in parents.items() if above & purposes} - purposes:
        purposes |= more
    return {
        "url": ACT_REASON,
        "version": code_system["version"],
        "parents": {code: sorted(parents[code] & purposes) for code in purposes},
    }


# -- output -----------------------------------------------------------------------------------------------------------


def encoded(value: object, indent: int | None = None, *, sort_keys: bool = True) -> str:
    """JSON, by default with sorted keys, compact unless indented."""
    return json.dumps(
        value, sort_keys=sort_keys, ensure_ascii=False, indent=indent, separators=None if indent else (",", ":")
    )


def zipped(value: object, *, sort_keys: bool = True) -> bytes:
    """The JSON, gzipped without a time in its header."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=9, mtime=0, filename="") as stream:
        stream.write(encoded(value, sort_keys=sort_keys).encode())
    return buffer.getvalue()


def is_current(path: Path, content: bytes) -> bool:
    """Whether the checked-in file says the same; gzip is compared unpacked, since zlib builds differ."""
    if not path.exists():
        return False
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes()) == gzip.decompress(content)
    return path.read_bytes() == content


if __name__ == "__main__":
    sys.exit(main())
