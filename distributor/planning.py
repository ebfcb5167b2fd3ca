"""What would change on one host, and whether that is what a person reviewed."""

from collections.abc import Mapping
from typing import Protocol

from distributor.model.bundle import Certificate
from distributor.model.choice import services_behind
from distributor.model.errors import StalePlan
from distributor.model.hosts import Host
from distributor.model.plan import Plan, make_plan
from distributor.model.reviewed import Reviewed
from distributor.model.state import State
from distributor.targets.contract import Target


class Tools(Protocol):
    """What planning needs from outside."""

    def versions(self, certificate: str) -> tuple[Certificate, ...]:
        """Return what may be shown of all versions of a certificate that the store holds."""


def plan_for(
    host: Host,
    observed: State,
    target: Target,
    certificates: Mapping[str, Certificate],
    tools: Tools,
) -> Plan:
    """Return the plan of one host for `certificates` (by name). Raises Ambiguous."""
    going = {one.certificate for one in host.deliveries if one.remove_superseded}
    proved = {service.id for one in host.endpoints for service in services_behind(observed, one)}
    return make_plan(
        host.name,
        observed,
        target.desired(certificates),
        tuple(certificates.values()),
        proved_services=proved,
        versions={name: tools.versions(name) for name in sorted(going)},
    )


def require_reviewed(
    host: Host, observed: State, target: Target, reviewed: Reviewed, tools: Tools
) -> None:
    """Raise StalePlan unless the plan for what was reviewed is the one that was reviewed."""
    plan = plan_for(
        host,
        observed,
        target,
        {
            name: reviewed.certificates[name]
            for name in host.certificates
            if name in reviewed.certificates
        },
        tools,
    )
    if plan.digest != reviewed.digests.get(host.name):
        raise StalePlan(
            f"{host.name} is not as it was when the plan was reviewed",
            hint="review a new one: distribute --all --dry-run --save-plan FILE",
            step="plan",
        )
