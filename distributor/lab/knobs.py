"""What a virtual DiskStation is (its profile) and how it misbehaves (its knobs).

Every knob stands for a real report or for a question the facts leave open (dsm-web-api facts
§7.9 and §8). The defaults are a healthy box.
"""

from dataclasses import dataclass
from typing import Literal

# Markup for a terminal and a browser, an escape sequence, a line break, a NUL, a right-to-left
# override and a zero-width joiner: what a description can hold that a report must not obey.
HOSTILE_DESCRIPTION = (
    "[bold red]pwned[/] <script>alert(1)</script> "
    "\x1b[2J\x1b]0;title\x07 a\r\nb \x00 \u202eevil\u200d"
)


@dataclass(frozen=True, slots=True)
class Profile:
    """How one DSM release speaks (dsm-web-api facts §1.2, §6)."""

    name: str
    auth_path: str
    """Where SYNO.API.Info says that logins go."""
    auth_versions: tuple[int, int]
    """Lowest and highest version of SYNO.API.Auth that Info announces."""
    auth_floor: int
    """Lower versions than this are answered with 103 although Info announces them."""
    content_type: str
    refuses_unsafe_file_names: bool
    """An upload whose file name has a path is refused with 108 (DSM 7.4.1)."""


def _dsm7(name: str, *, refuses_unsafe_file_names: bool = False) -> Profile:
    return Profile(
        name=name,
        auth_path="entry.cgi",
        auth_versions=(1, 7),
        auth_floor=3,
        content_type='application/json; charset="UTF-8"',
        refuses_unsafe_file_names=refuses_unsafe_file_names,
    )


DSM70 = _dsm7("dsm70")
DSM72 = _dsm7("dsm72")
DSM73 = _dsm7("dsm73")
DSM74 = _dsm7("dsm74", refuses_unsafe_file_names=True)


@dataclass(frozen=True, slots=True)
class Fault:
    """Cut the connection at the n-th request, counted from the start of the box.

    `counted` says which requests count: "writes" are the state-changing ones (import, set, delete,
    Service set), whether they succeed or not; "requests" are all. `when` says whether the request
    still has its effect.
    """

    nth: int
    when: Literal["before", "after"]
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
    id_absent: bool = False
    """The answer to an import does not hold the key `id`."""
    data_absent: frozenset[str] = frozenset()
    """Methods (`login`, `list`, `import`, …) whose successful answer has no `data`."""
    unknown_id_is_new: bool = False
    """An import with an id that does not exist makes a new entry; otherwise 5503. Open question."""
    binding_not_moved: bool = False
    """Service set says success and moves nothing."""
    import_seconds: float = 0.0
    """How long an import takes before it has its effect."""
    token_missing_code: Literal[103, 105, 119] = 119
    """The answer to a call that lacks the token its session asked for."""
    login_without_ik_message: bool = False
    """The login answer has no `ik_message`: clients then skip the Noise handshake."""
    device_id_empty: bool = False
    """`device_id` is "" even after a login with a one-time code (DSM 7.0.1)."""
    auto_block_after: int | None = None
    """So many failed logins from one address block it (407)."""
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
