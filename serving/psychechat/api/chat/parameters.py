"""What becomes of OpenAI's parameters that a turn does not heed, at `/v1/chat/completions` and at `/v1/responses`.

Each is read, and a field of its endpoint's body, or stands here: ignored, and named in the answer, or refused by name.

https://platform.openai.com/docs/api-reference/chat/create
https://platform.openai.com/docs/api-reference/responses/create
"""

from collections.abc import Mapping

from psychechat.api.http.body.wire import Ignored

_CALLS_NONE = "a counselor calls no tools"
_CACHED = "what conversations have in common is cached by itself"
_LENGTH = "the prompt pack sets the length of replies"

_IGNORED: Mapping[str, Ignored] = {
    "tools": Ignored(_CALLS_NONE, ([],)),
    "parallel_tool_calls": Ignored(_CALLS_NONE, (True,)),
    "store": Ignored("conversations are not stored", (False,)),
    "service_tier": Ignored("there is one tier", ("auto", "default")),
    "prompt_cache_key": Ignored(_CACHED),
    "prompt_cache_retention": Ignored(_CACHED),
    "prompt_cache_options": Ignored(_CACHED),
    "stream_options.include_obfuscation": Ignored("what is streamed is not padded", (False,)),
    "stream_options.continuous_usage_stats": Ignored("the usage comes at the end", (False,)),
}
"""By both. Neutral is a parameter's default, or what the answer does by itself."""

IGNORED_IN_CHAT: Mapping[str, Ignored] = {
    **_IGNORED,
    "functions": Ignored("a counselor calls no functions", ([],)),
    "audio": Ignored("replies are text"),
    "prediction": Ignored("replies are not predicted"),
    "web_search_options": Ignored("a counselor does not search the web"),
    "logit_bias": Ignored("replies are reviewed as the model wrote them", ({},)),
    "verbosity": Ignored(_LENGTH, ("medium",)),
}

IGNORED_IN_RESPONSES: Mapping[str, Ignored] = {
    **_IGNORED,
    "max_tool_calls": Ignored(_CALLS_NONE),
    "include": Ignored("nothing more is kept of a turn", ([],)),
    "top_logprobs": Ignored("'/v1/chat/completions' gives token probabilities", (0,)),
    "truncation": Ignored("a conversation that is too long is refused, not cut", ("disabled",)),
    "context_management": Ignored("a conversation is read as it was sent", ([],)),
    "text.verbosity": Ignored(_LENGTH, ("medium",)),
    "reasoning.summary": Ignored("the thinking is not shown"),
    "reasoning.generate_summary": Ignored("the thinking is not shown"),
    "reasoning.context": Ignored("the pack says what is shown of earlier thinking", ("auto", "current_turn")),
    "reasoning.mode": Ignored("there is one way of thinking", ("standard",)),
    "image": Ignored("a counselor reads text", ({},)),
    "access_programs": Ignored("there are none here", ({},)),
}

REFUSED: Mapping[str, str] = {
    "tool_choice": _CALLS_NONE,
    "function_call": "a counselor calls no functions",
    "modalities": "replies are text",
    "response_format": "a reply is plain text",
    "text.format": "a reply is plain text",
    "previous_response_id": "responses are not stored; send the conversation as 'input'",
    "conversation": "conversations are not stored; send this one as 'input'",
    "prompt": "there are no stored prompts; send 'instructions'",
    "background": "a turn is answered while its client waits",
}
"""By which a client may want what no reply in words is, or what is not kept here, with the reason why that is refused.
Whatever else they say passes.
"""
