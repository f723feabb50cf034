"""Draws ratios to the first candidate as an SVG bar chart. Needs nothing but Python."""

from __future__ import annotations

from html import escape

# What a second of CPU does: on a machine that does other things too, that is steadier than what
# a second of the clock does.
PANELS = (
    ("small_cpu", "requests of 1 KB for a second of CPU"),
    ("large_cpu", "requests of 256 KB for a second of CPU"),
    ("two_writes_cpu", "requests of 1 KB in two writes for a second of CPU"),
    ("traceparent_cpu", "requests of 1 KB with a fresh traceparent for a second of CPU"),
    ("model_first_cpu", "requests of 64 KB, model first, for a second of CPU"),
    ("event_cpu", "events of 100 streams for a second of CPU"),
)
Ratios = dict[str, dict[str, float]]
_COLOURS = ("#7a869a", "#b08d57", "#8c6bb1", "#1f77b4", "#2a9d8f")
_LABEL, _BAR, _ROW, _PANEL_GAP = 190, 420, 22, 34


def _panel(ratios: Ratios, key: str, top: int) -> list[str]:
    work = {name: 1 / found[key] for name, found in ratios.items()}
    largest = max(work.values())
    parts = []
    for row, (name, ratio) in enumerate(work.items()):
        y, width = top + row * _ROW, _BAR * ratio / largest
        colour = _COLOURS[row % len(_COLOURS)]
        parts += [
            f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{_LABEL}" y="{y + 2}" width="{width:.1f}" height="16" fill="{colour}"/>',
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 14}">{ratio:.2f}</text>',
        ]
    return parts


def draw(ratios: Ratios) -> str:
    """Return the chart for ratios by candidate and key; the first candidate is 1."""
    parts, top = [], 10
    for key, title in PANELS:
        parts.append(f'<text x="{_LABEL}" y="{top + 14}" font-weight="bold">{title}</text>')
        parts += _panel(ratios, key, top + _ROW)
        top += _ROW * (len(ratios) + 1) + _PANEL_GAP - _ROW
    size = f'width="{_LABEL + _BAR + 60}" height="{top}"'
    style = 'font-family="sans-serif" font-size="13" fill="#222"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>',
            '<rect width="100%" height="100%" fill="#fff"/>',
            *parts,
            "</svg>\n",
        ]
    )
