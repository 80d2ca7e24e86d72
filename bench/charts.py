"""The chart of bench.py: one panel per model (or per test, where there are more models), one group of bars per test (model), one bar per peer:
the median ratio, its 95 % interval as a line.

PNG where matplotlib is there, else SVG written here; both draw the same."""
import html

COLOURS = ("#2a6f97", "#e08e45", "#6a994e", "#7b5ea7", "#bc4b51", "#5c677d")
TITLE = "times as fast (median and 95 % interval of ratios within rounds)"


def panels(rows):
    """{title: [(label, {peer: (median, low, high)})]} of rows that have a ratio."""
    out = {}
    rows = [r for r in rows if r["peers"]]
    by_test = len({r["model"] for r in rows}) > len({r["test"].name for r in rows})
    for r in rows:
        split = sum((x["model"], x["test"].name) == (r["model"], r["test"].name) for x in rows) > 1
        memory = f" ({r['memory'].split()[0]})" if split else ""
        title, label = (r["test"].name, r["model"]) if by_test else (r["model"], r["test"].name)
        out.setdefault(title, []).append((label + memory, {p: x["ratio"] for p, x in r["peers"].items()}))
    return out


def draw(stem, rows, peers):
    """Writes stem.png or stem.svg and returns its name."""
    data = panels(rows)
    peers = [p for p in peers if any(p in ratios for groups in data.values() for _, ratios in groups)]
    try:
        import matplotlib
    except ImportError:
        with open(stem + ".svg", "w") as f:
            f.write(svg(data, peers))
        return stem + ".svg (PNG needs matplotlib)"
    matplotlib.use("Agg")
    png(stem + ".png", data, peers)
    return stem + ".png"


def top_of(groups):
    """Where a panel's axis ends."""
    return max(1.25, 1.12 * max(ratio[2] for _, ratios in groups for ratio in ratios.values()))


def columns(n):
    """Panels side by side: at most three, and no row with a single one where two fit."""
    return 2 if n == 4 else min(3, n)


def places(peers, ratios):
    """(peer, its colour, place among the bars of the group, which are centred)."""
    here = [p for p in peers if p in ratios]
    return [(p, COLOURS[peers.index(p) % len(COLOURS)], i - (len(here) - 1) / 2) for i, p in enumerate(here)]


def ticks(top):
    step = next(s for s in (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 1e9) if top / s <= 7)
    return [i * step for i in range(int(top / step) + 1)]


# ---- PNG ----------------------------------------------------------------------------------------------------------------------------


def png(path, data, peers):
    import matplotlib.pyplot as plt
    across = columns(len(data))
    down = -(-len(data) // across)
    most = max(len(groups) for groups in data.values())
    height = 0.2 * most * (len(peers) + 0.7) + 0.75
    fig, axes = plt.subplots(down, across, figsize=(4.2 * across, height * down + 0.7), squeeze=False, layout="constrained")
    flat = [ax for line in axes for ax in line]
    for ax in flat[len(data):]:
        ax.set_visible(False)
    bar = 0.8 / len(peers)
    for ax, (model, groups) in zip(flat, data.items()):
        top = top_of(groups)
        for i, (_, ratios) in enumerate(groups):
            for peer, colour, place in places(peers, ratios):
                mid, low, high = ratios[peer]
                y = i + place * bar
                ax.barh(y, mid, bar * 0.9, color=colour)
                ax.plot([low, high], [y, y], color="#333333", linewidth=1)
                ax.text(high + top * 0.015, y, f"{mid:.2f}", va="center", fontsize=8, color="#333333")
        ax.axvline(1, color="#333333", linewidth=1, linestyle="--")
        ax.set_yticks(range(len(groups)), [label for label, _ in groups])
        ax.set_ylim(len(groups) - 0.4, -0.6)
        ax.set_xlim(0, top)
        ax.set_xticks(ticks(top))
        ax.set_title(model, fontsize=10, loc="left")
        ax.tick_params(labelsize=8, length=0)
        ax.grid(axis="x", color="#dddddd", linewidth=0.7)
        ax.set_axisbelow(True)
        for side in ("top", "right", "left"):
            ax.spines[side].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[k % len(COLOURS)]) for k in range(len(peers))]
    fig.legend(handles, [f"myna / {x}" for x in peers], loc="outside lower center", ncols=len(peers), frameon=False, fontsize=9)
    fig.suptitle("myna: " + TITLE, fontsize=10)
    fig.savefig(path, dpi=150)
    plt.close(fig)


# ---- SVG ----------------------------------------------------------------------------------------------------------------------------


def text(x, y, what, size=11, anchor="start", colour="#333333"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{html.escape(what)}</text>'


def line(x1, y1, x2, y2, colour, dash=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dash and f" stroke-dasharray={chr(34)}{dash}{chr(34)}"}/>'


def margin_of(groups):
    """Room for the labels: 6 per character of size 11."""
    return max(84, min(200, 16 + 6 * max(len(label) for label, _ in groups)))


def panel(x0, y0, wide, model, groups, peers):
    """A panel whose upper left corner is x0, y0; the list of its elements."""
    bar, margin, top = 14, margin_of(groups), top_of(groups)
    group = bar * len(peers) + 12
    high = group * len(groups)

    def at(ratio):
        return x0 + margin + ratio / top * (wide - margin - 12)

    out = [text(x0, y0 + 14, model, 13)]
    y0 += 26
    for t in ticks(top):
        out += [line(at(t), y0, at(t), y0 + high, "#dddddd"), text(at(t), y0 + high + 14, f"{t:g}", 10, "middle")]
    for i, (label, ratios) in enumerate(groups):
        y = y0 + i * group + 6
        out.append(text(x0 + margin - 8, y + bar * len(peers) / 2 + 4, label, 11, "end"))
        for peer, colour, place in places(peers, ratios):
            mid, low, most = ratios[peer]
            middle = y + bar * (len(peers) / 2 + place)
            out.append(f'<rect x="{at(0):.1f}" y="{middle - bar / 2 + 1:.1f}" width="{at(mid) - at(0):.1f}" height="{bar - 2}" fill="{colour}"/>')
            out += [line(at(low), middle, at(most), middle, "#333333"), text(at(most) + 4, middle + 4, f"{mid:.2f}", 10)]
    return out + [line(at(1), y0, at(1), y0 + high, "#333333", "4 3")]


def svg(data, peers):
    across, wide = columns(len(data)), 400
    down = -(-len(data) // across)
    tall = max(len(groups) for groups in data.values()) * (14 * len(peers) + 12) + 60
    width, height = across * wide + 24, down * tall + 70
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif">',
           f'<rect width="{width}" height="{height}" fill="white"/>', text(12, 24, "myna: " + TITLE, 13)]
    for i, (model, groups) in enumerate(data.items()):
        out += panel(12 + i % across * wide, 40 + i // across * tall, wide - 16, model, groups, peers)
    for k, peer in enumerate(peers):
        out += [f'<rect x="{12 + 130 * k}" y="{height - 22}" width="12" height="12" fill="{COLOURS[k % len(COLOURS)]}"/>',
                text(30 + 130 * k, height - 12, f"myna / {peer}")]
    return "\n".join(out + ["</svg>"]) + "\n"
