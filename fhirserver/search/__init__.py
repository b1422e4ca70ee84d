"""Search: what was asked, as an expression over the values that were stored (https://hl7.org/fhir/R4/search.html).

Nothing here reads a resource from anywhere, knows MongoDB, or knows the caller: values go in, values come out.
Nothing here decides access; an expression says what was asked, never what may be seen.
Each parameter type has one module with both its sides, the values written and the comparison read, so that they agree.
"""
