"""What a virtual box is (its profile) and how it misbehaves (its knobs).

Every knob stands for a real report or for a question the facts leave open (dsm-web-api facts
§7.9 and §8). The defaults are a healthy box.
"""

from dataclasses import dataclass
from typing import Final, Literal

# Markup for a terminal and a browser, an escape sequence, a line break, a NUL, a right-to-left
# override and a zero-width joiner: what a description can hold that a report must not obey.
HOSTILE_DESCRIPTION = (
    "[bold red]pwned[/] <script>alert(1)</script> "
    "\x1b[2J\x1b]0;title\x07 a\r\nb \x00 \u202eevil\u200d"
)


@dataclass(frozen=True, slots=True)
class Profile:
    """How one release of DSM or SRM speaks (dsm-web-api facts §1.2, §2.8, §4, §6)."""

    name: str
    system: Literal["dsm6", "dsm7", "srm"]
    auth_path: str
    """Where SYNO.API.Info says that logins go."""
    auth_versions: tuple[int, int]
    """Lowest and highest version of SYNO.API.Auth that Info announces."""
    auth_floor: int
    """Lower versions than this are answered with 103 although Info announces them."""
    content_type: str
    refuses_unsafe_file_names: bool = False
    """An upload whose file name has a path is refused with 108 (DSM 7.4.1)."""


_PLAIN_TEXT: Final = 'text/plain; charset="UTF-8"'


def _dsm7(name: str, *, refuses_unsafe_file_names: bool = False) -> Profile:
    return Profile(
        name=name,
        system="dsm7",
        auth_path="entry.cgi",
        auth_versions=(1, 7),
        auth_floor=3,
        content_type='application/json; charset="UTF-8"',
        refuses_unsafe_file_names=refuses_unsafe_file_names,
    )


def _srm(name: str) -> Profile:
    """Return a router: its highest version of Auth and its content type are inferred."""
    return Profile(
        name=name,
        system="srm",
        auth_path="auth.cgi",
        auth_versions=(1, 2),
        auth_floor=1,
        content_type=_PLAIN_TEXT,
    )


DSM62 = Profile(
    name="dsm62",
    system="dsm6",
    auth_path="auth.cgi",
    auth_versions=(1, 6),
    auth_floor=1,
    content_type=_PLAIN_TEXT,
)
DSM70 = _dsm7("dsm70")
DSM72 = _dsm7("dsm72")
DSM73 = _dsm7("dsm73")
DSM74 = _dsm7("dsm74", refuses_unsafe_file_names=True)
# Both speak alike here. The older /webman/login.cgi of SRM 1.2 is left out: what it answers to a
# login that it refuses is not known.
SRM12 = _srm("srm12")
SRM13 = _srm("srm13")


@dataclass(frozen=True, slots=True)
class Fault:
    """Let the n-th request go wrong, counted from the start of the box.

    `counted` says which requests count: "writes" are the state-changing ones (import, set, delete,
    Service set), whether they succeed or not; "requests" are all. `how` says what happens:

    - "before", "after": the connection is reset before or after the request has its effect;
    - "page": a page of status 502 answers, without any effect;
    - "session": all sessions end just before the request;
    - "slow": the answer takes `Knobs.slow_seconds` more;
    - "nothing": the answer is that of a success, and nothing has changed;
    - "gone": the connection is reset, and from then on the box is off.
    """

    nth: int
    how: Literal["before", "after", "page", "session", "slow", "nothing", "gone"]
    counted: Literal["writes", "requests"] = "writes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """Faults and open questions of one box; times are seconds."""

    restart_delay: float = 0.05
    """From the answer that announces a restart until the web server goes down."""
    restart_seconds: float = 0.3
    """How long a restarting server is away."""
    restart_answers_502: bool = False
    """While restarting, answer with an HTML page of status 502 instead of refusing."""
    restart_drops_answer: bool = False
    """The restart overtakes the answer of the request that caused it: it arrives cut in half."""
    restart_ends_sessions: bool = False
    """Nobody is logged in any more after a restart."""
    restart_httpd_absent: bool = False
    """Answers never hold the key `restart_httpd`."""
    set_tells_restart: bool = False
    """The answer to `CRT` `set` has `restart_httpd`; otherwise a new default restarts the web
    server without a word. Open question."""
    id_absent: bool = False
    """The answer to an import does not hold the key `id`."""
    data_absent: frozenset[str] = frozenset()
    """Methods (`login`, `list`, `import`, …) whose successful answer has no `data`."""
    unknown_id_is_new: bool = False
    """An import with an id that does not exist makes a new entry; otherwise 5503. Open question."""
    binding_not_moved: bool = False
    """Service set says success and moves nothing."""
    import_refused_code: int | None = None
    """Every import is refused with this code, as by a full disk or a busy box (facts §2.4)."""
    login_busy_code: int | None = None
    """Every login is answered with this code, which says nothing of the account (facts §2.4)."""
    import_seconds: float = 0.0
    """How long an import takes before it has its effect."""
    slow_seconds: float = 1.0
    """How much longer the answer of a request takes that is to be slow."""
    ec_refused_code: Literal[5529, 5598] = 5529
    """What DSM 6 answers to an EC key: 5529 in 6.2.3, 5598 was seen in 6.2.4."""
    dual_export: Literal["prefixed", "ecc", "rsa"] = "prefixed"
    """What an export of an entry with an ECC and an RSA pair holds: both, their names beginning
    with `ECC-` and `RSA-`, or one of them under the usual names. Open question."""
    old_tls: bool = False
    """Speak TLS 1.0 and 1.1 only, as old firmware does."""
    customised_domain: str = ""
    """A request for this name on DSM's own port gets 404; it is served on the https port."""
    http_redirects: bool = False
    """The http port sends everybody to the TLS port. That it does so by 302 is inferred."""
    session_lost_code: Literal[105, 106, 119] | None = None
    """The answer to a session that is unknown or over; by default 119 (seen on DSM 7), on DSM 6 106
    (inferred: 105 or 106)."""
    session_idle_seconds: float = 900.0
    """A session unused for longer is over; 15 minutes is the setting DSM 6.2.3 comes with."""
    token_missing_code: Literal[103, 105, 119] = 119
    """The answer to a call that lacks the token its session asked for."""
    login_without_ik_message: bool = False
    """The login answer has no `ik_message`: clients then skip the Noise handshake."""
    device_id_empty: bool = False
    """`device_id` is "" even after a login with a one-time code (DSM 7.0.1)."""
    device_ids_forgotten: bool = False
    """No device id is accepted any more: each leads to 403."""
    totp_steps: int = 1
    """How many steps of 30 s a one-time code may be early or late. Open question."""
    auto_block_after: int | None = None
    """So many failed logins from one address block it (407)."""
    account_locks_after: int | None = None
    """So many wrong passwords lock an account (411) for clients without a valid device id."""
    sid_starts_with_digit: bool = False
    """Session ids begin with a digit instead of a letter."""
    router_auth_max: int = 2
    """Highest version of SYNO.API.Auth on a router: clients use 2. Open question."""
    router_refuses_late: bool = False
    """Others than a router's first administrator may log in and get 117 at every call, instead of
    402 at the login. Both codes were seen; when each of them comes is open."""
    router_ec_code: int | None = 5529
    """What a router answers to an EC key, None if it takes it. Open question."""
    router_crt: Literal["absent", "as_dsm", "as_router"] = "absent"
    """Whether a router has `SYNO.Core.Certificate.CRT` `list`, and in which shape. Open
    question."""
    plain_text: bool = False
    """JSON answers say `text/plain`, as DSM 6 does."""
    html_status: int | None = None
    """Answer every request with an HTML error page of this status."""
    hang: Literal["never", "handshake", "answer"] = "never"
    """Accept, then fall silent: before the TLS handshake, or after the request was read."""
    rsa_key_types: str = ""
    """`key_types` of an entry with an RSA key: "" was seen, "RSA" is inferred."""
    expired_at_start: bool = False
    """The certificate the box comes with has expired."""
    description: str = ""
    """Description of the entry the box comes with."""
    twins: bool = False
    """The box comes with a second entry, unbound, of the same description."""
    faults: tuple[Fault, ...] = ()
