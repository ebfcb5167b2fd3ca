"""An order of an earlier run, found again in the account's list."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.clients.acme_orders import MOST_ORDERS, MOST_PAGES, is_usable
from distributor.clients.certificate_authority import CertificateAuthority
from distributor.model.errors import CaUnreachable, RateLimited
from tests.unit.scripted_authority import Reply, ScriptedAuthority

NAMES = ["example.com"]
NOW = datetime(2026, 11, 21, tzinfo=UTC)


class TestOpenOrder:
    @pytest.fixture(autouse=True)
    def account(self, script: ScriptedAuthority) -> None:
        about = {"status": "valid", "orders": f"{script.url}/orders"}
        script.replies["/account/1"] = [(200, {}, about)]

    @staticmethod
    def lists(
        script: ScriptedAuthority, *orders: Any, page: str = "/orders", link: str = ""
    ) -> None:
        urls = []
        for order in orders:
            urls.append(f"{script.url}/order/{len(script.replies)}")
            script.replies[urls[-1].removeprefix(script.url)] = [(200, {}, order)]
        headers = {"Link": f'<{script.url}/dir>;rel="index"{link}'}
        script.replies[page] = [(200, headers, {"orders": urls})]

    def test_the_first_that_will_do_is_taken(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        other = [{"type": "dns", "value": "other.example"}]
        self.lists(
            script,
            script.order("valid"),
            script.order("invalid"),
            script.order("processing"),
            script.order("pending", identifiers=other),
            script.order("ready"),
            script.order("pending"),
        )
        urls = script.replies["/orders"][0][2]["orders"]
        assert ca.open_order(NAMES) == urls[4]
        assert ca.open_order(NAMES, besides={urls[4]}) == urls[5]
        assert ca.open_order(NAMES, besides=urls[4:]) is None

    def test_pages_are_turned(self, ca: CertificateAuthority, script: ScriptedAuthority) -> None:
        self.lists(script, script.order("valid"), link=f', <{script.url}/orders/2>;rel="next"')
        self.lists(script, script.order("pending"), page="/orders/2")
        assert ca.open_order(NAMES) == script.replies["/orders/2"][0][2]["orders"][0]

    def test_a_list_without_end_has_one(
        self, ca: CertificateAuthority, script: ScriptedAuthority, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.lists(script, script.order("valid"), link=f', <{script.url}/orders>;rel="next"')
        assert ca.open_order(NAMES) is None
        assert script.asked.count("/orders") == MOST_PAGES
        assert "event=list-of-orders-too-long" in caplog.text

    def test_not_every_order_of_an_old_account_is_looked_at(
        self, ca: CertificateAuthority, script: ScriptedAuthority, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.lists(script, *[script.order("valid")] * (MOST_ORDERS + 5), script.order("pending"))
        assert ca.open_order(NAMES) is None
        assert sum(path.startswith("/order/") for path in script.asked) == MOST_ORDERS
        assert "event=too-many-orders" in caplog.text

    def test_a_ca_without_such_a_list_has_no_answer(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        refusals: list[Reply] = [
            script.problem(404, "malformed"),
            script.problem(405, "malformed"),
            (404, {}, "<html>"),
        ]
        for refusal in refusals:
            script.replies["/orders"] = [refusal]
            assert ca.open_order(NAMES) is None
        script.replies["/account/1"] = [(200, {}, {"status": "valid"})]
        assert ca.open_order(NAMES) is None

    def test_an_order_that_is_gone_is_passed_over(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        self.lists(script, script.order("pending"), script.order("pending"))
        first, second = script.replies["/orders"][0][2]["orders"]
        script.replies[first.removeprefix(script.url)] = [script.problem(404, "malformed")]
        assert ca.open_order(NAMES) == second

    def test_a_ca_that_fails_is_not_taken_to_have_none(
        self, ca: CertificateAuthority, script: ScriptedAuthority
    ) -> None:
        self.lists(script, script.order("pending"))
        (url,) = script.replies["/orders"][0][2]["orders"]
        for path in (url.removeprefix(script.url), "/orders", "/account/1"):
            before = script.replies[path]
            script.replies[path] = [script.problem(500, "serverInternal")]
            with pytest.raises(CaUnreachable):
                ca.open_order(NAMES)
            script.replies[path] = [script.problem(429, "rateLimited")]
            with pytest.raises(RateLimited):
                ca.open_order(NAMES)
            script.replies[path] = before
        assert ca.open_order(NAMES) == url


def order_for(names: list[str], status: str = "pending", **more: Any) -> dict[str, Any]:
    return {
        "status": status,
        "identifiers": [{"type": "dns", "value": name} for name in names],
        **more,
    }


name_lists = st.lists(st.sampled_from(["a.test", "b.test", "*.a.test", "c.test"]), min_size=1)
statuses = st.sampled_from(["pending", "ready", "processing", "valid", "invalid", "", "new"])


@given(ordered=name_lists, wanted=name_lists, status=statuses)
def test_an_order_will_do_for_exactly_its_names_while_it_has_no_request(
    ordered: list[str], wanted: list[str], status: str
) -> None:
    usable = is_usable(order_for(ordered, status), names=wanted, profile=None, now=NOW)
    assert usable == (set(ordered) == set(wanted) and status in {"pending", "ready"})


@given(st.none() | st.text(max_size=3), st.none() | st.text(min_size=1, max_size=3))
def test_an_order_will_do_for_its_own_profile_only(ordered: str | None, wanted: str | None) -> None:
    order = order_for(["a.test"], profile=ordered)
    assert is_usable(order, names=["a.test"], profile=wanted, now=NOW) == (
        (ordered or None) == wanted
    )


@given(st.timedeltas(min_value=timedelta(-9), max_value=timedelta(9)))
def test_an_order_will_do_until_it_expires(left: timedelta) -> None:
    order = order_for(["a.test"], expires=(NOW + left).isoformat().replace("+00:00", "Z"))
    assert is_usable(order, names=["A.test"], profile=None, now=NOW) == (left > timedelta(0))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "identifiers", "type", "value", "profile", "expires", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_no_order_of_another_shape_will_do(order: Any) -> None:
    assert is_usable(order, names=["a.test"], profile=None, now=NOW) is False


def test_an_address_or_an_unknown_kind_of_name_is_not_passed_over() -> None:
    order = order_for(["a.test"])
    order["identifiers"].append({"type": "ip", "value": "192.0.2.1"})
    assert not is_usable(order, names=["a.test"], profile=None, now=NOW)
    assert not is_usable(order_for(["a.test"], expires="soon"), names=[], profile=None, now=NOW)
    assert is_usable(order_for(["a.test"], expires="soon"), names=["a.test"], profile=None, now=NOW)
