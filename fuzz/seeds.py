"""Inputs to begin with, one list for each target; what fuzzing found once stands at the end of its list."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Final

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ImplicitVRLittleEndian, SecondaryCaptureImageStorage

from fuzz.targets import PATIENT, PREAMBLE


def _file() -> bytes:
    inner = Dataset()
    inner.CodeValue = "1"
    dataset = Dataset()
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Martin^Jeanne=山田"
    dataset.PatientID = "1"
    dataset.Rows = dataset.Columns = 2
    dataset.BitsAllocated = 8
    dataset.SamplesPerPixel = 1
    dataset.NumberOfFrames = 1
    dataset.PixelSpacing = [0.5, 0.25]
    dataset.ProcedureCodeSequence = [inner]
    dataset.PixelData = b"\x00\x01\x02\x03"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue().removeprefix(PREAMBLE)


def _explicit() -> bytes:
    """The same elements by hand: meta information, an encapsulated image."""
    meta = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.4.50"
    group = b"\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little")
    rows = b"\x28\x00\x10\x00US\x02\x00\x02\x00"
    pixels = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff"
    items = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00\xff\xd8\xff\xd9"
    return group + meta + rows + pixels + items + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def _fhirpath_patch(**parts: str) -> bytes:
    named = [{"name": name, "valueString" if name != "type" else "valueCode": value} for name, value in parts.items()]
    return json.dumps({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": named}]}).encode()


XMLNS: Final = 'xmlns="http://hl7.org/fhir"'

SEEDS: Final[Mapping[str, list[bytes]]] = {
    "search": [
        b"Patient?name:exact=a%2Cb&birthdate=ge2020-01&_sort=-birthdate,family&_count=5&_total=accurate",
        b"ImagingStudy?patient.organization.name=x&_has:DiagnosticReport:imaging-study:status=final&modality=http://x|CT",
        b"Observation?code-value-quantity=http://loinc.org|1$gt5.4|http://unitsofmeasure.org|mg&value-quantity=ap1e3||mg",
        b"Observation?_include=Observation:subject:Patient&_revinclude:iterate=*&_elements=status,code&_summary=text",
        b"Location?near=48.85|2.35|10|km&identifier:of-type=s|c|v&type:not=a&_list=1",
        b"?_type=Patient,Observation&_lastUpdated=lt2026-11-24T10:00:00%2B01:00&_content=a%20b&_text=c",
        b"RiskAssessment?probability=ne0.5,sa1,eb2&date=ap2020&_filter=status%20eq%20final&_contained=both",
        b"Patient?given:contains=%C3%A9&deceased:missing=true&general-practitioner:identifier=a|b&_id=1,2",
    ],
    "filter": [
        b'code eq http://loinc.org|1234 and value-quantity gt 5.4||mg or not (status ne "final")',
        b'subject.name co "peter" and _has:Provenance:target:agent re Practitioner/1',
        b"related[type eq comp].target pr false and date ap 2020-01-01",
        b"(((status eq final)))",
        b'code in "http://x" or code sb http://snomed.info/sct|1 or _lastUpdated ge 2020',
    ],
    "page-link": [b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", b"", b"=", b"%"],
    "entry": [
        b"Patient/1/_history/2?_format=json",
        b"https://here.example/fhir/Patient?identifier=s|v",
        b"Patient/1/$everything?start=2020",
        b"Patient/1/Observation?code=1",
        b"$graphql?query={a}",
        b"Patient/1/*",
        b"_history?_since=2020",
    ],
    "bundle": [
        (
            b'{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":'
            b'"Patient"},"request":{"method":"POST","url":"Patient","ifNoneExist":"identifier=1"}},{"request":{"method":'
            b'"PUT","url":"Patient?identifier=1","ifMatch":"W/\\"1\\""}}]}'
        ),
        b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient/1"}},{}]}',
        b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":'
        + b'{"contained":[' * 450
        + b"]}" * 450
        + b"}]}",
        b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":' + b"[" * 900 + b"]" * 900 + b"}]}",
    ],
    "search-parameter": [
        b"string Patient.name.family | Patient.name.given",
        b"reference Patient.link.other.where(resolve() is Patient)",
        b"date (Patient.deceased as dateTime)",
        b"token Patient.extension('http://here.example/x').value as code",
        b"quantity Patient.extension.where(url = 'http://x').value.ofType(Quantity)",
    ],
    "json": [
        PATIENT,
        b'{"a":1.50,"b":-0,"c":1E400,"d":[1e-7,0.10,12345678901234567890],"\\u0061":null}',
        b'"\\ud83d\\ude00"',
        b"[-0,0.0,-0.0,true]",
        b"[-0,NaN]",
    ],
    "resource": [
        PATIENT,
        (
            b'{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"s","code":"c"}]},'
            b'"valueQuantity":{"value":1.50,"system":"http://unitsofmeasure.org","code":"mg"},"effectiveDateTime":"2020-02"}'
        ),
        (
            b'{"resourceType":"Patient","contained":[{"resourceType":"Organization","id":"o","name":"x"}],'
            b'"managingOrganization":{"reference":"#o"},"_gender":{"id":"g"},"text":{"status":"generated",'
            b'"div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\"><b>x</b> &amp; y</div>"}}'
        ),
        b'{"resourceType":"Bundle","type":"collection","entry":[{"resource":{"resourceType":"Basic","code":{"text":"x"}}}]}',
    ],
    "xml": [
        f'<Patient {XMLNS}><id value="p"/><name><family value="M"/><given value="a"/><given><extension url="u">'
        f'<valueDecimal value="1.50"/></extension></given></name><birthDate value="1970"/></Patient>'.encode(),
        f'<?xml version="1.0"?><Observation {XMLNS}><text><status value="generated"/><div '
        f'xmlns="http://www.w3.org/1999/xhtml">a<br/>&#233;</div></text>'
        f'<status value="final"/><code/></Observation>'.encode(),
        f'<Bundle {XMLNS}><type value="collection"/><entry><resource><Basic><code><text value="x"/></code></Basic>'
        f"</resource></entry></Bundle>".encode(),
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'\xef\xbb\xbf<p:Patient xmlns:p="http://hl7.org/fhir"/>',
    ],
    "path": [
        b"Patient.name[0].given.where($this = 'Jeanne').first()",
        b"Patient.extension('http://here.example/weight').value",
        b"Patient.identifier.where(system = 'urn:oid:1.2.3' and value.startsWith('1') implies value.exists()).value",
        b"(Patient.deceased as boolean)",
        b"Patient.name.where(given.all($this.contains('a')) xor text.hasValue().not()).skip(1).take(2).tail()",
        b"Patient.birthDate.extension[0].value.ofType(dateTime)",
        b"Patient.`name`.where(text = '\\u004a. Martin').single()",
    ],
    "patch": [
        b'[{"op":"add","path":"/name/0/given/-","value":"x"},{"op":"test","path":"/birthDate","value":"1970-01-02"}]',
        (
            b'[{"op":"move","from":"/identifier/0","path":"/identifier/1"},{"op":"remove","path":"/name/1"},'
            b'{"op":"copy","from":"/name","path":"/contact"},{"op":"replace","path":"/a~1b~0c","value":-0}]'
        ),
        b'{"name":null,"birthDate":"1971","multipleBirthInteger":1.0,"meta":{"tag":[]}}',
        b'{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W10="}',
        b'{"resourceType":"\x80Binary"}',
        f'<diff {XMLNS}><replace sel="Patient/birthDate/@value">1980</replace></diff>'.encode(),
        f"<diff {XMLNS}><remove sel=\"Patient/name[use/@value='x'][1]/text()[2]\" ws='both'/></diff>".encode(),
        f'<p:patch {XMLNS} xmlns:p="urn:ietf:rfc:7351"><p:add sel="*/*[1]" pos="after"><x/></p:add></p:patch>'.encode(),
        f'<diff {XMLNS}><add sel="Patient/birthDate" type="@id">b</add></diff>'.encode(),
        _fhirpath_patch(type="replace", path="Patient.birthDate", value="1980"),
        _fhirpath_patch(type="add", path="Patient", name="gender", value="other"),
        _fhirpath_patch(type="delete", path="Patient.name[1]"),
    ],
    "header": [
        b"Accept: application/fhir+json;fhirVersion=4.0;q=0.9, text/*;q=0, */*",
        b'Accept: multipart/related; type="application/dicom"; transfer-syntax=*, image/jpeg;q=0.5',
        b"Prefer: return=minimal; handling=lenient, respond-async",
        b'Content-Type: multipart/related; type="application/dicom"; boundary="a\\"b"',
        b"Content-Type: application/fhir+xml; charset=UTF-8",
        b'If-Match: W/"1", "2"',
        b"If-Modified-Since: Tue, 24 Nov 2026 10:00:00 +0100",
        b'Forwarded: for="[2001:db8::1]:80";proto=https;host=here.example, for=192.0.2.1',
    ],
    "token": [
        b"eyJhbGciOiJFUzM4NCIsImtpZCI6ImEiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJhIiwic3ViIjoiYSIsImV4cCI6MX0.AAAA",
        b"eyJhbGciOiJub25lIn0.e30.",
        b"..",
    ],
    "graphql": [
        (
            b'query q($a: String = "x") { Patient(id: $a) { name { given @first } ...f @include(if: true) } }'
            b" fragment f on Patient { birthDate }"
        ),
        b'{ PatientList(name: "x", _count: 5) { id name @flatten { family @slice(path: "family") } } }',
        b'{"query":"{a}","variables":{"a":[1.50,{"b":null}]},"operationName":null}',
        b'{"query":"{a}","variables":{"a":"\xff"}}',
    ],
    "multipart": [
        b'--b\r\nContent-Type: application/dicom\r\n\r\nabc\r\n--b\r\nContent-Type: "x"\r\nA: b\r\n\r\n\r\n--b--\r\n',
        b"preamble\r\n--b \t\r\n\r\n--b-\r\n--b--",
        b"--b\r\n\r\n\r\n--b\r\n\r\n--b--epilogue",
        b"--b\r\n\r\n--b-\r\n--b--",
        b"--b\r\nno colon\r\n\r\n--b--",
    ],
    "part10": [_file(), _explicit()],
    "qido": [
        b"PatientName=mar*jea%3F&StudyDate=20200101-20261231&includefield=all&limit=5&offset=1&fuzzymatching=true",
        b"00080060=CT,MR&RequestAttributesSequence.RequestedProcedureID=1&StudyTime=10-11&StudyInstanceUID=1.2,3.4",
        b"SeriesNumber=-1&includefield=00081030,0040A124.00080100",
        b"includefield=10008030",
    ],
}
