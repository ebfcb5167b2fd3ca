"""One-time codes are those of the standard's own table."""

import pytest

from distributor.lab.totp import code_for, step_at

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # "12345678901234567890", RFC 6238 appendix B


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_table_of_rfc_6238_holds(moment: float, code: str) -> None:
    assert code_for(SECRET, step_at(moment)) == code


def test_a_code_lasts_thirty_seconds() -> None:
    assert [step_at(moment) for moment in (0, 29.9, 30, 59.9, 60)] == [0, 0, 1, 1, 2]


def test_secrets_may_be_lower_case_and_unpadded_but_must_be_base32() -> None:
    assert code_for("gezdgnbvgy", 1) == code_for("GEZDGNBVGY======", 1)
    with pytest.raises(ValueError, match=r"[Nn]on-base32"):
        code_for("0189", 1)
