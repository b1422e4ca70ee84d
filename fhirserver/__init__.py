"""The server: HTTP, tokens, enforcement, storage.

Nothing here decides access (that is `consent`) and nothing here knows what a FHIR type contains (that is `resources`).
Flask ends in `rest`, `dicomweb`, `oauth`, `app` and `cli`; MongoDB ends in `store`.
No module reads a stored resource other than through `store.ResourceStore`, which is built from an access value.
"""

__version__ = "0.1.0"
