"""Every module of the server's can be imported on a machine without a GPU."""

import importlib
import pkgutil

import psychechat_ray


def test_every_module_can_be_imported() -> None:
    names = [module.name for module in pkgutil.walk_packages(psychechat_ray.__path__, "psychechat_ray.")]
    assert "psychechat_ray.server" in names
    for name in names:
        importlib.import_module(name)
