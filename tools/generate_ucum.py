"""Generate ``terminology/data/ucum.json`` from the published table of UCUM.

    python tools/generate_ucum.py [--check] FILE

FILE is ``ucum-essence.xml`` as the UCUM Organization publishes it (https://github.com/ucum-org/ucum). ``--check``
writes nothing and answers with exit status 1 when the checked-in file differs. Kept are the case-sensitive codes:
prefixes, base units, and for each other unit its value in terms of others; names and printed symbols are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

TARGET = Path(__file__).resolve().parent.parent / "terminology/data/ucum.json"
NAMESPACE = "{http://unitsofmeasure.org/ucum-essence}"


def table(root: ET.Element) -> dict[str, Any]:
    """The table as plain values."""
    return {
        "version": root.get("version"),
        "prefixes": {one.get("Code"): _value(one).get("value") for one in root.iter(f"{NAMESPACE}prefix")},
        "base": [one.get("Code") for one in root.iter(f"{NAMESPACE}base-unit")],
        "units": {one.get("Code"): _unit(one) for one in root.iter(f"{NAMESPACE}unit")},
    }


def _value(element: ET.Element) -> ET.Element:
    found = element.find(f"{NAMESPACE}value")
    if found is None:
        raise ValueError(f"{element.get('Code')} has no value")
    return found


def _unit(element: ET.Element) -> dict[str, Any]:
    value = _value(element)
    function = value.find(f"{NAMESPACE}function")
    defined = value if function is None else function
    unit: dict[str, Any] = {"value": defined.get("value"), "unit": defined.get("Unit")}
    if function is not None:
        unit["function"] = function.get("name")
    if element.get("isMetric") == "yes":
        unit["metric"] = True
    if element.get("isArbitrary") == "yes":
        unit["arbitrary"] = True
    return unit


def main() -> int:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    root = ET.parse(options.file).getroot()  # noqa: S314 - a file that the operator names
    text = json.dumps(table(root), indent=1, sort_keys=True) + "\n"
    if not options.check:
        TARGET.write_text(text, "utf-8")
        return 0
    return int(TARGET.read_text("utf-8") != text)


if __name__ == "__main__":
    sys.exit(main())
