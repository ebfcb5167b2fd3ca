"""Single values: what is taken, in which form, and what is refused with which words."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.inventory import names, values
from distributor.model.hosts import JumpHost, SocketAddress


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("36h", timedelta(hours=36)),
        ("20d", timedelta(days=20)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert values.duration(text) == span
    assert values.renew_before(text) == span


def test_renewal_may_be_left_to_the_ca() -> None:
    assert values.renew_before("ari") == "ari"


@pytest.mark.parametrize(
    "text", ["", "5", "m", "0d", "-1d", "1.5h", "5 m", "5M", "1w", "1h30m", "100000d", "\u0665m"]
)
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Example.COM", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.Bücher.example", "*.xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("nas", "nas"),
        ("3com.com", "3com.com"),
    ],
)
def test_a_certificate_s_name_comes_in_one_form(text: str, name: str) -> None:
    assert names.certificate_name(text) == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a DNS name"),
        ("*", r'"\*" may stand only'),
        ("*.*.example.com", r'"\*" may stand only'),
        ("nas*.example.com", r'"\*" may stand only'),
        ("*.", "is not a DNS name"),
        ("example.com.", "without the final dot"),
        ("a..b", "is not a DNS name"),
        ("-a.example.com", "is not a DNS name"),
        ("my_nas.example.com", "is not a DNS name"),
        ("a" * 64 + ".com", "is not a DNS name"),
        (".".join(["a" * 60] * 5), "is not a DNS name"),
        ("exa mple.com", "is not a DNS name"),
        ("example.com\n", "is not a DNS name"),
        ("a\u202eb.com", "internationalised"),
        ("192.0.2.1", "is an IP address"),
        ("192.0.2.300", "last label is a number"),
    ],
)
def test_what_is_no_name_for_a_certificate_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        names.certificate_name(text)


@given(st.text())
def test_any_text_is_refused_or_a_name_in_its_one_form(text: str) -> None:
    with suppress(ValueError):
        name = names.certificate_name(text)
        assert names.certificate_name(name) == name
        assert name.isascii()
        assert name == name.lower()


def test_a_server_name_is_never_an_ip_address() -> None:
    assert names.server_name("Attic.example.com") == "attic.example.com"
    with pytest.raises(ValueError, match="must be a DNS name"):
        names.server_name("2001:db8::1")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("NAS.local", "nas.local"),
    ],
)
def test_an_address_is_a_name_or_an_ip_address(text: str, address: str) -> None:
    assert names.address(text) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://nas", "without scheme"),
        ("[2001:db8::1]", "without brackets"),
        ("192.0.2.1:5001", "the port has a key of its own"),
        ("nas local", "is not a DNS name"),
    ],
)
def test_other_addresses_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        names.address(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("nas.example.com:5001", SocketAddress("nas.example.com", 5001)),
        ("192.0.2.1:443", SocketAddress("192.0.2.1", 443)),
        ("[2001:db8::1]:443", SocketAddress("2001:db8::1", 443)),
    ],
)
def test_a_socket_address_is_an_address_and_a_port(text: str, place: SocketAddress) -> None:
    assert names.socket_address(text) == place
    assert str(place) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nas", "name:port"),
        ("nas:", "name:port"),
        ("nas:x", "name:port"),
        ("nas:-1", "name:port"),
        ("nas:\u0665", "name:port"),
        (":443", "is not a DNS name"),
        ("nas:0", "from 1 to 65535"),
        ("nas:65536", "from 1 to 65535"),
        ("2001:db8::1:443", "stands in brackets"),
        ("[nas]:443", "stands in brackets"),
    ],
)
def test_other_socket_addresses_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        names.socket_address(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("192.0.2.53", SocketAddress("192.0.2.53", 53)),
        ("2001:db8::53", SocketAddress("2001:db8::53", 53)),
        ("ns.example.com", SocketAddress("ns.example.com", 53)),
        ("192.0.2.53:5353", SocketAddress("192.0.2.53", 5353)),
        ("[2001:db8::53]:5353", SocketAddress("2001:db8::53", 5353)),
    ],
)
def test_a_nameserver_s_port_is_53_unless_given(text: str, place: SocketAddress) -> None:
    assert names.nameserver(text) == place


DIGITS = "0a" * 32


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + DIGITS.upper(),
        "SHA-256:" + DIGITS,
        ":".join(["0A"] * 32),
        "sha256:" + ":".join(["0a"] * 32),
        DIGITS,
    ],
)
def test_a_fingerprint_in_another_form_is_refused_with_the_right_form(text: str) -> None:
    with pytest.raises(ValueError, match=f'write "sha256:{DIGITS}"'):
        values.pin(text)


def test_a_fingerprint_is_taken_in_one_form_only() -> None:
    assert values.pin("sha256:" + DIGITS) == "sha256:" + DIGITS
    with pytest.raises(ValueError, match=r"64 lower-case hex digits$"):
        values.pin("sha256:abc")


@pytest.mark.parametrize(
    "text", ["letsencrypt", "google", "https://ca.example.com:14000/dir", "https://[::1]/dir"]
)
def test_a_ca_is_a_known_word_or_a_directory_url(text: str) -> None:
    assert values.ca(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("letsencrypt-stagin", 'did you mean "letsencrypt-staging"'),
        ("http://ca.example.com/dir", "must be an https URL"),
        ("https://user:hunter2@ca.example.com/dir", "must not carry user or password"),
        ("https://user@ca.example.com/dir", "must not carry user or password"),
        ("https:///dir", "is not a URL"),
        ("https://[::1/dir", "is not a URL"),
        ("https://ca.example.com:x/dir", "is not a URL"),
        ("https://ca.example.com:0/dir", "is not a URL"),
        ("https://ca.example.com/a b", "is not a URL"),
        ("https://ca.example.com/\x1b", "is not a URL"),
    ],
)
def test_other_cas_are_refused_without_repeating_them(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        values.ca(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["https://dns.example.net/dns-query", "https://192.0.2.1:8443/", "https://[::1]/q"]
)
def test_a_server_of_dns_over_https_is_an_https_url(text: str) -> None:
    assert values.doh(text) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://dns.example.net/dns-query", "must be an https URL: RFC 8484"),
        ("dns.example.net", "must be an https URL"),
        ("https://user:hunter2@dns.example.net/q", "must not carry user or password"),
        ("https://dns.example.net/dns-query{?dns}", "must be written without"),
        ("https://dns.example.net:x/q", "is not a URL"),
        ("https:///dns-query", "is not a URL"),
        ("", "is not a URL"),
    ],
)
def test_other_servers_of_dns_over_https_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        values.doh(text)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hmac-md5", "too weak"),
        ("HMAC-MD5.SIG-ALG.REG.INT.", "too weak"),
        ("hmac-sha1", "too weak"),
        ("hmac-sha255", 'did you mean "hmac-sha25'),
    ],
)
def test_weak_and_unknown_tsig_algorithms_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        values.tsig_algorithm(text)


@pytest.mark.parametrize(
    ("value", "services"),
    [("keep", "keep"), ("all", "all"), (["FTPS", "system/default"], ("FTPS", "system/default"))],
)
def test_services_are_a_word_or_a_list(value: object, services: object) -> None:
    assert values.services(value) == services


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("none", "must be"),
        (5, "must be"),
        (["FTPS", 5], "must be"),
        ([], "lists no service"),
        (["*"], "is no service"),
        ([" "], "must not be empty"),
        (["FTPS", "ftps"], "names a service twice"),
    ],
)
def test_other_services_are_refused(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        values.services(value)


Parser = Callable[[str], object]


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (values.line, "\t"),
        (values.line, "two\nlines"),
        (values.line, "esc\x1b"),
        (values.line, "two\u2028lines"),
        (values.description, "back\\slash"),
        (values.description, ""),
        (values.email, "admin"),
        (values.email, "a@b@c"),
        (values.email, "a b@example.com"),
        (values.host_key, "MD5:aa:bb"),
        (values.tsig_key_name, "a key"),
        (values.tsig_key_name, ""),
        (values.mode, "rw-r--r--"),
        (values.mode, "0800"),
        (values.remote_path, "relative.pem"),
        (values.remote_path, "/etc/ssl/"),
        (values.remote_path, "/etc//ssl"),
        (values.remote_path, "/etc/./ssl"),
        (values.remote_path, "/etc/../ssl"),
        (values.remote_path, "/" + "x" * 1024),
        (values.owner, ""),
        (values.owner, "-root"),
        (values.owner, "root:"),
        (values.owner, "root docker"),
        (values.owner, "a:b:c"),
        (values.environment_name, "A=B"),
        (values.environment_name, ""),
        (values.path, ""),
        (values.path, "nul\0"),
        (values.path, "~nobody-has-this-name/key"),
        (values.hazard, "fewer"),
    ],
)
def test_a_wrong_text_is_refused_with_words(parser: Parser, text: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|names|is) "):
        parser(text)


@pytest.mark.parametrize(
    ("parser", "text"),
    [
        (values.line, "a line, with ünïcode"),
        (values.description, "wild card"),
        (values.email, "admin@example.com"),
        (values.host_key, "SHA256:" + "aB/+" * 10 + "abc"),
        (values.tsig_key_name, "acme_key.example.com."),
        (values.tsig_algorithm, "hmac-sha384"),
        (values.mode, "0640"),
        (values.mode, "600"),
        (values.remote_path, "/etc/ssl/wildcard.pem"),
        (values.remote_path, "/etc/my own/..x/$HOME.pem"),
        (values.owner, "root"),
        (values.owner, "1000:1000"),
        (values.owner, "certs@house:docker-users"),
        (values.environment_name, "ProgramFiles(x86)"),
        (values.hazard, "fewer-names"),
    ],
)
def test_a_right_text_is_taken_as_it_is(parser: Parser, text: str) -> None:
    assert parser(text) == text


def test_the_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert values.path("~/certs") == tmp_path / "certs"
    assert values.path("certs") == Path("certs")


@pytest.mark.parametrize("arguments", [[], [""], ["op", "nul\0"]])
def test_a_command_names_a_program(arguments: list[str]) -> None:
    with pytest.raises(ValueError, match="must"):
        values.argv(arguments)
    assert values.argv(["op", "read", ""]) == ["op", "read", ""]


@pytest.mark.parametrize(
    ("text", "user", "host", "port"),
    [
        ("admin@gate.example.com", "admin", "gate.example.com", 22),
        ("admin@Gate:2222", "admin", "gate", 2222),
        ("admin@2001:DB8::1", "admin", "2001:db8::1", 22),
        ("admin@[2001:db8::1]", "admin", "2001:db8::1", 22),
        ("admin@[2001:db8::1]:2222", "admin", "2001:db8::1", 2222),
        ("first.last@192.0.2.1", "first.last", "192.0.2.1", 22),
    ],
)
def test_a_jump_host_is_who_and_where(text: str, user: str, host: str, port: int) -> None:
    assert names.jump_host(text) == JumpHost(user, SocketAddress(host, port))


@pytest.mark.parametrize(
    "text",
    [
        "gate",
        "@gate",
        "admin@",
        "a b@gate",
        "a@b@gate",
        "a:b@gate",
        "a@gate:",
        "a@gate:0",
        "a@[gate]",
        "a@gate,b@gate",
        "a@ssh://gate",
        "a@-gate",
    ],
)
def test_other_jump_hosts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        names.jump_host(text)


@given(st.text())
def test_reading_a_jump_host_never_ends_otherwise(text: str) -> None:
    with suppress(ValueError):
        assert names.jump_host(text).user
