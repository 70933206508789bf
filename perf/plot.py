"""Draws a run's comparison as SVG: a row for each contender, its ratio with the interval.

Better is to the right in every row: where less is better, the ratio is turned over.
"""

from xml.sax.saxutils import escape

WIDTH = 760
LEFT = 250
RIGHT = 130
ROW = 18
HEAD = 26
COLOURS = {"product": "#1f6feb", "peer": "#8b949e"}
STYLE = ("text{font:12px sans-serif;fill:#57606a}.h{font-weight:bold;fill:#24292f}"
         ".v{font-size:11px}@media(prefers-color-scheme:dark){text{fill:#9da7b3}.h{fill:#e6edf3}}")


def _is_product(name):
    return name.startswith(("cport-echo", "echo_port", "port", "wheel", "two"))


def _turned(ratio):
    low, high = ratio["low"], ratio["high"]
    return {"ratio": 1 / ratio["ratio"], "low": high and 1 / high, "high": low and 1 / low}


def _echo_groups(cells):
    for cell in cells:
        rows = [(name, figures["rate_ratio"]) for name, figures in cell["summary"].items()
                if "rate_ratio" in figures]
        title = (f"echo, {cell['connections']} connections, {cell['message_bytes']} bytes, "
                 f"{cell['depth']} in flight: messages/s, × {cell['baseline']}")
        if rows:
            yield title, rows


def _latency_groups(cells):
    for cell in cells:
        for figure in cell["figures"]:
            rows = [(name, _turned(figures["ratio"][figure]))
                    for name, figures in cell["summary"].items() if "ratio" in figures]
            invalid = ", invalid: the load was late" if cell["load_was_late"] else ""
            yield f"{cell['title']}: 1 / {figure}, × {cell['baseline']}{invalid}", rows


def _micro_groups(groups):
    for group in groups:
        baselines = {b for figures in group["summary"].values() for b in figures["ratio_to"]}
        if not baselines:
            continue
        figure = "bytes" if "pairs_bytes" in group else "operation_ns"
        baseline = min(baselines, key=lambda b: group["summary"][b][f"{figure}_median"])
        rows = [(name, _turned(figures["ratio_to"][baseline]))
                for name, figures in group["summary"].items() if baseline in figures["ratio_to"]]
        what = "fewer bytes" if figure == "bytes" else "speed"
        yield f"{group['group']}: {what}, × {baseline}", rows


class _Drawing:
    """Lines of SVG, from the top down."""

    def __init__(self):
        self.height = 8
        self._lines = []

    def group(self, title, rows):
        self.height += HEAD
        self._text(8, self.height - 8, title, "h")
        most = max([1.25] + [ratio["high"] or ratio["ratio"] for _, ratio in rows]) * 1.02
        scale = (WIDTH - LEFT - RIGHT) / most
        top = self.height
        for name, ratio in rows:
            self._row(name, ratio, scale)
        one = LEFT + scale
        self._lines.append(f'<line x1="{one:.1f}" x2="{one:.1f}" y1="{top}" y2="{self.height}" '
                           'stroke="#cf222e" stroke-dasharray="3 2"/>')

    def _row(self, name, ratio, scale):
        y = self.height
        self.height += ROW
        self._text(16, y + 13, name, "")
        colour = COLOURS["product" if _is_product(name) else "peer"]
        self._lines.append(f'<rect x="{LEFT}" y="{y + 4}" width="{ratio["ratio"] * scale:.1f}" '
                           f'height="{ROW - 8}" fill="{colour}"/>')
        said = f"{ratio['ratio']:.2f}"
        end = ratio["ratio"] * scale
        if ratio["low"] is not None:
            low, high = LEFT + ratio["low"] * scale, LEFT + ratio["high"] * scale
            middle = y + ROW / 2
            self._lines.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" '
                               'stroke="#24292f" stroke-width="1.5"/>')
            said += f" [{ratio['low']:.2f}, {ratio['high']:.2f}]"
            end = max(end, ratio["high"] * scale)
        self._text(LEFT + end + 6, y + 13, said, "v")

    def _text(self, x, y, text, kind):
        self._lines.append(f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}">{escape(text)}</text>')

    def done(self):
        self.height += 8
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{self.height}" '
                f'viewBox="0 0 {WIDTH} {self.height}"><style>{STYLE}</style>\n'
                + "\n".join(self._lines) + "\n</svg>\n")


def picture_of(report):
    drawing = _Drawing()
    for title, rows in _echo_groups(report.get("echo", ())):
        drawing.group(title, rows)
    for title, rows in _latency_groups(report.get("latency", {}).get("cells", ())):
        drawing.group(title, rows)
    for title, rows in _micro_groups(report.get("micro", ())):
        drawing.group(title, rows)
    return drawing.done()
