"""Colours, letters and sizes: one visual language for every picture of the lab.

A block has the same letter and colour everywhere. The letter is the identity, the colour only
helps: fills are the Okabe-Ito set (told apart by colour-blind readers), hatched after the eighth.
All other colours are roles (``ink``, ``paper``, ``gutter`` …) with a light and a dark value; the
page's own colours (JupyterLab, VS Code) win where it has them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tcglite.errors import UsageError, shown

FILLS = (
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#009E73",  # bluish green
    "#F0E442",  # yellow
    "#CC79A7",  # reddish purple
    "#D55E00",  # vermillion
    "#0072B2",  # blue
    "#BBBBBB",  # grey in the place of black, which a dark page would swallow
)
WHITE_ON = frozenset({"#0072B2"})
HATCHES = ("", "/", "\\", "x", "-", "|")
FONT = "'DejaVu Sans', Verdana, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
FIGURE_FONT = "DejaVu Sans"  # comes with matplotlib

_scale = 1.0


def set_font_scale(scale: float) -> None:
    """Enlarge every picture made from now on (``lab.present()``); 1.0 is normal, 0.5 to 4."""
    global _scale
    if not isinstance(scale, int | float) or not 0.5 <= scale <= 4:
        raise UsageError(f"font scale {shown(scale)}: expected a number from 0.5 to 4")
    _scale = float(scale)


def font_scale() -> float:
    """The scale that pictures are made with."""
    return _scale


def letter(index: int) -> str:
    """0 is A, 25 is Z, 26 is AA, 27 is AB …"""
    name = ""
    index += 1
    while index:
        index, digit = divmod(index - 1, 26)
        name = chr(65 + digit) + name
    return name


@dataclass(frozen=True, slots=True)
class BlockStyle:
    """How block number ``index`` (by first translation) looks."""

    fill: str
    hatch: str
    ink: str


def block_style(index: int) -> BlockStyle:
    """Eight fills, then the same eight with the next hatch, and so on."""
    rounds, fill = divmod(index, len(FILLS))
    colour = FILLS[fill]
    ink = "#FFFFFF" if colour in WHITE_ON else "#111111"
    return BlockStyle(colour, HATCHES[rounds % len(HATCHES)], ink)


@dataclass(frozen=True, slots=True)
class Role:
    """A colour by purpose: its value on a light page, on a dark page, and the page's own."""

    light: str
    dark: str
    page: str = ""


ROLES: dict[str, Role] = {
    "ink": Role(
        "#111111", "#F2F2F2", "var(--jp-content-font-color0, var(--vscode-foreground, {}))"
    ),
    "paper": Role(
        "#FFFFFF", "#16181B", "var(--jp-layout-color0, var(--vscode-editor-background, {}))"
    ),
    "muted": Role("#555555", "#B8B8B8"),
    "faint": Role("#DDDDDD", "#3A3D42"),
    "gutter": Role("#E4E6EA", "#33373D"),
    "band": Role("#FFF1C9", "#3B3317"),
    "band2": Role("#FFE08A", "#5A4A14"),
    "roof": Role("#D9A300", "#C79A1E"),
    "line": Role("#3B5B92", "#8FB3F0"),
    "on": Role("#6B7280", "#9AA3AF"),
    "raised": Role("#F4A9BF", "#8E2C4B"),
    "journey": Role("#C2003A", "#FF6B93"),
    "journey-ink": Role("#FFFFFF", "#1A0008"),
}


@dataclass(frozen=True, slots=True)
class Theme:
    """``auto`` follows the page and the system; ``light`` and ``dark`` are fixed."""

    name: str

    def colour(self, role: str) -> str:
        """The plain value of a role, or the colour itself where it is one (``#…``)."""
        if role.startswith("#") or role == "none":
            return role
        found = ROLES[role]
        return found.dark if self.name == "dark" else found.light

    def css(self, scope: str) -> str:
        """Style rules that give ``scope`` (a selector) the roles as custom properties."""

        def block(dark: bool) -> str:
            values = []
            for name, role in ROLES.items():
                value = role.dark if dark else role.light
                if self.name == "auto" and role.page:
                    value = role.page.format(value)
                values.append(f"--tl-{name}:{value}")
            return ";".join(values)

        if self.name != "auto":
            return f"{scope}{{{block(self.name == 'dark')}}}"
        # JupyterLab says on <body> which of its themes is on; elsewhere the system decides.
        dark = block(True)
        return (
            f"{scope}{{{block(False)}}}"
            f"@media (prefers-color-scheme:dark){{{scope}{{{dark}}}}}"
            f"[data-jp-theme-light=true] {scope}{{{block(False)}}}"
            f"[data-jp-theme-light=false] {scope}{{{dark}}}"
            f".vscode-light {scope}{{{block(False)}}}.vscode-dark {scope}{{{dark}}}"
        )


AUTO = Theme("auto")
LIGHT = Theme("light")
DARK = Theme("dark")


def theme(name: str | Theme) -> Theme:
    """The theme of that name: auto, light or dark."""
    if isinstance(name, Theme):
        return name
    if name not in ("auto", "light", "dark"):
        raise UsageError(f"theme {name!r}: expected auto, light or dark")
    return Theme(name)
