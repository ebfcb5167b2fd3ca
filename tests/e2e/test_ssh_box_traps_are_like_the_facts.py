"""The traps of DSM are in the virtual boxes: a 0 that did nothing, a pair that does not last."""

from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.certs import authority
from tests.e2e.ssh_box_client import (
    BoxOf,
    MakeBox,
    as_root,
    happens,
    leaf,
    new_pair,
    put,
    serves,
    still_serves,
    to_services,
)
from tests.e2e.ssh_box_ports import answers
from tests.e2e.ssh_box_tree import (
    ARCHIVE,
    CARDDAV,
    DESKTOP,
    DRIVE,
    INFO,
    TARGET_ID,
    Item,
)

_SSL = "/usr/syno/etc/ssl"


def test_the_dsm_6_hook_of_the_desktop_ends_with_0_and_does_nothing(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm62")
    pair = new_pair(box)
    as_root(box, to_services(box, pair))

    assert as_root(box, "/usr/libexec/certificate.d/system default").status == 0
    assert still_serves(box, leaf(box.target))
    assert as_root(box, "/usr/libexec/certificate.d/system FQDN").status == 0
    assert serves(box, leaf(pair))


@pytest.mark.parametrize("fault", ["nginx-not-enabled", "default-mode", "reload-does-nothing"])
def test_a_dsm_6_reload_ends_with_0_although_nothing_was_done(
    make_ssh_box: MakeBox, fault: str
) -> None:
    box = make_ssh_box("dsm62")
    as_root(box, to_services(box, new_pair(box)))
    box.fault(fault)  # type: ignore[arg-type]

    done = as_root(box, "/usr/syno/etc/rc.sysv/nginx.sh reload")

    assert done.status == 0
    assert (fault == "reload-does-nothing") == ("alias-register stop/waiting" in done.out)
    assert still_serves(box, leaf(box.target))


def test_a_dsm_6_reload_ends_with_1_when_its_deployment_fails(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm62")
    box.fault("deploy-error")
    assert as_root(box, "/usr/syno/etc/rc.sysv/nginx.sh reload").status == 1
    assert as_root(box, "/usr/syno/etc/rc.sysv/nginx.sh start").status == 1


def test_a_torn_pair_puts_a_dsm_6_reload_into_default_mode_silently(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm62")
    as_root(box, put(DESKTOP.directory, {"privkey.pem": new_pair(box).private_key_pem}))
    told = as_root(box, "/usr/syno/bin/synow3tool --deploy-hup")
    assert (told.status, told.out) == (2, "Certificate is not ok, change to default mode\n")
    assert as_root(box, "/usr/syno/etc/rc.sysv/nginx.sh reload").status == 0
    assert still_serves(box, leaf(box.target))


def test_default_mode_on_dsm_7_leaves_the_port_dead_until_it_is_healed(
    make_ssh_box: MakeBox,
) -> None:
    box = make_ssh_box("dsm72")
    tool = "/usr/syno/bin/synow3tool"
    assert as_root(box, f"{tool} --get-nginx-mod").out == "Nginx run in normal mode\n"

    box.fault("default-mode")
    as_root(box, f"{tool} --gen-all && {tool} --nginx=reload")
    assert happens(lambda: not answers(box.ports["dsm"]))
    assert as_root(box, f"{tool} --get-nginx-mod").status == 2
    assert answers(box.ports["http"])

    box.no_fault("default-mode")
    as_root(box, f"{tool} --gen-all && {tool} --nginx=reload")
    assert serves(box, leaf(box.target))
    assert as_root(box, f"{tool} --get-nginx-mod").status == 0


def test_a_dsm_7_reload_can_do_nothing_and_end_with_0(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    box.fault("reload-does-nothing")
    as_root(box, to_services(box, new_pair(box)) + "/usr/syno/bin/synow3tool --gen-all\n")
    assert as_root(box, "/usr/syno/bin/synow3tool --nginx=reload").status == 0
    assert still_serves(box, leaf(box.target))


def test_an_ec_pair_serves_on_dsm_6_until_nginx_starts_again(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm62")
    issuer = authority("EC Intermediate", parent=authority("EC Root"))
    pair = issuer.issue(["example.test"])
    as_root(box, to_services(box, pair) + "/usr/syno/etc/rc.sysv/nginx.sh reload\n")
    assert serves(box, leaf(pair))

    box.restart_web()

    made = x509.load_pem_x509_certificate(box.read(f"{DESKTOP.directory}/fullchain.pem"))
    assert "Synology Inc. CA" in made.issuer.rfc4514_string()
    assert "CN=synology" in made.subject.rfc4514_string()
    assert serves(box, sha256(made.public_bytes(Encoding.DER)).hexdigest())
    # The FTP server does not live with an EC key at all.
    as_root(box, "/usr/libexec/certificate.d/smbftpd ftpd")
    assert happens(lambda: not answers(box.ports["ftps"]))


def test_a_sound_rsa_pair_survives_the_start_of_nginx_and_modes_are_set_again(
    make_ssh_box: MakeBox,
) -> None:
    box = make_ssh_box("dsm62")
    pair = new_pair(box)
    box.run("/usr/bin/chmod", "644", INFO, f"{ARCHIVE}/{TARGET_ID}/privkey.pem")
    as_root(box, to_services(box, pair))
    box.restart_web()
    assert serves(box, leaf(pair))
    files = box.files(ARCHIVE)
    assert files[INFO].mode == "-rw-------"
    assert files[f"{ARCHIVE}/{TARGET_ID}/privkey.pem"].mode == "-r--------"


def test_a_package_cannot_read_a_key_that_root_keeps_to_itself(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    key = f"{DRIVE.directory}/privkey.pem"
    assert box.files(DRIVE.directory)[key].owner == "40101:40101"
    box.place(Item(path=key, content=box.read(key), mode=0o400))  # root's
    as_root(box, "/usr/syno/bin/synopkg restart SynologyDrive")
    assert happens(lambda: not answers(box.ports["drive"]))


def test_a_package_that_is_switched_off_says_so_and_an_unknown_one_too(ssh_box_of: BoxOf) -> None:
    box = ssh_box_of("dsm72")
    synopkg = "/usr/syno/bin/synopkg"
    assert as_root(box, f"{synopkg} is_onoff SynologyDrive").status == 0
    assert as_root(box, f"{synopkg} is_onoff WebDAVServer").status == 1
    assert as_root(box, f"{synopkg} is_onoff Nothing").status == 255
    assert '"status":"running"' in as_root(box, f"{synopkg} status SynologyDrive").out


def test_hooks_moved_with_dsm_7(ssh_box_of: BoxOf) -> None:
    six, seven = ssh_box_of("dsm62").files(), ssh_box_of("dsm72").files()
    six_usr = ssh_box_of("dsm62").files("/usr/libexec")
    assert "/usr/libexec/certificate.d/smbftpd" in six_usr
    assert "/usr/syno/share/certificate.d/smbftpd" in seven
    assert f"/usr/local/libexec/certificate.d/{CARDDAV.subscriber}" in six
    assert f"/usr/local/share/certificate.d/{CARDDAV.subscriber}" in seven


def test_vpn_center_copies_its_pair_to_the_keys_of_openvpn_when_told(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm72")
    as_root(box, "/var/packages/VPNCenter/target/hook/CertReload.sh copy_cert_only")
    copied = box.read("/usr/syno/etc/packages/VPNCenter/openvpn/keys/server.crt")
    assert copied == box.target.fullchain_pem
