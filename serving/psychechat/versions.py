"""Names for what a reply was made with: short, stable, and different once the thing is."""

import hashlib


def short_hash(*parts: str | bytes) -> str:
    """Eight hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        written = part.encode() if isinstance(part, str) else part
        digest.update(len(written).to_bytes(8) + written)  # so that no two lists of parts read alike
    return digest.hexdigest()[:8]
