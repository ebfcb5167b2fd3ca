"""The lab is proved by someone else's client: synology-api works with each DSM of it, unchanged."""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distributor.lab.accounts import Account
from distributor.lab.diskstation import ADMIN, DiskStation
from distributor.lab.knobs import DSM62, DSM70, DSM72, DSM73, DSM74, Knobs, Profile
from tests.integration.lab.issued import Issued, rsa_key
from tests.integration.lab.issued import issue as issue_any
from tests.integration.lab.plain_client import served

# Its login sends a Noise message and would want one back, unless the answer holds none.
KNOBS = Knobs(login_without_ik_message=True, restart_delay=0.01, restart_seconds=0.1)

pytestmark = pytest.mark.filterwarnings(
    # The client is told not to verify, and says so at every request.
    "ignore:Unverified HTTPS request:urllib3.exceptions.InsecureRequestWarning",
)


@dataclass(frozen=True, slots=True)
class Files:
    cert: str
    key: str
    chain: str


def issue() -> Issued:
    """A leaf with an RSA key, which every DSM takes."""
    return issue_any(key=rsa_key())


@pytest.fixture(params=[DSM62, DSM70, DSM72, DSM73, DSM74], ids=lambda one: one.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    chosen: Profile = request.param
    return chosen


@pytest.fixture
def box(profile: Profile) -> Iterator[DiskStation]:
    accounts = [ADMIN, Account("two", "p", otp_codes=frozenset({"123456"}))]
    with DiskStation("attic", profile=profile, accounts=accounts, knobs=KNOBS) as running:
        yield running


@pytest.fixture
def connect(box: DiskStation) -> Iterator[Any]:
    """The client's class, with its process-wide session forgotten before and after."""
    from synology_api.base_api import BaseApi  # type: ignore[import-untyped]
    from synology_api.core_certificate import Certificate  # type: ignore[import-untyped]

    def make(password: str = ADMIN.password, user: str = ADMIN.name, **more: str) -> Any:
        return Certificate(
            "127.0.0.1",
            str(box.port),
            user,
            password,
            secure=True,
            cert_verify=False,
            dsm_version=6 if box.profile.system == "dsm6" else 7,
            debug=False,
            **more,
        )

    BaseApi.shared_session = None
    yield make
    BaseApi.shared_session = None


def files_of(issued: Issued, folder: Path) -> Files:
    paths = Files(*(str(folder / name) for name in ("cert.pem", "privkey.pem", "chain.pem")))
    Path(paths.cert).write_bytes(issued.cert_pem)
    Path(paths.key).write_bytes(issued.key_pem)
    Path(paths.chain).write_bytes(issued.chain_pem)
    return paths


def upload(client: Any, files: Files, **more: Any) -> dict[str, Any]:
    status, answer = client.upload_cert(
        serv_key=files.key, ser_cert=files.cert, ca_cert=files.chain, **more
    )
    assert status == 200
    assert answer["success"], answer
    data: dict[str, Any] = answer["data"]
    return data


def test_it_uploads_binds_exports_makes_default_and_deletes(
    box: DiskStation, connect: Any, tmp_path: Path
) -> None:
    client = connect()
    (factory,) = client.list_cert()["data"]["certificates"]
    assert factory["is_default"] is True

    fresh = issue()
    files = files_of(fresh, tmp_path)
    data = upload(client, files, set_as_default=False, desc="wildcard")
    assert data.keys() == {"id"}
    assert served(box.port) == [box.snapshot()["entries"][factory["id"]]["leaf"]]

    status, bound = client.set_certificate_for_service(data["id"])
    assert (status, bound["data"]["restart_httpd"]) == (200, True)
    box.wait_until_serving()
    assert served(box.port) == fresh.served
    client.set_certificate_for_service(data["id"], "FTPS")
    box.wait_until_serving()
    assert served(box.service_ports["FTPS"]) == fresh.served

    with zipfile.ZipFile(io.BytesIO(client.export_cert(data["id"]).getvalue())) as archive:
        exported = {name: archive.read(name) for name in archive.namelist()}
    assert exported == {
        "cert.pem": fresh.cert_pem,
        "privkey.pem": fresh.key_pem,
        "chain.pem": fresh.chain_pem,
    }

    assert client.set_default_cert(data["id"])["success"]
    box.wait_until_serving()
    assert client.delete_certificate(factory["id"])["success"]
    (left,) = client.list_cert()["data"]["certificates"]
    assert (left["id"], left["is_default"], left["desc"]) == (data["id"], True, "")
    assert left["subject"]["sub_alt_name"] == ["example.com", "*.example.com"]
    assert box.writes == 5
    assert not box.credentials_in_urls


def test_it_replaces_the_default_in_place_and_the_port_serves_the_new_leaf(
    box: DiskStation, connect: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = connect()
    before = box.snapshot()
    fresh = issue()
    data = upload(client, files_of(fresh, tmp_path), cert_id=before["default"], desc="wildcard")
    assert data == {"id": before["default"], "restart_httpd": True}
    assert capsys.readouterr().out == f"update exist cert: {before['default']}\n"
    box.wait_until_serving()
    assert served(box.port) == fresh.served
    assert box.snapshot()["bindings"] == before["bindings"]


def test_it_is_told_when_a_key_does_not_match(
    box: DiskStation, connect: Any, tmp_path: Path
) -> None:
    files = files_of(issue(), tmp_path)
    Path(files.key).write_bytes(issue_any(key=rsa_key(3072)).key_pem)
    before = box.snapshot()
    assert connect().upload_cert(files.key, files.cert, files.chain) == (
        200,
        {"error": {"code": 5514}, "success": False},
    )
    assert box.snapshot() == before


def test_it_is_refused_to_delete_the_default(box: DiskStation, connect: Any) -> None:
    from synology_api.exceptions import CertificateError  # type: ignore[import-untyped]

    client = connect()
    with pytest.raises(CertificateError):
        client.delete_certificate(box.snapshot()["default"])
    assert len(box.snapshot()["entries"]) == 1


def test_it_is_refused_a_wrong_password_with_400(box: DiskStation, connect: Any) -> None:
    from synology_api.exceptions import LoginError

    with pytest.raises(LoginError) as refused:
        connect("wrong")
    assert refused.value.error_code == 400
    assert (box.logins, box.failed_logins, box.sessions_open) == (0, 1, 0)


def test_its_logout_names_no_session_and_so_leaves_it_open(box: DiskStation, connect: Any) -> None:
    client = connect()
    assert client.session.sid
    client.logout()
    assert box.requests[-1].api_method == "logout"
    assert "_sid" not in box.requests[-1].target
    assert box.sessions_open == 1


def test_it_is_let_in_with_a_one_time_code(box: DiskStation, connect: Any) -> None:
    from synology_api.exceptions import LoginError

    with pytest.raises(LoginError) as refused:
        connect("p", "two")
    assert refused.value.error_code == 403
    assert connect("p", "two", otp_code="123456").list_cert()["success"]
