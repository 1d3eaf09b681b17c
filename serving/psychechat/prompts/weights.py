"""Whether each role has the weights that a prompt pack was written for."""

from collections.abc import Mapping

from psychechat.config.roles import ROLES, Casting
from psychechat.emotion import Language
from psychechat.prompts.pack import Pack


def notice(packs: Mapping[Language, Pack], casting: Casting) -> str | None:
    """What to tell an operator whose counselor plays roles that a pack has weights of their own for."""
    told = [line for language, pack in packs.items() if (line := _missing(pack, language, casting))]
    return " ".join(told) or None


def _missing(pack: Pack, language: Language, casting: Casting) -> str | None:
    counselor = casting.part("counselor", language)
    missing = [r for r in ROLES if r in pack.file.own_weights and casting.part(r, language) == counselor]
    if not missing:
        return None
    roles = " and ".join(missing)
    return (
        f"The prompt pack {pack.folder} is for weights of their own in the roles {roles}, and `roles` names none: "
        f"{counselor} answers these stages in conversations in {language!r}, on prompts that it has not learnt. "
        f"Name an engine or an adapter under roles: {', '.join(missing)}."
    )
