"""SMART Health Links: what is answered to whoever holds a link that a person gave to one exam.

https://hl7.org/fhir/uv/smart-health-cards-and-links/STU1/links-specification.html
"""
