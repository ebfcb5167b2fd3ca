"""Shapes on the wire and on the disk, without I/O: each can be tested with literals."""
