"""Every metric of the pipeline, in one registry. Labels come from small fixed sets: never a word anyone wrote.

docs/operations.md has the same list, with what each is good for. Names and labels are kept: dashboards and alerts of
other people read them.
"""

from collections.abc import Collection, Sequence
from itertools import product
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from psychechat.conversation import Cause, Mode, TaskKind
from psychechat.emotion import LABELS, Language
from psychechat.risk import Kind, Severity

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

STAGES = ("emotion", "draft", "simulation", "review", "reply")
TASKS = get_args(TaskKind)
FINDINGS = (*get_args(Cause), "contact", "broken")
FallbackCause = Literal[
    "review",
    "guard",
    "unfit",
    "fixed",
    "quota",
    "truncated",
    "moderation",
    "overloaded",
    "late",
    "unavailable",
    "stage_failed",
    "context_length",
    "error",
]
"""Why fixed words are all of a reply: what became of the model's, or what kept it from coming.

`unfit`: no reply to a crisis. `fixed`: no model was asked, for an act is under way, the language is none that it has,
or the seeker asked who answers.
"""
Words = Literal["crisis", "unknown_risk", "held", "listening", "who_answers"]
"""Which fixed words these are."""
LeftOut = Literal["tool", "part", "role", "reply", "character"]
"""What messages hold that no counselor can read."""
SecondLook = Literal["phrase", "crisis", "held", "calm", "unread", "silent"]
"""What a request that breaks a rule was found to be. `crisis`: by the classifier; `silent`: no word of a seeker's."""
ConfigPart = Literal["policy", "keys", "memory_keys"]
"""What may change while the ingress serves: the policy, the clients' API keys, the keys of memory in Redis."""
QuotaCause = Literal["turns_at_once", "turns", "tokens"]
"""Which part of a key's quota is used up. The two last are of a minute."""
RISK = (*(severity.label for severity in Severity), "unknown")
KINDS = (*get_args(Kind), "untold")
LANGUAGES = get_args(Language)
EMOTIONS = tuple(label.name() for label in LABELS)


class Metrics:
    """One per process. A registry of its own keeps tests and engines apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("http_requests", "Requests answered", "route", "status")
        self.turns = self._counter("turns", "Turns by how they ended", "mode", "reason", "outcome")
        self.tasks = self._counter(
            "tasks",
            "Background tasks of chat pages by what they asked for and how they ended. They are no turns",
            kind=TASKS,
            outcome=("answered", "refused", "error"),
        )
        self.turn_seconds = self._histogram("turn_seconds", "From the request to the end of the reply", "mode")
        self.first_token_seconds = self._histogram(
            "first_token_seconds", "TTFT: from the request to the first words of the reply", "mode"
        )
        self.inter_token_seconds = self._histogram(
            "inter_token_seconds", "ITL: mean time between the tokens of a streamed generation", buckets=_TOKEN_SECONDS
        )
        self.stage_seconds = self._histogram("stage_seconds", "Time in a stage, all its tries and rounds", "stage")
        self.malformed = self._counter(
            "stage_malformed", "Stage answers that did not parse and were tried again", stage=STAGES
        )
        self.truncated = self._counter("stage_truncated", "Replies that ended at their length bound")
        self.review_rounds = self._histogram(
            "review_rounds", "Rounds of an Agent Mode turn until its review passed or gave up", buckets=(1, 2, 3, 4, 5)
        )
        self.refused_drafts = self._counter(
            "refused_drafts", "Drafts that failed their review, or that the third head refused"
        )
        self.judgements = self._counter(
            "judgements",
            "Agent Mode's drafts and LLM Mode's sentences by what the classifier's third head says of them",
            mode=get_args(Mode),
            result=("kind", "hurting", "unknown"),
        )
        self.risk_turns = self._counter("risk_turns", "Turns by risk, once it was looked for", level=RISK)
        self.conversations = self._counter(
            "conversation_turns", "Turns by the risk of their conversation", state=("calm", "rising", "held")
        )
        self.emotions = self._counter("emotions", "Emotions found in turns", emotion=EMOTIONS)
        self.crises = self._counter(
            "crisis_turns", "Crisis turns by what noticed them", source=("backstop", "classifier")
        )
        self.phrases_overruled = self._counter(
            "phrases_overruled", "Turns with a crisis phrase that the classifier overruled"
        )
        self.crisis_kinds = self._counter(
            "crisis_kinds", "Crisis turns by what they are about, and their language", kind=KINDS, language=LANGUAGES
        )
        self.languages = self._counter("language_turns", "Turns by their language", language=LANGUAGES)
        self.crises_refused = self._counter(
            "crisis_turns_refused", "Crisis turns that ended in an error instead of a reply. Stays 0"
        )
        self.second_looks = self._counter(
            "second_looks", "Requests that break a rule, by what their words are", result=get_args(SecondLook)
        )
        self.left_out = self._counter(
            "left_out", "Messages by what no counselor can read of them", what=get_args(LeftOut)
        )
        self.escalations = self._counter(
            "escalations",
            "Crisis events by what became of them",
            result=("delivered", "repeated", "refused", "exhausted", "displaced", "abandoned", "error"),
        )
        self.escalations_pending = self._gauge("escalations_pending", "Crisis events that wait for delivery")
        self.classifier_failures = self._counter(
            "classifier_failures", "Turns that the classifier gave no answer", cause=("late", "unavailable", "error")
        )
        self.guard_findings = self._counter(
            "guard_findings",
            "What the output guard and the third head found in replies, and what became of it",
            cause=FINDINGS,
            action=("blocked", "flagged"),
        )
        self.safe_templates = self._counter(
            "safe_templates",
            "Turns that fixed words alone answered",
            cause=get_args(FallbackCause),
            words=get_args(Words),
        )
        self.other_mode = self._counter("other_mode_turns", "Turns whose mode failed and that the other one was given")
        self.recalls = self._counter(
            "memory_recalls", "Look-ups of the emotion memory", result=("hit", "miss", "unreadable", "error")
        )
        self.stores = self._counter(
            "memory_stores", "Turns by what became of their emotion memory", result=("kept", "forgotten", "error")
        )
        self.refusals = self._counter("refusals", "Turns and texts refused for load", "lane", "engine", "cause")
        self.wait_seconds = self._histogram("wait_seconds", "Time in a queue for a permit", "lane", "engine")
        self.permits = self._gauge(
            "permits", "Permits by lane, held (tokens or sequences) and waited for (turns)", "lane", "engine", "state"
        )
        self.permits_bound = self._gauge(
            "permits_bound", "The most that may be held and waited for", "lane", "engine", "state"
        )
        self.config_refused = self._gauge(
            "config_refused",
            "1 where the newest change was refused, and the old one is served",
            part=get_args(ConfigPart),
        )
        self.tokens = self._counter(
            "tokens",
            "Tokens of a stage, of prompts or generated",
            stage=(*STAGES, "task"),
            kind=("computed", "cached", "generated"),
        )
        self.reasoning_tokens = self._counter("reasoning_tokens", "Of the tokens generated, those of the thinking")

    def count_findings(self, finding: str | None, *, blocked: bool, contacts: int) -> None:
        """What the output guard found in one reply. `contacts`: sentences left out for one that was made up."""
        if finding is not None:
            self.guard_findings.labels(finding, "blocked" if blocked else "flagged").inc()
        if contacts:
            self.guard_findings.labels("contact", "blocked").inc(contacts)

    def tell_refused_config(self, parts: Collection[ConfigPart]) -> None:
        """Which parts of the newest change were refused; none of one that was taken."""
        for part in get_args(ConfigPart):
            self.config_refused.labels(part).set(part in parts)

    def exposition(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str, **known: Sequence[str]) -> Counter:
        """A label whose values are known is there from the start, at 0: a rate needs a first value to rise from."""
        counter = Counter(f"psychechat_{name}", text, (*labels, *known), registry=self.registry)
        for values in product(*known.values()) if known else ():
            counter.labels(*values)
        return counter

    def _gauge(self, name: str, text: str, *labels: str, **known: Sequence[str]) -> Gauge:
        """Known values are there from the start, as a counter's."""
        gauge = Gauge(f"psychechat_{name}", text, (*labels, *known), registry=self.registry)
        for values in product(*known.values()) if known else ():
            gauge.labels(*values)
        return gauge

    def _histogram(self, name: str, text: str, *labels: str, buckets: Sequence[float] = _SECONDS) -> Histogram:
        return Histogram(f"psychechat_{name}", text, labels, registry=self.registry, buckets=buckets)
