"""What an engine of the lab's CA is given, and what it says about how to start it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Site:
    """A private folder, certificate and key (PEM) for the HTTPS port, and where roots belong."""

    folder: Path
    certificate: Path
    key: Path
    root: Path


@dataclass(frozen=True, slots=True)
class Launch:
    """A command, what it adds to the environment, and where it answers once it runs.

    `root_urls` are where the issuing roots are to be had, if the engine makes them itself; else it
    has written `Site.root`.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory_url: str
    root_urls: tuple[str, ...] = ()
