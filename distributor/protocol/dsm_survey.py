"""One look at a DiskStation's certificate files: the script that takes it, and what it prints.

Certificates come whole; of a private key comes the public half alone, which `openssl` makes on the
box. What several folders hold alike comes once.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from distributor.model.errors import ProtocolError
from distributor.protocol.dsm_commands import LAYER
from distributor.protocol.dsm_info import ARCHIVE, CERTIFICATES, PACKAGES

OWN_FOLDER: Final = "/usr/syno/etc/.distribute"
"""Copies, lock and what is under way; on the file system of the certificates, and kept by upgrades
(dsm-ssh facts 2.5)."""
OWED: Final = f"{OWN_FOLDER}/owed"
"""Holds a file by the id of each entry whose files were being replaced, until what serves them was
told."""

PAIRS: Final = tuple(
    f"{half}{name}.pem"
    for half in ("", "RSA-", "ECC-")
    for name in ("cert", "chain", "fullchain", "privkey")
)
"""The files of a pair, and those of an entry that has two (dsm-ssh facts 1.3)."""
BESIDE: Final = (
    "syno-ca-cert.pem",
    "syno-ca-privkey.pem",
    "root.pem",
    "short-chain.pem",
    "renew.json",
    "info",
    "cert_info",
)
"""Other files that were seen beside them (dsm-ssh facts 1.3)."""

# The arguments are paths of which those that are there are told. Lines of the answer:
#   T path             it is there
#   I name, content    INFO or DEFAULT
#   D path             a folder; its files follow
#   S name facts       mode, uid, gid, user:group of a file
#   H digest name      its SHA-256
#   C digest, content  a certificate file, when its digest is told first
#   K digest, content  the public key of a private key's file
#   O id               an entry that a reload is owed to
#   L path             a folder of the web server's own layer; the files that it reads follow
#   P digest           its SHA-256; - for one that cannot be read
# Content is base64, or a public key's PEM, up to a line with a dot; a ! says it cannot be had.
# Paths are base64, since a package may name its folder as it likes.
SURVEY: Final = f"""\
set -u
for t do [ ! -e "$t" ] || printf 'T %s\\n' "$t"; done
end() {{ [ "$1" = 0 ] || echo '!'; echo .; }}
for n in INFO DEFAULT; do
  [ -e "{ARCHIVE}/$n" ] || continue
  echo "I $n"; base64 <"{ARCHIVE}/$n"; end $?
done
for f in {OWED}/*; do [ ! -f "$f" ] || printf 'O %s\\n' "${{f##*/}}"; done
seen=
show() {{
  case "$seen" in *"$1"*) return ;; esac
  echo "C $1"; base64 <"$2"; end $?
  seen="$seen $1"
}}
folder() {{ printf '%s ' "$1"; printf '%s' "$2" | base64 | tr -d '\\n'; echo; }}
for d in {CERTIFICATES}/*/*/ {PACKAGES}/*/*/; do
  d=${{d%/}}
  cd -- "$d" 2>/dev/null || continue
  folder D "$d"
  set --
  for n in {" ".join((*PAIRS, *BESIDE))}; do [ ! -f "$n" ] || set -- "$@" "$n"; done
  [ $# -gt 0 ] || continue
  stat -L -c 'S %n %a %u %g %U:%G' -- "$@"
  while read -r h n; do
    [ -n "$h" ] || continue
    echo "H $h $n"
    case $n in
    *privkey.pem)
      case "$seen" in *"$h"*) continue ;; esac
      echo "K $h"; openssl pkey -in "$n" -passin pass: -pubout 2>/dev/null; end $?
      seen="$seen $h" ;;
    *cert.pem | *chain.pem) show "$h" "$n" ;;
    esac
  done <<.
$(sha256sum -- "$@")
.
done
for d in {LAYER}/*/; do
  d=${{d%/}}
  [ -f "$d/cert.conf" ] || continue
  folder L "$d"
  while read -r f; do
    f=${{f%%;*}}; [ -n "$f" ] || continue
    if h=$(sha256sum <"$f"); then h=${{h%% *}}; echo "P $h"; show "$h" "$f"; else echo 'P -'; fi
  done 2>/dev/null <<.
$(sed -n 's/^[[:space:]]*ssl_certificate[[:space:]][[:space:]]*//p' "$d"/cert.conf*)
.
done
echo E
"""


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file in a folder."""

    digest: str
    """SHA-256 in hex over its content; empty when it could not be read."""
    mode: str
    """Four octal digits."""
    owner: str
    """`user:group` by name; numbers where they have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was there at one moment."""

    there: frozenset[str]
    """Those of the paths asked for that exist."""
    info: bytes | None
    default: bytes | None
    folders: Mapping[str, Mapping[str, SeenFile]]
    """Every folder of the archive and of services, with its files by name."""
    contents: Mapping[str, bytes | None]
    """Certificate files by digest; None for one that could not be read."""
    public_keys: Mapping[str, bytes | None]
    """PEM of the public key of private keys' files by digest; None where there is none."""
    layer: Mapping[str, tuple[str | None, ...]]
    """Folders of the web server's own layer: digests of the certificate files that it reads there;
    None for one that cannot be read."""
    owed: frozenset[str]
    """Names, ids if they are ours, of entries whose reload is owed."""


def parse_survey(output: bytes) -> Survey:
    """Return what `SURVEY` printed; raises ProtocolError for anything else."""
    reader = _Reader(output.decode("utf-8", "replace").split("\n"))
    try:
        return reader.survey()
    except (ValueError, KeyError, binascii.Error) as error:
        raise ProtocolError(
            "the box's certificate files cannot be looked at: its tools answer something else "
            "than expected",
            hint="is this a DiskStation with DSM 6 or 7?",
            step="read",
        ) from error


class _Reader:
    """Takes the lines one by one; what does not fit raises ValueError or KeyError."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = iter(lines)
        self._there: set[str] = set()
        self._told: dict[str, bytes | None] = {}
        self._folders: dict[str, dict[str, SeenFile]] = {}
        self._folder: dict[str, SeenFile] = {}
        self._contents: dict[str, bytes | None] = {}
        self._keys: dict[str, bytes | None] = {}
        self._owed: set[str] = set()
        self._layer: dict[str, tuple[str | None, ...]] = {}
        self._published = ""

    def survey(self) -> Survey:
        """Read to the end."""
        take = {
            "T": self._there.add,
            "I": self._take_told,
            "D": self._take_folder,
            "S": self._take_file,
            "H": self._take_digest,
            "C": self._take_content,
            "K": self._take_key,
            "O": self._owed.add,
            "L": self._take_layer,
            "P": self._take_published,
        }
        for line in self._lines:
            kind, _, rest = line.partition(" ")
            if kind == "E":
                return Survey(
                    there=frozenset(self._there),
                    info=self._told.get("INFO"),
                    default=self._told.get("DEFAULT"),
                    folders=self._folders,
                    contents=self._contents,
                    public_keys=self._keys,
                    layer=self._layer,
                    owed=frozenset(self._owed),
                )
            take[kind](rest)
        raise ValueError("cut")

    def _take_told(self, name: str) -> None:
        self._there.add(f"{ARCHIVE}/{name}")
        self._told[name] = _decoded(_block(self._lines))

    def _take_folder(self, encoded: str) -> None:
        self._folder = self._folders.setdefault(_path(encoded), {})

    def _take_file(self, facts: str) -> None:
        # Names of a directory service may have spaces in them ("DOMAIN\\domain users").
        name, mode, uid, gid, names = facts.split(" ", 4)
        user, group = names.split(":")
        owner = f"{_named(user, uid)}:{_named(group, gid)}"
        self._folder[name] = SeenFile(digest="", mode=f"{int(mode, 8):04o}", owner=owner)

    def _take_digest(self, words: str) -> None:
        digest, name = words.split(" ")
        self._folder[name] = replace(self._folder[name], digest=digest)

    def _take_content(self, digest: str) -> None:
        self._contents[digest] = _decoded(_block(self._lines))

    def _take_key(self, digest: str) -> None:
        lines = _block(self._lines)
        self._keys[digest] = None if lines is None else "\n".join((*lines, "")).encode()

    def _take_layer(self, encoded: str) -> None:
        self._published = _path(encoded)
        self._layer[self._published] = ()

    def _take_published(self, digest: str) -> None:
        self._layer[self._published] += (None if digest == "-" else digest,)


def _block(lines: Iterator[str]) -> list[str] | None:
    """Return the lines up to the dot; None when they end in a failure."""
    found: list[str] = []
    for line in lines:
        if line == ".":
            return None if found[-1:] == ["!"] else found
        found.append(line)
    raise ValueError("cut")


def _decoded(lines: list[str] | None) -> bytes | None:
    return None if lines is None else base64.b64decode("".join(lines), validate=True)


def _path(encoded: str) -> str:
    return base64.b64decode(encoded, validate=True).decode("utf-8", "surrogateescape")


def _named(name: str, number: str) -> str:
    return number if name == "UNKNOWN" else name
