"""What codes mean: pure functions over published code systems.

Nothing here knows FHIR resources, the web or a database, and nothing is looked up elsewhere at run time. Only code
systems whose data is checked in are known; asking about another is an error, so that an unknown meaning is never taken
for none.
"""
