"""Every kind of host that the fault matrix has, in the order of its page."""

from typing import Final

from tests.matrix.cells import Kind
from tests.matrix.over_ssh import SSH_KINDS
from tests.matrix.web_api import WEB_KINDS

KINDS: Final[tuple[Kind, ...]] = (*WEB_KINDS, *SSH_KINDS)
