"""Which entry and which services the inventory means: one rule, and no guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.choice import choose_entry, names_of, resolve, services_matching
from distributor.model.errors import Ambiguous
from distributor.model.state import (
    CERTIFICATE,
    DEFAULT,
    DEVICE,
    LEAF,
    MANAGED_BY,
    NAMES,
    SELF_SIGNED,
    TAKES,
    UNREADABLE,
    UPLOADED,
    Address,
    FactValue,
    State,
)

OURS = ("*.example.com", "example.com")
HOME = Address("certificate", "home", "id-home")
WORK = Address("certificate", "work", "id-work")
FACTORY = Address("certificate", "", "id-factory")
WEB = Address("service", "DSM Desktop Service", "system/default")
FTPS = Address("service", "FTPS", "ftpd/ftpd")
QUICK = Address("service", "QuickConnect", "system/quickconnect")
NEW = Address("certificate", "new")


def entry(
    names: tuple[str, ...] = ("other.example",), managed_by: FactValue = UPLOADED
) -> dict[str, FactValue]:
    return {NAMES: names, MANAGED_BY: managed_by, LEAF: UNREADABLE}


def box(**entries: dict[str, FactValue]) -> State:
    by_name = {"home": HOME, "work": WORK, "factory": FACTORY}
    bound = Address("certificate", "", "id-factory")
    return State(
        {by_name[name]: facts for name, facts in entries.items()}
        | {service: {CERTIFICATE: bound} for service in (WEB, FTPS, QUICK)}
    )


# --- the rule for entries -----------------------------------------------------------------------

covered = entry(OURS)
strange = entry()
RULE = [
    ("by id", Address("certificate", "", "id-home"), box(home=strange), HOME),
    (
        "by id, not description",
        Address("certificate", "work", "id-home"),
        box(home=strange, work=covered),
        HOME,
    ),
    ("by description", Address("certificate", "home"), box(home=strange, work=covered), HOME),
    (
        "by description, whoever manages it",
        Address("certificate", "home"),
        box(home=entry(OURS, DEVICE)),
        HOME,
    ),
    ("adopted", NEW, box(home=covered, work=strange), HOME),
    ("adopted, some of our names", NEW, box(home=entry(("www.example.com",)), work=strange), HOME),
    ("new: nothing there", NEW, box(), NEW),
    ("new: other names", NEW, box(home=strange), NEW),
    ("new: one name more than ours", NEW, box(home=entry((*OURS, "other.example"))), NEW),
    ("new: names unknown", NEW, box(home={NAMES: UNREADABLE, MANAGED_BY: UPLOADED}), NEW),
    ("new: no names", NEW, box(home=entry(())), NEW),
    ("new: the device's own", NEW, box(home=entry(OURS, DEVICE)), NEW),
    ("new: self-signed", NEW, box(factory=entry(OURS, SELF_SIGNED)), NEW),
    ("new: managed by nobody knows whom", NEW, box(home=entry(OURS, UNREADABLE)), NEW),
    (
        "new: an empty description is none",
        Address("certificate"),
        box(factory=entry(("synology",), SELF_SIGNED)),
        Address("certificate"),
    ),
    (
        "adopted in spite of an empty description",
        Address("certificate"),
        box(home=covered, factory=strange),
        HOME,
    ),
]


@pytest.mark.parametrize(
    ("wanted", "observed", "chosen"), [row[1:] for row in RULE], ids=[row[0] for row in RULE]
)
def test_an_entry_is_found_by_id_else_description_else_adopted_else_new(
    wanted: Address, observed: State, chosen: Address
) -> None:
    assert choose_entry(observed, wanted, OURS) == chosen


def test_an_id_that_is_not_there_is_refused_and_what_is_there_is_listed() -> None:
    with pytest.raises(Ambiguous, match="no certificate with the id 'gone'") as caught:
        choose_entry(box(home=covered), Address("certificate", "home", "gone"), OURS)
    assert caught.value.hint == "it has 'home' (id-home); correct or remove `id`"
    assert caught.value.step == "plan"
    with pytest.raises(Ambiguous, match="it has none"):
        choose_entry(State({}), Address("certificate", "home", "gone"), OURS)


def test_a_description_that_two_entries_have_is_refused() -> None:
    twin = Address("certificate", "home", "id-twin")
    observed = State({HOME: covered, twin: covered})
    with pytest.raises(Ambiguous, match=r"2 entries have the description 'home'.*id") as caught:
        choose_entry(observed, Address("certificate", "home"), OURS)
    assert "'id-home', 'id-twin'" in caught.value.message
    assert choose_entry(observed, twin, OURS) == twin


def test_two_entries_that_could_be_adopted_are_refused() -> None:
    with pytest.raises(Ambiguous, match="2 entries have names that the new certificate covers"):
        choose_entry(box(home=covered, work=covered), NEW, OURS)


def test_two_deliveries_to_one_entry_are_refused() -> None:
    desired = State({Address("certificate", "home"): {NAMES: OURS}, NEW: {NAMES: OURS}})
    with pytest.raises(Ambiguous, match="certificate 'home' and certificate 'new' are one entry"):
        resolve(State({HOME: covered}), desired)


def test_descriptions_of_the_device_are_shown_harmlessly() -> None:
    evil = Address("certificate", "\x1b[2J", "\u202eid")
    for wanted in (Address("certificate", "", "gone"), Address("certificate", "\x1b[2J")):
        with pytest.raises(Ambiguous) as caught:
            choose_entry(
                State({evil: {}, Address("certificate", "\x1b[2J", "b"): {}}), wanted, OURS
            )
        assert str(caught.value).isprintable()


# --- services -----------------------------------------------------------------------------------

names = st.sampled_from(["FTPS", "ftps", "ftpd/ftpd", "DSM", "system/default", "*", ""])
services = st.lists(
    st.builds(Address, st.just("service"), names, names), unique=True, max_size=6
).map(lambda found: State({address: {} for address in found}))


@given(services, names)
def test_a_selector_finds_ids_first_and_names_in_any_case_otherwise(
    observed: State, selector: str
) -> None:
    found = services_matching(observed, selector)
    every = observed.of_kind("service")
    if selector == "*":
        assert found == every
    elif any(address.id == selector for address in every):
        assert {address.id for address in found} == {selector}
    else:
        assert set(found) == {
            address for address in every if address.name.lower() == selector.lower()
        }


def test_every_service_is_all_but_the_one_that_cannot_be_moved() -> None:
    observed = box()
    assert set(services_matching(observed, "*")) == {WEB, FTPS}
    assert services_matching(observed, "system/quickconnect") == (QUICK,)


def test_every_service_is_bound_by_the_star() -> None:
    wanted = Address("certificate", "home")
    desired = State({wanted: {NAMES: OURS}, Address("service", "*"): {CERTIFICATE: wanted}})
    bound = resolve(box(home=strange), desired)
    assert dict(bound.facts) == {
        HOME: {NAMES: OURS},
        WEB: {CERTIFICATE: HOME},
        FTPS: {CERTIFICATE: HOME},
    }


def test_the_star_on_a_box_without_services_binds_none() -> None:
    desired = State({Address("service", "*"): {CERTIFICATE: NEW}})
    assert dict(resolve(State({}), desired).facts) == {}


@pytest.mark.parametrize("selector", ["FTPS", "ftps", "ftpd/ftpd"])
def test_a_service_is_found_by_any_of_its_names(selector: str) -> None:
    desired = State({Address("service", selector): {CERTIFICATE: NEW}, NEW: {}})
    assert resolve(box(), desired).get(FTPS, CERTIFICATE) == NEW


def test_a_service_that_is_not_there_is_refused_and_what_is_there_is_listed() -> None:
    with pytest.raises(Ambiguous, match="no service 'WebDAV'") as caught:
        resolve(box(), State({Address("service", "WebDAV"): {CERTIFICATE: NEW}}))
    assert "'FTPS' (ftpd/ftpd)" in (caught.value.hint or "")


def test_a_name_that_two_services_have_is_refused() -> None:
    observed = State({FTPS: {}, Address("service", "ftps", "other/ftps"): {}})
    with pytest.raises(Ambiguous, match="2 entries have the name 'FTPS'"):
        resolve(observed, State({Address("service", "FTPS"): {CERTIFICATE: NEW}}))


@pytest.mark.parametrize("name", ["!first", "zlast"])
def test_a_service_by_name_wins_over_the_star_however_the_names_sort(name: str) -> None:
    service = Address("service", name, "reverse/proxy")
    home, work = Address("certificate", "home"), Address("certificate", "work")
    desired = State(
        {
            home: {},
            work: {},
            Address("service", "*"): {CERTIFICATE: home},
            Address("service", name): {CERTIFICATE: work},
        }
    )
    bound = resolve(State({HOME: {}, WORK: {}, WEB: {}, service: {}}), desired)
    assert bound.get(service, CERTIFICATE) == WORK
    assert bound.get(WEB, CERTIFICATE) == HOME


def test_one_service_named_for_two_certificates_is_refused() -> None:
    home, work = Address("certificate", "home"), Address("certificate", "work")
    by_name, by_id = Address("service", "FTPS"), Address("service", "ftpd/ftpd")
    observed = box(home=strange, work=strange)
    entries: dict[Address, dict[str, FactValue]] = {home: {}, work: {}}
    with pytest.raises(Ambiguous, match="service 'FTPS' is named for two certificates"):
        resolve(
            observed, State(entries | {by_name: {CERTIFICATE: home}, by_id: {CERTIFICATE: work}})
        )
    twice = State(entries | {by_name: {CERTIFICATE: home}, by_id: {CERTIFICATE: home}})
    assert resolve(observed, twice).get(FTPS, CERTIFICATE) == HOME


# --- what a new entry takes ---------------------------------------------------------------------


def taking(wanted: Address, *selectors: str) -> State:
    return State({wanted: {NAMES: OURS, TAKES: selectors}})


def test_a_new_entry_takes_its_services() -> None:
    bound = resolve(box(home=strange), taking(NEW, "system/default", "ftps", "not there"))
    assert dict(bound.facts) == {
        NEW: {NAMES: OURS},
        WEB: {CERTIFICATE: NEW},
        FTPS: {CERTIFICATE: NEW},
    }


@pytest.mark.parametrize(
    "wanted", [Address("certificate", "home"), NEW, Address("certificate", "x", "id-home")]
)
def test_a_known_entry_takes_nothing(wanted: Address) -> None:
    bound = resolve(box(home=covered), taking(wanted, "system/default", "*"))
    assert dict(bound.facts) == {HOME: {NAMES: OURS}}


def test_a_service_that_is_asked_for_by_name_is_not_taken() -> None:
    home = Address("certificate", "home")
    desired = State(
        {
            NEW: {NAMES: OURS, TAKES: ("*",)},
            home: {},
            Address("service", "FTPS"): {CERTIFICATE: home},
        }
    )
    bound = resolve(box(home=strange), desired)
    assert bound.get(FTPS, CERTIFICATE) == HOME
    assert bound.get(WEB, CERTIFICATE) == NEW
    assert bound.get(QUICK, CERTIFICATE) is None


def test_a_new_entry_that_names_nothing_takes_nothing() -> None:
    assert dict(resolve(box(), State({NEW: {NAMES: OURS}})).facts) == {NEW: {NAMES: OURS}}


def test_default_and_files_stay_where_they_are_and_follow_their_entry() -> None:
    wanted, file = Address("certificate", "home"), Address("file", "/etc/ssl/wildcard.pem")
    desired = State({wanted: {}, DEFAULT: {CERTIFICATE: wanted}, file: {LEAF: "sha256:1"}})
    bound = resolve(box(home=strange), desired)
    assert bound.get(DEFAULT, CERTIFICATE) == HOME
    assert bound.get(file, LEAF) == "sha256:1"


def test_names_that_could_not_be_read_are_none_that_can_be_relied_on() -> None:
    assert names_of(State({HOME: {NAMES: UNREADABLE}}), HOME) == ()
    assert names_of(State({}), HOME) == ()
    assert names_of(State({HOME: {NAMES: OURS}}), HOME) == OURS
