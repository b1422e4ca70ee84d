"""The FHIR RESTful interactions, one per module: values in, values out.

No module here imports Flask or MongoDB: what arrives is already read from HTTP, what leaves is not yet HTTP. Every
one of them reads and writes through `store.ResourceStore`, which is built from the caller's access, and none
discloses anything before `Context.settle` has made the audit durable. What is shared by two interactions stands in
`context` and `entries`.

https://hl7.org/fhir/R4/http.html
"""
