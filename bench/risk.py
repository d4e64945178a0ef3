"""How fast secrets and personal data are found, and how well: `python bench/risk.py`.

Speed in MB of processor time, so that a busy machine does not count. Precision and recall on the
corpus that was written together with the scanner, and on one that faker draws, which it was not
tuned on. A text counts as found when the tag is there, as a false alarm for each tag that is not
its own.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from risk_corpora import Sample, drawn, written

from agentwatch.core.risk import TAGS, scan, tags_in

ROOT = Path(__file__).parent.parent
MEGABYTE = 1_000_000


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=4000, help="drawn texts with a risk")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--show", action="store_true", help="show what was missed, and why not")
    told = parser.parse_args()
    print("speed, MB/s of processor time (median of 5)")
    for name, text in texts().items():
        print(f"  {name:<28}{speed(text):7.1f}")
    _judge("written down", written(), told.show)
    _judge(f"drawn by faker, seed {told.seed}", drawn(told.texts, told.seed), told.show)
    return 0


def texts() -> dict[str, str]:
    """Texts of one megabyte, as agents send them."""
    prose = "\n".join(path.read_text() for path in sorted(ROOT.glob("docs/*.md")))
    code = "\n".join(path.read_text() for path in sorted((ROOT / "agentwatch").rglob("*.py")))
    draw = random.Random(1)
    rows = [{"id": draw.randrange(10**9), "score": draw.random()} for _ in range(15_000)]
    picture = "data:image/png;base64," + "iVBORw0KGgoAAAANSUhEUgAA" * 40_000
    mixed = [piece for pair in zip(_pieces(prose), _pieces(code), strict=False) for piece in pair]
    return {
        "chat (prose and code)": _megabyte("\n".join(mixed)),
        "prose": _megabyte(prose),
        "code": _megabyte(code),
        "chat with a picture": _megabyte(picture)[: MEGABYTE * 3 // 4]
        + _megabyte(prose)[: MEGABYTE // 4],
        "JSON of numbers": _megabyte(json.dumps(rows)),
    }


def _pieces(text: str) -> list[str]:
    return [text[at : at + 4000] for at in range(0, len(text), 4000)]


def _megabyte(text: str) -> str:
    return (text * (MEGABYTE // len(text) + 1))[:MEGABYTE]


def speed(text: str, runs: int = 5) -> float:
    """MB a second of processor time; the median."""
    return (
        len(text) / MEGABYTE / sorted(_seconds(lambda: scan(text)) for _ in range(runs))[runs // 2]
    )


def _seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def judged(samples: Iterable[Sample]) -> dict[str, Counter[str]]:
    """Of each tag: hit, missed, false (and every text that was missed or taken wrongly)."""
    counts: dict[str, Counter[str]] = {tag: Counter() for tag in TAGS}
    for sample in samples:
        found = set(tags_in(sample.text))
        if sample.tag is not None:
            counts[sample.tag]["hit" if sample.tag in found else "missed"] += 1
        for tag in found - {sample.tag}:
            counts[tag]["false"] += 1
    return counts


def precision_and_recall(counts: Iterable[Counter[str]]) -> tuple[float, float]:
    """Of all these together."""
    total: Counter[str] = sum(counts, Counter())
    hit = total["hit"]
    return hit / max(1, hit + total["false"]), hit / max(1, hit + total["missed"])


def _judge(name: str, samples: Iterable[Sample], show: bool) -> None:
    kept = list(samples)
    counts = judged(kept)
    print(f"\n{name}\n  {'':<24}{'precision':>10}{'recall':>8}{'texts':>7}{'false':>7}")
    for tag, of in (*counts.items(), ("all", sum(counts.values(), Counter()))):
        precision, recall = precision_and_recall([of])
        texts = of["hit"] + of["missed"]
        if texts or of["false"]:
            print(f"  {tag:<24}{precision:10.3f}{recall:8.3f}{texts:7}{of['false']:7}")
    if show:
        for sample in kept:
            found = tags_in(sample.text)
            if found != ((sample.tag,) if sample.tag else ()):
                print(f"  {sample.tag} {found}: {sample.text[:150]!r}")


if __name__ == "__main__":
    sys.exit(main())
