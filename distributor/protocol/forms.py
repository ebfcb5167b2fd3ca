"""The parts of a multipart form (RFC 7578)."""

Part = tuple[str, tuple[str | None, bytes | str, str] | tuple[None, bytes | str]]
"""The name of a part, and (file name, content, type) or (None, text)."""
