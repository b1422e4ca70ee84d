"""What a token's scopes leave of a request, by type and by patient; no resource is looked at."""

from __future__ import annotations

from consent.request import Actor, Scope, ScopeContext

_CONTEXTS: dict[str, frozenset[ScopeContext]] = {
    "patient": frozenset({"patient", "user"}),
    "representative": frozenset({"patient", "user"}),
    "professional": frozenset({"patient", "user"}),
    "system": frozenset({"system"}),
    "operator": frozenset({"user", "system"}),
    "auditor": frozenset({"user", "system"}),
    "link": frozenset({"patient"}),
}
"""The scope contexts that mean something for each kind of actor; others grant it nothing."""


def covering(actor: Actor, interaction: str, resource_type: str) -> list[Scope]:
    """Return the actor's scopes that cover the interaction with the type."""
    contexts = _CONTEXTS[actor.kind]
    return [scope for scope in actor.scopes if scope.context in contexts and scope.covers(interaction, resource_type)]


def context_patients(actor: Actor, interaction: str, resource_type: str) -> frozenset[str] | None:
    """Return the patients the covering scopes limit the token to; None where one of them is not limited to a patient.

    A patient's token is limited to the launch patient, or without one to themselves. Other actors need a launch
    patient: without it the set is empty. Several grants are not combined: the limit is one patient, not a union.
    """
    if any(scope.context != "patient" for scope in covering(actor, interaction, resource_type)):
        return None
    launch = frozenset({actor.launch_patient} if actor.launch_patient else ())
    if actor.kind == "patient":
        return launch & actor.patients if launch else actor.patients
    return launch
