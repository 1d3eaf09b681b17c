"""The models that settings name, as folders on this machine."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

from psychechat.config import DEMO, DEMO_ENGLISH, GeneratorSettings, ModelSettings, Settings, SettingsError
from psychechat.config.shared_gpus import check_memory_is_given
from psychechat.versions import short_hash

_BUCKETS = ("s3://", "gs://", "az://")


def generator_model(settings: ModelSettings, cache: Path) -> str:
    """A folder, written now if it is ours and not there yet, or the hub name, which vLLM downloads itself.

    Raises SettingsError for one that must not be served, and FileNotFoundError if the package that carries ours is not
    installed.
    """
    if settings.model == DEMO:
        return str(files("psychechat") / "demo" / "counselor")
    if settings.model == DEMO_ENGLISH:
        from psychechat.demo import smollm2

        folder = smollm2.prepare(cache.expanduser())
        _refuse_bare_smollm2(folder)
        return str(folder)
    _refuse_bucket(settings)
    _refuse_bare_smollm2(settings.model)
    return settings.model


def adapter_folders(settings: GeneratorSettings) -> dict[str, Path]:
    """The LoRA adapters of an engine, by name. Raises SettingsError for one that is not there."""
    folders = {name: folder.expanduser() for name, folder in settings.adapters.items()}
    for name, folder in folders.items():
        if not (folder / "adapter_config.json").is_file():
            raise SettingsError(
                f"The adapter {name} is not there: {folder} holds no adapter_config.json. Put it there, or "
                "mend its path in the engine's adapters."
            )
    return folders


def classifier_model(settings: ModelSettings, cache: Path) -> Path:
    """A folder, written or downloaded now if it is not there yet. Raises what `encoder.prepare` or the hub raises."""
    if settings.model == DEMO:
        from psychechat.demo import encoder  # needs the packages of an engine

        return encoder.prepare(cache.expanduser())
    return _local(settings)


def check_shared_gpus(settings: Settings) -> None:
    """As the settings do for the engines that generate, with a classifier that is a decoder among them.

    One that is on the hub is not looked at. Raises SettingsError.
    """
    if settings.classifier.model != DEMO and _is_decoder(settings.classifier):
        try:
            check_memory_is_given({"classifier": settings.classifier, **settings.engines})
        except ValueError as error:
            raise SettingsError(str(error)) from None


def _is_decoder(classifier: ModelSettings) -> bool:
    """Whether it keeps KV, as far as its folder says, which names the architecture as vLLM does."""
    try:
        config = json.loads((Path(classifier.model) / "config.json").read_text("utf-8"))
        return str(config["architectures"][0]).endswith("ForCausalLM")
    except (OSError, ValueError, LookupError, TypeError):
        return False  # loading it says what is wrong with it


def has_shipped_heads(settings: ModelSettings) -> bool:
    """Whether the classifier is the one that comes with the package, whose probabilities are known."""
    return settings.engine == "vllm" and settings.model == DEMO


def check_adapters(settings: Settings) -> None:
    """Raises SettingsError for an adapter that is not on this machine."""
    for engine in settings.engines.values():
        if engine.engine == "vllm":
            adapter_folders(engine)


def check_places(settings: Settings) -> None:
    """Raises SettingsError for a model that is where no engine of ours reads."""
    for model in (settings.classifier, *settings.engines.values()):
        if model.engine == "vllm":
            _refuse_bucket(model)


def prepare(settings: Settings) -> dict[str, Path]:
    """Every model that a vLLM engine of these settings will load, by deployment; downloaded now if it has to be.

    Raises SettingsError for one that must not be served.
    """
    folders = {}
    if settings.classifier.engine == "vllm":
        folders["classifier"] = classifier_model(settings.classifier, settings.cache)
    for name, engine in settings.engines.items():
        if engine.engine == "vllm":
            model = generator_model(engine, settings.cache)
            folders[name] = Path(model) if engine.model in (DEMO, DEMO_ENGLISH) else _local(engine)
            _refuse_bare_smollm2(folders[name])  # on the hub it has other names, too
    return folders


def weights_version(settings: Settings) -> str:
    """One for all engines and their roles. A model goes by its name and revision, the demo's by what is in their files,
    an adapter by its path.
    """
    names = _names(settings.classifier)
    for parts in settings.casting.parts.values():
        for part in parts.values():
            engine = settings.engines[part.engine]
            names += [*_names(engine), str(engine.adapters[part.adapter]) if part.adapter else ""]
    return short_hash(*names)


def _names(model: ModelSettings) -> list[str]:
    content = _demo_version() if model.model in (DEMO, DEMO_ENGLISH) and model.engine == "vllm" else ""
    return [model.engine, model.model, model.revision or "", content]


@cache
def _demo_version() -> str:
    folder = Path(str(files("psychechat") / "demo"))
    return short_hash(*(path.read_bytes() for path in sorted(folder.rglob("*.safetensors"))))


def _refuse_bare_smollm2(model: str | Path) -> None:
    from psychechat.demo.smollm2 import servable  # an ingress has no use for what it imports

    if not servable(model):
        raise SettingsError(
            f"{model} is SmolLM2-135M without an adapter that makes it a counselor, or is not as it was written. "
            "Of itself it has affirmed a suicide, so it is not served. Name a folder that "
            "psychechat.demo.smollm2.prepare wrote with an adapter (its manifest.json has the adapter's digest)."
        )


def _refuse_bucket(settings: ModelSettings) -> None:
    if settings.model.lower().startswith(_BUCKETS):
        raise SettingsError(
            f"{settings.model} is in a bucket, which is not read from here. Copy it to a folder first, or mount the "
            "bucket, and name the folder."
        )


def _local(settings: ModelSettings) -> Path:
    _refuse_bucket(settings)
    if Path(settings.model).is_dir():
        return Path(settings.model)
    from huggingface_hub import snapshot_download  # slow to import, and not needed by default

    return Path(snapshot_download(settings.model, revision=settings.revision))
