"""A Synology router by SSH as root: three files, which its web server reads when it is told to.

The paths and the signal are those of SRM 1.2 (dsm-ssh facts 4); for 1.3 no source tells others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Final

from distributor.clients.shell import Shell
from distributor.model.bundle import Bundle, Certificate
from distributor.model.endpoints import Served
from distributor.model.errors import ApplyFailed, DeviceRefused, Unsupported
from distributor.model.hazards import Foresight, Traits
from distributor.model.hosts import Host
from distributor.model.plan import Plan
from distributor.model.snapshot import Snapshot
from distributor.model.state import CHAIN, KEY, LEAF, UNREADABLE, FactValue, State
from distributor.targets.pem_facts import agrees, certificates_of, facts_of, with_served
from distributor.targets.pem_files import PemFile, is_servable, may_be_down
from distributor.targets.pem_set import PemSet, Place, Seen
from distributor.targets.remote_lock import Controller
from distributor.targets.remote_set import NewFile, mark_of
from distributor.targets.router_facts import ENTRY, desired_state, the_certificate

_SSL: Final = "/usr/syno/etc/ssl"
_KEY_FILE: Final = PemFile("private_key", f"{_SSL}/ssl.key/server.key")
_CHAIN_FILE: Final = PemFile("chain", f"{_SSL}/ssl.intercrt/server-ca.crt")
_LEAF_FILE: Final = PemFile("leaf", f"{_SSL}/ssl.crt/server.crt")
_PLACE: Final = Place(files=(_KEY_FILE, _CHAIN_FILE, _LEAF_FILE), folder=_SSL, always_root=True)
_ARCHIVE: Final = "/usr/syno/etc/certificate/_archive"
"""What a DiskStation has, and a router has not."""
_ENDED: Final = 70

# Told gracefully, the server ends when the files are no pair, a moment later; its pid file is
# written anew once it has read them. Where neither is seen in time, the handshake tells. One that
# does not run, as after a pair that did not fit, is started.
_RELOAD: Final = f"""\
file=/run/httpd/httpd-sys.pid
pid=$(cat "$file" 2>/dev/null)
if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then
  exec /usr/syno/sbin/synoservicecfg --restart httpd-sys >&2
fi
before=$(stat -c %i:%Z "$file")
kill -USR1 "$pid" || exit 1
tries=50
while [ $tries -gt 0 ]; do
  if ! kill -0 "$pid" 2>/dev/null; then echo "it ended" >&2; exit {_ENDED}; fi
  [ "$(stat -c %i:%Z "$file" 2>/dev/null)" = "$before" ] || exit 0
  tries=$((tries - 1)); sleep 0.1 2>/dev/null || sleep 1
done
"""


class RouterSsh:
    """A router with SRM, reached by SSH as root; `controller` names us to others."""

    def __init__(
        self,
        host: Host,
        connect: Callable[[], AbstractContextManager[Shell]],
        now: Callable[[], datetime],
        *,
        controller: Callable[[], Controller],
    ) -> None:
        self._host = host
        self._connect = connect
        self._controller = controller
        self._now = now

    def desired(self, certificates: Mapping[str, Certificate]) -> State:
        """Return leaf, chain and key of the one certificate that is delivered to it.

        Raises Ambiguous for several: it could hold but one of them.
        """
        certificate = the_certificate(self._host, certificates)
        state = desired_state(self._host, certificates)
        if certificate is None or certificate.is_forecast:
            return state
        return State({ENTRY: {**state.facts[ENTRY], KEY: certificate.key}})

    @contextmanager
    def open(self) -> Iterator["RouterSshSession"]:
        """Sign in for as long as the context lasts."""
        with self._connect() as shell:
            session = RouterSshSession(self._host, shell, self._now, self._controller)
            try:
                yield session
            finally:
                session.release()


class RouterSshSession:
    """One login to a router."""

    def __init__(
        self,
        host: Host,
        shell: Shell,
        now: Callable[[], datetime],
        controller: Callable[[], Controller],
    ) -> None:
        self._shell = shell
        self._now = now
        self._set = PemSet(host.name, shell, _PLACE, controller)

    @property
    def traits(self) -> Traits:
        """No source tells of EC keys on SRM; the files of its own certificate can be put back."""
        return Traits(elliptic_curves=False, needs_common_name=True, puts_back_self_signed=True)

    def inspect(self, served: Sequence[Served]) -> State:
        """Return what the three files tell, and where a port serves something else.

        Raises DeviceRefused where they are not, as on a DiskStation.
        """
        self._require_router()
        shown = [one.certificate for one in served if one.certificate is not None]
        seen = self._set.look()
        facts = _facts(seen)
        if is_servable(seen):
            facts = with_served(facts, shown)
        return State({ENTRY: facts} if facts else {})

    def foresee(self, plan: Plan) -> Foresight:
        """Return what cannot be copied, and whether the web server may be down.

        Raises Unsupported for a certificate without chain: whether the web server starts with an
        empty file of it is not known.
        """
        if not plan.changes:
            return Foresight()
        for one in plan.certificates:
            if not (one.chain or one.is_forecast):
                raise Unsupported(
                    f"'{one.name}' has no chain, and a router's web server reads one from a file",
                    hint='bring it by the Web API instead: via = "api"',
                    step="plan",
                )
        seen = self._set.seen
        return Foresight(
            notes=("its web server reloads: pages that are open may load again",),
            hazards=self._set.lost(),
            heals=may_be_down(seen),
        )

    def snapshot(self, plan: Plan, *, may_lose: bool = False) -> Snapshot:
        """Return what was seen; `apply` first copies the files, on the router."""
        if not may_lose:
            self._set.require_restorable()
        return Snapshot(
            host=plan.host,
            taken=self._now(),
            before=plan.observed,
            copied=tuple(dict.fromkeys(change.address for change in plan.changes)),
            copy=mark_of(plan.observed),
        )

    def apply(self, plan: Plan, bundles: Mapping[str, Bundle]) -> None:
        """Copy what is there, put the three files in place together, and reload the web server.

        Raises ApplyFailed when that ends instead, or the files are not as they were seen.
        """
        if not plan.changes:
            return
        before = _facts(self._set.begin())
        new: dict[PemFile, NewFile] = {}
        for change in plan.changes:
            if before.get(change.fact) != change.after:
                bundle = bundles[change.certificate]
                new = {
                    file: NewFile(
                        file.content(bundle),
                        like=_LEAF_FILE.path if file == _CHAIN_FILE else None,
                    )
                    for file in _PLACE.files
                }
        self._set.replace(new, mark_of(plan.observed))
        self._reload()

    def remove(self, plan: Plan) -> None:
        """Refuse: a router's one certificate can be replaced, never removed."""
        if plan.removals:
            raise ApplyFailed(
                "a router's certificate cannot be removed", hint="review the plan", step="remove"
            )

    def rollback(self, snapshot: Snapshot) -> None:
        """Put the copies back that `apply` made, and have them served if they can be.

        Raises RollbackFailed where there are none, and the files are not as before.
        """
        before = snapshot.before.facts.get(ENTRY, {})
        if self._set.put_back(
            snapshot.copy, lambda seen: agrees(_facts(seen), before)
        ) and is_servable(self._set.look()):
            # Told of files that it cannot use, the web server would end.
            self._reload()

    def release(self) -> None:
        """Let go of the lock."""
        self._set.release()

    def _reload(self) -> None:
        result = self._set.run(["/bin/sh", "-c", _RELOAD])
        if result.status == _ENDED:
            raise ApplyFailed(
                "the router's web server ended when it was told of the certificate",
                hint="start it there: /usr/syno/sbin/synoservicecfg --restart httpd-sys",
                step="reload",
            )
        result.required("cannot reload the router's web server", "reload")

    def _require_router(self) -> None:
        folder = f"{_SSL}/ssl.crt"
        there = self._shell.look([folder, _ARCHIVE], as_root=True)
        if there[_ARCHIVE] is not None:
            raise DeviceRefused(
                "this is a DiskStation, not a router",
                hint='write kind = "diskstation"',
                step="inspect",
            )
        if there[folder] is None:
            raise DeviceRefused(
                f"this is no router with SRM: it has no {folder}",
                hint="correct `address` or `kind`",
                step="inspect",
            )


def _facts(seen: Seen) -> dict[str, FactValue]:
    """Return what the files tell together; of a file that is not there nothing."""
    leaf, chain, key = seen[_LEAF_FILE], seen[_CHAIN_FILE], seen[_KEY_FILE]
    facts: dict[str, FactValue] = {}
    if leaf is not None:
        found = None if leaf.content is None else certificates_of(leaf.content)
        facts |= facts_of(found)
    if LEAF in facts:
        facts[CHAIN] = _chain(facts[CHAIN], () if chain is None else chain.facts(None)[CHAIN])
    if key is not None:
        facts[KEY] = key.facts(None)[KEY]
    return facts


def _chain(behind_leaf: FactValue, in_file: FactValue) -> FactValue:
    """Return what is served after the leaf: the rest of its file, then the other."""
    if isinstance(behind_leaf, tuple) and isinstance(in_file, tuple):
        return (*behind_leaf, *in_file)
    return UNREADABLE
