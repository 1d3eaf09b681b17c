"""Settings files by name."""

from pathlib import Path

from psychechat.config import Settings

FOLDER = Path(__file__).with_name("configs")


def load(config: str) -> Settings:
    """The settings in the file at this path, or in the one of this name that comes with the package.

    Raises FileNotFoundError if there is neither, and what `Settings.load` raises.
    """
    path = Path(config)
    if path.is_file():
        return Settings.load(path)
    if not (FOLDER / f"{config}.yaml").is_file():
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
        raise FileNotFoundError(f"no configuration {config!r}: neither a file nor one of {known}")
    return Settings.load(FOLDER / f"{config}.yaml")
