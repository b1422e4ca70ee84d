"""What codes mean: pure functions over code systems, value sets and units.

Nothing here knows the web or a database, and nothing is fetched. What is checked in is known; what is stored is looked
up through `definitions.Definitions`, which the caller provides. Asking about anything else is an error, so that an
unknown meaning is never taken for none.
"""
