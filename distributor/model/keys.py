"""New private keys."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from distributor.model.hosts import KeyType
from distributor.model.pem import private_key_pem
from distributor.model.secret import Secret

_CURVES: Final[dict[str, ec.EllipticCurve]] = {"ec256": ec.SECP256R1(), "ec384": ec.SECP384R1()}


def new_private_key(key_type: KeyType) -> Secret:
    """Return a new key as PKCS#8 PEM."""
    curve = _CURVES.get(key_type)
    if curve is not None:
        return private_key_pem(ec.generate_private_key(curve))
    bits = int(key_type.removeprefix("rsa"))
    return private_key_pem(rsa.generate_private_key(public_exponent=65537, key_size=bits))
