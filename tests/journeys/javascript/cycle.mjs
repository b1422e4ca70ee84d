// A full cycle with fhir-kit-client, used as its authors document it. Run by tests/journeys/test_javascript.py, which
// gives the address of the server and the tokens of a hospital and of somebody who is a stranger to its patients.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import test from 'node:test';

import { Client } from 'fhir-kit-client';

const { FHIR_BASE: baseUrl, HOSPITAL_TOKEN, STRANGER_TOKEN } = process.env;
const hospital = new Client({ baseUrl, bearerToken: HOSPITAL_TOKEN });
const stranger = new Client({ baseUrl, bearerToken: STRANGER_TOKEN });

const system = `urn:uuid:${randomUUID()}`;
const family = `Cycle${randomUUID().slice(0, 8)}`;
const resourceType = 'Patient';
const person = (value, more = {}) => ({
  resourceType,
  identifier: [{ system, value }],
  name: [{ family, given: [value] }],
  ...more,
});

const httpOf = (answer) => Client.httpFor(answer).response;

/** The refusal that a request is answered with: its status, and the OperationOutcome that says why. */
async function refused(request, status) {
  const error = await request.then(
    () => assert.fail(`answered, instead of refused with ${status}`),
    (reason) => reason,
  );
  assert.equal(error.response?.status, status, `${error}`);
  assert.equal(error.response.data.resourceType, 'OperationOutcome');
  return error;
}

let patient;

test('it learns what the server offers', async () => {
  const statement = await hospital.capabilityStatement();

  assert.equal(statement.fhirVersion, '4.0.1');
});

test('it finds where tokens are had', async () => {
  const { tokenUrl } = await hospital.smartAuthMetadata();

  assert.ok(tokenUrl.href.endsWith('/oauth/token'), tokenUrl.href);
});

test('it creates a resource', async () => {
  patient = await hospital.create({ resourceType, body: person('one', { gender: 'unknown' }) });

  const answer = httpOf(patient);
  assert.equal(answer.status, 201);
  assert.equal(answer.headers.get('ETag'), 'W/"1"');
  assert.equal(answer.headers.get('Location'), `${baseUrl}/Patient/${patient.id}/_history/1`);
});

test('it reads what it created', async () => {
  const read = await hospital.read({ resourceType, id: patient.id });

  assert.deepEqual(read, patient);
});

test('it is told why a resource is invalid', async () => {
  const { response } = await refused(hospital.create({ resourceType, body: person('bad', { gender: 'none' }) }), 422);

  assert.ok(response.data.issue.some(({ expression }) => expression?.includes('Patient.gender')));
});

test('it creates by a condition, once', async () => {
  const options = { headers: { 'If-None-Exist': `identifier=${system}|two` } };

  const first = await hospital.create({ resourceType, body: person('two'), options });
  const second = await hospital.create({ resourceType, body: person('two'), options });

  assert.deepEqual([httpOf(first).status, httpOf(second).status], [201, 200]);
  assert.equal(first.id, second.id);
});

test('it is told that a condition meets several', async () => {
  const options = { headers: { 'If-None-Exist': `family=${family}` } };

  await refused(hospital.create({ resourceType, body: person('three'), options }), 412);
});

test('it updates with the version that it read', async () => {
  const options = { headers: { 'If-Match': 'W/"1"' } };
  patient = await hospital.update({ resourceType, id: patient.id, body: { ...patient, gender: 'female' }, options });

  assert.equal(httpOf(patient).headers.get('ETag'), 'W/"2"');
  assert.equal(patient.gender, 'female');
});

test('it is told that another was faster', async () => {
  const options = { headers: { 'If-Match': 'W/"1"' } };
  const body = { ...patient, gender: 'male' };

  await refused(hospital.update({ resourceType, id: patient.id, body, options }), 412);

  assert.equal((await hospital.read({ resourceType, id: patient.id })).gender, 'female');
});

test('it updates by criteria', async () => {
  const searchParams = { identifier: `${system}|two` };
  const updated = await hospital.update({ resourceType, searchParams, body: person('two', { active: true }) });

  assert.equal(updated.meta.versionId, '2');
});

test('it patches', async () => {
  const jsonPatch = [
    { op: 'test', path: '/gender', value: 'female' },
    { op: 'add', path: '/birthDate', value: '1984-02-29' },
  ];
  patient = await hospital.patch({ resourceType, id: patient.id, jsonPatch });

  assert.equal(patient.birthDate, '1984-02-29');
  assert.equal(patient.meta.versionId, '3');
});

test('it is told that a patch does not fit', async () => {
  const jsonPatch = [{ op: 'test', path: '/gender', value: 'male' }];

  await refused(hospital.patch({ resourceType, id: patient.id, jsonPatch }), 422);
});

test('it reads an earlier version', async () => {
  const first = await hospital.vread({ resourceType, id: patient.id, version: '1' });

  assert.equal(first.gender, 'unknown');
  assert.equal(first.birthDate, undefined);
});

test('it reads the history, newest first', async () => {
  const bundle = await hospital.history({ resourceType, id: patient.id });

  assert.equal(bundle.type, 'history');
  assert.deepEqual(bundle.entry.map(({ resource }) => resource.meta.versionId), ['3', '2', '1']);
});

test('it writes several in one transaction, which refer to each other', async () => {
  const mother = `urn:uuid:${randomUUID()}`;
  const entry = (fullUrl, resource) => ({ fullUrl, resource, request: { method: 'POST', url: resource.resourceType } });
  const link = [{ other: { reference: mother }, type: 'seealso' }];
  const body = {
    resourceType: 'Bundle',
    type: 'transaction',
    entry: [entry(`urn:uuid:${randomUUID()}`, person('four', { link })), entry(mother, person('five'))],
  };

  const answer = await hospital.transaction({ body });

  assert.equal(answer.type, 'transaction-response');
  assert.deepEqual(answer.entry.map(({ response }) => response.status.slice(0, 3)), ['201', '201']);
  const [child, parent] = answer.entry.map(({ response }) => response.location.split('/').at(-3));
  const written = await hospital.read({ resourceType, id: child });
  assert.equal(written.link[0].other.reference, `Patient/${parent}`);
  const resolved = await hospital.resolve({ reference: written.link[0].other.reference });
  assert.equal(resolved.name[0].given[0], 'five');
});

test('it is told which entry of a transaction is wrong, and nothing is written', async () => {
  const entry = (resource) => ({ resource, request: { method: 'POST', url: 'Patient' } });
  const body = {
    resourceType: 'Bundle',
    type: 'transaction',
    entry: [entry(person('six')), entry(person('seven', { gender: 'none' }))],
  };

  const { response } = await refused(hospital.transaction({ body }), 422);

  assert.match(JSON.stringify(response.data.issue), /Bundle\.entry\[1\]/);
  const found = await hospital.search({ resourceType, searchParams: { identifier: `${system}|six` } });
  assert.equal(found.entry, undefined);
});

test('it sends a batch, whose entries stand alone', async () => {
  const body = {
    resourceType: 'Bundle',
    type: 'batch',
    entry: [`Patient/${patient.id}`, `Patient/${randomUUID()}`].map((url) => ({ request: { method: 'GET', url } })),
  };

  const answer = await hospital.batch({ body });

  assert.deepEqual(answer.entry.map(({ response }) => response.status.slice(0, 3)), ['200', '404']);
});

for (const postSearch of [false, true]) {
  test(`it searches by ${postSearch ? 'POST' : 'GET'}, and follows the pages`, async () => {
    const searchParams = { family, _sort: 'given', _count: 1, _total: 'accurate' };
    const pages = [await hospital.search({ resourceType, searchParams, options: { postSearch } })];
    assert.equal(pages[0].total, 4);

    for (;;) {
      const page = await hospital.nextPage({ bundle: pages.at(-1) });
      if (!page) break;
      pages.push(page);
    }

    const given = pages.map((page) => page.entry.map(({ resource }) => resource.name[0].given[0]));
    assert.deepEqual(given, [['five'], ['four'], ['one'], ['two']]);
  });
}

test('it searches a compartment and the system', async () => {
  const compartment = { resourceType, id: patient.id };
  const body = { resourceType: 'DiagnosticReport', status: 'final', code: { text: 'CT' }, subject: { reference: `Patient/${patient.id}` } };
  const report = await hospital.create({ resourceType: 'DiagnosticReport', body });

  const own = await hospital.search({ resourceType: 'DiagnosticReport', compartment });
  const all = await hospital.search({ searchParams: { _type: 'Patient,Organization', _id: patient.id } });

  assert.deepEqual(own.entry.map(({ resource }) => resource.id), [report.id]);
  assert.deepEqual(all.entry.map(({ resource }) => resource.id), [patient.id]);
});

test('it calls an operation', async () => {
  const bundle = await hospital.operation({ name: 'everything', resourceType, id: patient.id, method: 'GET' });

  assert.ok(bundle.entry.some(({ resource }) => resource.id === patient.id));
});

test('a stranger is told that there is nothing', async () => {
  await refused(stranger.read({ resourceType, id: patient.id }), 404);
  await refused(stranger.vread({ resourceType, id: patient.id, version: '1' }), 404);
  await refused(stranger.history({ resourceType, id: patient.id }), 404);
  const found = await stranger.search({ resourceType, searchParams: { family, _total: 'accurate' } });
  assert.deepEqual([found.total, found.entry], [0, undefined]);
});

test('it deletes, and what was deleted is gone', async () => {
  assert.equal(httpOf(await hospital.delete({ resourceType, id: patient.id })).status, 204);

  await refused(hospital.read({ resourceType, id: patient.id }), 410);
  const { entry } = await hospital.history({ resourceType, id: patient.id });
  assert.equal(entry[0].request.method, 'DELETE');
});

test('a stranger is not told that something was deleted', async () => {
  await refused(stranger.read({ resourceType, id: patient.id }), 404);
});

test('a token that is not of this server is refused', async () => {
  const [head, , signature] = HOSPITAL_TOKEN.split('.');
  const claims = Buffer.from(JSON.stringify({ scope: 'system/*.cruds' })).toString('base64url');

  for (const bearerToken of ['rubbish', `${head}.${claims}.${signature}`]) {
    const client = new Client({ baseUrl, bearerToken });
    const { config } = await refused(client.search({ resourceType, searchParams: { family } }), 401);
    assert.match(config.headers.get('WWW-Authenticate'), /^Bearer .*error="invalid_token"/);
  }
});

test('without a token nothing is answered but what the server offers', async () => {
  const nobody = new Client({ baseUrl });

  assert.equal((await nobody.capabilityStatement()).resourceType, 'CapabilityStatement');
  await refused(nobody.read({ resourceType, id: patient.id }), 401);
});
