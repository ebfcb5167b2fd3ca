"""Problems that arise between tables, or from what is not built yet."""

import textwrap

import pytest

from distributor import inventory
from tests.unit.sound_inventory import ACME, CERTIFICATE, DNS, FILE, HOST, SOUND, problems


def built(text: str) -> list[str]:
    """Every problem but what is not built yet."""
    return [one for one in problems(text) if not one.endswith("is not built yet")]


def _replaced(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, "a case must change exactly one place"
    return SOUND.replace(old, new)


def test_a_misplaced_default_is_told_where_it_belongs() -> None:
    text = SOUND + '[defaults]\naddress = "192.0.2.1"\n'
    assert problems(text) == [
        "line 21: defaults.address: belongs to one host: write it below [hosts.NAME]"
    ]


def test_a_ca_bundle_of_hosts_may_stand_at_a_certificate_and_that_of_the_ca_in_acme() -> None:
    text = SOUND.replace("agree_tos = true", 'agree_tos = true\nca_bundle = "ca.pem"')
    text = text.replace('dns = "home"', 'dns = "home"\nca_bundle = "hosts.pem"')
    found = inventory.parse(text, path=FILE, private=False).certificates["home"]
    assert found.ca_bundle == FILE.parent / "hosts.pem"
    assert getattr(found.source, "ca_bundle", None) == FILE.parent / "ca.pem"


def test_without_acme_its_keys_are_missing_at_the_certificate() -> None:
    assert problems(DNS + CERTIFICATE) == [
        'line 6: certificates.home.ca: is missing: a CA, as in "letsencrypt-staging"',
        (
            "line 6: certificates.home.agree_tos: must be true: read the terms of service "
            "of the CA, "
            "and write it if you agree"
        ),
    ]


def test_what_two_certificates_miss_in_acme_is_told_once() -> None:
    text = SOUND.replace("agree_tos = true\n", "") + CERTIFICATE.replace("s.home", "s.other")
    assert len(problems(text)) == 1


def test_a_broken_default_is_told_once_and_not_for_every_host() -> None:
    hosts = "".join(
        HOST.replace("attic", name).replace('certificate = "home"\n', "") for name in ("a", "b")
    )
    text = ACME + DNS + CERTIFICATE + '[defaults]\ncertificate = "house"\n' + hosts
    assert problems(text) == [
        'line 14: defaults.certificate: there is no certificate of this name; did you mean "home"?'
    ]


def test_a_default_that_no_host_uses_must_lead_somewhere_all_the_same() -> None:
    assert problems(SOUND + '[defaults]\ncertificate = "house"\n') == [
        'line 21: defaults.certificate: there is no certificate of this name; did you mean "home"?'
    ]


def test_one_broken_host_hides_no_other_problem() -> None:
    text = SOUND + textwrap.dedent(
        """\
        [hosts.bad]
        kind = 5
        via = "carrier pigeon"
        port = "x"
        colour = "red"
        accept = "all"
        endpoints = ["?", "far.example.org:443", { adress = "x:1" }]
        [hosts.worse]
        kind = "files"
        via = "api"
        address = "192.0.2.12:22"
        user = "certs"
        certificate = "nowhere"
        endpoints = ["app.example.com:443"]
        """
    )
    found = problems(text)
    paths = [one.split(": ")[1] for one in found]
    assert paths == [
        "hosts.bad.address",
        "hosts.bad.user",
        "hosts.bad.certificate",
        "hosts.bad.kind",
        "hosts.bad.via",
        "hosts.bad.port",
        "hosts.bad.colour",
        "hosts.bad.accept",
        "hosts.bad.endpoints[0]",
        "hosts.bad.endpoints[2].adress",
        "hosts.bad.endpoints[2].address",
        "hosts.worse.fullchain",
        "hosts.worse.via",
        "hosts.worse.address",
        "hosts.worse.certificate",
    ]


def test_an_endpoint_after_a_broken_one_is_still_looked_at() -> None:
    text = SOUND + 'endpoints = ["?", "far.example.org:443"]\n'
    assert [one.split(": ")[1] for one in problems(text)] == [
        "hosts.attic.endpoints[0]",
        "hosts.attic.endpoints[1]",
    ]


def test_two_wrong_items_of_one_list_are_two_problems() -> None:
    assert [one.split(": ")[1] for one in problems(SOUND + "endpoints = [5, 6]\n")] == [
        "hosts.attic.endpoints[0]",
        "hosts.attic.endpoints[1]",
    ]


def test_a_delivery_of_nothing_is_no_second_delivery_to_an_entry() -> None:
    text = SOUND.replace('certificate = "home"\n', "deliver = [{}, {}]\n")
    assert [one.split(": ")[1] for one in problems(text)] == [
        "hosts.attic.deliver[0].certificate",
        "hosts.attic.deliver[1].certificate",
    ]


def test_an_endpoint_may_not_name_a_certificate_that_its_host_does_not_get() -> None:
    text = SOUND + 'endpoints = [{ address = "192.0.2.11:1", certificate = "other" }]\n'
    text += CERTIFICATE.replace("s.home", "s.other")
    assert problems(text) == [
        "line 20: hosts.attic.endpoints[0].certificate: is not delivered to this host"
    ]


def test_a_name_that_none_of_several_certificates_covers_is_a_problem() -> None:
    text = SOUND.replace(
        'certificate = "home"\n',
        'deliver = [{ certificate = "home" }, { certificate = "other" }]\n'
        'endpoints = ["x.example.net:443"]\n',
    ) + CERTIFICATE.replace("s.home", "s.other")
    assert problems(text) == [
        (
            'line 20: hosts.attic.endpoints[0]: "x.example.net" is not among the names '
            "of any delivered certificate"
        )
    ]


def test_names_that_are_wrong_themselves_make_no_second_problem_at_an_endpoint() -> None:
    text = _replaced('"*.example.com"]', '"*example.com"]') + 'endpoints = ["x.example.org:443"]\n'
    assert [one.split(": ")[1] for one in problems(text)] == ["certificates.home.names[1]"]


DDNS = """\
[certificates.ddns]
source = "diskstation"
from = "attic"
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            DDNS + 'id = "a"\ndescription = "b"\n',
            [("line 24: certificates.ddns.description: contradicts id: keep one of them")],
        ),
        (
            DDNS,
            [
                (
                    "line 20: certificates.ddns.description: is missing: "
                    "say by description or id which entry"
                )
            ],
        ),
        (
            DDNS.replace('from = "attic"', 'id = "a"'),
            ["line 20: certificates.ddns.from: is missing: the NAME of a [hosts.NAME]"],
        ),
        (
            DDNS.replace('"attic"', '"atti"\nid = "a"'),
            [
                (
                    "line 22: certificates.ddns.from: there is no host of this name; "
                    'did you mean "attic"?'
                )
            ],
        ),
        (
            DDNS + 'id = "a"\nnames = ["example.com"]\n',
            ['line 24: certificates.ddns.names: belongs to source = "acme", not "diskstation"'],
        ),
        (
            '[certificates.f]\nsource = "files"\n',
            [
                (
                    "line 20: certificates.f.certificate: is missing: "
                    "certificate and private_key, or archive, or pkcs12"
                )
            ],
        ),
        (
            '[certificates.f]\nsource = "files"\ncertificate = "a"\npassphrase = { env = "A" }\n',
            ["line 23: certificates.f.passphrase: belongs to pkcs12, not certificate"],
        ),
        (
            '[certificates.f]\nsource = "files"\npkcs12 = "a"\nkey_type = "ec256"\n',
            ["line 23: certificates.f.key_type: belongs to archive, not pkcs12"],
        ),
        (
            '[certificates.f]\nsource = "files"\npkcs12 = "a"\nnames = ["*"]\n',
            [
                (
                    'line 23: certificates.f.names[0]: "*" may stand only alone as the '
                    'leftmost label, as in "*.example.com"'
                )
            ],
        ),
        ('[certificates.f]\nsource = "files"\ncertificate = "folder"\n', []),
        (
            '[certificates.f]\nsource = "files"\narchive = "a"\npkcs12 = "b"\nchain = "c"\n',
            [
                "line 23: certificates.f.pkcs12: contradicts archive: keep one of them",
                "line 24: certificates.f.chain: contradicts archive, which holds it",
            ],
        ),
        ('[certificates.f]\nsource = "files"\npkcs12 = "b"\n', []),
    ],
)
def test_sources_that_are_not_built_are_checked_all_the_same(
    text: str, expected: list[str]
) -> None:
    assert built(SOUND + text) == expected


def test_a_diskstation_source_must_come_from_a_diskstation() -> None:
    text = SOUND.replace('"diskstation"', '"router"') + DDNS + 'id = "a"\n'
    assert built(text) == [
        'line 22: certificates.ddns.from: must name a host of kind = "diskstation"'
    ]


def test_a_router_holds_one_certificate() -> None:
    router = SOUND.replace('kind = "diskstation"', 'kind = "router"')
    place = "line 19: hosts.attic.deliver[1]"
    one, other = '{ certificate = "home" }', '{ certificate = "home", description = "b" }'
    for deliver, expected in (
        (f"[{one}]", []),
        (f"[{one}, {other}]", [f"{place}: is a second certificate for a router, which holds one"]),
    ):
        text = router.replace('certificate = "home"\n', f"deliver = {deliver}\n")
        found = [one for one in problems(text) if "description" not in one]
        assert found == expected


@pytest.mark.parametrize("key", ["id", "description"])
def test_a_certificate_is_not_delivered_to_the_entry_it_comes_from(key: str) -> None:
    text = SOUND.replace('certificate = "home"', f'certificate = "ddns"\n{key} = "own"')
    assert built(text + DDNS + f'{key} = "own"\n') == [
        (
            f"line 20: hosts.attic.{key}: is the very entry of this host that the certificate "
            "comes from"
        )
    ]
    assert built(text + DDNS + f'{key} = "another"\n') == []


FILES = HOST.replace('"diskstation"', '"files"').replace('"api"', '"ssh"')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            FILES + "endpoints = []\n",
            [
                (
                    "line 13: hosts.attic.fullchain: is missing: at least one of fullchain, "
                    "leaf, chain, "
                    "private_key, combined"
                )
            ],
        ),
        (
            FILES + 'combined = "/etc/both.pem"\n',
            [
                (
                    "line 13: hosts.attic.endpoints: is missing: the ports that prove the "
                    "delivery, "
                    "or [] if there is none"
                )
            ],
        ),
        (
            FILES + 'combined = "both.pem"\nendpoints = []\n',
            ["line 20: hosts.attic.combined: must be the absolute path of a file on the host"],
        ),
        (
            FILES.replace("ssh", "api") + 'combined = "/a"\nendpoints = []\n',
            ['line 15: hosts.attic.via: must be "ssh": kind = "files" is reached by no other way'],
        ),
        (
            FILES.replace(
                'certificate = "home"',
                'deliver = [{ certificate = "home" }, '
                '{ certificate = "home", id = "x" }]\ncombined = "/a"\nendpoints = []',
            ),
            [
                (
                    'line 19: hosts.attic.deliver[1].id: belongs to kind = "diskstation" or '
                    'kind = "router"'
                ),
                "line 19: hosts.attic.deliver[1]: is a second certificate for the same files",
            ],
        ),
        (
            FILES
            + 'combined = "/a"\nendpoints = []\nmethod = "files"\nidentity = { file = "k" }\n',
            ['line 22: hosts.attic.method: belongs to kind = "diskstation"'],
        ),
        (
            FILES + 'fullchain = "/a"\ncombined = "/a"\nendpoints = []\n',
            ["line 21: hosts.attic.combined: is the same file as hosts.attic.fullchain"],
        ),
        (
            FILES
            + 'combined = "/a"\nendpoints = []\n'
            + FILES.replace("attic", "other")
            + 'leaf = "/b"\nchain = "/a"\nendpoints = []\n',
            ["line 30: hosts.other.chain: is the same file as hosts.attic.combined"],
        ),
        (
            FILES
            + 'combined = "/a"\nendpoints = []\n'
            + FILES.replace("attic", "other").replace("192.0.2.11", "192.0.2.12")
            + 'combined = "/a"\nendpoints = []\n',
            [],
        ),
        (
            FILES + 'combined = "/a"\nmode = "0644"\nendpoints = []\n',
            [
                (
                    "line 21: hosts.attic.mode: gives rights on the private key to everybody on "
                    "the host: its last digit must be 0"
                )
            ],
        ),
        (FILES + 'fullchain = "/a"\nmode = "644"\nendpoints = []\n', []),
        (
            FILES + 'combined = "/a"\nendpoints = []\nidentity_passphrase = { env = "X" }\n',
            ["line 22: hosts.attic.identity_passphrase: belongs to identity, which is missing"],
        ),
    ],
)
def test_hosts_of_kind_files_are_checked(text: str, expected: list[str]) -> None:
    assert built(ACME + DNS + CERTIFICATE + text) == expected


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "-x", "dot.", "é", "a" * 65])
def test_a_name_that_is_no_folder_s_name_is_refused(name: str) -> None:
    text = SOUND.replace("certificates.home", f'certificates."{name}"').replace(
        'certificate = "home"', f'certificate = "{name}"'
    )
    (found,) = problems(text)
    assert found.startswith("line 9: certificates.")
    assert "must be named by up to 64 letters" in found


def test_a_list_where_a_table_belongs_is_a_problem_at_its_place() -> None:
    assert problems("[[acme]]\n" + DNS + CERTIFICATE) == [
        "line 1: acme: must be a table, not a list",
    ]
    assert problems("dns = 5\nhosts = 'x'\n") == [
        "line 1: dns: must be a table, not a whole number",
        "line 2: hosts: must be a table, not a string",
    ]


def test_a_table_that_is_no_table_is_one_problem() -> None:
    assert problems(SOUND + "[hosts]\ncellar = 5\n") == [
        "line 21: hosts.cellar: must be a table, not a whole number"
    ]


@pytest.mark.parametrize("value", ["true", "false"])
def test_superseded_entries_may_be_removed(value: str) -> None:
    assert problems(SOUND + f"remove_superseded = {value}\n") == []


def test_a_wrong_value_is_not_also_called_not_built() -> None:
    assert problems(SOUND + "otp = 5\n") == [
        (
            "line 20: hosts.attic.otp: a secret is never a bare value but a table that says "
            "where it "
            'is, such as { env = "NAME" } or { file = "path" }'
        )
    ]
