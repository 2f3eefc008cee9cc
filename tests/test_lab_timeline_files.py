"""The painters and the files they write, and pictures of a real machine's run."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree

import pytest
from lab_timeline_stories import STORIES, crowd, first_interrupt

from tcglite import Machine, guests
from tcglite.errors import UsageError
from tcglite.lab import theme
from tcglite.lab.timeline import (
    layout,
    legend,
    save_timeline,
    shapes,
    timeline_html,
    to_figure,
    to_svg,
    to_text,
)


@pytest.mark.parametrize("name", [*STORIES, "crowd"])
def test_both_painters_draw_the_same_primitives(name):
    picture = layout(crowd() if name == "crowd" else STORIES[name]())
    figure = to_figure(picture)
    texts = [text.get_text() for text in figure.axes[0].texts]
    root = ElementTree.fromstring(to_svg(picture))
    drawn = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == drawn
    assert figure.get_size_inches() == pytest.approx([picture.width / 100, picture.height / 100])


def test_a_figure_is_made_without_pyplot_and_in_any_thread():
    code = (
        "import sys; from tcglite.lab import timeline; "
        "assert 'matplotlib' not in sys.modules; timeline.to_figure(timeline.legend()); "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules; "
        "assert 'ipywidgets' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(("ending", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_files(tmp_path, ending, magic):
    path = tmp_path / f"picture{ending}"
    picture = save_timeline(first_interrupt(), path, window=2)
    assert picture.mode == "single"
    assert path.read_bytes().startswith(magic)
    if ending == ".svg":
        ElementTree.fromstring(path.read_text(encoding="utf-8"))


def test_wrong_file_names_are_one_line_errors(tmp_path):
    with pytest.raises(UsageError, match=r"ending in \.png or \.svg"):
        save_timeline([], tmp_path / "picture.gif")
    with pytest.raises(UsageError, match="No such file"):
        save_timeline([], tmp_path / "nowhere" / "picture.svg")
    with pytest.raises(UsageError, match="No such file"):
        save_timeline([], tmp_path / "nowhere" / "picture.png")


def test_the_theme_follows_the_page_or_is_fixed():
    picture = legend()
    auto = to_svg(picture)
    assert "prefers-color-scheme:dark" in auto
    assert "--jp-layout-color0" in auto
    dark = to_svg(picture, "dark")
    assert "prefers-color-scheme" not in dark
    assert theme.ROLES["paper"].dark in dark
    with pytest.raises(UsageError, match="auto, light or dark"):
        to_svg(picture, "pink")


def test_html_has_caption_and_text_twin_and_escapes_what_it_is_given():
    page = timeline_html(first_interrupt(), caption="a < b")
    assert "<figcaption>a &lt; b</figcaption>" in page
    assert "<details>" in page
    assert "①◆ i=55" in page
    assert "<script" not in page


def test_presenting_enlarges_every_picture():
    normal = layout(first_interrupt(), window=2)
    try:
        theme.set_font_scale(1.5)
        large = layout(first_interrupt(), window=2)
    finally:
        theme.set_font_scale(1.0)
    assert large.height == pytest.approx(1.5 * normal.height, rel=0.05)
    with pytest.raises(UsageError):
        theme.set_font_scale(0)


def recorded(name, insns=3000, **options):
    with Machine(guests.load(name), trace="blocks", **options) as machine:
        machine.run(max_insns=insns, timeout=20)
        return list(machine.events)


def test_a_real_interrupt_is_the_same_picture_each_time():
    one, two = recorded("doorbell"), recorded("doorbell")
    marks = layout(one).marks
    k = next(k for k, mark in enumerate(marks) if mark.kind == "taken" and mark.number == 2)
    picture = layout(one, window=k)
    assert to_text(picture) == to_text(layout(two, window=k))
    mine = [mark for mark in picture.marks if mark.number == 2]
    assert [mark.kind for mark in mine] == ["raised", "flag", "refused", "taken"]
    assert mine[0].i == 463
    ghosts = [shape for shape in picture.shapes if isinstance(shape, shapes.Ghost)]
    arcs = [shape for shape in picture.shapes if isinstance(shape, shapes.Arc)]
    assert len(ghosts) == len(arcs) == 1
    assert picture.width == 960, "it fits without scrolling"


@pytest.mark.parametrize(
    ("name", "sign", "options"),
    [
        ("fault", "⚡", {}),
        ("syscalls", "■", {}),
        ("masked", "◇", {}),
        ("selfmod", "⊘", {}),
        ("wfi", "☾", {}),
        ("clockread", "↶", {"icount": 0}),
        ("doorbell", "✕", {}),
    ],
)
def test_real_runs_show_their_signs(name, sign, options):
    picture = layout(recorded(name, **options))
    assert any(sign in mark.line for mark in picture.marks)
    k = next(k for k, mark in enumerate(picture.marks) if sign in mark.line)
    assert layout(recorded(name, **options), window=k).marks[k].shown
