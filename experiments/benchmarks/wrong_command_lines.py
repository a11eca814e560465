"""Wrong command lines, by kind: does each end in one line and exit code 2, before any training, leaving nothing?

``python -m experiments.benchmarks.wrong_command_lines [--only WORD] [--workers N] [--write PAGE.md]``
"""

import argparse
import multiprocessing
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ppvae.files import replace_atomically

from ..provenance import as_markdown, environment
from ..report import Table, Value
from .command_lines import RIGHT, WRONG, words_of
from .forked import Outcome, run_forked

__all__ = ["KINDS", "main", "tried", "verdict"]

TINY = [  # settings that make every line quick
    "data.size=64",
    "data.image_size=32",
    "network=mlp",
    "network.encoder.hidden=[16]",
    "network.decoder.hidden=[16]",
    "latents=4",
    "trainer.epochs=1",
    "trainer.batch_size=32",
    "trainer.compile=false",
    "trainer.progress=false",
    "trainer.accelerator=cpu",
    "posterior.images=32",
    "posterior.draws=2",
    "posterior.ablation_images=16",
    "diagnosis.images=0",
]
ONE_LINE, TRACEBACK, ACCEPTED, NO_ANSWER, OTHER, LEFT = KINDS = (
    "one line, exit 2",
    "traceback",
    "accepted",
    "no answer",
    "another end",
    "leaves files",
)
LONGEST = 400  # characters of a line that is one


def verdict(outcome: Outcome) -> str:
    """One of :data:`KINDS`."""
    lines = outcome.err.splitlines()
    if outcome.code is None:
        return NO_ANSWER
    if "Traceback (most recent call last)" in outcome.err:
        return TRACEBACK
    if outcome.code == 0:
        return ACCEPTED
    one = len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) <= LONGEST
    if outcome.code != 2 or not one or outcome.out:
        return OTHER
    return LEFT if outcome.left else ONE_LINE


def tiny_with(words: Sequence[str]) -> list[str]:
    """The words after the quick settings, without those that they replace or whose group they replace."""
    given = {word.split("=")[0].lstrip("+~") for word in words}
    if "rerun" in given:
        return list(words)
    groups = {key for key in given if "." not in key}
    kept = [tiny for tiny in TINY if (key := tiny.split("=")[0]) not in given and key.split(".")[0] not in groups]
    return [*kept, *words]


def tried(lines: Sequence[tuple[str, list[str]]], root: Path) -> Iterator[tuple[str, list[str], Outcome]]:
    """Each line's outcome, in a folder of its own that is a copy of ``root/start``."""
    for number, (kind, words) in enumerate(lines):
        cwd = root / str(number)
        shutil.copytree(root / "start", cwd)
        yield kind, words, run_forked(tiny_with(words), cwd)
        shutil.rmtree(cwd)


def prepared(root: Path, *, run: bool = True) -> None:
    """What the lines may name: a file, folders, and a finished ``run`` where one of them does."""
    start = root / "start"
    (start / "empty").mkdir(parents=True)
    (start / "not_a_run").mkdir()
    (start / "not_a_run" / "notes.txt").write_text("notes")
    (start / "a_file").write_text("a file")
    if not run:
        return
    made = run_forked([*TINY, "hydra.run.dir=run"], start)
    if made.code != 0:
        raise RuntimeError(f"the run to resume ended with {made.code}: {made.err}")


def table(results: Sequence[tuple[str, list[str], Outcome]]) -> Table:
    """A row a kind of mistake, a column an end."""
    verdicts: dict[str, list[str]] = {}
    for kind, _, outcome in results:
        verdicts.setdefault(kind, []).append(verdict(outcome))
    verdicts["all"] = [found for group in verdicts.values() for found in group]
    rows: list[list[Value]] = [
        [kind, len(found), *(found.count(end) for end in KINDS)] for kind, found in verdicts.items()
    ]
    return Table("Wrong command lines", ("kind", "tried", *KINDS), rows)


def _share(arguments: tuple[list[tuple[str, list[str]]], Path]) -> list[tuple[str, list[str], Outcome]]:
    _import_everything()
    lines, root = arguments
    prepared(root, run=any("run" in re.split(r"\W", word) for _, words in lines for word in words))
    return list(tried(lines, root))


def _import_everything() -> None:
    """What a child process then need not."""
    import lightning_fabric  # noqa: F401


def all_tried(lines: list[tuple[str, list[str]]], workers: int) -> list[tuple[str, list[str], Outcome]]:
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(workers) as pool:
        shares = [(lines[number::workers], Path(folder, f"worker{number}")) for number in range(workers)]
        found = [result for share in pool.map(_share, shares, chunksize=1) for result in share]
    order = {(kind, *words): number for number, (kind, words) in enumerate(lines)}
    return sorted(found, key=lambda result: order[result[0], *result[1]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Try them all and print, or write, the table and what did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="kinds that have this word in their name")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--right", action=argparse.BooleanOptionalAction, default=True)
    chosen = parser.parse_args(arguments)
    lines = [(kind, words) for kind, text in WRONG.items() if chosen.only in kind for words in words_of(text)]
    right = [("right", words) for words in words_of(RIGHT)] if chosen.right else []
    found = all_tried([*lines, *right], chosen.workers)
    wrong = [result for result in found if result[0] != "right"]
    refused = [(words, outcome) for kind, words, outcome in found if kind == "right" and outcome.code != 0]
    offending = [(words, outcome) for _, words, outcome in wrong if verdict(outcome) != ONE_LINE]
    page = _page(table(wrong), offending, refused, len(right))
    print(page)
    if chosen.write:
        replace_atomically(chosen.write, lambda path: path.write_text(page))


def _page(counts: Table, offending: Sequence, refused: Sequence, right: int) -> str:
    parts = [f"# {counts.title}", as_markdown(environment(0)), counts.as_markdown()]
    parts.append(_listed("Those that do not end in one line", offending))
    parts.append(f"Right lines, so that no check refuses too much: {right - len(refused)} of {right} run to their end.")
    parts.append(_listed("Right lines refused", refused))
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(title: str, results: Sequence[tuple[list[str], Outcome]]) -> str:
    if not results:
        return ""
    rows = [f"- `{' '.join(words)[:120]}`: {verdict(outcome)}, {_last(outcome)}" for words, outcome in results]
    return "\n".join([f"## {title}", "", *rows])


def _last(outcome: Outcome) -> str:
    lines = outcome.err.strip().splitlines()
    said = f"{len(lines)} lines, the last: `{lines[-1][:200]}`" if lines else "nothing on stderr"
    left = f", left {len(outcome.left)} files" if outcome.left else ""
    return f"code {outcome.code}, {outcome.seconds:.1f} s, {said}{left}"


if __name__ == "__main__":
    main()
