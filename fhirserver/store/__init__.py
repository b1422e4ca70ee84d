"""The only code that knows MongoDB and the object store.

Nothing here reads a resource for a caller other than through `ResourceStore`, which is built from an access value.
Nothing here knows HTTP, tokens or the wording of an answer, and no rule of access is written here: a Condition comes
from `consent`, an Expression from `search`, and both are compiled into one query.
"""
