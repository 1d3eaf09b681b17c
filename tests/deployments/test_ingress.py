import hashlib

from psychechat.config import Auth
from psychechat_ray.ingress import _keys


def test_a_key_for_practice_opens_and_is_known_for_one() -> None:
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("intake", "training")}
    auth = {"keys": {"intake": digests["intake"], "training": {"sha256": digests["training"], "drill": True}}}
    keyring, drills = _keys(Auth.model_validate(auth))
    assert [keyring.name_of(name) for name in ("intake", "training")] == ["intake", "training"]
    assert drills == {"training"}
