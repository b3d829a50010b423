"""
What a storm of writes does to a store's size: ``python bench/store/storm.py``, half a minute.

Four processes put bodies of all sizes as fast as they can into a store whose keeper is the real one, in a process of its own and as
nice as the master makes it. Meanwhile this one looks, hundreds of times a second, how long the database's file is and
how many of its pages are in use, and keeps the highest. In the end the whole store is audited, and must take one more body once its keeper has had its time.

Half of the writers' bodies go in at once, half as an origin would send them, 64 KiB at a time. Each storm is run twice. First
with a pause after each body, as there is in a worker: a miss costs it that much of its processor. Then with none, when
what is refused comes again at once and takes the lock from the keeper: nothing real does that, and it is there for the size.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edge.cache import evict
from edge.cache.ask import ask_of
from edge.cache.audit import faults
from edge.cache.copy import Copy
from edge.cache.fill import Fill
from edge.cache.keeper import Keeper
from edge.cache.keeper import main as keep
from edge.cache.store import Store
from edge.cache.storing import may_store
from edge.message.head import Framing, ReplyHead, RequestHead
from edge.share.bells import Bells
from edge.share.channel import Channel, Word
from edge.share.page import Page
from edge.share.recency import Recency
from edge.share.scoreboard import Scoreboard
from edge.share.stamps import Stamps

if TYPE_CHECKING:
    from collections.abc import Callable

OUT = Path(__file__).resolve().parents[1] / "out"
MIB = 1 << 20
PIECE = 64 * 1024
NICE = 10
LOOK_S = 0.003


def main() -> int:
    """Run the storm at each size, print, write; 1 if a store was larger than it may be, not whole, or of no use after."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--sizes", default="32,128", help="of the store, MiB")
    parser.add_argument("--pause-ms", type=float, default=1, help="between two bodies of a writer")
    given = parser.parse_args()
    rows = []
    print("| size | pause | written | pages in use at most | file beyond size | refused | faults | takes more after |")
    print("|---:|---:|---:|---:|---:|---:|---:|---|")
    for size in given.sizes.split(","):
        for pause_s in (given.pause_ms / 1000, 0.0):
            rows.append(storm(int(size) * MIB, given.writers, given.seconds, pause_s))
            print(line(rows[-1]), flush=True)
    OUT.mkdir(exist_ok=True)
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
    (OUT / f"storm-{stamp}.json").write_text(json.dumps(rows, indent=1))
    return int(any(row["faults"] or not row["recovers"] or row["most_file"] > row["size"] for row in rows))


def storm(size: int, writers: int, seconds: float, pause_s: float) -> dict[str, object]:
    """Let *writers* loose on a store of *size* bytes, and look."""
    base = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="edge-storm-", dir=base if base.is_dir() else None) as name:
        folder = Path(name)
        shared = SimpleNamespace(stamps=Stamps(), recency=Recency(), bells=Bells(writers + 1))
        tally = Page(24 * writers, "tally")
        ours, theirs = Channel.pair()
        keeper = spawn(lambda: keeper_at(folder, size, shared, theirs, ours))
        pids = [spawn(lambda at=at: write(folder, size, shared, tally, at, pause_s)) for at in range(writers)]
        most_used, most_file, looks = look(folder, size, seconds)
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        ours.send(Word.LEAVE)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1]))
        assert set(codes) <= {0, -signal.SIGTERM}, codes
        store = Store.open(folder, size)
        wrong = faults(store)
        recovers = has_room_again(store)
        store.close()
        ours.close()
        theirs.close()
        stored, refused, put_bytes = (sum(tally.words[at::3]) for at in range(3))
    return {
        "size": size,
        "pause_s": pause_s,
        "writers": writers,
        "seconds": seconds,
        "looks": looks,
        "high": evict.high(size),
        "usable": evict.usable(size),
        "most_used": most_used,
        "most_file": most_file,
        "stored": stored,
        "refused": refused,
        "mb_per_s": round(put_bytes / seconds / 1e6, 1),
        "recovers": recovers,
        "faults": wrong,
    }


def has_room_again(store: Store) -> bool:
    """Whether the store takes a body once the keeper has had all the time it wants."""
    keeper = Keeper(store, lambda _: 0)
    for _ in range(3):
        for _ in keeper.work():
            pass
    return isinstance(store.put(draft(b"/after"), bytes(PIECE)), Copy)


def draft(target: bytes) -> Copy:
    """Return a copy to be."""
    asked = ask_of(RequestHead(b"GET", b"https", b"shop.example", target, []), ())
    head = ReplyHead(200, [(b"cache-control", b"max-age=600"), (b"etag", b'"a"')], framing=Framing.CHUNKED)
    wall = time.time()
    made = may_store(asked, head, request_wall=wall, response_wall=wall)
    assert isinstance(made, Copy)
    return made


def spawn(work: Callable[[], int | None]) -> int:
    """Fork, and return the pid."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = work() or 0
        finally:
            os._exit(code)
    return pid


def keeper_at(folder: Path, size: int, shared: SimpleNamespace, theirs: Channel, ours: Channel) -> int:
    """Be the keeper."""
    ours.close()
    os.nice(NICE)
    scoreboard = Scoreboard(2)
    return keep(
        SimpleNamespace(
            slot=0,
            config=SimpleNamespace(cache=SimpleNamespace(path=folder, size=size), server=SimpleNamespace(hang_s=30.0)),
            row=scoreboard.row(1),
            channel=theirs,
            **vars(shared),
        )
    )


def write(folder: Path, size: int, shared: SimpleNamespace, tally: Page, at: int, pause_s: float) -> None:
    """Be a worker that gets nothing but misses."""
    chance = random.Random(at)
    store = Store.open(folder, size, **vars(shared))
    noise = os.urandom(2 * MIB)
    words = tally.words[3 * at : 3 * at + 3]
    number = 0
    while True:
        number += 1
        length = int(min(2 * MIB, 16_384 * chance.lognormvariate(0, 1.3)))
        made = draft(b"/%d/%d" % (at, number))
        body = noise[:length]
        kept: object
        if number % 2:
            kept = store.put(made, body)
        else:
            kept = store.begin_fill(made)
            if isinstance(kept, Fill):
                for start in range(0, length, PIECE):
                    kept.append(body[start : start + PIECE])
                kept = kept.commit()
        if isinstance(kept, Copy):
            words[0] += 1
            words[2] += length
        else:
            words[1] += 1
        if pause_s:
            time.sleep(pause_s)


def look(folder: Path, size: int, seconds: float) -> tuple[int, int, int]:
    """Return the most bytes that were in use, the longest that the file was, and how often it was looked."""
    store = Store.open(folder, size)
    most_used = most_file = looks = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        looks += 1
        most_used = max(most_used, store.used())
        most_file = max(most_file, (folder / "data.mdb").stat().st_size)
        time.sleep(LOOK_S)
    store.close()
    return most_used, most_file, looks


def line(row: dict[str, int]) -> str:
    """Return a line of the table."""
    size = row["size"]
    tried = row["stored"] + row["refused"]
    return (
        f"| {size // MIB} MiB | {row['pause_s'] * 1000:.0f} ms | {row['mb_per_s']} MB/s, {tried / row['seconds']:,.0f} bodies/s | "
        f"{row['most_used'] / size:.1%} | {max(0, row['most_file'] - size)} B | {row['refused'] / tried:.1%} | {len(row['faults'])} | "
        f"{'yes' if row['recovers'] else 'no'} |"
    )


if __name__ == "__main__":
    sys.exit(main())
