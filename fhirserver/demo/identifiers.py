"""Identifiers of the demo region: test OIDs of the national identity, made-up numbers with valid keys.

Systems and types are those of HL7 France FR Core (https://hl7.fr/ig/fhir/core/).
"""

from __future__ import annotations

from typing import Any, Final

from stdnum import luhn
from stdnum.fr import nir

IDENTIFIER_TYPE: Final = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
V2_IDENTIFIER_TYPE: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"

INS_TEST_OID: Final = "1.2.250.1.213.1.4.10"
INS_TEST: Final = f"urn:oid:{INS_TEST_OID}"
RPPS: Final = "https://rpps.esante.gouv.fr"
IDNPS: Final = "urn:oid:1.2.250.1.71.4.2.1"
FINESS: Final = "https://finess.esante.gouv.fr"


def _identifier(system: str, value: str, type_system: str, type_code: str, use: str = "official") -> dict[str, Any]:
    return {
        "use": use,
        "type": {"coding": [{"system": type_system, "code": type_code}]},
        "system": system,
        "value": value,
    }


def ins_value(thirteen_digits: str) -> str:
    """A number of the national register with its key: fifteen digits."""
    return thirteen_digits + nir.calc_check_digits(thirteen_digits)


def ins(value: str) -> dict[str, Any]:
    """The national health identity, under the OID reserved for tests."""
    return _identifier(INS_TEST, value, IDENTIFIER_TYPE, "INS-NIR-TEST")


def local(oid: str, value: str) -> dict[str, Any]:
    """The number by which an establishment knows a patient."""
    return _identifier(f"urn:oid:{oid}", value, V2_IDENTIFIER_TYPE, "PI", "usual")


def rpps_value(ten_digits: str) -> str:
    """A number of the directory of professionals with its Luhn key; test numbers begin with 997."""
    return ten_digits + luhn.calc_check_digit(ten_digits)


def rpps(value: str) -> list[dict[str, Any]]:
    """RPPS number, and the national professional identifier, which puts an 8 before it."""
    return [
        _identifier(RPPS, value, IDENTIFIER_TYPE, "RPPS"),
        _identifier(IDNPS, f"8{value}", IDENTIFIER_TYPE, "IDNPS", "secondary"),
    ]


def finess(value: str) -> dict[str, Any]:
    """FINESS number of a site."""
    return _identifier(FINESS, value, IDENTIFIER_TYPE, "FINEG")
