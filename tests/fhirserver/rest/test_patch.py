"""patch (https://hl7.org/fhir/R4/http.html#patch): four forms, and what comes of them is an update."""

from __future__ import annotations

import base64
import json

import pytest

from resources.exact import members_of
from tests.fhirserver.rest.conftest import issues_of

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
XML_PATCH = "application/xml-patch+xml"
SENT = (
    b'{"resourceType":"Observation","status":"final","code":{"text":"weight"},'
    b'"valueQuantity" : {"value": 1.50, "unit":"g"},"component":[{"code":{"text":"c"},"valueQuantity":{"value":1e2}}]}'
)


def operation(type, path, **parts):
    named = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        member = {"name": "valueString", "value": "valueString"}.get(name, "valueInteger")
        named.append({"name": name, **(value if isinstance(value, dict) else {member: value})})
    return {"name": "operation", "part": named}


def parameters(*operations):
    return {"resourceType": "Parameters", "parameter": list(operations)}


def patched(caller, path, *operations, **headers):
    return caller.request("PATCH", path, list(operations), Content_Type=JSON_PATCH, **headers)


def merged(caller, path, members, **headers):
    return caller.request("PATCH", path, members, Content_Type=MERGE_PATCH, **headers)


def in_xml(*operations):
    return f'<diff xmlns="http://hl7.org/fhir">{"".join(operations)}</diff>'.encode()


def test_a_json_patch_makes_the_next_version(his, patient):
    response = patched(his, patient, {"op": "replace", "path": "/name/0/family", "value": "Durand"})
    assert response.status_code == 200
    assert response.headers["ETag"] == 'W/"2"'
    assert response.headers["Location"].endswith(f"{patient}/_history/2")
    assert response.json["name"] == [{"family": "Durand", "given": ["Ada"]}]
    assert his.get(patient).json == response.json
    assert his.get(f"{patient}/_history").json["entry"][0]["request"]["method"] == "PATCH"


def test_a_merge_patch_replaces_members_and_takes_out_null_ones(his, patient):
    response = merged(his, patient, {"birthDate": None, "gender": "female"})
    assert response.status_code == 200
    assert "birthDate" not in response.json
    assert response.json["gender"] == "female"


def test_an_xml_patch_changes_what_its_selectors_find(his, patient):
    body = in_xml(
        "<replace sel=\"Patient/name[family/@value='Martin']/given[1]/@value\">Grace</replace>",
        '<add sel="Patient/birthDate" pos="before"><gender value="female"/></add>',
        '<remove sel="Patient/birthDate"/>',
    )
    response = his.request("PATCH", patient, body, Content_Type=XML_PATCH, If_Match='W/"1"')
    assert (response.status_code, response.headers["ETag"]) == (200, 'W/"2"'), response.text
    assert (response.json["name"][0]["given"], response.json["gender"]) == (["Grace"], "female")
    assert "birthDate" not in response.json
    late = his.request("PATCH", patient, body, Content_Type=XML_PATCH, If_Match='W/"1"')
    assert late.status_code == 412


def test_an_xml_patch_keeps_the_digits_and_bytes_of_what_it_does_not_touch(his):
    path = f"Observation/{his.post('Observation', SENT).json['id']}"
    body = in_xml('<replace sel="Observation/status/@value">amended</replace>')
    response = his.request("PATCH", path, body, Content_Type=XML_PATCH)
    before, after = members_of(SENT), members_of(response.data)
    for name in ("valueQuantity", "component", "code"):
        assert bytes(after[name]) == bytes(before[name])
    answer = his.request("PATCH", path, in_xml(), Content_Type=XML_PATCH, Accept="application/fhir+xml")
    assert '<value value="1.50"/>' in answer.text


def test_an_xml_patch_is_an_entry_of_a_bundle_and_finds_by_criteria(his, patient):
    made = his.make({**identified("xml"), "active": True})["id"]
    body = in_xml('<replace sel="Patient/active/@value">false</replace>')
    sent = {"resourceType": "Binary", "contentType": XML_PATCH, "data": base64.b64encode(body).decode()}
    request = {"method": "PATCH", "url": f"Patient/{made}"}
    for kind in ("batch", "transaction"):
        bundle = {"resourceType": "Bundle", "type": kind, "entry": [{"resource": sent, "request": request}]}
        assert his.post("", bundle).json["entry"][0]["response"]["status"].startswith("200")
    assert his.get(f"Patient/{made}").json["active"] is False
    back = in_xml('<replace sel="Patient/active/@value">true</replace>')
    response = his.request("PATCH", "Patient?identifier=urn:p|xml", back, Content_Type=XML_PATCH)
    assert (response.status_code, response.json["id"], response.json["active"]) == (200, made, True)


def test_an_xml_patch_tells_nothing_of_what_may_not_be_read(other_his, declared):
    answers = [
        other_his.request(
            "PATCH",
            declared,
            in_xml(f"<remove sel=\"Patient[birthDate/@value='{value}']/photo\"/>"),
            Content_Type=XML_PATCH,
        )
        for value in ("1980-02-03", "1999")
    ]
    assert answers[0].status_code == answers[1].status_code == 404
    assert answers[0].text == answers[1].text


def test_an_xml_patch_that_fails_on_what_is_there_is_audited_as_a_read(his, patient, audit_of):
    body = in_xml("<remove sel=\"Patient[birthDate/@value='1999']/name\"/>")
    assert his.request("PATCH", patient, body, Content_Type=XML_PATCH).status_code == 422
    assert [event["action"] for event in audit_of()] == ["R"]


def test_a_fhirpath_patch_changes_what_its_path_finds(his, patient):
    body = parameters(
        operation("replace", "Patient.name.where(family='Martin').given[0]", value={"valueString": "Grace"}),
        operation("add", "Patient", name="gender", value={"valueCode": "female"}),
        operation("delete", "Patient.birthDate"),
    )
    response = his.request("PATCH", patient, body)
    assert response.status_code == 200, response.text
    assert response.json["name"][0]["given"] == ["Grace"]
    assert response.json["gender"] == "female"
    assert "birthDate" not in response.json


def test_a_fhirpath_patch_may_be_sent_in_xml(his, patient):
    body = (
        b'<Parameters xmlns="http://hl7.org/fhir"><parameter><name value="operation"/>'
        b'<part><name value="type"/><valueCode value="delete"/></part>'
        b'<part><name value="path"/><valueString value="Patient.birthDate"/></part></parameter></Parameters>'
    )
    response = his.request("PATCH", patient, body, Content_Type="application/fhir+xml")
    assert response.status_code == 200
    assert "birthDate" not in response.json


def test_what_a_patch_does_not_touch_keeps_its_bytes(his):
    path = f"Observation/{his.post('Observation', SENT).json['id']}"
    response = patched(his, path, {"op": "replace", "path": "/status", "value": "amended"})
    before, after = members_of(SENT), members_of(response.data)
    for name in ("valueQuantity", "component", "code"):
        assert bytes(after[name]) == bytes(before[name])
    touched = patched(his, path, {"op": "add", "path": "/component/0/valueQuantity/unit", "value": "g"})
    assert b'"value":1e2' in touched.data


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON_PATCH, []),
        (JSON_PATCH, [{"op": "test", "path": "/birthDate", "value": "1980-02-03"}]),
        (JSON_PATCH, [{"op": "replace", "path": "/birthDate", "value": "1980-02-03"}]),
        (MERGE_PATCH, {}),
        (MERGE_PATCH, {"birthDate": "1980-02-03"}),
        (XML_PATCH, in_xml()),
        (XML_PATCH, in_xml('<replace sel="Patient/birthDate/@value">1980-02-03</replace>')),
        ("application/fhir+json", {"resourceType": "Parameters"}),
        ("application/fhir+json", parameters(operation("delete", "Patient.photo"))),
    ],
)
def test_a_patch_that_changes_nothing_makes_no_new_version(his, patient, content_type, body):
    response = his.request("PATCH", patient, body, Content_Type=content_type)
    assert (response.status_code, response.headers["ETag"]) == (200, 'W/"1"')


def test_prefer_says_what_comes_back(his, patient):
    assert merged(his, patient, {"active": True}, Prefer="return=minimal").data == b""
    outcome = merged(his, patient, {"active": False}, Prefer="return=OperationOutcome")
    assert issues_of(outcome)[0]["severity"] == "information"


def test_if_match_binds_a_patch_to_a_version(his, patient):
    assert merged(his, patient, {"active": True}, If_Match='W/"1"').status_code == 200
    late = merged(his, patient, {"active": False}, If_Match='W/"1"')
    assert late.status_code == 412
    assert merged(his, patient, {"active": False}, If_Match='W/"1", W/"2"').status_code == 200
    assert merged(his, patient, {"active": True}, If_Match="*").status_code == 200


def test_if_none_match_has_no_place_with_a_patch(his, patient):
    assert merged(his, patient, {"active": True}, If_None_Match="*").status_code == 400


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (JSON_PATCH, b"", 400),
        (JSON_PATCH, b"{}", 400),
        (JSON_PATCH, b"[1]", 400),
        (JSON_PATCH, b'[{"op":"spam","path":"/active"}]', 400),
        (JSON_PATCH, b'[{"op":"add","path":"/active"}]', 400),
        (JSON_PATCH, b'[{"op":"add","path":"active","value":true}]', 400),
        (JSON_PATCH, b'[{"op":"add","op":"test","path":"/active","value":true}]', 400),
        (JSON_PATCH, b'[{"op":"test","path":"/birthDate","value":"1999"}]', 422),
        (JSON_PATCH, b'[{"op":"remove","path":"/photo"}]', 422),
        (JSON_PATCH, b'[{"op":"add","path":"/name/7","value":{}}]', 422),
        (JSON_PATCH, b'[{"op":"replace","path":"","value":1}]', 422),
        (JSON_PATCH, b'[{"op":"add","path":"/birthDate","value":"yesterday"}]', 422),
        (MERGE_PATCH, b"[]", 400),
        (MERGE_PATCH, b"nonsense", 400),
        (MERGE_PATCH, b'{"birthDate":"yesterday"}', 422),
        (MERGE_PATCH, b'{"nosuch":1}', 422),
        (XML_PATCH, b"", 400),
        (XML_PATCH, b"{}", 400),
        (XML_PATCH, b'<!DOCTYPE diff [<!ENTITY x SYSTEM "file:///etc/passwd">]><diff>&x;</diff>', 400),
        (XML_PATCH, in_xml('<remove sel="//name"/>'), 400),
        (XML_PATCH, in_xml('<remove sel="Patient/photo"/>'), 422),
        (XML_PATCH, in_xml('<replace sel="Patient/birthDate/@value">yesterday</replace>'), 422),
        (XML_PATCH, in_xml('<replace sel="Patient/id/@value">x</replace>'), 422),
        (XML_PATCH, in_xml('<add sel="Patient"><nosuch/></add>'), 422),
        (f"{XML_PATCH}; charset=utf-16", in_xml(), 415),
        ("application/fhir+json", b"[]", 400),
        ("application/fhir+json", b'{"resourceType":"Patient"}', 400),
        ("application/fhir+json", b'{"resourceType":"Parameters","nosuch":1}', 400),
        ("application/fhir+json", parameters({"name": "other"}), 400),
        ("application/fhir+json", parameters(operation("spam", "Patient")), 400),
        ("application/fhir+json", parameters(operation("delete", "Patient.name[")), 400),
        ("application/fhir+json", parameters(operation("delete", "Patient.link.resolve()")), 400),
        ("application/fhir+json", parameters(operation("delete", "Patient.nosuch")), 422),
        ("application/fhir+json", parameters(operation("replace", "Patient.photo", value={"valueString": "x"})), 422),
        ("application/fhir+json", parameters(operation("replace", "Patient.birthDate", value={"valueCode": "x"})), 422),
        ("text/plain", b"", 415),
        ("application/xslt+xml", b"", 415),
        (f"{JSON_PATCH}; charset=latin-1", b"[]", 415),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(his, patient, content_type, body, status):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = his.request("PATCH", patient, body, Content_Type=content_type)
    assert response.status_code == status, response.text
    assert issues_of(response)[0]["diagnostics"]
    assert his.get(patient).headers["ETag"] == 'W/"1"'


def test_another_content_type_is_told_which_ones_are_taken(his, patient):
    taken = his.request("PATCH", patient, b"", Content_Type="text/plain").headers["Accept-Patch"]
    assert taken.split(", ")[:4] == [JSON_PATCH, MERGE_PATCH, XML_PATCH, "application/fhir+json"]


def test_options_names_the_content_types_where_patches_are_taken(his, patient):
    for path in (patient, "Patient"):
        assert JSON_PATCH in his.request("OPTIONS", path).headers["Accept-Patch"]
    assert "Accept-Patch" not in his.request("OPTIONS", f"{patient}/_history").headers


@pytest.mark.parametrize(
    "members",
    [{"resourceType": "Group"}, {"id": "other"}, {"id": None}, {"meta": {"versionId": "9"}},
     {"meta": {"lastUpdated": "2020-01-01T00:00:00Z"}}],
)  # fmt: skip
def test_no_patch_changes_what_the_resource_is(his, patient, members):
    assert merged(his, patient, members).status_code == 422


def test_copies_of_copies_are_stopped(his, patient):
    grow = [{"op": "copy", "from": "/name", "path": "/name/-"} for _ in range(200)]
    response = patched(his, patient, *grow)
    assert response.status_code == 400
    assert issues_of(response)[0]["code"] == "too-costly"
    many = patched(his, patient, *[{"op": "test", "path": "/active", "value": True}] * 1_001)
    assert issues_of(many)[0]["code"] == "too-costly"


def test_a_narrative_made_from_the_data_goes_with_them(his):
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">born 1980</div>'}
    made = his.make({"resourceType": "Patient", "birthDate": "1980", "text": narrative})
    path = f"Patient/{made['id']}"
    assert merged(his, path, {"meta": {"tag": [{"code": "t"}]}}).json["text"] == narrative
    assert "text" not in merged(his, path, {"birthDate": "1981"}).json
    both = {"birthDate": "1982", "text": {**narrative, "div": narrative["div"].replace("1980", "1982")}}
    assert merged(his, path, both).json["text"]["div"].count("1982") == 1


def test_a_narrative_that_says_more_than_the_data_is_not_left_as_it_is(his):
    narrative = {"status": "additional", "div": '<div xmlns="http://www.w3.org/1999/xhtml">born 1980, twins</div>'}
    made = his.make({"resourceType": "Patient", "birthDate": "1980", "text": narrative})
    assert merged(his, f"Patient/{made['id']}", {"birthDate": "1981"}).status_code == 422
    assert merged(his, f"Patient/{made['id']}", {"birthDate": "1981", "text": None}).status_code == 200


# Who may


def test_what_may_not_be_read_is_patched_as_what_is_absent(other_his, declared):
    refused, absent = (
        merged(other_his, path, {"active": False}, If_Match='W/"1"') for path in (declared, "Patient/absent")
    )
    assert refused.status_code == absent.status_code == 404
    identity = declared.partition("/")[2]
    assert refused.text.replace(identity, "") == absent.text.replace("absent", "")


def test_a_test_operation_tells_nothing_of_what_may_not_be_read(other_his, declared):
    answers = [
        patched(other_his, declared, {"op": "test", "path": "/birthDate", "value": value})
        for value in ("1980-02-03", "1999")
    ]
    assert answers[0].status_code == answers[1].status_code == 404
    assert answers[0].text == answers[1].text


def test_who_may_read_and_not_write_is_refused(doctor, declared):
    assert doctor.get(declared).status_code == 200
    assert merged(doctor, declared, {"active": False}).status_code == 403


@pytest.mark.parametrize("scope", ["system/Patient.u", "system/Patient.r", "system/Patient.cds"])
def test_a_token_covers_a_patch_where_it_covers_reading_and_updating(caller, his, patient, scope):
    narrow = caller("Client/his-e1", organization="Organization/e1", scope=scope)
    assert merged(narrow, patient, {"active": False}).status_code == 403


def test_a_patch_that_takes_the_resource_out_of_reach_is_refused(his, other_his, patient):
    """The other hospital's patient is not one this hospital writes about."""
    theirs = other_his.make({"resourceType": "Patient", "active": True})
    made = his.make(
        {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": patient}}
    )
    response = merged(his, f"Observation/{made['id']}", {"subject": {"reference": f"Patient/{theirs['id']}"}})
    assert response.status_code == 422
    assert his.get(f"Observation/{made['id']}").json["subject"]["reference"] == patient


def test_what_was_deleted_is_not_patched(his, patient):
    his.delete(patient)
    assert merged(his, patient, {"active": True}).status_code == 404


def test_a_patch_is_audited_as_one(his, patient, audit_of):
    merged(his, patient, {"active": True})
    [event] = audit_of()
    assert (event["action"], event["subtype"][0]["code"]) == ("U", "patch")
    assert any("PatientUpdate" in profile for profile in event["meta"]["profile"])


def test_a_patch_that_fails_on_what_is_there_is_audited_as_a_read(his, patient, audit_of):
    patched(his, patient, {"op": "test", "path": "/birthDate", "value": "1999"})
    assert [event["action"] for event in audit_of()] == ["R"]


# By criteria


def identified(value):
    return {"resourceType": "Patient", "identifier": [{"system": "urn:p", "value": value}]}


def test_criteria_find_the_one_to_patch(his, patient):
    made = his.make(identified("one"))
    response = merged(his, "Patient?identifier=urn:p|one", {"active": True})
    assert response.status_code == 200
    assert (response.json["id"], response.json["active"]) == (made["id"], True)


def test_criteria_that_nothing_or_several_meet_patch_nothing(his, audit_of):
    his.make(identified("twice"))
    his.make(identified("twice"))
    assert merged(his, "Patient?identifier=urn:p|twice", {"active": True}).status_code == 412
    assert merged(his, "Patient?identifier=urn:p|never", {"active": True}).status_code == 404
    assert [event["action"] for event in audit_of()][-3:] == ["E", "E", "E"]


def test_criteria_see_what_the_caller_may_see(his, other_his, declared):
    identity = declared.partition("/")[2]
    hidden = merged(other_his, f"Patient?_id={identity}", {"active": True})
    absent = merged(other_his, "Patient?_id=absent", {"active": True})
    assert hidden.status_code == absent.status_code == 404
    assert hidden.text == absent.text


@pytest.mark.parametrize(
    "query", ["", "?", "?_lastUpdated=gt2000", "?_count=1", "?identifier=1&_sort=_id", "?nosuch=1"]
)
def test_criteria_that_tell_nothing_apart_or_are_not_understood_are_refused(his, query):
    for method, body in (("PATCH", {}), ("PUT", {"resourceType": "Patient"}), ("DELETE", None)):
        headers = {"Content_Type": MERGE_PATCH} if method == "PATCH" else {}
        if method == "DELETE" and query == "?_count=1":
            continue
        response = his.request(method, f"Patient{query}", body, **headers)
        assert response.status_code == 400, (method, query)
