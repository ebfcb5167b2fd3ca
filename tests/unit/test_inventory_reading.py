"""From a file to the inventory: rights, secrets, paths, defaults, endpoints."""

import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor import inventory
from distributor.inventory import _rights
from distributor.inventory.build import build
from distributor.inventory.shape import shape
from distributor.model.errors import InventoryError
from distributor.model.hosts import (
    AcmeSource,
    ApiAccess,
    CommandSecret,
    EnvSecret,
    FileSecret,
    Host,
    Inventory,
    PlainSecret,
    Rollout,
)

FILE = Path("/srv/inventory/inventory.toml")
TOP = """\
[acme]
ca = "https://ca.example.com/dir"
agree_tos = true
[dns.home]
provider = "rfc2136"
server = "192.0.2.53"
key_name = "acme-key"
key = { file = "tsig" }
propagation_timeout = "90s"
[certificates.home]
source = "acme"
names = ["example.com", "*.example.com"]
dns = "home"
renew = "20d"
[certificates.mail]
source = "acme"
names = ["mail.example.net"]
dns = "home"
ca = "google"
eab = { kid = "kid-1", hmac = { env = "EAB" } }
agree_tos = true
[defaults]
kind = "diskstation"
via = "api"
user = "certs"
certificate = "home"
services = "all"
packages = "keep"
"""
HOST = """\
[hosts.attic]
address = "192.0.2.11"
password = { env = "ATTIC" }
"""
MARKER = "hunter2-never-to-be-seen"


def parsed(text: str, *, private: bool = False) -> Inventory:
    return inventory.parse(text, path=FILE, private=private)


def host(text: str, name: str = "attic") -> Host:
    return parsed(TOP + text).hosts[name]


def test_defaults_fill_in_what_a_host_leaves_open_and_its_own_keys_win() -> None:
    attic = host(HOST + 'user = "root"\n')
    assert isinstance(attic.access, ApiAccess)
    assert attic.access.user == "root"
    assert attic.deliveries[0].services == "all"
    assert attic.certificates == ("home",)


def test_a_host_s_own_certificate_wins_over_the_default() -> None:
    assert host(HOST + 'certificate = "mail"\n').certificates == ("mail",)


def test_deliver_tables_stand_alone_without_the_default_delivery() -> None:
    attic = host(
        HOST
        + '[[hosts.attic.deliver]]\ncertificate = "mail"\nid = "a"\ndefault = true\n'
        + '[[hosts.attic.deliver]]\ncertificate = "home"\nservices = ["FTPS"]\n'
    )
    assert [(one.certificate, one.id, one.default, one.services) for one in attic.deliveries] == [
        ("mail", "a", True, "keep"),
        ("home", None, False, ("FTPS",)),
    ]


def test_a_certificate_s_own_keys_win_over_acme() -> None:
    certificates = parsed(TOP + HOST).certificates
    home, mail = certificates["home"].source, certificates["mail"].source
    assert isinstance(home, AcmeSource)
    assert isinstance(mail, AcmeSource)
    assert (home.ca, home.directory_url) == ("https://ca.example.com/dir",) * 2
    assert mail.directory_url == "https://dv.acme-v02.api.pki.goog/directory"
    assert certificates["home"].renew_before == timedelta(days=20)
    assert certificates["mail"].renew_before is None


def test_the_roll_out_is_the_usual_one_unless_told() -> None:
    assert parsed(TOP + HOST).rollout == Rollout()
    changed = parsed(TOP + HOST + "[rollout]\nmax_failures = 3\n").rollout
    assert changed == Rollout(max_failures=3)


def test_times_and_ports_are_read() -> None:
    home = parsed(TOP + HOST).dns["home"]
    assert home.propagation_timeout == timedelta(seconds=90)
    assert str(home.settings.server) == "192.0.2.53:53"
    assert home.settings.key_algorithm == "hmac-sha256"


@pytest.mark.parametrize(
    ("keys", "endpoints"),
    [
        ("", [("192.0.2.11:5001", None, "home", "system/default")]),
        ("port = 5443", [("192.0.2.11:5443", None, "home", "system/default")]),
        (
            'server_name = "attic.example.com"',
            [("192.0.2.11:5001", "attic.example.com", "home", "system/default")],
        ),
        ("endpoints = []", []),
        (
            'endpoints = ["[2001:db8::1]:443", "A.example.com:5001", "b.example.com:443"]',
            [
                ("[2001:db8::1]:443", None, "home", None),
                ("a.example.com:5001", "a.example.com", "home", "system/default"),
                ("b.example.com:443", "b.example.com", "home", None),
            ],
        ),
        (
            'endpoints = [{ address = "a.example.com:5001", service = "Drive" }]',
            [("a.example.com:5001", "a.example.com", "home", "Drive")],
        ),
        (
            (
                'deliver = [{ certificate = "home" }, { certificate = "mail" }]\n'
                'endpoints = ["mail.example.net:465", "192.0.2.11:443", "x.example.com:1"]'
            ),
            [
                ("mail.example.net:465", "mail.example.net", "mail", None),
                ("192.0.2.11:443", None, "home", None),
                ("x.example.com:1", "x.example.com", "home", None),
            ],
        ),
        (
            (
                'deliver = [{ certificate = "home" }, { certificate = "mail" }]\n'
                'endpoints = [{ address = "192.0.2.11:443", certificate = "mail" }]'
            ),
            [("192.0.2.11:443", None, "mail", None)],
        ),
    ],
)
def test_endpoints_are_filled_in(
    keys: str, endpoints: list[tuple[str, str | None, str, str | None]]
) -> None:
    attic = host(HOST + keys + "\n")
    assert [
        (str(one), one.server_name, one.certificate, one.service) for one in attic.endpoints
    ] == endpoints


def test_a_host_that_is_reached_by_name_is_proved_by_that_name() -> None:
    attic = host(HOST.replace("192.0.2.11", "attic.example.com"))
    assert attic.endpoints[0].server_name == "attic.example.com"
    assert isinstance(attic.access, ApiAccess)
    assert attic.access.server_name == "attic.example.com"


def test_the_endpoint_that_is_assumed_is_not_held_against_the_certificate() -> None:
    attic = host(HOST.replace("192.0.2.11", "attic.local"))
    assert [str(one) for one in attic.endpoints] == ["attic.local:5001"]


def test_a_certificate_whose_names_are_not_known_is_preferred_to_one_that_does_not_cover() -> None:
    text = TOP + HOST + '[certificates.f]\nsource = "files"\narchive = "a.zip"\n'
    text += '[[hosts.attic.deliver]]\ncertificate = "home"\n'
    text += '[[hosts.attic.deliver]]\ncertificate = "f"\n'
    text = text.replace("password =", 'endpoints = ["nas.example.org:443"]\npassword =')
    found, problems = inventory.read(text, FILE, private=False, not_built={})
    assert problems == ()
    assert found is not None
    assert found.hosts["attic"].endpoints[0].certificate == "f"


@pytest.mark.parametrize(
    ("table", "secret"),
    [
        ('{ env = "ATTIC" }', EnvSecret("ATTIC")),
        ('{ file = "secrets/attic" }', FileSecret(Path("/srv/inventory/secrets/attic"))),
        ('{ file = "/run/attic" }', FileSecret(Path("/run/attic"))),
        ('{ command = ["op", "read", "x"] }', CommandSecret(("op", "read", "x"))),
    ],
)
def test_a_secret_is_a_reference(table: str, secret: object) -> None:
    attic = host(HOST.replace('{ env = "ATTIC" }', table))
    assert isinstance(attic.access, ApiAccess)
    assert attic.access.password == secret


def test_a_plain_secret_is_the_text_as_it_stands_and_never_shown() -> None:
    text = TOP + HOST.replace('env = "ATTIC"', 'plain = "0123"')
    found = parsed(text, private=True)
    access = found.hosts["attic"].access
    assert isinstance(access, ApiAccess)
    assert isinstance(access.password, PlainSecret)
    assert access.password.value.reveal() == "0123"
    assert "0123" not in repr(access.password)


@pytest.mark.parametrize(
    ("table", "private", "words"),
    [
        (f'"{MARKER}"', True, "never a bare value"),
        ("123", True, "never a bare value"),
        (f'{{ plain = "{MARKER}" }}', False, "is refused while others may read the inventory"),
        ('{ plain = "" }', True, "must not be empty"),
        ("{ plain = 123 }", True, "must be a string, not a whole number"),
        (f'{{ plan = "{MARKER}" }}', True, 'did you mean "plain"?'),
        (f'{{ plain = "{MARKER}", env = "X" }}', True, "must have exactly one of"),
        ("{}", True, "must have exactly one of"),
        (f'{{ plain = ["{MARKER}"] }}', True, "must be a string, not a list"),
        (f'{{ command = "{MARKER}" }}', True, "must be a list, not a string"),
        (f'{{ env = "{MARKER}=" }}', True, 'without "="'),
        (f'{{ plain = "{MARKER} }}', True, "is not valid TOML"),
    ],
)
def test_a_wrong_secret_is_refused_and_never_shown(table: str, private: bool, words: str) -> None:
    with pytest.raises(InventoryError) as caught:
        parsed(TOP + HOST.replace('{ env = "ATTIC" }', table), private=private)
    (problem,) = caught.value.problems
    assert words in str(problem)
    error: BaseException | None = caught.value
    assert MARKER not in f"{problem!r} {error!s} {error!r}"
    # Neither does an exception that led to it keep the text.
    assert error is not None
    assert (error.__cause__, error.__context__) == (None, None)


SECRET_PLACES = ["password", "otp", "identity", "identity_passphrase", "sudo_password"]


@given(
    key=st.sampled_from(["user", "address", "port", "tls_pin", "colour", *SECRET_PLACES]),
    form=st.sampled_from(
        ['"{}"', '["{}"]', '{{ plain = "{}" }}', '{{ x = "{}" }}', '{{ env = ["{}"] }}']
    ),
    private=st.booleans(),
)
def test_no_problem_repeats_a_value_that_may_be_a_secret(
    key: str, form: str, private: bool
) -> None:
    text = TOP + "[hosts.attic]\n" + f"{key} = {form.format(MARKER)}\n"
    with pytest.raises(InventoryError) as caught:
        parsed(text, private=private)
    assert all(MARKER not in str(problem) for problem in caught.value.problems)


@given(st.lists(st.sampled_from(["a", "b", "c", "d-1", "e_2"]), unique=True))
def test_every_host_of_the_file_is_in_the_inventory_in_its_order(names: list[str]) -> None:
    text = TOP + "".join(HOST.replace("attic", name) for name in names)
    assert list(parsed(text).hosts) == names


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.toml"
    path.write_text(TOP + HOST, encoding="utf-8")
    path.chmod(0o644)
    return path


def test_a_file_is_read(file: Path) -> None:
    found = inventory.load(file)
    assert found.path == file
    assert found.dns["home"].settings.key == FileSecret(file.parent / "tsig")


def test_a_file_with_a_byte_order_mark_is_read(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert list(inventory.load(file).hosts) == ["attic"]


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_refused_with_everything_else(
    file: Path, mode: int
) -> None:
    file.write_text(TOP + HOST + "colour = 1\n", encoding="utf-8")
    file.chmod(mode)
    with pytest.raises(InventoryError) as caught:
        inventory.load(file)
    first, second = map(str, caught.value.problems)
    assert first == "others may write this file: take the right away with `chmod go-w`"
    assert "hosts.attic.colour" in second
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(("mode", "is_private"), [(0o600, True), (0o640, False), (0o604, False)])
def test_plain_secrets_need_a_file_of_their_owner_alone(
    file: Path, mode: int, is_private: bool
) -> None:
    file.write_text(TOP + HOST.replace("env", "plain"), encoding="utf-8")
    file.chmod(mode)
    if is_private:
        assert isinstance(inventory.load(file).hosts["attic"].access, ApiAccess)
    else:
        with pytest.raises(InventoryError, match="1 problem"):
            inventory.load(file)


def test_where_there_are_no_mode_bits_nothing_is_private_and_nothing_refused() -> None:
    assert _rights(0o666, is_posix=False) == (False, False)
    assert _rights(0o600, is_posix=False) == (False, False)
    assert _rights(stat.S_IFREG | 0o600, is_posix=True) == (False, True)


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(InventoryError) as caught:
        inventory.load(tmp_path / "none.toml")
    assert str(caught.value.problems[0]) == f"cannot be read: {os.strerror(2)}"


def test_a_file_that_is_no_text_is_a_problem_of_its_line(file: Path) -> None:
    file.write_bytes(b"# one\n# two \xff\n")
    with pytest.raises(InventoryError) as caught:
        inventory.load(file)
    assert str(caught.value.problems[0]) == "line 2: is not UTF-8 text"
    assert caught.value.__context__ is None


def test_an_inventory_that_was_not_checked_is_not_built() -> None:
    unchecked, _ = shape({"hosts": {"attic": {}}}, private=False)
    with pytest.raises(TypeError, match="was not checked"):
        build(unchecked, FILE)


def test_the_schema_for_editors_is_current() -> None:
    file = Path(__file__).parents[2] / "docs/reference/inventory.schema.json"
    assert json.loads(file.read_text(encoding="utf-8")) == inventory.json_schema(), (
        "write it again: it is json.dumps(distributor.inventory.json_schema(), indent=2)"
    )


def test_the_schema_knows_every_table_and_no_null() -> None:
    schema = inventory.json_schema()
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == {
        "acme",
        "dns",
        "certificates",
        "defaults",
        "rollout",
        "hosts",
        "notify",
    }
    assert '"null"' not in json.dumps(schema)
