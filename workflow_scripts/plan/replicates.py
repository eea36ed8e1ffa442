"""How many replicates a test of differences needs."""

from collections.abc import Collection, Mapping

from workflow_scripts.plan.keys import CURVE, Key
from workflow_scripts.shared.files import UserError

LEAST_REPLICATES = 3  # with two there is little chance to show any difference


def require_replicates(roles: Mapping[str, str], networks: Collection[Key], test: str) -> None:
    """Raise UserError if a test of differences from dense is requested, but a curve has too few replicates.

    Args:
        roles: the roles of arms, by name.
        networks: the names of all networks.
        test: the config's `statistics.test`; "where_possible" leaves out what cannot be tested.
    """
    if test == "where_possible":
        return
    for arm, role in roles.items():
        count = len({key.replicate for key in networks if key.arm == arm})
        if role == CURVE and count < LEAST_REPLICATES:
            raise UserError(
                f"config: statistics.test is {test}, which needs {LEAST_REPLICATES} replicates, but the arm {arm} has"
                f" {count}: add replicates, or write test: where_possible"
            )
