"""One session that becomes root by sudo, whose words count only once they were refused."""

import pytest

from distributor.clients.ssh_login import SshAccount
from distributor.clients.sudo import RootBySudo
from distributor.model.errors import AuthRefused
from distributor.model.secret import Secret
from distributor.protocol.remote_command import Dialogue, Sudo

TOKEN = "0123456789abcdef"


class Forgetful:
    """Remembers no refusal, so that the session has to."""

    def refusal(self, _user: str, _password: Secret) -> AuthRefused | None:
        return None

    def note_refusal(self, _user: str, _password: Secret, _error: AuthRefused) -> None:
        pass


def heard(out: str, err: str) -> Dialogue:
    dialogue = Dialogue(TOKEN, 1000)
    dialogue.heard(out.encode(), err.encode())
    return dialogue


def test_a_password_that_was_right_and_is_refused_later_is_not_sent_again() -> None:
    attempts: list[Sudo] = []

    def attempt(way: Sudo) -> Dialogue:
        attempts.append(way)
        if way is Sudo.TO_CHECK:
            return heard(f"{TOKEN}b", f"{TOKEN}s")
        return heard("", f"{TOKEN}ssudo: a password is required")

    account = SshAccount(user="certs", refusals=Forgetful(), sudo_password=lambda: Secret("pw"))
    root = RootBySudo(account, "attic")
    assert root.way(attempt) is Sudo.BY_PASSWORD
    told = root.refused(heard("", f"{TOKEN}sSorry, try again.\nsudo: 1 incorrect password attempt"))
    sent = list(attempts)

    for _ in range(2):
        with pytest.raises(AuthRefused) as again:
            root.way(attempt)
        assert again.value is told
    assert attempts == sent
