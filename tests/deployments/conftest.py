import warnings

from psychechat_ray import environment

environment.set_defaults()  # Ray reads them while it is imported, by the tests beside this file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Ray's own, on import
    import ray.serve  # noqa: F401
