"""Every script of the pages runs alone in a fresh process, on fewer images; every command names what exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS, CONF = ROOT / "docs", ROOT / "experiments/conf"
PAGES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *DOCS.rglob("*.md")]}
SNIPPETS = [
    (page.removeprefix("docs/").removesuffix(".md"), number, block)
    for page, text in sorted(PAGES.items())
    if page.startswith("docs/")
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
]
COMMANDS = {
    command
    for text in PAGES.values()
    for command in re.findall(r"(?:uv run -m experiments|ppvae train) ([^#`\n]*)", text)
}
THEN = {  # what is looked at afterwards, and what it should say
    "start 0": ("tree['posterior'].sizes", r"'image': 16, 'latent': 15"),
    "start 1": ("log_p.sizes", r"'image': 8"),
    "start 2": ("history.sizes", r"'epoch': 1"),
    "howto/any_pair 0": ("float(tree['posterior']['mu'].mean())", r"effect\[7\][\s\S]*\n[345]\.\d+$"),
    "howto/autoregressive 0": ("p.sample().shape", r"(collapsed|weak|used)[\s\S]*torch.Size\(\[3, 32, 32\]\)"),
    "howto/believe 0": ("findings.sizes", r"k̂[\s\S]*'test': 11"),
    "howto/compare 0": ("sorted(found)", r"full covariance"),
    "howto/given 0": ("draw_given(model, data.given(slice(3))[0], columns=8).sizes", r"'given': 3, 'draw': 8"),
    "howto/hierarchy 0": ("(images.shape, tree.posterior.sizes)", r"\(16, 3, 32, 32\).*latent_1((?!row_2).)*$"),
    "howto/how_many_latents 0": ("(found.sizes, guide.loc.out_features)", r"'level': 2.* 3\)$"),
    "howto/own_data 0": ("pixels.unique().tolist()", r"\[0.0, 1.0\]$"),
    "howto/own_guide 0": ("issubclass(WideGuide, Program)", r"True$"),
    "howto/own_metric 0": ("codes.sizes", r"standard_error[\s\S]*'latent': 6"),
    "howto/own_objective 0": ("FreeRate().settles", r"distortion[\s\S]*\n0$"),
    "howto/own_prior 0": ("bool(log_p['log_marginal'].notnull().all())", r"True$"),
    "howto/some_labels 0": ("guide.classify(data.images[:8]).argmax(-1)", r"tensor\(\[[012](, [012]){7}\]\)$"),
    "howto/table 0": ("found.sizes", r"'image': 200, 'column': 40"),
    "howto/two_views 0": (
        "vary(model, columns=8, rows=4, cluster=3).sizes",
        r"'z_local': 4, 'z_global': 8",
    ),
}


def test_a_finished_run_is_told_of_as_in_the_readme():
    """Its script needs a run and is executed with the README's tests."""
    blocks = {page: block for page, _, block in SNIPPETS}
    assert blocks["howto/finished_run"] in PAGES["README.md"]


@pytest.mark.parametrize(
    ("place", "block"),
    [(f"{page} {number}", block) for page, number, block in SNIPPETS if page != "howto/finished_run"],
    ids=[f"{page}-{number}" for page, number, _ in SNIPPETS if page != "howto/finished_run"],
)
def test_a_script_of_the_pages_runs_alone(place, block, tmp_path, forked, smaller):
    shown, expected = THEN[place]
    done = forked(tmp_path, smaller(block) + f"\nprint({shown})")
    assert done.returncode == 0, done.stderr
    assert re.search(expected, done.stdout.strip()), done.stdout


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_commands_name_what_exists(command):
    """Every `group=choice` is a file of the configuration."""
    for argument in command.split():
        key, _, value = argument.partition("=")
        if (CONF / key).is_dir() and not value.startswith("free_rate"):  # the reader's own
            assert (CONF / key / f"{value}.yaml").is_file(), argument


def test_every_choice_of_every_group_is_listed():
    rows = dict(re.findall(r"^\| `([\w/]+)` \| (`.*) \|$", PAGES["docs/choices.md"], flags=re.MULTILINE))
    inner = {"network", "trainer"}  # sizes of networks, and the trainer's one file
    assert set(rows) == {path.name for path in CONF.iterdir() if path.is_dir()} - inner - {"__pycache__"} | {
        "trainer/stopping"
    }
    for group, choices in rows.items():
        names = re.findall(r"`(\w+)`", choices)
        assert set(names) == {path.stem for path in (CONF / group).glob("*.yaml")}, group
