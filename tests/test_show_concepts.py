"""show_concepts: what it says of labelled pictures is what they hold, and its sheet shows their masks."""

import numpy as np
import pytest
from PIL import Image

from workflow_scripts import show_concepts
from workflow_scripts.shared.files import UserError

CONFIG = """
experiment: looked_at
concepts:
  sources:
    - name: drawn
      format: label_maps
      source: set
      pictures: "images/{}.png"
      label_maps: "maps/{}.png"
      names: {left: 1, right: 2, never: 3}
      nothing: [0]
  label_size: 8
  colours: true
  synonyms: none
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Six pictures, red on the left, where the label is 1, and blue on the right, where it is 2 in the last four."""
    monkeypatch.chdir(tmp_path)
    for folder in ("set/images", "set/maps"):
        (tmp_path / folder).mkdir(parents=True)
    for place in range(6):
        side = 16 + 2 * place
        pixels = np.zeros((side, side, 3), np.uint8)
        pixels[:, : side // 2] = 208, 38, 40
        pixels[:, side // 2 :] = 48, 112, 214
        numbers = np.zeros((side, side), np.uint8)
        numbers[:, : side // 2] = 1
        if place >= 2:
            numbers[:, side // 2 :] = 2
        Image.fromarray(pixels).save(tmp_path / f"set/images/{place}.png")
        Image.fromarray(numbers).save(tmp_path / f"set/maps/{place}.png")
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def run(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["show_concepts", "--configfile", "c.yaml", "--out", "sheet.png", *arguments])
    show_concepts.main()


def test_it_says_what_the_pictures_hold(config, monkeypatch, capsys):
    run(monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "6 pictures, label maps of 8 x 8; 14 labels (categories: color, object)"
    # Two pictures of six have no label on their right half.
    assert lines[1].startswith("looked at 6 pictures: 16 to 26 pixels high, 16 to 26 wide; 16.7% of all pixels have no")
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.count("%") == 1 and "object" in line}
    assert rows == {"left": ["object", "6", "50.000%"], "right": ["object", "4", "33.333%"]}
    assert any(line.startswith("out of reach") and line.endswith(" left, right") for line in lines)
    unseen = next(line for line in lines if line.startswith("not seen"))
    assert "never" in unseen and "left" not in unseen and "red-c" not in unseen


def test_names_cannot_control_the_terminal(config, monkeypatch, capsys):
    (config / "c.yaml").write_text(CONFIG.replace("{left: 1, right: 2, never: 3}", "names.csv"))
    (config / "names.csv").write_text("name,number\n\x1b[31mleft\x1b]0;title\x07\u202e,1\nright,2\nnever,3\n")
    run(monkeypatch)
    said = capsys.readouterr().out
    assert all(sign.isprintable() or sign == "\n" for sign in said)
    assert said.count(r"\x1b[31mleft\x1b]0;title\x07\u202e") == 2  # in the table, and out of reach


def test_a_part_is_spread_evenly(config, monkeypatch, capsys):
    run(monkeypatch, "--pictures", "3")  # those at 0, 2 and 4
    out = capsys.readouterr().out
    assert "looked at 3 pictures: 16 to 24 pixels high" in out
    rows = {line.split()[0]: line.split()[2] for line in out.splitlines() if "object" in line and "%" in line}
    assert rows["left"] == "3" and rows["right"] == "2"


def test_the_sheet_shows_each_label_bright_and_the_rest_dark(config, monkeypatch):
    run(monkeypatch)
    sheet = np.asarray(Image.open(config / "sheet.png").convert("RGB")).astype(int)
    tile = show_concepts.TILE
    assert sheet.shape == (tile + show_concepts.TEXT, show_concepts.ACROSS * tile, 3)
    # blue-c and red-c, which are as large, then left and right.
    quarter, centre = tile // 4, tile // 2
    for place, bright in enumerate(["right", "left", "left", "right"]):
        left, right = (sheet[centre, place * tile + quarter * n] for n in (1, 3))
        of_left, of_right = (208, 38, 40), (48, 112, 214)
        assert (left == (np.array(of_left) * (1 if bright == "left" else 0.3)).astype(int)).all()
        assert (right == (np.array(of_right) * (1 if bright == "right" else 0.3)).astype(int)).all()


def test_fewer_labels_are_drawn_in_turn_from_each_category(config, monkeypatch, capsys):
    run(monkeypatch, "--labels", "2")
    assert "an example of 2 labels" in capsys.readouterr().out


def test_an_archive_that_is_not_unpacked_is_named(config, monkeypatch):
    (config / "set.tar").touch()
    (config / "c.yaml").write_text(CONFIG.replace("source: set", "source: set.tar"))
    with pytest.raises(UserError, match=r"data/concepts_drawn is not there yet: make it, by snakemake --cores 1"):
        run(monkeypatch)


@pytest.mark.parametrize("out", ["set", "folder.png", "sheet.jpg", ""])
def test_nothing_but_a_png_is_written(config, monkeypatch, out):
    (config / "folder.png").mkdir()
    before = sorted(config.rglob("*"))
    with pytest.raises(UserError, match=r"--out is .*: give the path of a file that ends with \.png"):
        run(monkeypatch, "--out", out)
    assert sorted(config.rglob("*")) == before


def test_pictures_without_any_label_are_named(config, monkeypatch):
    for place in range(6):
        Image.new("L", (16 + 2 * place, 16 + 2 * place)).save(config / f"set/maps/{place}.png")
    (config / "c.yaml").write_text(CONFIG.replace("colours: true", "colours: false"))
    with pytest.raises(UserError, match="none of these pictures has a label"):
        run(monkeypatch)
    with pytest.raises(UserError, match="must be at least 1"):
        run(monkeypatch, "--labels", "0")
