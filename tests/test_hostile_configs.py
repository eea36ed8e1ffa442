"""Configs that are hostile or broken: each is refused in one sentence, in time, or does no harm."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hostile_inputs import device, fifo
from hostile_runner import SNAKEMAKE, Outcome, require_harmless, require_refusal, run_hostile

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "config_of_the_user.yaml"
READER = "workflow_scripts.show_concepts"  # reads a config as every command does, before anything else
MINE = {"name": "mine", "recipe": "brought", "constructor": "mine:net", "weights": "none", "layers": ["a"]}
MINE |= {"preprocessing": "ResNet50_Weights.IMAGENET1K_V1"}
IMP = {"name": "imp", "recipe": "imp"}
BOMB = "&a [x,x,x,x,x,x,x,x,x,x]"
UNFOLDING = "".join(f"k{n}: &k{n} [{','.join([f'*k{n - 1}'] * 10)}]\n" for n in range(1, 10))

MERGES = "k0: &k0 {a: 1}\n" + UNFOLDING.replace("[", "{<<: [").replace("]", "]}")


def config_of(folder: Path, content: object) -> None:
    """Write a config: text, bytes, or values."""
    content = content if isinstance(content, str | bytes) else yaml.safe_dump(content, allow_unicode=True)
    (folder / CONFIG).write_bytes(content if isinstance(content, bytes) else content.encode())


class Case(NamedTuple):
    """A config; `says` is a regular expression for the sentence that refuses it."""

    name: str
    content: object
    says: str


FILES = [
    Case("empty", "", "has no keys: write them"),
    Case("comment", "# nothing else\n", "has no keys"),
    Case("text", "hello there\n", "has no keys"),
    Case("list", "- experiment: a\n", "has no keys"),
    Case("number", "7\n", "has no keys"),
    Case("tab", "pruning:\n\tlevels: 3\n", "is neither YAML nor JSON .line 2: found character"),
    Case("unclosed", "pruning: {levels: 3\n", "is neither YAML nor JSON .line 2"),
    Case("binary", bytes(range(256)), "is damaged, or another kind of file"),
    Case("Latin-1", "experiment: café\n".encode("latin-1"), "is damaged, or another kind of file"),
    Case("UTF-16", "experiment: mine\n".encode("utf-16"), "is damaged, or another kind of file"),
    Case("NUL", "experiment: a\0b\n", "neither YAML nor JSON .*special characters"),
    Case("Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
    Case(
        "tag that runs code", "network: !!python/object/apply:os.system ['touch EXECUTED']\n", "neither YAML nor JSON"
    ),
    Case("date without meaning", "experiment: 2001-99-99\n", "neither YAML nor JSON .month must be"),
    Case("5000 digits", f"replicates: [{'9' * 5000}]\n", "neither YAML nor JSON .Exceeds the limit"),
    Case("duplicate section", "pruning: {levels: 3}\npruning: {levels: 1}\n", "line 2: the key pruning is already in"),
    Case("duplicate key", "pruning:\n  levels: 3\n  levels: 1\n", "3: the key pruning.levels is already"),
    Case("duplicate in JSON", '{"pruning": {"levels": 3,\n"levels": 1}}', "line 2: the key pruning.levels is already"),
    Case(
        "duplicate in a list",
        "arms:\n- name: a\n  name: imp\n  recipe: imp\n",
        "line 3: the key arms.0.name is already",
    ),
    Case("anchors bomb", f"k0: {BOMB.replace('&a', '&k0')}\n{UNFOLDING}", "has more than 100,000 values"),
    Case("bomb of keys", "k0: &k0 {a: 1, b: 2}\n" + UNFOLDING, "has more than 100,000 values"),
    Case("itself within itself", "network: &n\n  arguments: *n\n", "is nested more than 50 levels deep"),
    Case("list within itself", "x: &a [1, *a]\n", "is nested more than 50 levels deep"),
    Case("keys within themselves", "x: &a {b: *a}\n", "is nested more than 50 levels deep"),
    Case("pairs within themselves", "x: &a !!omap [b: *a]\n", "is nested more than 50 levels deep"),
    Case("many times within itself", "x: &a [*a, *a, *a]\n", "has more than 100,000 values"),
    Case("merged with itself", "x: &a {<<: *a}\n", "is nested more than 50 levels deep"),
    Case("key within itself", "? &a [*a]\n: 1\n", "is nested more than 50 levels deep"),
    Case("number within itself", "x: &a !!int {=: *a}\n", "is nested more than 50 levels deep"),
    Case("bomb of merges", MERGES, "has more than 100,000 values"),
    Case("bomb in a key", UNFOLDING.replace("*k0", "x") + "? !!str {=: b, c: *k9}\n: 1\n", "more than 100,000 values"),
    *(
        Case(f"no {tag}", f"x: !!{tag} {text}\n", "neither YAML nor JSON .* means nothing")
        for tag, text in [("int", "''"), ("float", "''"), ("bool", "x"), ("timestamp", "x")]
    ),
    Case("endless float", f"x: {'1:' * 400}1.0\n", "neither YAML nor JSON .* means nothing"),
    Case("two documents", "a: 1\n---\nb: 2\n", "neither YAML nor JSON .line 2: but found another document"),
    Case("deep list", f"world: {'[' * 60}{']' * 60}\n", "is nested more than 50 levels deep"),
    Case("very deep list", f"world: {'[' * 5000}{']' * 5000}\n", "is nested too deeply"),
    Case("very deep keys", "{a: " * 5000 + "1" + "}" * 5000, "is nested too deeply"),
    Case("very deep JSON", '{"world": ' + "[" * 99999 + "]" * 99999 + "}", "is nested too deeply"),
    Case("100,000 keys", "".join(f"k{number}: 1\n" for number in range(100_000)), "has more than 100,000 values"),
    Case("many wrong keys", "".join(f"wrong{number}: 1\n" for number in range(2000)), "config: 2000 mistakes"),
]


def nested(place: str, value: object) -> dict:
    """A config with one value, at a place such as "pruning.levels"."""
    for key in reversed(place.split(".")):
        value = {key: value}
    return value  # type: ignore[return-value]


def wrong(place: str, value: object, says: str) -> Case:
    """A config whose one value is wrong."""
    return Case(f"{place}: {str(value)[:30]!r}" if not isinstance(value, int) else place, nested(place, value), says)


NAN, INF, HUGE = float("nan"), float("inf"), 10**400
VALUES = [
    wrong("training.learning_rate", NAN, "learning_rate is nan, which is not finite"),
    wrong("training.learning_rate", INF, "learning_rate is inf, which is not finite"),
    wrong("images.mean", [NAN, 0, 0], r"images.mean.0 is nan, which is not finite"),
    wrong("images.std", [INF, 1, 1], r"images.std.0 is inf, which is not finite"),
    wrong("dissection.detector_iou", NAN, "detector_iou is nan"),
    wrong("dissection.quantile", NAN, "quantile is nan"),
    wrong("statistics.margin", -INF, "margin is -inf"),
    wrong("limits.download_gb", INF, "download_gb is inf"),
    wrong("rates.start", NAN, "start is nan"),
    wrong("robustness.quantiles", [0.01, NAN], "quantiles.1 is nan"),
    wrong("pruning.levels", 8.0, "levels is 8.0, but must be a whole number: write 8"),
    wrong("replicates", [1.0], r"replicates.0 is 1.0, but must be a whole number: write 1"),
    wrong("gallery.images", 5.5, "images is 5.5: write"),
    wrong("pruning.levels", True, "levels is true: write"),
    wrong("training.learning_rate", True, "learning_rate is true: write"),
    wrong("training.flip", 1, "flip is 1: write true or false"),
    wrong("replicates", [False], "replicates.0 is false"),
    wrong("replicates", [], r"replicates is \[\]"),
    wrong("replicates", [1, 1], "replicates has 1 twice"),
    wrong("replicates", None, "replicates is empty"),
    wrong("pruning", None, "pruning is empty"),
    wrong("pruning", "x", 'pruning is "x"'),
    wrong("arms", {}, "arms is {}"),
    wrong("arms", [7], "arms.0 is 7"),
    wrong("arms", [IMP, {**IMP, "name": None}], "arms.1.name is empty"),
    wrong("pruning.levels", 1_000_000_000, "levels is 1000000000: write a whole number from 0 to 1000"),
    wrong("pruning.levels", HUGE, "levels is a number of 1329 bits"),
    wrong("world.seed", HUGE, "seed is a number of 1329 bits"),
    wrong("network.arguments", {"widths": [HUGE]}, "widths.0 is a number of 1329 bits"),
    wrong("images.size", 2_000_000, "size is 2000000: write a whole number from 8 to 16384"),
    wrong("images.workers", 10**9, "workers is 1000000000"),
    wrong("world.train_images", 10**12, "train_images is 1000000000000"),
    wrong("statistics.permutations", 10**12, "permutations is 1000000000000"),
    wrong("ablation.random_sets", 10**12, "random_sets is 1000000000000"),
    wrong("arms", [MINE | {"level": 10**30}], "level is a number of 100 bits"),
    wrong("arms", [MINE | {"level": 2**32}], "level is 4294967296: write a whole number from 0 to 4294967295"),
    wrong("network.arguments", {"blocks": [10**9]}, "blocks.0 is 1000000000"),
    wrong("network", {"constructor": "mine:net", "arguments": {"width": NAN}}, "width is nan, which is not finite"),
    wrong("network", {"constructor": "mine:net", "arguments": {"a": [INF]}}, "a.0 is inf, which is not finite"),
    wrong("arms", [IMP, {"name": "r", "recipe": "rotated", "of": "imp", "seeds": 10**9}], "seeds is 1000000000"),
    wrong("arms", [IMP, {"name": "o", "recipe": "oneshot", "of": "imp", "levels": [10**9]}], "levels.0 is 1000000000"),
    wrong("replicates", list(range(3000)), "ask for more than 10,000 networks"),
    wrong("experiment", "e" * 300, "experiment is .* a name of at most 100 letters"),
    wrong("experiment", "a/b", "experiment is"),
    wrong("experiment", "..", r"experiment is \"..\""),
    wrong("experiment", "a b", "experiment is"),
    wrong("experiment", "a\n", "experiment is"),
    wrong("experiment", "{arm}", "experiment is"),
    wrong("experiment", 7, "must be text: put it into quotes"),
    wrong("arms", [{"name": "a" * 300, "recipe": "imp"}], "name is .* a name of at most 100 letters"),
    wrong("arms", [{"name": "{level}", "recipe": "imp"}], "name is"),
    wrong("arms", [{"name": "-x", "recipe": "imp"}], "name is"),
    wrong("arms", [{"name": "imp\n", "recipe": "imp"}], "with control characters"),
    wrong("arms", [{**IMP, "label": "\x1b[31mred"}], "label is .*control characters: leave them out"),
    wrong("arms", [{**IMP, "label": "a\0b"}], "label is .*control characters"),
    wrong("arms", [{**IMP, "label": "a\u202eb"}], "label is .*control characters"),
    wrong("arms", [{**IMP, "label": "a\u2028b"}], "label is .*control characters"),
    Case("no text", '{"arms": [{"name": "a", "recipe": "imp", "label": "\\ud800"}]}', "label is .*control characters"),
    wrong("concepts.categories", {"a\x1b[2J": "object"}, "is a key with control characters"),
    wrong("ablation.classes", {"a": "dog\n"}, "with control characters"),
    wrong("\x1b[31mhostile\x07", 1, r"unknown key \\x1b\[31mhostile\\x07"),
    wrong("k" * 100_000, 1, "unknown key kkk"),
    wrong("pruning." + "k" * 100_000, 1, "unknown key pruning.kkk"),
    wrong("dissection.layers", ["-x"], "layers.0 is"),
    wrong("pruning.exempt", ["--help"], "exempt.0 is"),
    wrong("images.source", "nowhere", "images.source is nowhere, but there is no such folder or archive"),
    wrong("images.source", ["a"], "images.source is"),
    wrong("images.addresses", ["file:///etc/passwd"], "addresses.0 is"),
    wrong("images.checksum", "sha256:" + "0" * 63, "checksum is"),
    wrong("network.constructor", "os:system\n", "control characters"),
    wrong("network.constructor", "os.system('touch EXECUTED')", "constructor is"),
    wrong("ablation.classes", {1: "dog"}, "is a key that is not text"),
    wrong(
        "network", {"constructor": "mine:net", "arguments": {"when": date(2001, 1, 1)}}, "when is 2001-01-01, a date"
    ),
]


@pytest.mark.parametrize("case", [*FILES, *VALUES], ids=lambda case: case.name[:60])
def test_a_wrong_config_is_refused_in_a_sentence(case, tmp_path):
    config_of(tmp_path, case.content)
    outcome = run_hostile(tmp_path, READER, "--configfile", CONFIG, "--out", "page.png")
    require_refusal(tmp_path, outcome, case.says)


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Path.mkdir, "is a folder, pipe, socket or device, not a file"),
        (fifo, "is a folder, pipe, socket or device, not a file"),
        (device, "is a folder, pipe, socket or device, not a file"),
        (lambda path: path.symlink_to("nowhere"), "is missing or is a broken link"),
        (make_loop, "cannot be read .Too many levels of symbolic links"),
        (lambda path: None, "is missing or is a broken link"),
        (lambda path: os.truncate(path.touch() or path, 10**10), "has 10 GB: .* limits.file_gb"),
    ],
    ids=["folder", "pipe", "device", "broken link", "loop", "missing", "sparse"],
)
def test_what_is_no_config_file_is_refused(make: Callable, says, tmp_path):
    make(tmp_path / CONFIG)
    require_refusal(tmp_path, run_hostile(tmp_path, READER, "--configfile", CONFIG, "--out", "page.png"), says)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("replicates", "'replicates' is no KEY=VALUE"),
        ("=1", "is no KEY=VALUE|unknown key"),
        ("pruning={levels: 1000000000}", "levels is .1000000000.: write a whole number from 0 to 1000"),
        (f"pruning={{levels: {'9' * 5000}}}", "levels is"),
        ("pruning={levels: .nan}", "levels is"),
        ("pruning={levels: 8.0}", "levels is .8.0.: write"),
        (f"network={{arguments: {{widths: '{'[' * 1000}'}}}}", "widths is"),
        ("network={arguments: {widths: '[&a [1,1,1,1,1,1,1,1,1,1], &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a], &c [*b,*b,*b,*b,"
         "*b,*b,*b,*b,*b,*b], &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c], &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]]'}}", "widths"),
        ("network={arguments: {widths: '{a: &a {b: 1}, c: &c {<<: [*a,*a,*a,*a]}, d: !!int x}'}}", "widths"),
        ("replicates='!!int []'", "replicates is"),
        ("experiment=-n", None),
        ("\x1b[31m=1", r"is no KEY=VALUE"),
    ],
)  # fmt: skip
def test_wrong_values_on_the_command_line_are_refused(word, says, tmp_path):
    outcome = run_hostile(tmp_path, READER, "--config", word, "--out", "page.png")
    if says is None:
        require_harmless(tmp_path, outcome)
    else:
        require_refusal(tmp_path, outcome, says)


def plan(folder: Path, content: object) -> Outcome:
    """Let Snakemake plan a config, which is small but for `content`."""
    small = {"experiment": "small", "replicates": [1], "pruning": {"levels": 1}, "arms": [IMP]}
    (folder / CONFIG).write_text(yaml.safe_dump(small | content if isinstance(content, dict) else content))
    words = ["--dry-run", "--quiet", "--cores", 1, "--snakefile", ROOT / "Snakefile", "--configfile", CONFIG]
    return run_hostile(folder, SNAKEMAKE, *words, seconds=60)


def test_snakemake_ends_with_the_same_sentences(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "folder.zip").mkdir()
    for content, says in [
        ({"network": {"constructor": "mine:net", "arguments": yaml.safe_load(f"k0: {BOMB}\n".replace("&a", "&k0") +
          UNFOLDING)}}, "has more than 100,000 values"),
        ({"images": {"source": "pipe"}}, "images.source is pipe, which is not a folder"),
        ({"images": {"source": "file", "storage": "files"}}, "images.source is file, which is not a folder"),
        ({"images": {"source": "folder.zip"}}, "images.source is folder.zip, which is not an archive"),
        ({"concepts": {"source": "/dev/null"}}, "concepts.source is /dev/null, which is not a folder"),
        ({"\x1b[31mkey": 1}, r"unknown key \\x1b\[31mkey"),
        ({"pruning": {"levels": 10**9}}, "levels is 1000000000"),
    ]:  # fmt: skip
        require_refusal(tmp_path, plan(tmp_path, content), says)


def test_braces_and_dashes_in_texts_of_a_config_are_neither_wildcards_nor_options(tmp_path):
    folder = tmp_path / "-a {level} 'b'"
    (folder / "-set {x}").mkdir(parents=True)
    for name in ("totals {level}.csv", "-pictures {arm}.zip", "-same {arm}.csv"):
        (folder / name).touch()
    (folder / "-names {level}.csv").write_text("name,number\n{arm},1\n-x,2\n")
    content = {
        "arms": [{**IMP, "label": "pruned {level} times"}],
        "images": {"source": "-pictures {arm}.zip", "without": ["{split}", "-x"], "test_labels": "-labels {x}.txt"},
        "concepts": {"pixel_totals": "totals {level}.csv"},
        "pruning": {"levels": 1, "exempt": ["a{level}"]},
        "ablation": {"classes": {"{arm}": "{level}"}},
    }
    own = {"name": "own", "format": "label_maps", "source": "-set {x}", "names": "-names {level}.csv"}
    own |= {"pictures": "images/{}.png", "label_maps": "maps/{}.png"}
    for concepts in (content["concepts"], {"sources": [own], "synonyms": "-same {arm}.csv"}):
        outcome = plan(folder, content | {"concepts": concepts})
        require_harmless(folder, outcome)
        assert outcome.status == 0, outcome.output[-2000:]
