"""The model card of a run: what it is, what it was trained on, how well, and how to load it."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ppvae.nouns import IMAGE, ROW

from ..meanings import metric_names
from ..record import read_record
from .without_folders import record_without_folders

if TYPE_CHECKING:
    from .run import FinishedRun

__all__ = ["model_card", "title_of"]

PARTS = ("prior", "guide", "likelihood", "objective", "annealing", "penalty", "condition", "auxiliary", "select")
NOTHING_HELD = "Of the training data nothing is in this folder."
UNNAMED = "No licence was named: ask whoever trained it before using it."


def model_card(run: "FinishedRun", license: str | None, held: Mapping[str, str]) -> str:
    """Markdown below the fields, in YAML, by which model hubs file it. ``held``: files of the training data, and what
    they hold of them."""
    fields = ["---", f"license: {license or 'unknown'}", "library_name: ppvae"]
    fields += ["tags:", *(f"- {tag}" for tag in ("variational-autoencoder", "pyro", "representation-learning")), "---"]
    sections = [
        f"# {title_of(run)}",
        f"A variational auto-encoder of {run.metrics.get('data', 'images')}: a Pyro model and its guide, trained by "
        f"ppvae {version('ppvae')}.",
        _table("What it is", ("part", "here"), _parts(run)),
        _table("Metrics", ("metric", "value"), _metrics(run)),
        _loading(run),
        _table("What is here of the training data", ("file", "holds"), held.items()) or NOTHING_HELD,
        _table("How it was made", ("what", "here"), _made(run)),
        f"## Licence\n\n{f'`{license}`.' if license else UNNAMED}",
    ]
    return "\n".join(fields) + "\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def title_of(run: "FinishedRun") -> str:
    """The run's name; of one without ``runs/NAME/TIME``'s, or its folder's."""
    if run.configuration.get("name"):
        return str(run.configuration.name).replace("_", " ")
    folder = run.folder.resolve()
    name = folder.parent.name if folder.parent.parent.name == "runs" else folder.name
    return name.replace("_", " ")


def _parts(run: "FinishedRun") -> Iterator[tuple[str, str]]:
    own = run.configuration
    yield "data", str(run.metrics.get("data", "unknown"))
    yield "image shape", f"{' × '.join(map(str, own.image_shape))} (channels, rows, columns)"
    for part in PARTS:
        if own.get(part) is not None:
            yield part, _said(own[part])
    numbers = sum(parameter.numel() for parameter in {*run.model.parameters(), *run.guide.parameters()})
    yield "parameters", str(numbers)


def _said(group: DictConfig) -> str:
    """``NormalGammaPrior(shape=8.25, rate=3.62)``: a part's class, and its plain settings."""
    values = {str(key): None if OmegaConf.is_missing(group, key) else group[key] for key in group}
    name = str(values.pop("_target_", "")).rpartition(".")[2]
    plain = ", ".join(f"{key}={value}" for key, value in values.items() if isinstance(value, str | int | float))
    return f"{name}({plain})" if name else plain


def _metrics(run: "FinishedRun") -> Iterator[tuple[str, str]]:
    names = metric_names(ROW if run.intake.of_rows else IMAGE)
    for name, value in run.metrics.items():
        if isinstance(value, int | float):
            yield names.get(name, name.replace("_", " ")), f"{value:.6g}"


def _made(run: "FinishedRun") -> Iterator[tuple[str, str]]:
    record = read_record(run.folder) or {"seed": run.configuration.seed}
    for name, value in record_without_folders(record).items():
        yield name, f"`{value}`"


def _loading(run: "FinishedRun") -> str:
    given = "" if run.configuration.get("condition") is None else ", given=0"
    images = "rows.csv" if run.intake.of_rows else "folder"
    lines = [
        "import ppvae",
        "",
        'run = ppvae.load("path/to/this/folder")  # reads tensors and plain text, executes nothing',
        f'codes = run.encode("{images}"{given})  # means and standard deviations of the latents',
        f'scores = run.score("{images}"{given})  # log p(x), and how rare that is, in [0, 1]',
        f"drawn = run.sample(10{given})",
    ]
    return "\n".join(["## How to load it", "", "```python", *lines, "```"])


def _table(title: str, columns: tuple[str, str], rows: Any) -> str:
    cells = [tuple(" ".join(str(cell).split()).replace("|", r"\|") for cell in row) for row in rows]
    if not cells:
        return ""
    lines = [f"| {first} | {second} |" for first, second in (columns, ("---", "---"), *cells)]
    return "\n".join([f"## {title}", "", *lines])
