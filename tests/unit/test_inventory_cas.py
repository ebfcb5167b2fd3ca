"""What is said to each CA: account binding, profile, chain, and who is asked next."""

import pytest

from distributor import inventory
from distributor.model.hosts import AcmeSource, EnvSecret, ExternalAccount
from tests.unit.sound_inventory import FILE, SOUND, problems

ZEROSSL = "https://acme.zerossl.com/v2/DV90"
NEEDED = "this CA opens an account only for a kid and hmac that it gave"
WRITTEN = 'write it as { ca = "...", eab = { kid = "...", hmac = { env = "NAME" } } }'
BINDING = 'eab = { kid = "kid-1", hmac = { env = "HMAC" } }'


def acme(keys: str, own: str = "") -> str:
    """The sound inventory with keys added to [acme] and to the certificate."""
    text = SOUND.replace("agree_tos = true\n", f"agree_tos = true\n{keys}")
    return text.replace('dns = "home"\n', f'dns = "home"\n{own}')


def source(text: str) -> AcmeSource:
    found = inventory.parse(text, path=FILE, private=False).certificates["home"].source
    assert isinstance(found, AcmeSource)
    return found


def test_a_fallback_is_a_whole_source_of_its_own() -> None:
    main = source(
        acme(
            'email = "a@example.com"\nprofile = "classic"\npreferred_chain = "Root X1"\n'
            f'ca_bundle = "own.pem"\n{BINDING}\n'
            'fallback = ["letsencrypt-staging", { ca = "zerossl", profile = "long", '
            'preferred_chain = "Other", ca_bundle = "theirs.pem", '
            'eab = { kid = "kid-2", hmac = { env = "OTHER" } } }]\n'
        )
    )
    assert main.eab == ExternalAccount(kid="kid-1", hmac=EnvSecret("HMAC"))
    assert (main.profile, main.preferred_chain) == ("classic", "Root X1")
    assert main.ca_bundle == FILE.parent / "own.pem"
    assert main.fallback == (
        AcmeSource(
            ca="letsencrypt-staging",
            directory_url="https://acme-staging-v02.api.letsencrypt.org/directory",
            email="a@example.com",
            agree_tos=True,
            dns="home",
        ),
        AcmeSource(
            ca="zerossl",
            directory_url=ZEROSSL,
            email="a@example.com",
            agree_tos=True,
            dns="home",
            eab=ExternalAccount(kid="kid-2", hmac=EnvSecret("OTHER")),
            profile="long",
            preferred_chain="Other",
            ca_bundle=FILE.parent / "theirs.pem",
        ),
    )


def test_a_certificate_from_another_ca_takes_nothing_that_was_said_to_the_first() -> None:
    shared = f'profile = "a"\npreferred_chain = "b"\nca_bundle = "c"\n{BINDING}\n'
    other = source(acme(shared, 'ca = "letsencrypt-staging"\n'))
    assert (other.eab, other.profile, other.preferred_chain, other.ca_bundle) == (None,) * 4
    own = source(acme(shared, 'ca = "letsencrypt-staging"\nprofile = "d"\n'))
    assert (own.profile, own.preferred_chain) == ("d", None)


@pytest.mark.parametrize("ca", ["", 'ca = "https://acme-v02.api.letsencrypt.org/directory"\n'])
def test_a_certificate_from_the_same_ca_takes_what_it_does_not_say_itself(ca: str) -> None:
    shared = f'profile = "a"\npreferred_chain = "b"\n{BINDING}\n'
    same = source(acme(shared, f'{ca}profile = "d"\n'))
    assert (same.profile, same.preferred_chain) == ("d", "b")
    assert same.eab == ExternalAccount(kid="kid-1", hmac=EnvSecret("HMAC"))


def test_fallbacks_of_acme_hold_for_all_and_a_certificate_may_have_its_own_or_none() -> None:
    shared = 'fallback = ["letsencrypt-staging"]\n'
    assert [one.ca for one in source(acme(shared)).fallback] == ["letsencrypt-staging"]
    own = source(acme(shared, 'fallback = ["https://ca.example.org/acme"]\n'))
    assert [one.ca for one in own.fallback] == ["https://ca.example.org/acme"]
    assert source(acme(shared, "fallback = []\n")).fallback == ()


@pytest.mark.parametrize(
    ("keys", "own", "expected"),
    [
        (
            (
                "eab = { kid = 'k' }\n"
                'fallback = ["letsencrypt", "https://b.example/", "https://b.example/"]\n'
            ),
            "",
            [
                "line 4: acme.eab.hmac: is missing: the CA gives kid and hmac together",
                "line 5: acme.fallback[0]: names a CA that was named already",
                "line 5: acme.fallback[2]: names a CA that was named already",
            ],
        ),
        (
            'fallback = [{ ca = "https://acme-v02.api.letsencrypt.org/directory" }]\n',
            "",
            ["line 4: acme.fallback[0]: names a CA that was named already"],
        ),
        (
            'fallback = ["zerossl",\n { ca = "google", profile = "" }]\n',
            "",
            [
                f"line 4: acme.fallback[0]: needs an eab: {NEEDED}; {WRITTEN}",
                "line 5: acme.fallback[1].profile: must not be empty",
                f"line 5: acme.fallback[1]: needs an eab: {NEEDED}; {WRITTEN}",
            ],
        ),
        (
            'fallback = [{ ca = "zerossl", eab = { hmac = { env = "A" } } }]\n',
            "",
            [("line 4: acme.fallback[0].eab.kid: is missing: the CA gives kid and hmac together")],
        ),
        (
            'fallback = [{ profile = "x" }]\n',
            "",
            ['line 4: acme.fallback[0].ca: is missing: a CA, as in "zerossl"'],
        ),
        (
            'fallback = ["zerosl"]\n',
            "",
            [
                (
                    'line 4: acme.fallback[0]: is no known CA; did you mean "zerossl"?; one of '
                    '"letsencrypt", "letsencrypt-staging", "zerossl", "google", '
                    "or the https URL of an ACME directory"
                )
            ],
        ),
        (
            "fallback = [1]\n",
            "",
            ["line 4: acme.fallback[0]: must be a string or a table, not a whole number"],
        ),
        (
            'fallback = "zerossl"\n',
            "",
            ["line 4: acme.fallback: must be a list, not a string"],
        ),
        (
            'fallback = [{ ca = "letsencrypt-staging", email = "a@example.com" }]\n',
            "",
            [
                (
                    "line 4: acme.fallback[0].email: unknown key in [acme.fallback[0]]; known are "
                    '"ca", "eab", "profile", "preferred_chain", "ca_bundle"'
                )
            ],
        ),
        ("", 'ca = "zerossl"\n', [f"line 9: certificates.home.eab: is missing: {NEEDED}"]),
        (
            f"{BINDING}\n",
            'ca = "zerossl"\n',
            [f"line 10: certificates.home.eab: is missing: {NEEDED}"],
        ),
        (
            'fallback = ["letsencrypt-staging"]\n',
            'ca = "letsencrypt-staging"\n',
            [
                (
                    "line 14: certificates.home.ca: is a fallback of [acme] too: "
                    "write a `fallback` of its own here, [] for none"
                )
            ],
        ),
        (
            "",
            'profile = " "\npreferred_chain = ""\n',
            [
                "line 13: certificates.home.profile: must not be empty",
                "line 14: certificates.home.preferred_chain: must not be empty",
            ],
        ),
        (
            "",
            'eab = { kid = "k", hmac = "hunter2" }\n',
            [
                (
                    "line 13: certificates.home.eab.hmac: a secret is never a bare value but a "
                    'table that says where it is, such as { env = "NAME" } or { file = "path" }'
                )
            ],
        ),
    ],
)
def test_a_problem_with_a_ca_has_path_line_and_reason(
    keys: str, own: str, expected: list[str]
) -> None:
    assert problems(acme(keys, own)) == expected


@pytest.mark.parametrize("ca", ["zerossl", "google", ZEROSSL])
def test_a_ca_that_binds_accounts_needs_the_binding_in_acme(ca: str) -> None:
    text = SOUND.replace('"letsencrypt"', f'"{ca}"')
    assert problems(text) == [f"line 1: acme.eab: is missing: {NEEDED}"]
    assert problems(text.replace("agree_tos = true", f"agree_tos = true\n{BINDING}")) == []
