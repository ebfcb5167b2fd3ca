"""Single values of the inventory: from text to what the program works with.

Each function raises ValueError with words for the user. The words never repeat the value, since
somebody may have put a secret in the wrong place.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from distributor.model.hazards import HAZARDS
from distributor.model.hosts import KNOWN_CAS
from distributor.model.text import printable

_LOOKED_THROUGH: Final = 1000
_COMPARED: Final = 64
"""Words at most that another one is compared with."""
_DIFFERENCE: Final = 2
"""Characters that a misspelt word lacks, or has too many."""
_DURATION: Final = re.compile(r"(?P<count>[1-9][0-9]{0,4})(?P<unit>[smhd])", re.ASCII)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PIN: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LOOSE_PIN: Final = re.compile(r"(?:sha-?256[:=/ ]?)?((?:[0-9a-f]{2}:?){32})", re.IGNORECASE)
_HOST_KEY: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_MAILBOX: Final = re.compile(r"[^@\s]+@[^@\s]+")
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_MODE: Final = re.compile(r"0?[0-7]{3}")
_ACCOUNT: Final = r"[A-Za-z0-9_.][A-Za-z0-9_.@\\-]*"
_OWNER: Final = re.compile(f"{_ACCOUNT}(:{_ACCOUNT})?")
_LONGEST_PATH: Final = 1024
_KNOWN_WEAK: Final = frozenset({"hmac-md5", "hmac-md5.sig-alg.reg.int", "hmac-sha1"})
_TSIG_ALGORITHMS: Final = ("hmac-sha256", "hmac-sha384", "hmac-sha512")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean "x"?` when one of `known` looks like `word`, else an empty text.

    Of very many only some of about the same length are looked at: each comparison takes its time.
    """
    names = list(islice(known, _LOOKED_THROUGH))
    if len(names) > _COMPARED:
        names = [one for one in names if abs(len(one) - len(word)) <= _DIFFERENCE][:_COMPARED]
    close = difflib.get_close_matches(word, names, n=1)
    return f'; did you mean "{printable(close[0])}"?' if close else ""


def one_of(words: Iterable[str]) -> str:
    """Return words as TOML strings, parted by commas."""
    return ", ".join(f'"{printable(word)}"' for word in words)


def line(text: str) -> str:
    """Return a text that has something in it and stands on one line."""
    if not text.strip():
        raise ValueError("must not be empty")
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text):
        raise ValueError("must be one line without control characters")
    return text


def description(text: str) -> str:
    """Return the description of an entry; DSM spoils a backslash (dsm-web-api facts 3.2)."""
    if "\\" in text:
        raise ValueError("must not contain a backslash, which DSM does not keep")
    return line(text)


def duration(text: str) -> timedelta:
    """Return a span of time written as a whole number and `s`, `m`, `h` or `d`."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError(
            "must be a whole number from 1 to 99999 and a unit (s, m, h or d), "
            'as in "90s", "5m", "36h" or "20d"'
        )
    return timedelta(seconds=int(found["count"]) * _SECONDS[found["unit"]])


def renew_before(text: str) -> timedelta | Literal["ari"]:
    """Return the span before expiry at which to renew, or `ari` to let the CA say."""
    if text == "ari":
        return "ari"
    try:
        return duration(text)
    except ValueError as error:
        raise ValueError(f'must be "ari" or a span of time: {error}') from None


def pin(text: str) -> str:
    """Return a SHA-256 fingerprint: `sha256:` and 64 lower-case hex digits."""
    if _PIN.fullmatch(text):
        return text
    loose = _LOOSE_PIN.fullmatch(text)
    hint = f'; write "sha256:{loose[1].replace(":", "").lower()}"' if loose else ""
    raise ValueError(f'must be "sha256:" and 64 lower-case hex digits{hint}')


def host_key(text: str) -> str:
    """Return an SSH host key's fingerprint as OpenSSH prints it."""
    if not _HOST_KEY.fullmatch(text):
        raise ValueError(
            'must be "SHA256:" and 43 characters of base64, as `ssh-keygen -l` prints it'
        )
    return text


def email(text: str) -> str:
    """Return a mail address, of which only the outline is looked at."""
    if not _MAILBOX.fullmatch(text):
        raise ValueError('must be a mail address, as in "admin@example.com"')
    return line(text)


def ca(text: str) -> str:
    """Return a CA: one of `KNOWN_CAS`, or the https URL of an ACME directory."""
    if "://" not in text:
        if text not in KNOWN_CAS:
            raise ValueError(
                f"is no known CA{did_you_mean(text, KNOWN_CAS)}; one of {one_of(KNOWN_CAS)}, "
                "or the https URL of an ACME directory"
            )
        return text
    return _https_url(text, "RFC 8555 section 6.1", "ACME logs in by its account key")


def doh(text: str) -> str:
    """Return the https URL of a DNS-over-HTTPS server (RFC 8484)."""
    if "{" in text:
        raise ValueError('must be written without "{?dns}": questions are sent by POST')
    return _https_url(text, "RFC 8484 section 5", "these servers ask for none")


def _https_url(text: str, source: str, why_no_login: str) -> str:
    try:
        url = urlsplit(line(text))
        complete = bool(url.hostname) and url.port != 0
    except ValueError:
        raise ValueError("is not a URL") from None
    if url.scheme != "https":
        raise ValueError(f"must be an https URL: {source} allows no other")
    if url.username is not None or url.password is not None:
        raise ValueError(f"must not carry user or password: {why_no_login}")
    if not complete or " " in text:
        raise ValueError("is not a URL")
    return text


def directory_url(ca: str) -> str:
    """Return the URL of a CA's directory, which tells the same CA by word and by URL."""
    return KNOWN_CAS.get(ca, ca)


def tsig_algorithm(text: str) -> str:
    """Return the name of a TSIG algorithm that is safe to use (RFC 8945 section 6)."""
    if text in _TSIG_ALGORITHMS:
        return text
    if text.rstrip(".").lower() in _KNOWN_WEAK:
        raise ValueError(
            "is too weak (RFC 8945 section 6 advises against MD5 and SHA-1): "
            f"make a key for one of {one_of(_TSIG_ALGORITHMS)}"
        )
    raise ValueError(
        f"must be one of {one_of(_TSIG_ALGORITHMS)}{did_you_mean(text, _TSIG_ALGORITHMS)}"
    )


def tsig_key_name(text: str) -> str:
    """Return the name of a TSIG key, which is a DNS name (RFC 8945 section 4.2)."""
    if not _KEY_NAME.fullmatch(text):
        raise ValueError("must be the key's name as the nameserver has it: a DNS name")
    return text


def services(value: object) -> Literal["keep", "all"] | tuple[str, ...]:
    """Return which services an entry gets: `keep`, `all`, or the names listed."""
    if value == "keep":
        return "keep"
    if value == "all":
        return "all"
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('must be "keep", "all", or a list of services such as ["FTPS"]')
    if not value:
        raise ValueError('lists no service: write "keep", or name at least one')
    if "*" in value:
        raise ValueError('"*" is no service: write services = "all"')
    folded = [line(item).casefold() for item in value]
    if len(set(folded)) < len(folded):
        raise ValueError("names a service twice")
    return tuple(value)


def hazard(text: str) -> str:
    """Return the name of a hazard."""
    if text not in HAZARDS:
        raise ValueError(f"is no hazard{did_you_mean(text, HAZARDS)}; one of {one_of(HAZARDS)}")
    return text


def path(text: str) -> Path:
    """Return a path of this machine, `~` replaced by the home folder."""
    try:
        return Path(line(text)).expanduser()
    except RuntimeError:
        raise ValueError("names a home folder that does not exist") from None


def remote_path(text: str) -> str:
    """Return an absolute path of a host."""
    if not line(text).startswith("/") or text.endswith("/"):
        raise ValueError("must be the absolute path of a file on the host")
    if any(part in {"", ".", ".."} for part in text.split("/")[1:]):
        raise ValueError('must be without "//" and without the parts "." and ".."')
    if len(text.encode("utf-8", "surrogateescape")) > _LONGEST_PATH:
        raise ValueError(f"must have {_LONGEST_PATH} bytes at most")
    return text


def mode(text: str) -> str:
    """Return a file's mode as octal digits."""
    if not _MODE.fullmatch(text):
        raise ValueError('must be octal digits, as in "0640"')
    return text


def owner(text: str) -> str:
    """Return the owner of a file, `user` or `user:group`, by name or number."""
    if not _OWNER.fullmatch(text):
        raise ValueError('must be a user, or user:group, as in "root:docker" or "1000:1000"')
    return text


def environment_name(text: str) -> str:
    """Return the name of an environment variable."""
    if "=" in line(text):
        raise ValueError('must be the name of a variable, without "="')
    return text


def argv(arguments: list[str]) -> list[str]:
    """Return a command as a list of arguments, the program first."""
    if not arguments or not arguments[0]:
        raise ValueError('must name a program: ["op", "read", "…"]')
    if any("\0" in argument for argument in arguments):
        raise ValueError("must not contain the character NUL")
    return arguments


def at_least_one(number: int) -> int:
    """Return a count that is not zero."""
    if number < 1:
        raise ValueError("must be 1 or more")
    return number
