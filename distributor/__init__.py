"""distribute: one wildcard certificate, brought to every Synology box and proved by handshake."""

__version__ = "0.1.0"
