"""Small checks of points that move from one account to another."""

from tests.properties import test_merged_is_one
from tests.properties.ledger_process import Cluster
from tests.properties.test_nothing_is_left import GROUP, Rules, Walk

SEEDS = range(3, 9)


def merged(cluster: Cluster) -> None:
    """Whoever was merged is as if it had been one from the start."""
    ledger = cluster.processes[0].connect()
    for seed in SEEDS:
        test_merged_is_one.walked(ledger, seed)
    ledger.close()


def shared(cluster: Cluster) -> None:
    """Brought into a group, earned there, spent there, taken along: returned, nothing is left."""
    ledger = cluster.processes[0].connect()
    walk = Walk(ledger, 3)
    ada = walk.people[0]
    asked = [walk.ask("Earn", member=ada, points=100)]
    walk.ask("AddGroupMember", member=ada, group=GROUP, on_join=Rules.BRING, role="adult")
    asked.append(walk.ask("Earn", member=ada, points=30))
    asked.append(walk.ask("Redeem", member=GROUP, points=60))
    walk.ask("RemoveGroupMember", member=ada, group=GROUP, on_leave=Rules.TAKE_SHARE)
    for answer in asked:
        walk.ask("ReversePosting", posting=answer.posting.posting)
    left = walk.left()
    assert not any(any(numbers) for numbers in left.values()), left
    ledger.close()
