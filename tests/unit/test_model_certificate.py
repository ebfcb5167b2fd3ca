"""What is shown of a certificate holds no key, and names cover what RFC 6125 says they do."""

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.bundle import (
    Bundle,
    Certificate,
    anchored,
    assemble,
    covers,
    describe,
    fingerprint,
    forecast,
    key_type,
    spki_fingerprint,
    subject_names,
)
from distributor.model.errors import (
    BrokenChain,
    BundleError,
    KeyMismatch,
)
from tests.certs import (
    DAY,
    NOW,
    Issued,
    KeyKind,
    hierarchy,
    pem,
    private_key,
    self_signed,
)

NAMES = ("*.example.com", "example.com")
CA = hierarchy(2)
ISSUED = CA.issue(NAMES)
SECOND = timedelta(seconds=1)


def bundle_of(issued: Issued) -> Bundle:
    return assemble(
        certificate=issued.certificate_pem,
        chain=issued.chain_pem,
        private_key=issued.private_key_pem,
    )


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
domains = st.lists(labels, min_size=2, max_size=4).map(".".join)


@given(domains)
def test_every_name_covers_itself_in_any_case_and_with_a_final_dot(name: str) -> None:
    for spelled in (name, name.upper(), name + "."):
        assert covers([name], spelled)
        assert covers([spelled], name)
    assert covers([f"*.{name}"], f"*.{name.upper()}")


@given(labels, labels, domains)
def test_a_wildcard_stands_for_exactly_one_label(one: str, other: str, domain: str) -> None:
    wildcard = [f"*.{domain}"]
    assert covers(wildcard, f"{one}.{domain}")
    assert not covers(wildcard, domain)
    assert not covers(wildcard, f"{one}.{other}.{domain}")
    assert not covers(wildcard, f"*.{one}.{domain}")
    assert not covers(wildcard, f".{domain}")
    assert not covers(wildcard, f"{one}{domain}")


@given(labels, domains)
def test_a_wildcard_is_covered_by_that_wildcard_alone(label: str, domain: str) -> None:
    assert not covers([domain, f"{label}.{domain}", f"*.{label}.{domain}"], f"*.{domain}")


@given(labels, domains)
def test_only_a_whole_left_most_label_is_a_wildcard(label: str, domain: str) -> None:
    assert not covers([f"{label}*.{domain}", f"*{label}.{domain}"], f"{label}x.{domain}")
    assert not covers([f"{label}.*.{domain}"], f"{label}.{label}.{domain}")


@given(st.lists(domains), domains, domains)
def test_more_names_never_cover_less(names: list[str], extra: str, wanted: str) -> None:
    if covers(names, wanted):
        assert covers([*names, extra], wanted)
    assert covers([*names, wanted], wanted)


@pytest.mark.parametrize("wanted", ["", ".", "localhost"])
def test_a_name_without_a_parent_is_covered_by_itself_alone(wanted: str) -> None:
    assert not covers(["*.", "*", "*.example.com", "example.com"], wanted)


def test_nothing_covers_nothing() -> None:
    assert not covers([], "example.com")


# --- what is shown ------------------------------------------------------------------------------


def test_a_certificate_says_what_the_leaf_and_chain_say() -> None:
    shown = bundle_of(ISSUED).certificate("home", [CA.root])
    assert shown == Certificate(
        name="home",
        leaf=fingerprint(ISSUED.leaf),
        names=NAMES,
        key_type="ec256",
        chain=tuple(map(fingerprint, ISSUED.chain)),
        key=spki_fingerprint(ISSUED.leaf),
        common_name="*.example.com",
        issued_by="Test Intermediate 2",
        not_before=ISSUED.leaf.not_valid_before_utc,
        not_after=ISSUED.leaf.not_valid_after_utc,
        trusted=True,
    )
    assert not shown.is_forecast
    assert hash(shown) == hash(bundle_of(ISSUED).certificate("home", [CA.root]))


def test_what_is_only_described_is_not_judged() -> None:
    assert describe([ISSUED.leaf], "home").trusted is None


def test_nothing_that_is_shown_holds_the_key() -> None:
    issued = CA.issue(NAMES, key="rsa2048")
    bundle = bundle_of(issued)
    body = "".join(issued.private_key_pem.decode().splitlines()[1:-1])
    shown = f"{bundle!r} {bundle} {bundle.certificate('home')!r}"
    assert "private_key_pem=<secret>" in shown
    assert not [start for start in range(40, len(body) - 16) if body[start : start + 16] in shown]
    assert "PRIVATE KEY" not in shown
    assert "Secret" not in {field.type for field in fields(Certificate)}


def test_a_bundle_is_not_hashed() -> None:
    with pytest.raises(TypeError):
        hash(bundle_of(ISSUED))


def test_fingerprints_are_64_lower_case_digits_over_der_and_public_key() -> None:
    again = CA.issue(NAMES, key=ISSUED.key)
    assert fingerprint(again.leaf) != fingerprint(ISSUED.leaf)
    assert spki_fingerprint(again.leaf) == spki_fingerprint(ISSUED.leaf)
    digits = ISSUED.leaf.fingerprint(SHA256())
    assert fingerprint(ISSUED.leaf) == f"sha256:{digits.hex()}"


@given(st.lists(domains, unique=True), st.sampled_from(["rsa2048", "ec256"]))
def test_a_forecast_is_a_certificate_without_what_is_not_known(names: list[str], kind: str) -> None:
    coming = forecast("home", names, kind, "https://ca.example/")
    assert coming.is_forecast
    assert coming == Certificate(
        name="home",
        leaf="next:home",
        names=tuple(sorted(names)),
        key_type=kind,
        common_name=names[0] if names else None,
        issued_by="https://ca.example/",
    )


def test_names_are_dns_and_ip_lower_case_and_sorted() -> None:
    leaf = CA.issue(("B.example", "a.EXAMPLE", "b.example", "192.0.2.1", "2001:db8::1")).leaf
    assert subject_names(leaf) == ("192.0.2.1", "2001:db8::1", "a.example", "b.example")
    assert subject_names(CA.issue((), common_name="x").leaf) == ()


def test_an_empty_subject_has_no_common_name() -> None:
    shown = describe([CA.issue(NAMES, common_name=None).leaf], "home")
    assert shown.common_name is None


def test_an_issuer_without_common_name_is_shown_by_its_whole_name() -> None:
    organization = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Ex\x1bample")])
    key = private_key()
    leaf = x509.CertificateBuilder(
        organization, organization, key.public_key(), 1, NOW - DAY, NOW
    ).sign(key, SHA256())
    assert describe([leaf], "home").issued_by == r"O=Ex\x1bample"


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        ("rsa2048", "rsa2048"),
        ("rsa3072", "rsa3072"),
        ("ec256", "ec256"),
        ("ec384", "ec384"),
        ("ec521", "ec521"),
        ("ed25519", "Ed25519PublicKey"),
        ("dsa", "DSAPublicKey"),
    ],
)
def test_a_key_type_has_the_inventorys_word(kind: KeyKind, word: str) -> None:
    assert key_type(CA.issue(NAMES, key=kind).leaf) == word


# --- certificates that nobody should have made --------------------------------------------------


def changed(leaf: x509.Certificate, old: bytes, new: bytes) -> x509.Certificate:
    """Return `leaf` with one place of its DER replaced: its signature no longer fits."""
    der = leaf.public_bytes(Encoding.DER)
    assert der.count(old) == 1
    assert len(old) == len(new)
    return x509.load_der_x509_certificate(der.replace(old, new))


EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")
UNKNOWN_KIND = changed(ISSUED.leaf, EC_PUBLIC_KEY, bytes.fromhex("06072a8648ce3d0209"))


def test_a_key_of_an_unknown_kind_can_be_described_and_equals_no_pin() -> None:
    shown = describe([UNKNOWN_KIND], "home")
    assert (shown.key_type, shown.key) == ("unknown", "")
    assert shown.leaf.startswith("sha256:")


def test_a_leaf_with_a_key_of_an_unknown_kind_makes_no_bundle() -> None:
    with pytest.raises(KeyMismatch):
        bundle_of(replace(ISSUED, leaf=UNKNOWN_KIND))


def test_a_chain_with_a_key_of_an_unknown_kind_makes_no_bundle() -> None:
    odd = changed(ISSUED.chain[0], EC_PUBLIC_KEY, bytes.fromhex("06072a8648ce3d0209"))
    with pytest.raises(BrokenChain):
        bundle_of(replace(ISSUED, chain=(odd, ISSUED.chain[1])))
    with pytest.raises(KeyMismatch, match="request"):
        bundle_of(replace(ISSUED, chain=(odd,), key=private_key()))


def with_extensions(*oids: str) -> x509.Certificate:
    return CA.issue(
        (),
        common_name="odd",
        extensions=[
            x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), b"\x04\x00") for oid in oids
        ],
    ).leaf


def twice() -> x509.Certificate:
    once = with_extensions("1.2.3.4.5.6.7.8.1", "1.2.3.4.5.6.7.8.2")
    return changed(once, b"\x2a\x03\x04\x05\x06\x07\x08\x02", b"\x2a\x03\x04\x05\x06\x07\x08\x01")


@pytest.mark.parametrize(
    "make",
    [lambda: with_extensions(ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string), twice],
    ids=["garbage as SAN", "one extension twice"],
)
def test_malformed_extensions_are_our_own_error(make: Callable[[], x509.Certificate]) -> None:
    with pytest.raises(BundleError, match="malformed extensions"):
        describe([make()], "home")


def test_an_issuer_with_malformed_extensions_does_not_sign() -> None:
    with pytest.raises(BrokenChain):
        bundle_of(replace(ISSUED, chain=(twice(),)))


def test_a_malformed_name_is_our_own_error() -> None:
    leaf = CA.issue(NAMES, common_name="Straße").leaf
    odd = changed(leaf, "Straße".encode(), b"Stra\xff\xffe")
    with pytest.raises(BundleError, match="malformed names"):
        describe([odd], "home")
    with pytest.raises(BundleError, match="certificate 1 cannot be read"):
        assemble(certificate=pem(odd), private_key=ISSUED.private_key_pem)


# --- roots --------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_chain_is_anchored_at_its_root_alone(length: int) -> None:
    issuer = hierarchy(length)
    issued = issuer.issue(NAMES)
    served = (issued.leaf, *issued.chain)
    stranger = hierarchy(length)  # the same names, other keys
    assert anchored(served, [issuer.root])
    assert anchored(served, [stranger.root, issuer.root])
    assert anchored((*served, issuer.root), [issuer.root])
    assert not anchored(served, [stranger.root])
    assert not anchored(served, [])
    assert not anchored((), [issuer.root])


def test_a_leaf_among_the_roots_is_anchored() -> None:
    issued = self_signed(("attic",))
    assert anchored((issued.leaf,), [issued.leaf])
    assert anchored((ISSUED.leaf,), [ISSUED.leaf])
    assert not anchored((issued.leaf,), [self_signed(("attic",)).leaf])


def test_a_chain_without_its_last_link_is_not_anchored() -> None:
    assert not anchored((ISSUED.leaf, ISSUED.chain[0]), [CA.root])


def test_without_roots_nothing_is_trusted() -> None:
    assert bundle_of(ISSUED).certificate("home").trusted is False
