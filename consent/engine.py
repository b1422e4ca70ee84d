"""The decision, twice from the same rules: over one resource at hand, and as a condition over all of them.

`decide` permits a resource exactly when `admit` raises no objection and the condition of `permitted` holds for its
facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from consent import adherence, bans, scopes
from consent.condition import (
    AllOf,
    AnyOf,
    Condition,
    Every,
    Not,
    Nothing,
    Predicate,
    Some,
    binding,
    prepare,
    simplify,
)
from consent.decision import SENTENCES, Decision, Reason
from consent.near_misses import near_misses
from consent.policy import DEFAULT, Policy
from consent.request import Actor, Request
from consent.rules import RULES, Rule
from consent.rules.rule import Question

PLANS_KEPT = 512
"""How many prepared questions a process keeps: about one for each type that each signed-in actor is reading."""
# The person is told when a professional opens their record for the first time.
_OBLIGATIONS: dict[str, tuple[str, ...]] = {
    "permit-declared": ("audit-decision", "notify-first-access"),
    "permit-organisation": ("audit-decision", "notify-first-access"),
    "permit-treating": ("audit-decision", "notify-first-access"),
    "permit-grant": ("audit-decision", "notify-first-access", "no-redisclosure"),
    "permit-link": ("audit-decision", "no-redisclosure"),
    "permit-break-glass": ("audit-decision", "notify-first-access", "notify-break-glass"),
}


@dataclass(frozen=True, slots=True)
class Permission:
    """Everything of one type that the actor may reach at the instant of the request.

    `template` is the condition with NOW in the place of the instant. It is the same object at every request of the same
    actor for the same purpose, so a store may keep what it compiled of it. `audience` holds the keys of which a
    permitted row shares at least one with its own audience (`facts.audience`). `rules` names the rules that may speak.
    `resource_type` is the type that was asked of, where a store may look up what else is true of all its resources.
    """

    template: Condition
    instant: datetime
    audience: frozenset[str]
    rules: tuple[str, ...]
    resource_type: str = ""

    @property
    def condition(self) -> Condition:
        """The condition at the instant of the request; Nothing for an actor who is not admitted."""
        return _binding(self.template)(self.instant)

    def holds(self, facts: Mapping[str, Any]) -> bool:
        """Say whether the condition holds for these facts; quicker than evaluating `condition`, as tests are kept.

        Raises:
            TypeError: a value cannot be compared: the caller takes it for a refusal.

        """
        return _predicate(self.template)(facts, self.instant)


@lru_cache(maxsize=PLANS_KEPT)
def _binding(template: Condition) -> Callable[[datetime], Condition]:
    return binding(template)


@lru_cache(maxsize=PLANS_KEPT)
def _predicate(template: Condition) -> Predicate:
    return prepare(template)


# ------------------------------------------------------------------------------------------------- by the token alone


def admit(
    actor: Actor,
    request: Request,
    resource_type: str,
    *,
    patient: str | None = None,
    policy: Policy = DEFAULT,
) -> Decision | None:
    """Return the refusal that follows from the token alone, or None for who may go on.

    `patient` is the patient the request itself names, if any. The refusal's status is "forbidden": it is the same
    whatever is stored.
    """
    codes = _plan(actor, request.interaction, request.purpose, resource_type, policy).refusals
    if not codes and patient is not None:
        limits = scopes.context_patients(actor, request.interaction, resource_type)
        if limits is not None and patient not in limits:
            codes = ("patient-context-mismatch",)
    return _forbidden(codes, request.now) if codes else None


def admit_operator(actor: Actor, request: Request, resource_type: str, *, policy: Policy = DEFAULT) -> Decision | None:
    """As `admit`, for what the region's operator alone does, whatever the scopes of others say."""
    refusal = admit(actor, request, resource_type, policy=policy)
    if refusal is None and actor.kind != "operator":
        return _forbidden(("matrix-refusal",), request.now)
    return refusal


def admit_explanation(
    actor: Actor, request: Request, resource_type: str, *, policy: Policy = DEFAULT
) -> Decision | None:
    """As `admit`, for being told why a resource is open or closed to somebody.

    The person and their representatives ask of what they read themselves; operators and auditors ask of anything and
    read nothing of it; nobody else asks.
    """
    codes = _plan(actor, request.interaction, request.purpose, resource_type, policy).refusals
    if actor.kind in {"operator", "auditor"}:
        codes = tuple(code for code in codes if code != "matrix-refusal")
    elif actor.kind not in {"patient", "representative"}:
        codes = codes or ("matrix-refusal",)
    return _forbidden(codes, request.now) if codes else None


def _forbidden(codes: Sequence[str], instant: datetime) -> Decision:
    reasons = tuple(Reason(code, "admission", SENTENCES[code]["en"]) for code in codes)
    return Decision("deny", codes[0], instant, "forbidden", reasons)


# ------------------------------------------------------------------------------------------------ as a condition over
# all


def permitted(actor: Actor, request: Request, resource_type: str, *, policy: Policy = DEFAULT) -> Permission:
    """Return the condition that the facts of a resource of this type satisfy exactly when it is permitted.

    For an actor who is not admitted it is Nothing. The type itself is not in the condition: whoever asks of several
    types asks for each.
    """
    plan = _plan(actor, request.interaction, request.purpose, resource_type, policy)
    if plan.refusals:
        return Permission(Nothing(), request.now, frozenset(), (), resource_type)
    return Permission(plan.condition, request.now, plan.audience, plan.rules, resource_type)


# --------------------------------------------------------------------------------------------------- over one resource


def decide(actor: Actor, request: Request, facts: Mapping[str, Any], *, policy: Policy = DEFAULT) -> Decision:
    """Decide on one resource, with every rule that matched.

    Facts that cannot be evaluated are refused with the code `decision-error`.
    """
    return _decided(_plan(actor, request.interaction, request.purpose, facts["type"], policy), request, facts)


def _decided(plan: _Plan, request: Request, facts: Mapping[str, Any]) -> Decision:
    if plan.refusals:
        return _forbidden(plan.refusals, request.now)
    try:
        return plan.decide(facts, request.now)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        reason = Reason("decision-error", "engine", f"{type(error).__name__}: {error}")
        return Decision("deny", "decision-error", request.now, "absent", (reason,))


def decide_apart(actor: Actor, request: Request, facts: Mapping[str, Any], *, policy: Policy = DEFAULT) -> Decision:
    """As `decide`, for somebody who is only asked about: the prepared questions of those who ask stay kept."""
    plan = _plan.__wrapped__(actor, request.interaction, request.purpose, facts["type"], policy)
    return _decided(plan, request, facts)


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A rule made ready for one question: its tests compiled, constants gone."""

    rule: Rule
    question: Question
    condition: Condition
    speaks: Predicate
    evidence: tuple[tuple[str, Predicate], ...]

    def reason(self, document: Mapping[str, Any], now: datetime) -> Reason:
        """Return why the rule spoke on this document, with the versions it rests on."""
        documents = [document, *document.get("subjects", ())]
        matched = [
            each
            for within in documents
            for path, test in self.evidence
            for each in within.get(path, ())
            if test(each, now)
        ]
        code = self.rule.code
        if self.rule.code_of and matched:
            code = self.rule.code_of(self.question, matched[0])
        sources = tuple(dict.fromkeys(each["source"] for each in matched if "source" in each))
        return Reason(code, self.rule.name, document.get("patient", ""), sources)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything about a question that does not depend on the resource or the instant."""

    refusals: tuple[str, ...]
    condition: Condition
    audience: frozenset[str]
    rules: tuple[str, ...]
    resource_denies: tuple[_Spoken, ...]
    resource_permits: tuple[_Spoken, ...]
    subject_denies: tuple[_Spoken, ...]
    subject_permits: tuple[_Spoken, ...]
    misses: tuple[tuple[str, str, Predicate], ...]

    def decide(self, facts: Mapping[str, Any], now: datetime) -> Decision:
        """Decide in the order of the stages: denies of the resource, permits of the resource, then each patient."""
        denied = [each for each in self.resource_denies if each.speaks(facts, now)]
        if denied:
            return _absent([each.reason(facts, now) for each in denied], now)
        permits = [each.reason(facts, now) for each in self.resource_permits if each.speaks(facts, now)]
        if permits:
            return _permit(permits, now)
        return self._decide_subjects(facts, now)

    def _decide_subjects(self, facts: Mapping[str, Any], now: datetime) -> Decision:
        """Permit only where every patient concerned permits; the first who does not gives the code."""
        refusals: list[Reason] = []
        permits: list[Reason] = []
        for subject in facts["subjects"]:
            denies = [each.reason(subject, now) for each in self.subject_denies if each.speaks(subject, now)]
            if denies:
                refusals += denies
                continue
            found = [each.reason(subject, now) for each in self.subject_permits if each.speaks(subject, now)]
            permits += found
            if not found:
                code, told = self._miss(subject, now)
                refusals.append(Reason(code, "default-deny", subject["patient"], told=told))
        if refusals:
            return _absent(refusals, now)
        return _permit(permits, now) if permits else _absent([Reason("no-relationship", "default-deny")], now)

    def _miss(self, subject: Mapping[str, Any], now: datetime) -> tuple[str, str]:
        for code, told, test in self.misses:
            if test(subject, now):
                return code, told
        return "no-relationship", "no-relationship"


def _absent(reasons: list[Reason], now: datetime) -> Decision:
    return Decision("deny", reasons[0].code, now, "absent", tuple(reasons))


def _permit(reasons: list[Reason], now: datetime) -> Decision:
    obligations = _OBLIGATIONS.get(reasons[0].code, ("audit-decision",))
    return Decision("permit", reasons[0].code, now, "permitted", tuple(reasons), obligations)


# ------------------------------------------------------------------------------------------------------ the plan,
# prepared


@lru_cache(maxsize=PLANS_KEPT)
def _plan(actor: Actor, interaction: str, purpose: str, resource_type: str, policy: Policy) -> _Plan:
    """Prepare a question once; the same actor asks it many times."""
    question = Question(actor, interaction, resource_type, purpose, policy)
    made: dict[Condition, Predicate] = {}
    spoken = tuple(_speaking(question, made))
    denies = tuple(each for each in spoken if each.rule.stage != "permit")
    permits = tuple(each for each in spoken if each.rule.stage == "permit")
    refusals = _token_refusals(question, permits)
    resource_denies, subject_denies = _by_level(denies)
    resource_permits, subject_permits = _by_level(permits)
    condition = _whole(resource_denies, resource_permits, subject_denies, subject_permits)
    return _Plan(
        refusals=refusals,
        condition=Nothing() if refusals else condition,
        audience=_audience(actor),
        rules=tuple(each.rule.name for each in spoken),
        resource_denies=resource_denies,
        resource_permits=resource_permits,
        subject_denies=subject_denies,
        subject_permits=subject_permits,
        misses=tuple((miss.code, miss.told, prepare(simplify(miss.condition), made)) for miss in near_misses(question)),
    )


def _token_refusals(question: Question, permits: tuple[_Spoken, ...]) -> tuple[str, ...]:
    """Return the codes of stages 1 and 2, or that no rule could ever permit this to this kind of actor."""
    codes = bans.banned(question.actor, question.purpose, question.policy)
    if codes:
        return tuple(codes)
    if not question.is_read and not adherence.may_write(question.actor, question.policy):
        return ("not-adherent",)
    if not scopes.covering(question.actor, question.interaction, question.resource_type):
        return ("insufficient-scope",)
    limits = scopes.context_patients(question.actor, question.interaction, question.resource_type)
    if limits is not None and not limits:
        return ("patient-context-mismatch",)
    return () if permits else ("matrix-refusal",)


def _speaking(question: Question, made: dict[Condition, Predicate]) -> Iterator[_Spoken]:
    for rule in RULES:
        condition = simplify(rule.condition(question))
        if condition != Nothing():
            yield _Spoken(rule, question, condition, prepare(condition, made), _collectors(condition, made))


def _collectors(condition: Condition, made: dict[Condition, Predicate]) -> tuple[tuple[str, Predicate], ...]:
    asked: dict[str, list[Condition]] = {}
    for path, inner in _evidence(condition):
        asked.setdefault(path, []).append(inner)
    return tuple((path, prepare(simplify(AnyOf(*inner)), made)) for path, inner in asked.items())


def _evidence(condition: Condition) -> Iterator[tuple[str, Condition]]:
    """Yield the arrays whose elements a condition asks for: what a decision can cite."""
    match condition:
        case AllOf(conditions) | AnyOf(conditions):
            for each in conditions:
                yield from _evidence(each)
        case Some("subjects", inner):
            yield from _evidence(inner)
        case Some(path, inner):
            yield path, inner
        case _:
            return


def _by_level(spoken: tuple[_Spoken, ...]) -> tuple[tuple[_Spoken, ...], tuple[_Spoken, ...]]:
    return (
        tuple(each for each in spoken if each.rule.over == "resource"),
        tuple(each for each in spoken if each.rule.over == "subject"),
    )


def _whole(
    resource_denies: Sequence[_Spoken],
    resource_permits: Sequence[_Spoken],
    subject_denies: Sequence[_Spoken],
    subject_permits: Sequence[_Spoken],
) -> Condition:
    """Combine: no deny of the resource, and a permit of the resource or the agreement of every patient concerned."""
    denied = AnyOf(*(each.condition for each in subject_denies))
    agrees = AllOf(Not(denied), AnyOf(*(each.condition for each in subject_permits)))
    return simplify(
        AllOf(
            *(Not(each.condition) for each in resource_denies),
            AnyOf(*(each.condition for each in resource_permits), Every("subjects", agrees)),
        )
    )


def _audience(actor: Actor) -> frozenset[str]:
    """Return the keys under which rows may be kept for this actor (see `facts.audience`)."""
    keys = {"*", actor.reference}
    match actor.kind:
        case "patient":
            keys |= actor.patients
        case "professional":
            keys |= actor.keys | actor.emergencies
        case "system":
            keys.add(f"custodian:{actor.organization}")
        case "auditor":
            keys.add("auditor")
        case "link":
            keys.discard("*")
        case _:
            pass
    return frozenset(keys)
