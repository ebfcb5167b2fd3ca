"""Certificates, keys and containers that somebody else made."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import PrivateFormat

from distributor.model import bundle, chain, pem, pkcs12
from distributor.model.errors import BundleError
from distributor.model.secret import Secret
from tests import certs
from tests.fuzz.judging import Target, only, require_harmless

_PASSPHRASE: Final = Secret("correct horse")


@cache
def _issued() -> tuple[certs.Issued, ...]:
    issuer = certs.hierarchy(2)
    return (
        issuer.issue(["example.com", "*.example.com", "192.0.2.1"]),
        issuer.issue(["example.com"], key="rsa2048"),
        certs.self_signed(["synology"], key="ec384"),
    )


def _look_at(certificates: tuple[x509.Certificate, ...]) -> None:
    """Ask everything that the product asks of certificates."""
    for leaf_first in (True, False):
        with only(BundleError):
            read = chain.read_chain(certificates, _roots(), certs.NOW, leaf_first=leaf_first)
            require_harmless(read.verdict)
            for link in read.links:
                require_harmless(f"{link.subject} {link.issuer}")
            for finding in read.findings:
                require_harmless(finding.text)
    with only(BundleError):
        shown = bundle.describe(certificates, "home")
        require_harmless(f"{shown.common_name} {shown.issued_by} {shown.key_type}")
        bundle.covers(shown.names, "www.example.com")
    bundle.anchored(certificates, _roots())


@cache
def _roots() -> tuple[x509.Certificate, ...]:
    return (certs.hierarchy(0).root, *(one.leaf for one in _issued()))


def _pem(data: bytes) -> None:
    with only(BundleError):
        _look_at(pem.certificates_from(data, "the file"))
    with only(BundleError):
        pem.private_key_from(data, "the key")
    with only(BundleError):
        pem.has_private_key(data, "the file")
    single = pem.der_certificate(data)
    if single is not None:
        _look_at((single,))


def _der(data: bytes) -> None:
    single = pem.der_certificate(data)
    if single is not None:
        _look_at((single, *_issued()[0].chain))


def _assembled(data: bytes) -> None:
    with only(BundleError):
        made = bundle.assemble(certificate=data, private_key=data)
        with only(BundleError):
            made.certificate("home", _roots())
        with only(BundleError):
            made.require(["example.com"], certs.NOW)
        assert made.private_key_pem.reveal().isascii()


def _container(data: bytes) -> None:
    for given in (b"", _PASSPHRASE.reveal().encode()):
        with only(BundleError):
            found = pkcs12.read_pkcs12(data, given, "the container")
            with only(BundleError):
                bundle.assemble(
                    certificate=found.certificate,
                    chain=found.chain,
                    private_key=found.private_key.reveal().encode(),
                )
    for asked in (None, _PASSPHRASE):
        with only(BundleError):
            held = pkcs12.look_into(data, asked, "the container")
            if held.certificates:
                _look_at(held.certificates)
            if held.key is not None:
                with only(BundleError):
                    pem.usable_key(held.key, "the key")


def _pems() -> tuple[bytes, ...]:
    sec1 = certs.key_pem(_issued()[0].key, PrivateFormat.TraditionalOpenSSL)
    pkcs1 = certs.key_pem(_issued()[1].key, PrivateFormat.TraditionalOpenSSL)
    return (
        *(one.fullchain_pem + one.private_key_pem for one in _issued()),
        _issued()[0].fullchain_pem + sec1,
        _issued()[1].certificate_pem + pkcs1,
        certs.key_pem(_issued()[0].key, password=b"x") + _issued()[0].chain_pem,
        certs.key_pem(certs.private_key("dsa")) + certs.key_pem(certs.private_key("ed25519")),
    )


def _ders() -> tuple[bytes, ...]:
    from cryptography.hazmat.primitives.serialization import Encoding

    leaves = (one.leaf for one in _issued())
    return tuple(one.public_bytes(Encoding.DER) for one in (*leaves, *_issued()[0].chain))


def _containers() -> tuple[bytes, ...]:
    one = _issued()[0]
    made = bundle.assemble(certificate=one.fullchain_pem, private_key=one.private_key_pem)
    return (pkcs12.make_pkcs12(made, "home", _PASSPHRASE), *_plain_containers())


def _plain_containers() -> tuple[bytes, ...]:
    from cryptography.hazmat.primitives.serialization import NoEncryption
    from cryptography.hazmat.primitives.serialization import pkcs12 as maker

    first, second, _ = _issued()
    return tuple(
        maker.serialize_key_and_certificates(
            b"home",
            one.key,
            one.leaf,
            one.chain,
            NoEncryption(),
        )
        for one in (first, second)
    )


TARGETS: Final[Mapping[str, Target]] = {
    "pem": Target(harness=_pem, samples=_pems, form="pem"),
    "der": Target(harness=_der, samples=_ders),
    "bundle": Target(harness=_assembled, samples=_pems, form="pem"),
    "pkcs12": Target(harness=_container, samples=_containers, takes=False),
}
