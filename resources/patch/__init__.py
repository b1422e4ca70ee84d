"""Changes of a resource that are sent instead of the resource: JSON Patch, JSON Merge Patch, XML Patch, FHIRPath Patch.

Nothing here decides who may change what, or whether the result is valid: what comes out goes through the gate and the
decisions of an update. What a patch does not touch keeps its very bytes. Nothing a patch asks is unbounded: its
operations, its copies and the steps of its paths are counted.

https://hl7.org/fhir/R4/http.html#patch
"""
