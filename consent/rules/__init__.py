"""The rules of access, one per module, in reading order.

A rule yields a Condition over facts and nothing else: it reads no store and no clock, and it has no second form
beside the Condition. Rules do not call each other. A rule that is not in `RULES` is not in force.
"""

from __future__ import annotations

from consent.rules import (
    audit_trail,
    author,
    beyond_link,
    blocked_professional,
    break_glass,
    concealed,
    consent_deny,
    custodian,
    directory,
    emergency_review,
    entered_in_error,
    erased,
    grant,
    hidden,
    labelled_relation,
    link,
    link_denied,
    masked,
    operator,
    opposition,
    own_consent,
    own_record,
    patient_context,
    relation,
    representative,
    represented_consent,
)
from consent.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    # 2 scope, as far as it depends on the patients of the resource
    patient_context.RULE,
    beyond_link.RULE,
    # 3 lifecycle
    erased.RULE,
    entered_in_error.RULE,
    opposition.RULE,
    # 5 explicit denies
    blocked_professional.RULE,
    consent_deny.RULE,
    link_denied.RULE,
    masked.RULE,
    # 6 audience
    hidden.FROM_PATIENT,
    hidden.FROM_REPRESENTATIVES,
    hidden.NOT_RELEASED,
    concealed.RULE,
    # 7 permits
    own_record.RULE,
    own_consent.RULE,
    representative.RULE,
    represented_consent.RULE,
    custodian.RULE,
    relation.RULE,
    labelled_relation.RULE,
    author.RULE,
    grant.RULE,
    link.RULE,
    # 8 emergency, in the order of the permits
    break_glass.RULE,
    directory.RULE,
    operator.RULE,
    audit_trail.RULE,
    emergency_review.RULE,
)
"""Every rule, in the order of the stages. A deny of any stage ends the matter; the first permit gives its code."""

__all__ = ["RULES", "Rule"]
