"""Codes of the DSM Web API, in words, with what to do (dsm-web-api facts 2.3, 2.4, 3.2)."""

from typing import Final

LOGIN_REASONS: Final[dict[int, tuple[str, str]]] = {
    400: (
        "user name or password is wrong",
        "correct it before the next run: the box may block this computer after some tries",
    ),
    401: ("the account is disabled", "enable it in Control Panel > User & Group"),
    402: (
        "the account may not sign in to DSM",
        "allow it the application DSM in Control Panel > User & Group",
    ),
    403: (
        "the account wants a second factor",
        "enrol once, in a terminal: distribute trust HOST",
    ),
    404: ("the one-time code is wrong", "check the clock of this computer and of the box"),
    405: (
        "the box takes no login here",
        "set `port` to the port of DSM's own user interface, not of an application portal",
    ),
    406: (
        "the box enforces 2FA and the account has not set it up",
        "exempt the account, or set 2FA up for it",
    ),
    407: (
        "the box blocks this computer's address",
        "Control Panel > Security > Protection: remove it from the block list, and allow it",
    ),
    408: ("the password has expired and may not be changed", "have an administrator renew it"),
    409: ("the password has expired", "sign in once by hand and change it"),
    410: ("the password must be changed", "sign in once by hand and change it"),
    411: ("the account is locked for a while", "wait until account protection releases it"),
}
"""Answers to a login; none of them may be tried again with the same words."""

REASONS: Final[dict[int, tuple[str, str]]] = {
    100: ("refused without a reason", "look at the box's own log"),
    101: ("a parameter is missing", "this version of DSM wants something we do not send"),
    102: ("it has no such API", "is this a DiskStation with DSM 6.2 or 7?"),
    103: ("it has no such method", "is this a DiskStation with DSM 6.2 or 7?"),
    104: ("it does not know this version of the API", "is its DSM up to date?"),
    105: ("the account has not the right", "put it into the group administrators"),
    106: ("the session ended", "the next run signs in again"),
    107: ("the session was ended by another login", "use an account of its own for this"),
    108: ("the upload was refused", "this version of DSM wants another form of upload"),
    109: ("the box is busy", "the next run tries again"),
    110: ("the box is busy", "the next run tries again"),
    111: ("the box is busy", "the next run tries again"),
    114: ("a parameter is missing", "this version of DSM wants something we do not send"),
    115: ("uploads are not allowed", "put the account into the group administrators"),
    117: ("the box is busy, or wants an administrator", "use an administrator's account"),
    118: ("the box is busy", "the next run tries again"),
    119: ("the session is not known", "the next run signs in again"),
    120: ("a parameter is not accepted", "this version of DSM wants something else"),
    150: ("the session came from another address", "reach the box by one address only"),
    160: ("the account may not use this application", "put it into the group administrators"),
    5503: ("a parameter is not accepted", "this version of DSM wants something else"),
    5510: ("the certificate is not accepted", "is it PEM, and not empty?"),
    5511: ("the private key is not accepted", "it must be unencrypted RSA, or EC on DSM 7"),
    5512: ("an intermediate is not accepted", "look at it: distribute show"),
    5513: ("the cipher of the key is not known to it", "use key_type rsa2048"),
    5514: ("key and certificate do not match", "look at them: distribute show"),
    5515: ("it wants a certificate of a trusted authority", "look at it: distribute show"),
    5516: ("the files are not UTF-8", "look at them: distribute show"),
    5517: ("certificate and intermediates do not verify", "look at them: distribute show"),
    5518: ("DSA keys are not supported", "use key_type rsa2048"),
    5529: ("the kind of certificate is not supported", "on DSM 6 use key_type rsa2048"),
    5534: ("the key is too short", "use key_type rsa2048"),
    5598: ("the certificate is not accepted", "on DSM 6 use key_type rsa2048"),
}
"""Answers to any other call."""

SESSION_ENDED: Final = frozenset({106, 107, 119})
"""The session is gone: signing in once more with the words that were accepted is right."""

BUSY: Final = frozenset({109, 110, 111, 118})
"""The device has no time just now, as while its web server restarts."""
