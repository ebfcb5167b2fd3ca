"""A TLS socket that is closed, too, when its peer has gone before the handshake."""

import errno
import os
import ssl
from typing import Any


class TlsSocket(ssl.SSLSocket):
    """For `SSLContext.sslsocket_class`: wrapping a dead connection raises and leaves nothing open.

    Python's own leaves the descriptor to the garbage collector then: it asks for the peer's address
    in the constructor, and what fails there is in nobody's hands.
    """

    def getpeername(self) -> Any:
        """Return the peer's address; closes and raises ConnectionResetError when it has gone."""
        try:
            return super().getpeername()
        except OSError as error:
            self.close()
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from error
