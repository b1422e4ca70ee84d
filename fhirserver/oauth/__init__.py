"""Tokens: issued to registered systems, verified on every request, revoked and described (OAuth 2, SMART, Authlib).

No module outside this folder reads a token, and none inside it decides what a token opens: that is `access`. Client
secrets do not exist here; a client proves itself by a key of its own. Nothing of a token but its `jti` is ever stored.
"""
