"""The FHIR wire format over HTTP: routes, negotiation, headers, Bundles, OperationOutcomes.

Nothing here decides access, reads the database or knows what an interaction does: it turns a Flask request into plain
values, calls `interactions`, and turns what comes back into bytes. A stored resource is never parsed on its way out
unless the caller asked for part of it. Every answer under the FHIR base that is not a success is an OperationOutcome.
"""
