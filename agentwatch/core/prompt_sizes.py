"""How large a session's last prompts were, lane by lane, in the order of their calls.

The ledger keeps them with the session's account, as a fold of its entries, so that a runaway goes
on being one when the daemon is started again; the detector (`anomaly_growth`) begins with what is
kept, and keeps its own by the same rules. A lane is a model and the thread that the client names.
"""

from __future__ import annotations

from bisect import insort
from functools import lru_cache
from hashlib import blake2b

#: prompts that are kept of a lane, and lanes of a session: the one that was quiet for longest goes
WINDOW = 5
LANES = 32

#: (iteration, tokens) of each
Sizes = list[tuple[int, int]]
#: by the lane's key, the one that was quiet for longest first
ByLane = dict[str, Sizes]


@lru_cache(maxsize=1_000)
def lane_key(model: str, thread: str | None) -> str:
    """What stands for a lane in the ledger, which keeps no text of a client's own making."""
    return blake2b(f"{model}\0{thread or ''}".encode(), digest_size=8).hexdigest()


def put(sizes: Sizes, iteration: int, tokens: int) -> None:
    """A call's size is known, or known better than before."""
    if sizes and iteration <= sizes[-1][0]:
        drop(sizes, iteration)
        insort(sizes, (iteration, tokens))
    else:
        sizes.append((iteration, tokens))
    del sizes[:-WINDOW]


def drop(sizes: Sizes, iteration: int) -> None:
    """Nothing came of a call: it is none of the last prompts."""
    sizes[:] = [size for size in sizes if size[0] != iteration]


def put_in_lane(lanes: ByLane, lane: str, iteration: int, tokens: int) -> None:
    """The same for one lane of many, which is now the one that was heard of last."""
    sizes = lanes.pop(lane, [])
    put(sizes, iteration, tokens)
    lanes[lane] = sizes
    if len(lanes) > LANES:
        del lanes[next(iter(lanes))]
