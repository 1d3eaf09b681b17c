"""The models that settings name, as folders on this machine."""

from functools import cache
from importlib.resources import files
from pathlib import Path

from psychechat.config import DEMO, ModelSettings, Settings
from psychechat.versions import short_hash


def generator_model(settings: ModelSettings) -> str:
    """A folder, or the hub name, which vLLM downloads itself."""
    return str(files("psychechat") / "demo" / "counselor") if settings.model == DEMO else settings.model


def classifier_model(settings: ModelSettings, cache: Path) -> Path:
    """A folder, written or downloaded now if it is not there yet. Raises what `encoder.prepare` or the hub raises."""
    if settings.model == DEMO:
        from psychechat.demo import encoder  # needs the packages of an engine

        return encoder.prepare(cache.expanduser())
    return _local(settings)


def has_shipped_heads(settings: ModelSettings) -> bool:
    """Whether the classifier is the one that comes with the package, whose probabilities are known."""
    return settings.engine == "vllm" and settings.model == DEMO


def prepare(settings: Settings) -> dict[str, Path]:
    """Every model that a vLLM engine of these settings will load, by role; downloaded now if it has to be."""
    folders = {}
    if settings.classifier.engine == "vllm":
        folders["classifier"] = classifier_model(settings.classifier, settings.cache)
    for role, model in (("counselor", settings.counselor), ("seeker", settings.seeker)):
        if model is not None and model.engine == "vllm":
            folders[role] = Path(generator_model(model)) if model.model == DEMO else _local(model)
    return folders


def weights_version(settings: Settings) -> str:
    """One for all engines. A model goes by its name and revision, the demo's by what is in their files."""
    names = []
    for model in (settings.classifier, settings.counselor, settings.seeker):
        if model is not None:
            names += [model.engine, model.model, model.revision or ""]
            names += [_demo_version()] if model.model == DEMO and model.engine == "vllm" else []
    return short_hash(*names)


@cache
def _demo_version() -> str:
    folder = Path(str(files("psychechat") / "demo"))
    return short_hash(*(path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))))


def _local(settings: ModelSettings) -> Path:
    if Path(settings.model).is_dir():
        return Path(settings.model)
    from huggingface_hub import snapshot_download  # slow to import, and not needed by default

    return Path(snapshot_download(settings.model, revision=settings.revision))
