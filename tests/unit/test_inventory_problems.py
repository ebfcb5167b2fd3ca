"""Problems of the tables of CA, DNS and certificates: key path, line and words."""

import pytest

from tests.unit.sound_inventory import SOUND, problems


def test_the_sound_inventory_has_no_problem() -> None:
    assert problems(SOUND) == []


def _replaced(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, "a case must change exactly one place"
    return SOUND.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "agree_tos = true",
            "agree_tos = false",
            (
                "line 3: acme.agree_tos: must be true: read the terms of service of the CA, "
                "and write it if you agree"
            ),
        ),
        (
            "agree_tos = true\n",
            "",
            (
                "line 1: acme.agree_tos: must be true: read the terms of service of the CA, "
                "and write it if you agree"
            ),
        ),
        (
            'ca = "letsencrypt"\n',
            "",
            'line 1: acme.ca: is missing: a CA, as in "letsencrypt-staging"',
        ),
        (
            '"letsencrypt"',
            '"letsencrpt"',
            (
                'line 2: acme.ca: is no known CA; did you mean "letsencrypt"?; one of '
                '"letsencrypt", '
                '"letsencrypt-staging", "zerossl", "google", or the https URL of an ACME directory'
            ),
        ),
        (
            "agree_tos = true",
            'agree_tos = "yes"',
            "line 3: acme.agree_tos: must be true or false, not a string",
        ),
        (
            "agree_tos = true",
            "agree_tos = true\nkey_type = 'ec256'",
            "line 4: acme.key_type: belongs to one certificate: write it below [certificates.NAME]",
        ),
        (
            '"rfc2136"',
            '"rfc213"',
            (
                'line 5: dns.home.provider: must be one of "rfc2136", "route53", '
                '"cloudflare", "powerdns", "acme-dns", "exec", "httpreq", "lexicon", "manual"; '
                'did you mean "rfc2136"?'
            ),
        ),
        (
            'provider = "rfc2136"',
            "provider = 1",
            (
                "line 5: dns.home.provider: must be one of "
                '"rfc2136", "route53", "cloudflare", "powerdns", "acme-dns", "exec", '
                '"httpreq", "lexicon", '
                '"manual", not a whole number'
            ),
        ),
        ('provider = "rfc2136"\n', "", 'line 4: dns.home.provider: is missing: as in "rfc2136"'),
        (
            'key_name = "acme-key"\n',
            "",
            'line 4: dns.home.key_name: is missing: provider = "rfc2136" needs it',
        ),
        (
            '"acme-key"',
            '"acme-key"\nzone_id = 1',
            (
                "line 8: dns.home.zone_id: unknown key in "
                '[dns.home]; known are "provider", "nameservers", "resolvers", '
                '"doh", "propagation_timeout", '
                '"server", "key_name", "key_algorithm", "key"'
            ),
        ),
        (
            '"192.0.2.53:53"',
            '"192.0.2.300"',
            (
                "line 6: dns.home.server: is neither a DNS name nor an IP address: "
                "its last label is a number"
            ),
        ),
        (
            'source = "acme"\n',
            "",
            'line 9: certificates.home.source: is missing: "acme", "diskstation" or "files"',
        ),
        (
            'source = "acme"',
            'source = "acme"\nfrom = "attic"',
            'line 11: certificates.home.from: belongs to source = "diskstation", not "acme"',
        ),
        (
            'names = ["example.com", "*.example.com"]\n',
            "",
            'line 9: certificates.home.names: is missing: the DNS names, as in ["example.com"]',
        ),
        (
            '["example.com", "*.example.com"]',
            "[]",
            "line 11: certificates.home.names: must hold at least one name",
        ),
        (
            '["example.com", "*.example.com"]',
            '["example.com",\n"EXAMPLE.com"]',
            "line 12: certificates.home.names[1]: is the same name as [0]",
        ),
        (
            '"*.example.com"]',
            '"a.*.example.com"]',
            (
                'line 11: certificates.home.names[1]: "*" may stand only alone as the '
                "leftmost label, "
                'as in "*.example.com"'
            ),
        ),
        (
            '["example.com", "*.example.com"]',
            f'["{"a" * 60}.example.com"]',
            (
                "line 11: certificates.home.names[0]: is the common name, which holds 64 "
                "characters "
                "at most: put a shorter name first"
            ),
        ),
        (
            '["example.com", "*.example.com"]',
            str([f"n{number}.example.com" for number in range(101)]),
            "line 11: certificates.home.names: has 101 names; a CA takes 100 at most",
        ),
        (
            'dns = "home"\n',
            "",
            "line 9: certificates.home.dns: is missing: the NAME of a [dns.NAME]",
        ),
        (
            'dns = "home"',
            'dns = "hoem"',
            'line 12: certificates.home.dns: there is no [dns] of this name; did you mean "home"?',
        ),
        (
            'dns = "home"',
            'dns = "home"\nca_bunlde = "x"',
            (
                "line 13: certificates.home.ca_bunlde: unknown key in [certificates.home]; "
                'did you mean "ca_bundle"?'
            ),
        ),
        (
            'dns = "home"',
            'dns = "home"\nrenew = "soon"',
            (
                'line 13: certificates.home.renew: must be "ari" or a span of time: must be '
                "a whole "
                "number from 1 to 99999 and a unit (s, m, h or d), "
                'as in "90s", "5m", "36h" or "20d"'
            ),
        ),
    ],
)
def test_a_problem_has_path_line_and_reason(old: str, new: str, expected: str) -> None:
    assert problems(_replaced(old, new)) == [expected]


@pytest.mark.parametrize("text", ["", "# nothing\n", "[hosts]\n"])
def test_an_inventory_with_nothing_in_it_is_a_problem(text: str) -> None:
    assert problems(text) == [
        "neither certificates nor hosts: write [certificates.NAME], [hosts.NAME]"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb =\n", "line 2: is not valid TOML: Invalid value (at line 2, column 4)"),
        ("a = [", "is not valid TOML: "),
        ("a = " + "9" * 5000, "is not valid TOML: "),
        ("a = " + "[" * 5000, "lists or tables are nested too deep"),
    ],
)
def test_a_text_that_is_no_toml_is_one_problem(text: str, line: str) -> None:
    (found,) = problems(text)
    assert found.startswith(line)
