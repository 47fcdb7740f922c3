"""Signatures: Ed25519, with keys as `openssl genpkey -algorithm ed25519` makes them."""

from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from appliance.errors import DeliveryError

SIGNATURE: Final = "manifest.sig"
SIGNATURE_BYTES: Final = 64

_MAKE_HINT: Final = "Make one by: openssl genpkey -algorithm ed25519 -out key.pem"


def sign(document: bytes, key_file: Path) -> bytes:
    """The signature of a document, 64 bytes.

    Raises:
        DeliveryError: the file holds no private Ed25519 key, or a locked one.
    """
    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise DeliveryError(f"{key_file}: {error.strerror}", hint=_MAKE_HINT) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise DeliveryError(
            f"{key_file}: expected a private key in PEM without a password", hint=_MAKE_HINT
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise DeliveryError(f"{key_file}: expected an Ed25519 key, got another", hint=_MAKE_HINT)
    return key.sign(document)


def verify(document: bytes, signature: bytes, keys: Path) -> None:
    """Let a document pass that one of the trusted keys has signed.

    Args:
        document: as it was signed.
        signature: 64 bytes.
        keys: a folder of public keys, *.pem.

    Raises:
        DeliveryError: none has, or nobody is trusted here.
    """
    trusted = [_public_key(path) for path in sorted(keys.glob("*.pem"))]
    if not trusted:
        raise DeliveryError(
            f"no key is trusted here: {keys} has none",
            hint="Put the maker's public key there: openssl pkey -in key.pem -pubout",
        )
    if not any(_has_signed(key, document, signature) for key in trusted):
        raise DeliveryError(
            "it is not signed by a key that this box trusts",
            hint=f"Ask its maker; the keys that are trusted lie in {keys}.",
        )


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path)
    return key


def _no_key(path: Path) -> DeliveryError:
    return DeliveryError(
        f"{path}: expected a public Ed25519 key in PEM", hint="Put the right file in its place."
    )


def _has_signed(key: Ed25519PublicKey, document: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, document)
    except InvalidSignature:
        return False
    return True
