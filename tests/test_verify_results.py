"""Verifying a folder of results: what is whole and consistent passes, each fault is named, and nothing else happens."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from small_results import ALL_TABLES, LEVELS, REPLICATES, read_facts, write_attributes, write_facts, write_results

from workflow_scripts.run.list_checksums import list_checksums
from workflow_scripts.run.provenance import CHECKSUMS
from workflow_scripts.run.verify_results import Verified, main
from workflow_scripts.shared.printable import printable

NETWORK = "imp/replicate_1/level_2"
NETWORKS = REPLICATES * (LEVELS + 4)  # levels of imp, three baselines and a reference


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of two experiments of the same shape."""
    folder = tmp_path_factory.mktemp("made")
    return write_results(folder / "one"), write_results(folder / "two", seed="two")


@pytest.fixture
def results(made, tmp_path) -> Path:
    """A copy of the first."""
    return Path(shutil.copytree(made[0], tmp_path / "one"))


def faults(results: Path) -> list[str]:
    found = Verified(results).faults
    assert all("\n" not in fault and fault for fault in found)
    return found


def list_again(results: Path) -> None:
    """Let the list of checksums be that of what lies in the folder now: then only what files say can tell."""
    list_checksums(results, results / CHECKSUMS)


def listed(results: Path) -> list[str]:
    return [line[66:] for line in (results / CHECKSUMS).read_text().splitlines()]


def test_whole_results_have_no_fault(made):
    assert Verified(made[1]).faults == []
    verified = Verified(made[0])
    assert verified.faults == []
    assert verified.files == len(listed(made[0])) > 100
    assert (verified.large, verified.absent) == (4 * NETWORKS + 1, 0)


def test_the_list_is_one_that_sha256sum_reads(results):
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", CHECKSUMS], cwd=results, check=True)


def test_everything_is_listed_but_large_files_and_what_may_be_deleted_or_is_left_over(results):
    left_over = ("tables/of_another_config.csv", "figures/of_another_config.pdf")
    for name in ("logs/collect.log", "benchmarks/collect.tsv", "own_networks.json", ".hidden.csv", *left_over):
        (results / name).parent.mkdir(exist_ok=True)
        (results / name).touch()
    files = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    list_again(results)
    left_out = files - set(listed(results))
    assert {name for name in left_out if not name.endswith((".h5", ".pt"))} == {
        *("logs/collect.log", "benchmarks/collect.tsv", "own_networks.json", ".hidden.csv", CHECKSUMS),
        *left_over,
    }


def test_a_copy_without_large_files_and_logs_is_verified(results):
    for pattern in ("*.h5", "*.pt"):
        for path in results.rglob(pattern):
            path.unlink()
    verified = Verified(results)
    assert verified.faults == []
    assert (verified.large, verified.absent) == (0, 4 * NETWORKS + 1)


def test_each_file_that_is_missing_or_has_another_byte_is_named_and_no_other(results):
    names = listed(results)
    chosen = {
        name for name in names if "/" not in name or name.startswith(("tables/n", "figures/overview", "gallery/"))
    }
    for name in sorted(chosen | set(random.Random(0).sample(names, 5))):
        path = results / name
        contents = path.read_bytes()
        place = len(contents) // 2
        for damaged in (None, contents[:place] + bytes([contents[place] ^ 1]) + contents[place + 1 :], contents[:-1]):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            found = faults(results)
            assert str(path) in found[0], name
            assert "run snakemake" in found[0]
            if name != "provenance.json":
                assert len(found) == 1
            path.write_bytes(contents)
    assert faults(results) == []


SAME = ("arms", "matched")  # tables that both experiments have alike
COMPARISONS = ("equivalence", "correlations", "identity")


@pytest.mark.parametrize("name", [name for name in ALL_TABLES if name not in SAME])
def test_a_table_of_another_experiment_is_named(made, results, name):
    table, other = (folder / "tables" / f"{name}.csv" for folder in (results, made[1]))
    shutil.copy(other, table)
    [fault] = faults(results)
    assert str(table) in fault
    if name not in COMPARISONS:  # also where somebody has listed the checksums again
        list_again(results)
        assert str(table) in faults(results)[0]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("networks", ",12,", ",13,"),  # units
        ("units", ",True,", ",False,"),
        ("units", ",object,", ",part,"),
        ("units", "imp,0,0,", "imp,0,7,"),
        ("units", ",layer", ",layre"),
        ("categories", ",object,1", ",object,2"),
        ("arms", "\nuntrained,", "\nuntrainde,"),
        ("nulls", "imp,0,0,", "pmi,0,0,"),
        ("epochs", "imp,0,0,", "imp,0,9,"),
    ],
)
def test_tables_that_disagree_are_named_whatever_their_checksums(results, name, old, new):
    table = results / "tables" / f"{name}.csv"
    text = table.read_text()
    assert old in text
    table.write_text(text.replace(old, new, 1))
    list_again(results)
    found = faults(results)
    assert found and all(f"tables/{name}.csv" in fault for fault in found)


def test_units_of_a_network_that_are_not_those_of_the_table_are_named(results):
    own = results / NETWORK / "units.csv"
    own.write_text(own.read_text().replace("True", "False", 1))
    list_again(results)
    [fault] = faults(results)
    assert str(own) in fault and "tables/units.csv" in fault


def test_a_config_that_was_edited_is_named_whatever_its_checksum(results):
    config = results / "config.yaml"
    config.write_text(config.read_text().replace("margin: 0.1", "margin: 0.2"))
    [fault] = faults(results)
    assert str(config) in fault
    list_again(results)
    [fault] = faults(results)
    assert str(config) in fault and "provenance.json" in fault


@pytest.mark.parametrize(
    ("name", "attributes"),
    [
        (f"{NETWORK}/activations.h5", {"network": "x", "fingerprint": "y", "concepts": "z"}),
        (f"{NETWORK}/thresholds.h5", {"activations": "x"}),
        (f"{NETWORK}/tally.h5", {"activations": "x", "concepts": "z"}),
        (f"{NETWORK}/tally.h5", {"activations": "x"}),
        ("data/concepts.h5", {"fingerprint": "z"}),
    ],
)
def test_a_large_file_of_another_run_is_named(results, name, attributes):
    write_attributes(results / name, **attributes)
    [fault] = faults(results)
    assert str(results / name) in fault
    (results / name).write_bytes(b"no HDF5")
    [fault] = faults(results)
    assert str(results / name) in fault and "damaged" in fault


def test_another_network_is_named(results):
    (results / NETWORK / "network.pt").write_bytes(b"other weights")
    [fault] = faults(results)
    assert f"{NETWORK}/network.pt" in fault


def test_networks_dissected_with_other_concepts_than_are_there_are_named(results):
    facts = read_facts(results)
    facts["concepts"] = {}
    write_facts(results, facts)
    assert any(f"other concepts of {NETWORK}" in fault for fault in faults(results))


# What comes from elsewhere may be anything


def without_a_key(place: list) -> Callable[[dict], None]:
    def change(facts):
        *outer, key = place
        for name in outer:
            facts = facts[name]
        del facts[key]

    return change


def with_value(place: list, value: object) -> Callable[[dict], None]:
    def change(facts):
        *outer, key = place
        for name in outer:
            facts = facts[name]
        facts[key] = value

    return change


def test_provenance_without_any_of_its_keys_is_named(results):
    whole = read_facts(results)
    places = [[key] for key in whole] + [
        [key, name] for key in ("project", "machine", "seeds", "training") for name in whole[key]
    ]
    places += [["labelled", "concepts.h5", name] for name in whole["labelled"]["concepts.h5"]]
    places += [[key, 0, name] for key in ("networks", "data") for name in whole[key][0]]
    for place in places:
        facts = read_facts(results)
        without_a_key(place)(facts)
        write_facts(results, facts)
        found = faults(results)
        assert len(found) == 2 and all(str(results / "provenance.json") in fault for fault in found), place
        write_facts(results, whole)


@pytest.mark.parametrize(
    "change",
    [
        with_value(["networks", 0, "files"], "../../etc"),
        with_value(["networks", 0, "dissection"], "/etc/replicate_1/level_1"),
        with_value(["networks", 0, "files"], "imp/replicate_1/level_1\n"),
        with_value(["concepts"], {"../../secret.h5": "0" * 64}),
        with_value(["labelled"], {"../../secret.h5": {"pictures": 1, "labels": 1, "categories": []}}),
        with_value(["labelled", "concepts.h5", "categories"], []),
        with_value(["training", "train"], "many"),
        with_value(["tables"], ["../../secret"]),
        with_value(["networks", 0, "level"], -1),
        with_value(["networks", 0, "level"], True),
        with_value(["networks", 0, "network"], "0" * 63),
        with_value(["networks"], {}),
        with_value(["machine"], None),
        with_value(["more"], 1),
        with_value(["format"], 99),
    ],
)
def test_provenance_that_says_what_snakemake_does_not_write_is_named(results, change):
    facts = read_facts(results)
    change(facts)
    write_facts(results, facts)
    assert all(str(results / "provenance.json") in fault for fault in faults(results))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"7", b"null", b'"text"', b"[" * 100_000, b"\xff\xfe", b"9" * 10_000, b'{"format": 1}'],
    ids=["empty", "open", "list", "number", "null", "text", "deep", "no UTF-8", "digits", "little"],
)
def test_damaged_json_is_named(results, text):
    (results / "provenance.json").write_bytes(text)
    found = faults(results)
    assert found and all(str(results / "provenance.json") in fault for fault in found)


def test_json_that_is_cut_off_anywhere_is_named(results):
    whole = (results / "provenance.json").read_bytes()
    for place in random.Random(1).sample(range(len(whole) - 1), 20):
        (results / "provenance.json").write_bytes(whole[:place])
        assert len(faults(results)) == 2


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "tables/../../secret", "link", "folder/secret"])
def test_a_list_that_leads_out_of_the_folder_is_not_followed(results, name):
    secret = results.parent / "secret"
    secret.write_text("secret")
    (results / "link").symlink_to(secret)
    (results / "folder").symlink_to(results.parent)
    with open(results / CHECKSUMS, "a") as lines:
        lines.write(f"{'0' * 64}  {name}\n")
    [fault] = faults(results)
    assert "outside the folder" in fault and name in fault


@pytest.mark.parametrize("line", ["", "no checksum", "0" * 64, f"{'0' * 63}  a", f"{'0' * 64}  {'a' * 5000}", "\0"])
def test_a_list_with_a_damaged_line_is_named(results, line):
    text = (results / CHECKSUMS).read_text()
    (results / CHECKSUMS).write_text(f"{line}\n{text}")
    [fault] = faults(results)
    assert f"{CHECKSUMS} is damaged in line 1" in fault


def test_without_a_list_or_with_an_empty_one_nothing_counts_as_whole(results):
    (results / CHECKSUMS).write_text("")
    assert "lists no file" in faults(results)[0]
    (results / CHECKSUMS).unlink()
    assert f"{CHECKSUMS} is missing" in faults(results)[0]


def test_what_is_no_file_is_not_waited_for(results):
    for name in ("report.html", "provenance.json", "tables/units.csv"):
        path = results / name
        contents = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        assert "not a file" in faults(results)[0]
        path.unlink()
        path.write_bytes(contents)


# The command


def run(capsys, monkeypatch, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["verify_results", *map(str, arguments)])
    try:
        main()
        status = 0
    except SystemExit as end:
        status = 1
        print(end.code)
    return status, *capsys.readouterr()


def test_the_command_says_what_was_verified_and_how_to_make_it_again(results, capsys, monkeypatch):
    status, said, _ = run(capsys, monkeypatch, results)
    assert status == 0
    assert f"{results} is whole: its {len(listed(results))} listed files" in said
    assert f"agree on {NETWORKS} networks, and {4 * NETWORKS + 1} large files" in said
    for words in ("snakemake --cores 3 --configfile results/one/config.yaml", "commit c0ffee", "data/a.zip"):
        assert words in said


def test_the_command_ends_with_a_line_for_each_fault(results, capsys, monkeypatch):
    (results / "report.html").unlink()
    (results / "costs.csv").write_text("other")
    status, said, _ = run(capsys, monkeypatch, results)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert status == 1 and len(errors) == 2
    assert "costs.csv" in errors[0] and "report.html is missing" in errors[1]
    assert "commit c0ffee" in said and "is whole" not in said


def test_a_folder_that_is_none_ends_in_sentences(tmp_path, capsys, monkeypatch):
    status, said, _ = run(capsys, monkeypatch, tmp_path / "gone")
    assert status == 1 and said.count("error: ") == 2


def test_names_cannot_control_the_terminal(results, capsys, monkeypatch):
    with open(results / CHECKSUMS, "a") as lines:
        lines.write(f"{'0' * 64}  \x1b[2Jgone\r\u202e\n")
    facts = read_facts(results)
    facts["again"] = "snakemake \x1b]0;title\x07\nit is whole"
    write_facts(results, facts)
    _, said, _ = run(capsys, monkeypatch, results)
    assert all(sign.isprintable() or sign == "\n" for sign in said)
    assert not [line for line in said.splitlines() if line.startswith("it is whole")]
    assert r"\x1b[2Jgone\r\u202e" in said and r"\x1b]0;title\x07" in said
    assert printable("Ω é 1 %\ufffe") == r"Ω é 1 %\ufffe"
