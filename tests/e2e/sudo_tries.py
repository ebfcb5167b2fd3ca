"""A count of the passwords that sudo was given on a virtual box, kept by its PAM stack."""

from typing import Final

from tests.e2e.ssh_box import SshBox
from tests.e2e.ssh_box_tree import Item

TRIES: Final = "/run/sudo-tries"


def count_sudo(box: SshBox) -> None:
    """Let every password that sudo is given leave a mark; an end of input is none."""
    counter = f'#!/bin/sh\ntr -d "\\0" | grep -q . && echo tried >>{TRIES}\n'
    stack = box.read("/etc/pam.d/sudo").decode()
    line = "auth optional pam_exec.so quiet seteuid expose_authtok /opt/box/count-sudo\n"
    box.place(
        Item(path="/opt/box/count-sudo", content=counter.encode(), mode=0o755),
        Item(path="/etc/pam.d/sudo", content=(stack + line).encode(), mode=0o644),
        Item(path=TRIES, content=b"", mode=0o600),
    )
