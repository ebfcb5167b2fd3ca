"""`synowebapi` of a virtual box answers and acts as it was measured on DSM 7.3."""

import json
from contextlib import closing
from dataclasses import replace

from tests.certs import Issued
from tests.e2e.ssh_box import Knobs, SshBox
from tests.e2e.ssh_box_client import (
    BoxOf,
    MakeBox,
    as_root,
    connect,
    files_of,
    leaf,
    new_pair,
    say,
    serves,
    still_serves,
)
from tests.e2e.ssh_box_tree import (
    ARCHIVE,
    DESKTOP,
    DRIVE,
    FTPS,
    INFO,
    QUICKCONNECT,
    QUICKCONNECT_ID,
    TARGET_ID,
    Item,
)

_SSL = "/usr/syno/etc/ssl"


def ask(box: SshBox, *arguments: str) -> str:
    quoted = " ".join(f"'{argument}'" for argument in arguments)
    return as_root(box, f"/usr/syno/bin/synowebapi --exec-fastwebapi {quoted} 2>/dev/null").out


def import_pair(box: SshBox, pair: Issued, *more: str) -> str:
    for name, content in files_of(pair).items():
        box.place(Item(path=f"/root/{name}", content=content, mode=0o600))
    return ask(
        box,
        "api=SYNO.Core.Certificate",
        "method=import",
        "version=1",
        'key_tmp="/root/privkey.pem"',
        'cert_tmp="/root/cert.pem"',
        'inter_cert_tmp="/root/chain.pem"',
        *more,
    )


def test_root_lets_dsm_itself_import_copy_and_reload(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm73")
    pair = new_pair(box)
    answer = import_pair(box, pair, f'id="{TARGET_ID}"', 'desc="home"')
    assert '"success": true' in answer
    assert f'"id": "{TARGET_ID}"' in answer
    for port, name in (("dsm", None), ("https", "git.example.test"), ("ftps", None)):
        assert serves(box, leaf(pair), port, name)
    assert serves(box, leaf(pair), "drive")
    assert box.served("https", "wiki.other.test") == leaf(box.decoy)
    assert box.files(DRIVE.directory)[f"{DRIVE.directory}/privkey.pem"].owner == "40101:40101"


def test_an_import_without_an_id_makes_an_entry_that_a_setting_binds(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm73")
    pair = new_pair(box)
    answer = import_pair(box, pair, 'desc="new one"')
    new_id = answer.split('"id": "')[1].split('"')[0]
    assert len(new_id) == 6
    assert still_serves(box, leaf(box.target))
    service = json.dumps(FTPS.info("dsm73"))
    setting = f'settings=[{{"service":{service},"old_id":"{TARGET_ID}","id":"{new_id}"}}]'
    ask(box, "api=SYNO.Core.Certificate.Service", "method=set", "version=1", setting)
    assert serves(box, leaf(pair), "ftps")
    assert box.served() == leaf(box.target)
    listed = ask(box, "api=SYNO.Core.Certificate.CRT", "method=list", "version=1")
    assert '"new one"' in listed
    assert '"*.example.test"' in listed


def test_an_argument_of_the_wrong_type_and_a_foreign_key_are_refused(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm73")
    pair = new_pair(box)
    ours = (f'id="{TARGET_ID}"', 'desc="home"')
    assert "5511" in import_pair(box, pair, *ours, "as_default=true")
    mixed = replace(pair, key=new_pair(box).key)
    assert "5514" in import_pair(box, mixed, *ours)
    wrong_chain = replace(pair, chain=box.target.chain)
    assert "5517" in import_pair(box, wrong_chain, *ours)
    assert still_serves(box, leaf(box.target))


def test_any_text_makes_it_the_default_the_word_false_too(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm73")
    answer = import_pair(box, new_pair(box), 'desc="new"', 'as_default="false"')
    assert box.read(f"{ARCHIVE}/DEFAULT").decode().strip() in answer


def test_quickconnect_stays_where_it_is_and_the_answer_is_success(make_ssh_box: MakeBox) -> None:
    box = make_ssh_box("dsm73")
    info = box.read(INFO)
    service = json.dumps(QUICKCONNECT.info("dsm73"))
    setting = f'settings=[{{"service":{service},"old_id":"{QUICKCONNECT_ID}","id":"{TARGET_ID}"}}]'
    answer = ask(box, "api=SYNO.Core.Certificate.Service", "method=set", "version=1", setting)
    assert '"success": true' in answer
    assert box.read(INFO) == info


def test_synowebapi_is_roots_alone_and_only_on_the_release_it_was_measured_on(
    ssh_box_of: BoxOf,
    make_ssh_box: MakeBox,
) -> None:
    box = ssh_box_of("dsm73")
    with closing(connect(box, box.admin)) as client:
        assert say(client, "/usr/syno/bin/synowebapi --exec api=x method=y").status == 126
    assert "/usr/syno/bin/synowebapi" not in ssh_box_of("dsm72").files()
    assert "/usr/syno/bin/synowebapi" in make_ssh_box("dsm72", Knobs(synowebapi=True)).files()


def test_a_dual_entry_has_no_cert_pem_and_serves_by_what_the_client_can(
    make_ssh_box: MakeBox,
) -> None:
    box = make_ssh_box("dsm73", Knobs(dual=True))
    names = {path.rpartition("/")[2] for path in box.files(DESKTOP.directory)}
    assert names == {"default"} | {
        f"{half}-{name}.pem" for half in ("ECC", "RSA") for name in ("cert", "fullchain", "privkey")
    }
    assert box.served() == leaf(box.target)  # its ECC half; the RSA half is another leaf
