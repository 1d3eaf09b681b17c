"""Errors of a turn. Raised where they are noticed, turned into a response in one place, `api/http/errors.py`.

PsycheChatError
├── InvalidRequest              the client can fix it
│   ├── UnsupportedParameter
│   ├── UnknownModel
│   └── ContextLengthExceeded
├── Unauthorized                no API key, or an unknown one
├── Forbidden                   not with this API key
├── NotLocal                    without API keys: not from this machine
├── Overloaded                  come back later
├── DeadlineExceeded            the turn's time is up
├── EngineUnavailable           an engine is starting, restarting or gone
│   └── ReplicaDied             during the call; another replica can take it
├── MemoryUnavailable           a session cannot be forgotten now
└── StageFailed                 a stage got no usable answer from its model in any attempt
"""


class PsycheChatError(Exception):
    """Base class. Messages are for the client: they name fields and numbers, and never quote the conversation."""


class InvalidRequest(PsycheChatError):
    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code


class UnsupportedParameter(InvalidRequest):
    def __init__(self, param: str, why: str) -> None:
        super().__init__(f"'{param}' is not supported: {why}", param=param, code="unsupported_parameter")


class UnknownModel(InvalidRequest):
    def __init__(self, known: str) -> None:
        super().__init__(f"This model does not exist here. Models: {known}.", param="model", code="model_not_found")


class ContextLengthExceeded(InvalidRequest):
    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(
            f"This conversation needs {tokens} tokens or more with its longest stage; the model's context is {limit} "
            "tokens. Send fewer or shorter messages.",
            param="messages",
            code="context_length_exceeded",
        )
        self.tokens = tokens
        self.limit = limit

    def __reduce__(self) -> tuple[type["ContextLengthExceeded"], tuple[int, int]]:
        return type(self), (self.tokens, self.limit)


class Unauthorized(PsycheChatError):
    pass


class Forbidden(PsycheChatError):
    pass


class NotLocal(PsycheChatError):
    """`why` goes on after "A server without API keys"."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"A server without API keys {why}. For others set auth.keys in its settings: `psychechat keys new NAME` "
            "makes a key."
        )


class Overloaded(PsycheChatError):
    """`retry_after` is in seconds."""

    def __init__(self, retry_after: float, message: str = "The server is at capacity.") -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(PsycheChatError):
    pass


class EngineUnavailable(PsycheChatError):
    pass


class ReplicaDied(EngineUnavailable):
    pass


class MemoryUnavailable(PsycheChatError):
    pass


class StageFailed(PsycheChatError):
    """`stage`: the stage's name. The model's text is not kept."""

    def __init__(self, stage: str) -> None:
        super().__init__(f"The {stage} stage gave no usable answer.")
        self.stage = stage
