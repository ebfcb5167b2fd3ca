"""The SSH host keys that this machine's user has met: `~/.ssh/known_hosts`."""

from pathlib import Path

from distributor.model.errors import StateError
from distributor.model.host_keys import KnownKeys
from distributor.model.hosts import SocketAddress
from distributor.protocol.known_hosts import known_keys


def known_host_keys(address: SocketAddress) -> KnownKeys:
    """Return what the file has for an address; nothing where there is no file.

    Raises StateError when it cannot be read.
    """
    path = Path("~/.ssh/known_hosts").expanduser()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return KnownKeys()
    except OSError as error:
        raise StateError(
            f"{path} cannot be read: {error.strerror}", hint="check its owner and mode"
        ) from error
    return known_keys(text, address)
