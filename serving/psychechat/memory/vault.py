"""Values as they leave the process: AES-GCM under one of the operator's keys, bound to where they are kept.

    version (1 byte) | length of the key's name (1) | the key's name | nonce (12) | ciphertext and tag

All before the nonce is authenticated, and so is the place. The plaintext is JSON, filled up with blanks so that its
length does not tell which turns took Agent Mode, but with packs that show earlier turns in full: those values grow with
each turn.
"""

import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import TypeAdapter, ValidationError

from psychechat.config import MemoryKeys
from psychechat.conversation import EmotionMemory
from psychechat.memory.base import Unreadable

VERSION = 1
"""Another one for whatever changes in the layout above, or in `EmotionMemory` so that old values no longer parse."""

_NONCE = 12
_BLOCK = 4096
"""Holds almost every analysis that a pack of ours can write."""

_JSON = TypeAdapter(EmotionMemory)


class Vault:
    def __init__(self, keys: MemoryKeys) -> None:
        self._encrypt_with = keys.encrypt_with
        self._keys: Mapping[str, AESGCM] = {name: AESGCM(key) for name, key in keys.keys.items()}

    def seal(self, place: bytes, memory: EmotionMemory) -> bytes:
        """The value to keep at `place`, the hash under which it will be found."""
        plain = _JSON.dump_json(memory)
        plain = plain.ljust(-(-len(plain) // _BLOCK) * _BLOCK)
        name = self._encrypt_with.encode()
        header = bytes([VERSION, len(name)]) + name
        nonce = secrets.token_bytes(_NONCE)
        return header + nonce + self._keys[self._encrypt_with].encrypt(nonce, plain, header + place)

    def unseal(self, place: bytes, value: bytes) -> EmotionMemory:
        """Raises Unreadable for what is not a value of ours, of this version, for this place, under a key we have."""
        if len(value) < 2 or value[0] != VERSION:
            raise Unreadable("an unknown version")
        header, rest = value[: 2 + value[1]], value[2 + value[1] :]
        key = self._keys.get(header[2:].decode("utf-8", "replace"))
        if key is None:
            raise Unreadable("sealed with a key that is not in memory.keys_file")
        try:
            return _JSON.validate_json(key.decrypt(rest[:_NONCE], rest[_NONCE:], header + place))
        except (InvalidTag, ValueError, ValidationError):
            raise Unreadable("damaged, or kept in another place") from None
