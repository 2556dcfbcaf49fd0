"""JSON Web Tokens that a connector makes for a vendor's API, signed with the operator's private key."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.ingest.decoding import invalid
from shared.core.errors import Fault

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_P256_BYTES = 32


def private_key(pem: str, kind: type[PrivateKey]) -> PrivateKey:
    """The key in a PEM text without a password. Raises InvalidInput."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    fits = isinstance(key, kind) and (not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name == "secp256r1")
    if not fits:
        raise invalid([Fault("token", "must be the private key that the vendor gave, as PEM without a password")])
    return key  # type: ignore[return-value]


def signed_token(claims: Mapping[str, Any], key: PrivateKey, **header: str) -> str:
    """Signed with ES256 or RS256, as the key is (RFC 7515, RFC 7518)."""
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
    parts = [{"alg": algorithm, "typ": "JWT", **header}, claims]
    text = ".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{text}.{_encoded(_signature(text.encode(), key))}"


def _signature(text: bytes, key: PrivateKey) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    r, s = decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
