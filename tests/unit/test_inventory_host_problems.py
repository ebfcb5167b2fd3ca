"""Problems of the tables of hosts and roll-out: key path, line and words."""

import pytest

from tests.unit.sound_inventory import SOUND, problems


def _replaced(old: str, new: str) -> str:
    assert SOUND.count(old) == 1, "a case must change exactly one place"
    return SOUND.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'kind = "diskstation"\n',
            "",
            'line 13: hosts.attic.kind: is missing: "diskstation", "router" or "files"',
        ),
        (
            'user = "certs"\n',
            "",
            (
                "line 13: hosts.attic.user: is missing: the account to log in with, "
                "here or in [defaults]"
            ),
        ),
        (
            'password = { env = "ATTIC" }\n',
            "",
            (
                'line 13: hosts.attic.password: is missing: via = "api" needs one, '
                'such as { env = "NAME" }'
            ),
        ),
        (
            'user = "certs"',
            'user = "certs"\nport = "5001"',
            "line 18: hosts.attic.port: must be a whole number, not a string",
        ),
        (
            'user = "certs"',
            'user = "certs"\nport = true',
            "line 18: hosts.attic.port: must be a whole number, not a boolean",
        ),
        (
            'user = "certs"',
            'user = "certs"\nport = 5001.0',
            "line 18: hosts.attic.port: must be a whole number, not a number with a fraction",
        ),
        (
            'user = "certs"',
            'user = "certs"\nport = 65536',
            "line 18: hosts.attic.port: must be from 1 to 65535",
        ),
        (
            'user = "certs"',
            "user = 2026-11-21",
            "line 17: hosts.attic.user: must be a string, not a date or time",
        ),
        (
            'user = "certs"',
            'user = "certs"\nsudo_password = { env = "X" }',
            'line 18: hosts.attic.sudo_password: belongs to via = "ssh"',
        ),
        (
            'user = "certs"',
            'user = "certs"\nreload = "true"',
            'line 18: hosts.attic.reload: belongs to kind = "files"',
        ),
        (
            'user = "certs"',
            'user = "certs"\naccept = ["fewer-nams"]',
            (
                'line 18: hosts.attic.accept[0]: is no hazard; did you mean "fewer-names"?; one of '
                '"fewer-names", "earlier-expiry", "untrusted-issuer", "default-changes", '
                '"service-orphaned", "not-restorable", "device-managed", "key-type-unsupported", '
                '"no-common-name"'
            ),
        ),
        (
            'certificate = "home"\n',
            "",
            (
                "line 13: hosts.attic.certificate: is missing: the NAME of a [certificates.NAME], "
                "here or in [defaults]"
            ),
        ),
        (
            'certificate = "home"\n',
            'certificate = "house"\n',
            (
                "line 19: hosts.attic.certificate: there is no certificate of this name; "
                'did you mean "home"?'
            ),
        ),
        (
            'certificate = "home"\n',
            "deliver = []\n",
            "line 19: hosts.attic.deliver: must hold at least one delivery",
        ),
        (
            'certificate = "home"\n',
            'deliver = [{ id = "a" }]\n',
            (
                "line 19: hosts.attic.deliver[0].certificate: is missing: "
                "the NAME of a [certificates.NAME]"
            ),
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\n[[hosts.attic.deliver]]\ncertificate = "home"\n',
            "line 19: hosts.attic.certificate: contradicts deliver: write it in one of its tables",
        ),
        (
            'certificate = "home"\n',
            'deliver = [{certificate = "home"},\n{certificate = "home", description = "home"}]\n',
            (
                "line 20: hosts.attic.deliver[1].description: goes to the entry with the "
                "description "
                '"home", as deliver[0] does: give each its own id or description'
            ),
        ),
        (
            'certificate = "home"\n',
            'deliver = [{certificate = "home"},\n{certificate = "home"}]\n',
            (
                'line 20: hosts.attic.deliver[1]: goes to the entry with the description "home", '
                "as deliver[0] does: give each its own id or description"
            ),
        ),
        (
            'certificate = "home"\n',
            'deliver = [{certificate = "home", id = "a"},\n{certificate = "home", id = "a"}]\n',
            (
                'line 20: hosts.attic.deliver[1].id: goes to the entry with the id "a", '
                "as deliver[0] does: give each its own id or description"
            ),
        ),
        (
            'certificate = "home"\n',
            (
                'deliver = [{certificate = "home", id = "a", default = true},\n'
                '{certificate = "home", default = true}]\n'
            ),
            (
                "line 20: hosts.attic.deliver[1].default: is a second default: "
                "deliver[0] has it already"
            ),
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\nendpoints = ["nas.example.com"]',
            (
                "line 20: hosts.attic.endpoints[0]: "
                'must be "name:port", as in "nas.example.com:5001"'
            ),
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\nendpoints = [5]',
            "line 20: hosts.attic.endpoints[0]: must be a string or a table, not a whole number",
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\nendpoints = [{ service = "FTPS" }]',
            'line 20: hosts.attic.endpoints[0].address: is missing: "name:port"',
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\nendpoints = ["a.example.com:1",\n"a.example.com:1"]',
            "line 21: hosts.attic.endpoints[1]: is the same endpoint as endpoints[0]",
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\nendpoints = ["a.b.example.com:443"]',
            'line 20: hosts.attic.endpoints[0]: "a.b.example.com" is not among the names of "home"',
        ),
        (
            'certificate = "home"\n',
            (
                'certificate = "home"\n'
                'endpoints = [{ address = "192.0.2.11:1", server_name = "x.org" }]'
            ),
            (
                'line 20: hosts.attic.endpoints[0].server_name: "x.org" is not among the names '
                'of "home"'
            ),
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\nendpoints = [{ address = "x:1", certificate = "hom" }]',
            (
                "line 20: hosts.attic.endpoints[0].certificate: there is no certificate of "
                "this name; "
                'did you mean "home"?'
            ),
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\n[rollout]\ncanary = "atic"',
            'line 21: rollout.canary: there is no host of this name; did you mean "attic"?',
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\n[rollout]\nparallel = 0',
            "line 21: rollout.parallel: must be 1 or more",
        ),
        (
            'certificate = "home"\n',
            'certificate = "home"\n[hots]',
            'line 20: hots: unknown key in the inventory; did you mean "hosts"?',
        ),
        (
            "[hosts.attic]",
            "[hosts.Attic]\n[hosts.attic]",
            'line 14: hosts.attic: differs from "Attic" in case only: rename one',
        ),
    ],
)
def test_a_host_s_problem_has_path_line_and_reason(old: str, new: str, expected: str) -> None:
    found = problems(_replaced(old, new))
    assert expected in found
    # The second host of the last case is empty: what it misses is its own.
    assert [one for one in found if "Attic: " not in one and "hosts.Attic." not in one] == [
        expected
    ]
