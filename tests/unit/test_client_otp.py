from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distributor.clients.otp import STEP_SECONDS, OneTimeCodes
from distributor.model.errors import SecretError
from distributor.model.secret import Secret

# The secret of RFC 6238 appendix B, base32; its table gives eight digits, of which we take six.
RFC_SECRET = Secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
RFC_TABLE = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, seconds: float) -> None:
        self.time = datetime.fromtimestamp(seconds, UTC)
        self.slept = 0.0

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.time += timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self.time


@pytest.mark.parametrize(("seconds", "code"), RFC_TABLE.items())
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    clock = Clock(seconds)
    codes = OneTimeCodes(lambda: RFC_SECRET, sleep=clock.sleep, now=clock.now)
    assert codes().reveal() == code
    assert clock.slept == 0


@given(st.floats(min_value=0, max_value=4e9), st.integers(2, 4))
def test_no_code_is_given_out_twice_and_no_wait_is_longer_than_a_step(
    start: float, count: int
) -> None:
    clock = Clock(start)
    codes = OneTimeCodes(lambda: RFC_SECRET, sleep=clock.sleep, now=clock.now)
    given_out = []
    for _ in range(count):
        before = clock.slept
        given_out.append(codes().reveal())
        assert clock.slept - before <= STEP_SECONDS + 1e-3
    expected = [
        OneTimeCodes(lambda: RFC_SECRET, sleep=clock.sleep, now=Clock(at).now)().reveal()
        for at in range(
            int(start // STEP_SECONDS) * STEP_SECONDS,
            (int(start // STEP_SECONDS) + count) * STEP_SECONDS,
            STEP_SECONDS,
        )
    ]
    assert given_out == expected


@pytest.mark.parametrize(
    "written", ["gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ===="]
)
def test_a_secret_is_taken_as_people_write_it(written: str) -> None:
    clock = Clock(59)
    codes = OneTimeCodes(lambda: Secret(written), sleep=clock.sleep, now=clock.now)
    assert codes().reveal() == RFC_TABLE[59]


@pytest.mark.parametrize("written", ["", "1!", "not base32 at all 018"])
def test_a_secret_that_is_none_is_refused_and_not_quoted(written: str) -> None:
    clock = Clock(59)
    codes = OneTimeCodes(lambda: Secret(written), sleep=clock.sleep, now=clock.now)
    with pytest.raises(SecretError, match="not base32") as caught:
        codes()
    assert caught.value.__cause__ is None
    assert not written or written not in str(caught.value)
