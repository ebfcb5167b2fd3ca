"""What is run so that a box serves new files, in which order, and when it is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.model.errors import ProtocolError
from distributor.protocol.dsm import Refusal
from distributor.protocol.dsm_commands import (
    LAYER,
    NGINX_SH,
    OPENSSL,
    ROUTER_FILES,
    SYNOSYSTEMCTL,
    SYNOW3TOOL,
    SYNOWEBAPI,
    Release,
    Step,
    hook_paths,
    layer_folder,
    release_of,
    reload_steps,
    webapi_answer,
    webapi_command,
    why_failed,
)
from distributor.protocol.dsm_info import ARCHIVE, BoundService

INFO = f"{ARCHIVE}/INFO"
DSM6 = {INFO, NGINX_SH, SYNOW3TOOL, OPENSSL, SYNOWEBAPI}
DSM7 = {INFO, SYNOSYSTEMCTL, SYNOW3TOOL, OPENSSL, LAYER, SYNOWEBAPI}


def bound(key: str, *, package: bool = False) -> BoundService:
    subscriber, _, name = key.partition("/")
    return BoundService(subscriber=subscriber, service=name, display_name=key, is_package=package)


WEB = (bound("system/default"), bound("ReverseProxy/0b7c"), bound("WebStation/x", package=True))
FTP = bound("smbftpd/ftpd")
DRIVE = bound("SynologyDrive/SynologyDrive", package=True)
CARDDAV = bound("CardDAVServer/carddav", package=True)
LDAP = bound("DirectoryServer/slapd", package=True)
VPN = bound("VPNCenter/OpenVPN", package=True)
KMIP = bound("kmip/kmip")
EVERYTHING = (*WEB, FTP, DRIVE, CARDDAV, LDAP, VPN, KMIP)
VPN_RELOAD = "/var/packages/VPNCenter/target/hook/CertReload.sh"
HOOKS6 = {
    "/usr/libexec/certificate.d/smbftpd",
    "/usr/libexec/certificate.d/system",
    "/usr/local/libexec/certificate.d/CardDAVServer",
    "/usr/local/libexec/certificate.d/DirectoryServer",
    VPN_RELOAD,
}
HOOKS7 = {
    "/usr/syno/share/certificate.d/smbftpd",
    "/usr/local/share/certificate.d/CardDAVServer",
    "/usr/local/share/certificate.d/DirectoryServer",
    VPN_RELOAD,
}


def lines(release: Release, *services: BoundService, hooks: set[str], packages: bool = True) -> str:
    steps = reload_steps(release, services, hooks=hooks, packages=packages)
    return "\n".join(
        f"{step}{f' if {chr(32).join(step.only_if)}' if step.only_if else ''}" for step in steps
    )


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (DSM6, "dsm6"),
        (DSM7, "dsm7"),
        (DSM7 | {NGINX_SH}, "dsm7"),  # whether DSM 7 has it too is not known (dsm-ssh facts 1.5)
        (DSM6 - {SYNOW3TOOL}, None),
        (DSM6 - {OPENSSL}, None),
        (DSM7 - {LAYER}, None),
        (DSM6 | {LAYER}, None),
        (DSM6 | {SYNOSYSTEMCTL}, None),
        (DSM7 - {INFO}, None),
        ({ROUTER_FILES}, None),
        (set(), None),
    ],
)
def test_a_box_is_known_by_what_exists(there: set[str], wanted: Release | None) -> None:
    assert release_of(there) == wanted


def test_dsm_6_runs_hooks_then_packages_and_reloads_the_web_server_last() -> None:
    is_on = "if /usr/syno/bin/synopkg is_onoff"
    assert lines("dsm6", *EVERYTHING, hooks=HOOKS6) == (
        "/usr/libexec/certificate.d/smbftpd ftpd\n"
        "/usr/syno/sbin/synoservicectl --reload pkgctl-SynologyDrive\n"
        f"/usr/local/libexec/certificate.d/CardDAVServer carddav {is_on} CardDAVServer\n"
        f"/usr/local/libexec/certificate.d/DirectoryServer slapd {is_on} DirectoryServer\n"
        f"{VPN_RELOAD} OpenVPN {is_on} VPNCenter\n"
        "/usr/syno/sbin/synoservicectl --status nginx\n"
        "/usr/syno/etc/rc.sysv/nginx.sh reload\n"
        "/usr/syno/bin/synow3tool --get-nginx-mod"
    )


def test_dsm_7_fills_its_own_layer_before_anything_is_restarted() -> None:
    is_on = "if /usr/syno/bin/synopkg is_onoff"
    assert lines("dsm7", *EVERYTHING, hooks=HOOKS7) == (
        "/usr/syno/share/certificate.d/smbftpd ftpd\n"
        f"/usr/local/share/certificate.d/CardDAVServer carddav {is_on} CardDAVServer\n"
        f"/usr/local/share/certificate.d/DirectoryServer slapd {is_on} DirectoryServer\n"
        "/usr/syno/bin/synow3tool --gen-all\n"
        f"{VPN_RELOAD} copy_cert_only {is_on} VPNCenter\n"
        f"/usr/syno/bin/synopkg restart DirectoryServer {is_on} DirectoryServer\n"
        f"/usr/syno/bin/synopkg restart SynologyDrive {is_on} SynologyDrive\n"
        f"/usr/syno/bin/synopkg restart VPNCenter {is_on} VPNCenter\n"
        "/usr/syno/bin/synow3tool --nginx=reload\n"
        "/usr/syno/bin/synow3tool --get-nginx-mod"
    )


def test_packages_are_left_alone_where_they_are_to_be_kept() -> None:
    for release, hooks in (("dsm6", HOOKS6), ("dsm7", HOOKS7)):
        told = lines(release, *EVERYTHING, hooks=hooks, packages=False)  # type: ignore[arg-type]  # both are releases
        for name in ("Drive", "CardDAV", "Directory", "VPN", "synopkg", "pkgctl"):
            assert name not in told
        assert "smbftpd ftpd" in told
        assert "reload" in told


def test_without_its_hook_the_ftp_server_of_dsm_7_is_restarted_only_if_it_runs() -> None:
    told = lines("dsm7", FTP, hooks=set())
    assert told.startswith("/usr/bin/systemctl try-restart ftpd.service\n")


def test_the_hook_that_does_nothing_is_never_run() -> None:
    assert "certificate.d/system" not in lines("dsm6", *WEB, hooks=HOOKS6)
    assert not [path for path in hook_paths(WEB) if path]


def test_hooks_are_looked_for_where_either_version_has_them() -> None:
    assert set(hook_paths([FTP, VPN])) == {
        *(f"{folder}/{name}" for folder in FOLDERS for name in ("smbftpd", "VPNCenter")),
        VPN_RELOAD,
    }


FOLDERS = (
    "/usr/libexec/certificate.d",
    "/usr/local/libexec/certificate.d",
    "/usr/syno/share/certificate.d",
    "/usr/local/share/certificate.d",
)


@given(st.sets(st.sampled_from(EVERYTHING)), st.sampled_from(["dsm6", "dsm7"]))
def test_nothing_of_a_package_runs_unless_it_is_switched_on(
    services: set[BoundService], release: Release
) -> None:
    packages = {one.subscriber for one in services if one.is_package}
    for step in reload_steps(release, services, hooks=HOOKS6 | HOOKS7, packages=True):
        words = " ".join(step.command)
        mine = [
            one
            for one in packages
            if one in words or (one, VPN_RELOAD) == ("VPNCenter", step.command[0])
        ]
        if mine and not step.excused_by:  # of the latter DSM 6 itself says that it is off
            assert step.only_if == ("/usr/syno/bin/synopkg", "is_onoff", *mine)


def test_only_what_the_web_server_reads_has_a_place_in_its_layer() -> None:
    assert layer_folder("/usr/syno/etc/certificate/system/FQDN") == f"{LAYER}/system_FQDN"
    assert layer_folder("/usr/local/etc/certificate/WebStation/x") == f"{LAYER}/WebStation_x"
    assert layer_folder("/usr/syno/etc/certificate/smbftpd/ftpd") is None


@given(st.sets(st.sampled_from(EVERYTHING)), st.sampled_from(["dsm6", "dsm7"]), st.booleans())
def test_the_web_server_is_reloaded_once_and_never_restarted(
    services: set[BoundService], release: Release, packages: bool
) -> None:
    steps = reload_steps(release, services, hooks=HOOKS6 | HOOKS7, packages=packages)
    words = [str(step) for step in steps]
    assert (
        sum(word in {f"{NGINX_SH} reload", f"{SYNOW3TOOL} --nginx=reload"} for word in words) == 1
    )
    assert not [word for word in words if "restart" in word and "nginx" in word]
    assert all(step.command[0].startswith("/") for step in steps)


def step_of(release: Release, ending: str) -> Step:
    steps = reload_steps(release, EVERYTHING, hooks=HOOKS6 | HOOKS7, packages=True)
    return next(step for step in steps if str(step).endswith(ending))


GEN_ALL = step_of("dsm7", "--gen-all")
RELOAD6 = step_of("dsm6", "nginx.sh reload")
STATUS6 = step_of("dsm6", "--status nginx")
MODE = step_of("dsm7", "--get-nginx-mod")
PACKAGE6 = step_of("dsm6", "pkgctl-SynologyDrive")


@pytest.mark.parametrize(
    ("step", "status", "words", "why"),
    [
        (GEN_ALL, 0, "Sync W3 certificate info successfully\n", None),
        (GEN_ALL, 0, "", None),
        (GEN_ALL, 255, "Cannot sync certificate", "ended with 255: Cannot sync certificate"),
        (GEN_ALL, 0, "Cannot sync certificate", "ended with 0, but said: Cannot sync"),
        (GEN_ALL, 0, "Certificate is not ok, change to default mode", "ended with 0, but said"),
        (GEN_ALL, 137, "", "ended with 137: no words"),
        (GEN_ALL, 1, "\x1b[2J\u202e", r"ended with 1: \x1b[2J\u202e"),
        (RELOAD6, 0, "alias-register stop/waiting\n", None),
        (RELOAD6, 0, "", None),  # what it usually says is no proof, nor is that it says nothing
        (STATUS6, 0, "", None),
        (STATUS6, 1, "", "the web server is switched off"),
        (RELOAD6, 1, "alias-register stop/waiting", "ended with 1"),
        (MODE, 0, "Nginx run in normal mode", None),
        (MODE, 2, "", "default mode, in which it serves no HTTPS"),
        (MODE, 0, "Nginx run in default mode", "default mode"),
        (MODE, 255, "what?", None),
        (PACKAGE6, 0, "pkgctl-SynologyDrive reloaded.", None),
        (PACKAGE6, 1, "service is not enabled or start.", None),
        (PACKAGE6, 1, "no such service.", None),
        (PACKAGE6, 1, "broken", "--reload pkgctl-SynologyDrive ended with 1: broken"),
    ],
)
def test_status_and_words_are_judged_together(
    step: Step, status: int, words: str, why: str | None
) -> None:
    found = why_failed(step, status, words)
    assert (found is None) == (why is None)
    assert why is None or why in (found or "")


def test_a_call_on_the_box_quotes_every_value_as_json() -> None:
    assert webapi_command("SYNO.X", "import", id="8e0042", as_default="true", ids=["a"]) == (
        *("/usr/syno/bin/synowebapi", "--exec-fastwebapi", "api=SYNO.X", "method=import"),
        *("version=1", 'id="8e0042"', 'as_default="true"', 'ids=["a"]'),
    )


def test_an_answer_on_the_box_is_data_a_refusal_or_an_error_with_its_words() -> None:
    assert webapi_answer(0, b'{"data":{"id":"a"},"success":true}', "noise") == {"id": "a"}
    refused = webapi_answer(0, b'{"error":{"code":5514},"success":false}', "")
    assert isinstance(refused, Refusal)
    assert refused.code == 5514
    for out, err, words in ((b"", "no such file", "no such file"), (b"<html>", "", "<html>")):
        with pytest.raises(ProtocolError, match=f"ended with 127 and no answer: {words}"):
            webapi_answer(127, out, err)
