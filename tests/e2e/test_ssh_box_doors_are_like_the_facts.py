"""Who may come into a virtual box, and how, is as the facts say."""

from contextlib import closing
from dataclasses import replace

import paramiko
import pytest

from tests.e2e.ssh_box import Knobs
from tests.e2e.ssh_box_client import SECONDS, BoxOf, MakeBox, as_root, connect, say
from tests.e2e.ssh_box_ports import LOCAL
from tests.e2e.ssh_box_tree import (
    ARCHIVE,
)

_SSL = "/usr/syno/etc/ssl"


def test_an_administrator_is_asked_for_a_password_by_sudo(ssh_box_of: BoxOf) -> None:
    box = ssh_box_of("dsm72")
    with closing(connect(box, box.admin, by="key")) as client:
        assert "a password is required" in say(client, "sudo -n true").err
        wrong = say(client, "sudo -k -S -p '' id -u", "wrong\n")
        assert wrong.status == 1
        assert "Sorry, try again." in wrong.err
        right = say(client, "sudo -k -S -p '' /bin/sh -s", f"{box.admin.password}\nid -u\n")
        assert (right.status, right.out, right.err) == (0, "0\n", "")
        assert say(client, f"cat {ARCHIVE}/INFO").status == 1


def test_without_a_question_the_password_line_ends_up_in_the_payload(ssh_box_of: BoxOf) -> None:
    box = ssh_box_of("dsm72")
    with closing(connect(box, box.silent)) as client:
        assert say(client, "sudo -n true").status == 0
        assert say(client, "sudo -S -p '' cat", "secret\npayload\n").out == "secret\npayload\n"


def test_root_comes_in_by_key_only(ssh_box_of: BoxOf) -> None:
    box = ssh_box_of("dsm72")
    with closing(connect(box, box.root, by="key")) as client:
        assert say(client, "id -u").out == "0\n"
    with pytest.raises(paramiko.AuthenticationException):
        connect(box, box.root)


def test_a_routers_root_comes_in_with_the_admins_password_and_admin_has_no_sudo(
    ssh_box_of: BoxOf,
) -> None:
    box = ssh_box_of("srm13")
    assert box.root.password == box.admin.password
    with closing(connect(box, box.root)) as client:
        assert say(client, "id -u").out == "0\n"
    with closing(connect(box, box.admin)) as client:
        assert say(client, "id -u").out == "1026\n"
        assert say(client, "sudo -n true").status == 127


def test_who_is_no_administrator_gets_no_shell(ssh_box_of: BoxOf) -> None:
    box = ssh_box_of("dsm72")
    with closing(connect(box, box.visitor)) as client:
        assert say(client, "id").status == 1


def test_the_sftp_subsystem_is_refused_while_it_is_off(ssh_box_of: BoxOf) -> None:
    box = ssh_box_of("dsm72")
    with closing(connect(box, box.admin)) as client, pytest.raises(paramiko.SSHException):
        client.open_sftp()


def test_a_home_that_others_may_write_to_makes_keys_useless(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm62", Knobs(home_mode=0o777))
    with pytest.raises(paramiko.AuthenticationException):
        connect(box, box.admin, by="key")
    assert "bad ownership or modes for directory" in box.log()
    connect(box, box.admin).close()


def test_an_account_without_a_home_comes_in_with_a_password_and_a_warning(
    make_ssh_box: MakeBox,
) -> None:
    box = make_ssh_box("dsm72", Knobs(home_mode=None))
    with closing(connect(box, box.admin)) as client:
        said = say(client, "pwd")
    assert (said.status, said.out) == (0, "/\n")
    assert "Could not chdir to home directory" in said.err


def test_wrong_passwords_block_the_address(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72", Knobs(auto_block=2))
    connect(box, box.admin).close()
    for _ in range(2):
        with pytest.raises(paramiko.AuthenticationException):
            connect(box, replace(box.admin, password="wrong"))
    with pytest.raises(paramiko.AuthenticationException):
        connect(box, box.admin)


def test_a_box_of_long_ago_offers_sha_1_host_keys_only(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm62", Knobs(legacy=True))
    with paramiko.Transport((LOCAL, box.ports["ssh"])) as transport:
        transport.disabled_algorithms = {"keys": ["ssh-rsa"]}
        with pytest.raises(paramiko.ssh_exception.IncompatiblePeer):
            transport.start_client(timeout=SECONDS)


def test_host_keys_can_change(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    before = box.host_keys
    connect(box, box.admin).close()
    box.change_host_keys()
    assert before["ed25519"] != box.host_keys["ed25519"]
    connect(box, box.admin).close()


def test_nothing_below_tmp_runs_as_a_program_on_dsm_7(ssh_box_of: BoxOf) -> None:
    script = "printf '#!/bin/sh\\necho ran\\n' >/tmp/x; chmod 755 /tmp/x; /tmp/x"
    assert "Permission denied" in as_root(ssh_box_of("dsm72"), script).err
    assert as_root(ssh_box_of("dsm62"), script).out == "ran\n"
