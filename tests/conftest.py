"""What all tests share."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The time that an example takes depends on the machine; what it does must not.
settings.register_profile(
    "steady",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    """Undo what a command does to the product's logger, so that records reach pytest again."""
    logger = logging.getLogger("distributor")
    yield
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
