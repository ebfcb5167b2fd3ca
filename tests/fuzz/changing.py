"""Changes to valid inputs that keep so much of their form that parsers get far into them.

All chance comes from a `Random`: hypothesis gives one that it can shrink, a fuzzer one by number.
"""

import base64
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

Change = Callable[[Random, bytes], bytes]

_NUMBERS: Final = (0, 1, 2, 4, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF)
_EDGES: Final = (*_NUMBERS, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
_WIDTHS: Final = ("<H", ">H", "<L", ">L", "<Q", ">Q")
TOKENS: Final = (
    *(b"\0", b"\n", b"\r\n", b"\x1b[31m", b"\x9b31m", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *("\u202e\u2066\u200b\ufeff".encode(), "e\u0301\u0301\u0301".encode(), b"[bold]x[/bold]"),
    *(b"{" * 50, b"[" * 50, b'"', b"'", b"\\", b"-", b"../", b"NaN", b"1e999", b"%s%n", b"<b>"),
)


def any_bytes(random: Random, sample: bytes) -> bytes:
    """Flip, set, cut, repeat, move and insert here and there."""
    data = bytearray(sample)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice((1, 2, 4, 16, 64, 256)))
        match random.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << random.randrange(8)
            case 1 if data:
                data[at % len(data)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, 0x30, 0x20))
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * random.choice((1, 2, 50))
            case 4:
                width = random.choice(_WIDTHS)
                limit = (1 << (8 * struct.calcsize(width))) - 1
                number = struct.pack(width, random.choice(_EDGES) & limit)
                data[at : at + len(number)] = number
            case 5:
                data[at:at] = random.choice(TOKENS)
            case 6:
                other = random.randrange(len(data) + 1)
                data[at:end] = data[other : other + random.choice((1, 8, 64))]
            case _:
                del data[at:]
    return bytes(data)


HOSTILE_JSON: Final = (
    *("null", "true", "false", '""', "[]", "{}", "0", "-1", "1", "0.1", "NaN", "Infinity"),
    *("-Infinity", "1e999", "9" * 30, "9" * 5000, '"\\ud800"', '"\\u0000"', '"a\\nb"'),
    *('"\\u202e\\u001b[31m\\u009b\\ue000"', '{"a":1,"a":2}', '"' + "A" * 70_000 + '"'),
    *('"../../etc"', '"0001-01-01T00:00:00+23:59"', '"9999-12-31T23:59:59-23:59"', '"\u00e4"'),
    *('"https://ca.example/\\n"', '"http://[::1"', '["x",["x",{}]]', '{"":""}', '"valid"'),
)
_DEPTHS: Final = (3, 200, 400, 100_000)


def json_text(random: Random, sample: bytes) -> bytes:
    """Put something hostile into places of a JSON document; the rest stays as it is."""
    try:
        tree: Any = json.loads(sample)
    except (ValueError, RecursionError):
        return any_bytes(random, sample)
    hostile: dict[str, str] = {}
    for _ in range(random.choice((1, 1, 2, 3))):
        mark = f"@@{len(hostile)}@@"
        hostile[json.dumps(mark)] = _hostile_json(random)
        tree = _put(random, tree, mark)
    text = json.dumps(tree)
    for mark, value in hostile.items():
        text = text.replace(mark, value)
    data = text.encode("utf-8", "surrogatepass")
    return any_bytes(random, data) if random.random() < 0.1 else data


def _hostile_json(random: Random) -> str:
    if random.random() < 0.85:
        return random.choice(HOSTILE_JSON)
    depth = random.choice((*_DEPTHS, random.randrange(900, 1010)))
    opening, closing = random.choice((("[", "]"), ('{"a":', "}")))
    return opening * depth + "1" + closing * depth


def _put(random: Random, tree: Any, value: Any) -> Any:
    """Return a tree with a value in some place: instead of what is there, or as another key."""
    if isinstance(tree, dict) and tree and random.random() < 0.9:
        key = random.choice(sorted(tree))
        if random.random() < 0.1:
            rest = {name: one for name, one in tree.items() if name != key}
            return rest if random.random() < 0.5 else {**tree, value: tree[key]}
        return {**tree, key: _put(random, tree[key], value)}
    if isinstance(tree, list) and tree and random.random() < 0.9:
        at = random.randrange(len(tree))
        return [*tree[:at], _put(random, tree[at], value), *tree[at + 1 :]]
    return value


HOSTILE_TOML: Final = (
    *("inf", "-nan", "0", "-1", "1", "true", '""', "''", "[]", "{}", '"a"', "0.5"),
    *("9" * 5000, "0x" + "f" * 6000, "1979-05-27T07:32:00Z", "1979-05-27", "07:32:00"),
    *('"\\u202e\\u001b"', '"\\ud800"', '"\u202e\u009b"', "'''\n'''", '"""\\\n   \n"""'),
    *("[[[1]]]", "{a={b={c=1}}}", '["a", 1]', "[" * 400 + "]" * 400, "{a=" * 300 + "1" + "}" * 300),
    *('"' + "x." * 300 + '"', '"*.*.example"', '"xn--a"', '"[::1]:5001"', '"\u00df\u0130.example"'),
    '"' + "\u0300" * 3000 + '"',
)


def toml_text(random: Random, sample: bytes) -> bytes:
    """Change lines of a TOML document: values, keys, headers, their order and number."""
    lines = sample.decode("utf-8", "replace").split("\n")
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(len(lines))
        key, equals, value = lines[at].partition("=")
        match random.randrange(7):
            case 0 | 1 | 2 if equals:
                lines[at] = f"{key}= {random.choice(HOSTILE_TOML)}"
            case 3:
                lines.insert(at, lines[random.randrange(len(lines))])
            case 4:
                del lines[at]
                lines = lines or [""]
            case 5 if equals:
                name = random.choice(('""', '"\\u202e"', "a.b", "x" * 3000, ".".join("a" * 300)))
                lines[at] = f"{name} = {value}"
            case _:
                lines[at] = random.choice(("[hosts]", "[[hosts.a]]", "[a.b.c]", "[x", "]", "x = y"))
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    return any_bytes(random, data) if random.random() < 0.2 else data


_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----\s*", re.DOTALL)


def pem_text(random: Random, sample: bytes) -> bytes:
    """Change the DER inside of a block, its label, or how blocks and lines stand together."""
    blocks = [(match[1], match[2]) for match in _BLOCK.finditer(sample)]
    if not blocks:
        return any_bytes(random, sample)
    at = random.randrange(len(blocks))
    label, body = blocks[at]
    match random.randrange(8):
        case 0 | 1 | 2 | 3:
            whole = re.sub(rb"[^A-Za-z0-9+/]", b"", body)
            der = base64.b64decode(whole[: len(whole) // 4 * 4])
            blocks[at] = (label, base64.encodebytes(any_bytes(random, der)))
        case 4:
            labels = (b"CERTIFICATE", b"PRIVATE KEY", b"EC PRIVATE KEY", b"ENCRYPTED PRIVATE KEY")
            blocks[at] = (random.choice((*labels, b"DSA PRIVATE KEY", b"X509 CERTIFICATE")), body)
        case 5:
            blocks *= random.choice((2, 3, 40))
        case 6:
            random.shuffle(blocks)
        case _:
            blocks[at] = (label, any_bytes(random, body))
    text = b"".join(
        b"-----BEGIN %b-----\n%b-----END %b-----\n" % (name, inside, name)
        for name, inside in blocks
    )
    match random.randrange(8):
        case 0:
            return b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")
        case 1:
            return "\ufeff".encode("utf-16-le") + text.decode("latin-1").encode("utf-16-le")
        case 2:
            return any_bytes(random, text)
        case _:
            return text


_MEMBERS: Final = (
    *(
        "cert.pem",
        "privkey.pem",
        "chain.pem",
        "syno-ca-cert.pem",
        "RSA-cert.pem",
        "ECC-privkey.pem",
    ),
    *(
        "../cert.pem",
        "/privkey.pem",
        "C:\\cert.pem",
        "cert.pem/",
        "x/../cert.pem",
        "\u202ecert.pem",
    ),
)
_METHODS: Final = (
    *(zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA),
)


def zip_file(random: Random, sample: bytes) -> bytes:
    """Make another archive like this one, with hostile members, or damage this one."""
    if random.random() < 0.5:
        return any_bytes(random, sample)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in random.sample(_MEMBERS, random.randrange(1, 6)):
            member = zipfile.ZipInfo(name)
            member.compress_type = random.choice(_METHODS)
            member.external_attr = random.choice((0, 0o120777 << 16, 0o100600 << 16, 0xFFFFFFFF))
            if random.random() < 0.3:
                sizes = [random.choice(_EDGES) for _ in range(random.randrange(4))]
                extra = struct.pack(f"<{len(sizes)}Q", *sizes)
                length = random.choice((len(extra), 8, 24, 0xFFFF))
                member.extra = struct.pack("<HH", 1, length) + extra
            size = random.choice((0, 1, 100, 3 << 20))
            archive.writestr(member, b"\0" * size)
    data = bytearray(made.getvalue())
    for mark in (b"PK\1\2", b"PK\5\6"):
        at = data.find(mark)
        while at >= 0 and random.random() < 0.5:
            place = at + random.randrange(4, 46)
            number = struct.pack("<L", random.choice(_EDGES) & 0xFFFFFFFF)
            data[place : place + 4] = number
            at = data.find(mark, at + 4)
    return bytes(data)


def headed(change: Change) -> Change:
    """Return a change for inputs of one line, which says what is asked, and a body."""

    def changed(random: Random, sample: bytes) -> bytes:
        head, newline, body = sample.partition(b"\n")
        if random.random() < 0.3:
            head = any_bytes(random, head).replace(b"\n", b"")
        return head + newline + change(random, body)

    return changed


FORMS: Final[Mapping[str, Change]] = {
    "bytes": any_bytes,
    "json": json_text,
    "toml": toml_text,
    "pem": pem_text,
    "zip": zip_file,
    "headed json": headed(json_text),
}


def arbitrary(random: Random) -> bytes:
    """Return bytes of no form at all."""
    if random.random() < 0.5:
        return b"".join(random.choice(TOKENS) for _ in range(random.randrange(20)))
    return bytes(random.randrange(256) for _ in range(random.randrange(200)))


def varied(random: Random, samples: tuple[bytes, ...], form: str) -> bytes:
    """Return an input: mostly a changed sample, sometimes none of any form."""
    if random.random() < 0.05:
        return arbitrary(random)
    data = random.choice(samples)
    for _ in range(random.choice((1, 1, 2))):
        data = FORMS[form](random, data)
    return data
