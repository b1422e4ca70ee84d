"""What the server costs, as multiples of a floor program in the same run. `make bench` runs it; README.md explains it.

Nothing here is imported by the server, and nothing here is measured against a remembered figure.
The floor program does no FHIR: the same stack, and one database call per request.
"""
