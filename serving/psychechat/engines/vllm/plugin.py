"""Where vLLM learns of our model classes: the entry point group `vllm.general_plugins` names `register`."""


def register() -> None:
    """Called by vLLM in each of its processes, before it looks at a model's architecture."""
    from vllm import ModelRegistry

    # A string, so that vLLM imports the class (and with it torch) only where it is used.
    ModelRegistry.register_model("PsychechatBertClassifier", "psychechat.engines.vllm.model:PsychechatBertClassifier")
