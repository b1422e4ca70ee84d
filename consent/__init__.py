"""May this actor do this to that?

Nothing here knows the web, a database or the time: the clock, the actor and the facts are arguments, and the standard
library is the only dependency. Nothing here reads a resource beyond the Consents, care teams and persons that say who
may see what; where facts are found is the business of `resources`, and joining them of `fhirserver`. No decision is
made outside `engine`, and no rule is written twice: checking, searching and explaining share one Condition.
"""

from consent.decision import Decision, Reason, sentences
from consent.directive import Directive, Problem, family_of, problems, read_consent
from consent.engine import Permission, admit, decide, permitted
from consent.facts import OPEN_END, OPEN_START, PatientAccess, audience, materialise, rank_of, security_facts
from consent.policy import DEFAULT, Policy
from consent.request import DEFAULT_PURPOSE, Actor, Request, Scope, parse_scopes

__all__ = [
    "DEFAULT",
    "DEFAULT_PURPOSE",
    "OPEN_END",
    "OPEN_START",
    "Actor",
    "Decision",
    "Directive",
    "PatientAccess",
    "Permission",
    "Policy",
    "Problem",
    "Reason",
    "Request",
    "Scope",
    "admit",
    "audience",
    "decide",
    "family_of",
    "materialise",
    "parse_scopes",
    "permitted",
    "problems",
    "rank_of",
    "read_consent",
    "security_facts",
    "sentences",
]
