"""Where vLLM learns of our model classes: the entry point group `vllm.general_plugins` names `register`."""

PREFIX = "Psychechat"
"""Before the name of an architecture: the same with our heads."""
_MODULE = "psychechat.engines.vllm.model"


def register() -> None:
    """Called by vLLM in each of its processes, perhaps more than once, before it looks at a model's architecture.

    Adds `Psychechat` and its name for each of vLLM's architectures: the same with our heads.
    """
    from vllm import ModelRegistry
    from vllm.model_executor.models.config import MODELS_CONFIG_MAP

    for architecture in [name for name in ModelRegistry.get_supported_archs() if not name.startswith(PREFIX)]:
        # A string, so that vLLM imports the class (and with it torch) only where it is used.
        ModelRegistry.register_model(PREFIX + architecture, f"{_MODULE}:{PREFIX}{architecture}")
        if architecture in MODELS_CONFIG_MAP:  # what vLLM sets by an architecture's name holds with heads as well
            MODELS_CONFIG_MAP[PREFIX + architecture] = MODELS_CONFIG_MAP[architecture]
