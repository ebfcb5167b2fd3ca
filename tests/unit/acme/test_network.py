"""What goes over the wire: over HTTPS alone, repeated only where that does no harm."""

import pytest

from distributor.clients.acme_directory import directory_facts, require_ca
from distributor.clients.acme_network import READ_TRIES
from distributor.clients.certificate_authority import CertificateAuthority, make_csr
from distributor.model.directory import DirectoryFacts
from distributor.model.errors import CaUnreachable, Interrupted, OrderFailed, RateLimited
from distributor.model.secret import Secret
from tests.certs import key_pem, private_key
from tests.unit.scripted_authority import CUT, Clock, ScriptedAuthority

CSR = make_csr(Secret(key_pem(private_key()).decode()), ["example.com"])
READS = ["/dir", "/newNonce", "/order/1", "/authorization/1"]


def read_everything(ca: CertificateAuthority, script: ScriptedAuthority) -> None:
    assert ca.order(f"{script.url}/order/1", CSR) is not None


@pytest.mark.parametrize("path", READS)
def test_a_connection_that_breaks_off_while_reading_is_made_again(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock, path: str
) -> None:
    script.replies[path] = [CUT] * (READ_TRIES - 1) + script.replies[path]
    read_everything(ca, script)
    assert clock.slept == [0.25, 0.5]


@pytest.mark.parametrize("path", READS)
def test_a_moments_trouble_while_reading_is_waited_out(
    ca: CertificateAuthority, script: ScriptedAuthority, path: str
) -> None:
    trouble = [(502, {}, "<html>"), script.problem(500, "serverInternal")]
    script.replies[path] = [*trouble, *script.replies[path]]
    read_everything(ca, script)


@pytest.mark.parametrize("path", READS)
def test_a_connection_that_keeps_breaking_off_is_given_up(
    ca: CertificateAuthority, script: ScriptedAuthority, path: str
) -> None:
    script.replies[path] = [CUT]
    with pytest.raises(CaUnreachable, match="cannot be reached"):
        read_everything(ca, script)
    assert script.asked.count(path) == READ_TRIES


def test_what_makes_something_is_never_sent_twice(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
) -> None:
    order = ca.new_order(CSR)
    for path in ("/newAccount", "/newOrder", "/finalize/1", "/revokeCert", "/keyChange"):
        script.replies[path] = [CUT]
    script.replies["/order/1"] = [(200, {}, script.order("ready"))]
    script.asked.clear()
    calls = (
        lambda: ca.register(None),
        lambda: ca.new_order(CSR),
        lambda: ca.finish(order, clock.now()),
    )
    for call in calls:
        with pytest.raises(CaUnreachable):
            call()
    for path in ("/newAccount", "/newOrder", "/finalize/1"):
        assert script.asked.count(path) == 1, path


def test_a_ca_that_says_when_to_come_back_is_not_asked_before(
    ca: CertificateAuthority, script: ScriptedAuthority, clock: Clock
) -> None:
    script.replies["/order/1"] = [(503, {"Retry-After": "30"}, "<html>")]
    with pytest.raises(CaUnreachable) as caught:
        read_everything(ca, script)
    assert caught.value.retry_at is not None
    script.replies["/order/1"] = [script.problem(503, "rateLimited", "service busy")]
    with pytest.raises(RateLimited, match="service busy"):
        read_everything(ca, script)
    assert script.asked.count("/order/1") == 2
    assert clock.slept == []


@pytest.mark.parametrize("nonce", ["", "A"])
def test_an_order_is_not_lost_over_a_nonce(
    ca: CertificateAuthority, script: ScriptedAuthority, nonce: str
) -> None:
    status, headers, body = script.replies["/newOrder"][0]
    script.replies["/newOrder"] = [(status, {**headers, "Replay-Nonce": nonce}, body)]
    assert ca.new_order(CSR).uri == f"{script.url}/order/1"
    read_everything(ca, script)
    assert script.asked.count("/newNonce") == 2


@pytest.mark.parametrize("nonce", ["", "A"])
def test_a_ca_without_nonces_is_no_acme(
    ca: CertificateAuthority, script: ScriptedAuthority, nonce: str
) -> None:
    script.replies["/newNonce"] = [(200, {"Replay-Nonce": nonce}, "")]
    with pytest.raises(CaUnreachable, match="not ACME"):
        ca.new_order(CSR)
    assert "/newOrder" not in script.asked


def test_waiting_for_another_try_can_be_interrupted(
    script: ScriptedAuthority, account_key: Secret, clock: Clock
) -> None:
    def interrupted(_seconds: float) -> None:
        raise Interrupted("stopped", hint="run again", step="test")

    client = CertificateAuthority(
        script.directory, account_key, ca_bundle=script.ca_bundle, sleep=interrupted, now=clock.now
    )
    script.replies["/dir"] = [CUT]
    try:
        with pytest.raises(Interrupted):
            client.register(None)
    finally:
        client.close()


def test_nothing_is_asked_without_tls_wherever_the_ca_points(
    ca: CertificateAuthority, script: ScriptedAuthority
) -> None:
    plain = script.url.replace("https://", "http://")
    script.resources["newOrder"] = f"{plain}/newOrder"
    with pytest.raises(CaUnreachable, match="not ACME"):
        ca.order(f"{plain}/order/1", CSR)
    with pytest.raises(CaUnreachable, match="not ACME"):
        ca.new_order(CSR)
    assert not {"/order/1", "/newOrder"} & set(script.asked)


class TestDirectory:
    def facts(self, script: ScriptedAuthority) -> DirectoryFacts:
        return directory_facts(script.directory, ca_bundle=script.ca_bundle)

    def test_a_ca_that_says_nothing_offers_nothing(self, script: ScriptedAuthority) -> None:
        assert self.facts(script) == DirectoryFacts()

    def test_what_it_says_is_given_printable(self, script: ScriptedAuthority) -> None:
        script.resources["meta"] = {
            "profiles": {"classic": "the usual\x1b[2J"},
            "externalAccountRequired": True,
        }
        assert self.facts(script) == DirectoryFacts(
            profiles={"classic": r"the usual\x1b[2J"},
            external_account_required=True,
        )

    @pytest.mark.parametrize("meta", [5, "x", [1], {"profiles": 5}, {"profiles": ["a"]}])
    def test_what_makes_no_sense_is_said(self, script: ScriptedAuthority, meta: object) -> None:
        script.resources["meta"] = meta
        with pytest.raises(CaUnreachable, match="not ACME"):
            self.facts(script)

    def test_a_directory_is_required_to_be_one(self, script: ScriptedAuthority) -> None:
        self.require(script)
        with pytest.raises(CaUnreachable, match="not trusted"):
            require_ca(script.directory, ca_bundle=None, profile=None, is_bound=False)
        for name in ("newNonce", "newAccount", "newOrder"):
            kept = script.resources.pop(name)
            with pytest.raises(CaUnreachable, match="not ACME"):
                self.require(script)
            script.resources[name] = kept
        script.replies["/dir"] = [script.problem(403, "unauthorized", "not for you")]
        with pytest.raises(OrderFailed, match="not for you"):
            self.require(script)

    def test_a_ca_is_required_to_take_orders_as_they_would_be_made(
        self, script: ScriptedAuthority
    ) -> None:
        with pytest.raises(OrderFailed, match="does not offer the profile short: it has none"):
            self.require(script, profile="short")
        script.resources["meta"] = {
            "profiles": {"classic": "the usual"},
            "externalAccountRequired": True,
        }
        with pytest.raises(OrderFailed, match="wants an external account"):
            self.require(script)
        with pytest.raises(OrderFailed, match="short: it has only classic"):
            self.require(script, profile="short", is_bound=True)
        self.require(script, profile="classic", is_bound=True)

    def require(
        self, script: ScriptedAuthority, *, profile: str | None = None, is_bound: bool = False
    ) -> None:
        require_ca(script.directory, ca_bundle=script.ca_bundle, profile=profile, is_bound=is_bound)
