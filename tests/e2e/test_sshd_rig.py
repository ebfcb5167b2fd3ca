"""The rig itself: a real server with users of its own, of which the machine sees nothing."""

import subprocess
from pathlib import Path

from tests.e2e.sshd import Sshd, User, make_key


def test_the_rig_lets_its_users_in_and_the_machine_does_not_know_them(tmp_path: Path) -> None:
    key = tmp_path / "key"
    user = User("rig-user", "its-password", [make_key(key)])
    with Sshd(tmp_path / "rig", [user]) as sshd:
        known = tmp_path / "known_hosts"
        known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_keys['ed25519']}\n")
        done = subprocess.run(
            [
                *("ssh", "-F", "none", "-i", key, "-o", f"UserKnownHostsFile={known}"),
                *("-o", "BatchMode=yes", "-p", str(sshd.port), "rig-user@127.0.0.1"),
                "sudo -n true; sudo -S -p '' id -un",
            ],
            input="its-password\n",
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        assert done.stdout == "root\n"
        assert "a password is required" in done.stderr
        assert sshd.as_root("stat -c '%U %a' /run/homes/rig-user") == "rig-user 711\n"
        assert "rig-user" not in Path("/etc/passwd").read_text(encoding="utf-8")
        assert not Path("/run/homes").exists()
