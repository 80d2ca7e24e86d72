"""Samples to tables: medians of ratios within rounds with bootstrap intervals, goals, the headline, Markdown and CSV."""
import csv
import random
import re
import statistics

# What docs/SPEED.md is to reach: the first row that fits counts. Work is a pattern of the test's name behind "itself " where myna is compared with
# itself; kind is moe, small (under 700 M weights) or a pattern of the type that most weights have; then the least ratio to the best peer and the
# least share of the peak ("read" counts only where the file is larger than the last cache).
GOALS = (
    ("itself replay.*wiki.*", "", 0.98, None),  # nothing to guess there: it must not cost
    ("itself replay.*", "", 1.5, None),
    ("itself .*/t=.*", "", 0.8, None),
    ("start", "", 4, None),
    (".*/kv=.*", "", 2, None),
    ("tg.*x1@.*", "", 1, None),
    (r"tg\d+x[2-7](@.*)?", "", 2.8, None),
    (r"tg\d+x.*", "", 4, None),
    (r"tg\d+@d\d{5,}", "", 2, None),
    (r"tg\d+@d\d{4}", "", 1.5, None),
    (r"pp\d+@d.*", "", 2, None),
    ("pp.*", "moe", 1.5, None),
    ("tg.*", "moe", 1.2, None),
    ("tg.*", "small", 1.3, 0.85),
    ("pp.*", "Q6_K|Q3_K|Q2_K", 1.3, 0.50),
    ("pp.*", "IQ[123].*|TQ.*|NVFP4", 1.3, None),
    ("pp.*", "BF16", 2.2, 0.85),
    ("pp.*", "F16|F32", 1.0, 0.85),
    ("pp.*", "", 1.8, 0.65),
    ("tg.*", "IQ[123].*|TQ.*", 1.3, None),
    ("tg.*", "Q2_K|Q3_K", 1.25, 0.85),
    ("tg.*", "Q[568].*|F16|BF16|F32", 1.0, 0.95),
    ("tg.*", "", 1.25, 0.95),
)


def goal(test, kinds, itself):
    """(ratio, share) that a test is to reach on a model with these kinds."""
    work = ("itself " if itself else "") + test.name
    for pattern, kind, ratio, share in GOALS:
        if re.fullmatch(pattern, work) and (not kind or any(re.fullmatch(kind, k) for k in kinds)):
            return ratio, share
    return None, None


def memory_of(s):
    """Class of the memory during a sample. On a busy machine the probe may fail to tell on one side, or on both."""
    seen = {s["memory_before"], s["memory_after"]} - {""}
    return "unknown" if not seen else "changed" if len(seen) > 1 else seen.pop()


def disturbed(s, limit=0.05):
    """Whether other programs had more than this share of the machine during a sample."""
    return s.get("others", "") != "" and s["others"] > limit


def interval(values, resamples=2000):
    """(median, low, high): the median and its 95 % bootstrap interval. Drawn from a fixed seed, so that a table can be made again."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(resamples))
    return statistics.median(values), medians[int(0.025 * resamples)], medians[-1 - int(0.025 * resamples)]


def summarise(samples, tests, engines, kinds=None):
    """Rows of the table. A test that reads weights (tg) has a row for each class of memory, and both sides of a ratio are of that class; samples
    whose class changed or is unknown count only where there are no others. Pairs that other programs disturbed count only where fewer than three
    are left. kinds: {model: what GOALS asks of it}."""
    rows = []
    for model in dict.fromkeys(s["model"] for s in samples):
        for test in tests:
            here = [s for s in samples if (s["model"], s["test"]) == (model, test.name)]
            found = [memory_of(s) for s in here if s["engine"] == "myna"]
            classes = sorted(set(found) - {"changed", "unknown"}, reverse=True)
            for memory in [None] if found and (test.kind != "tg" or not classes) else classes:
                def of(engine):
                    return {s["round"]: s for s in here if s["engine"] == engine and memory in (None, memory_of(s))}
                counts = [f"{c} {found.count(c)}" for c in ([memory] if memory else sorted(set(found), reverse=True))]
                rows.append(summarise_row(model, test, ", ".join(counts), of, engines, (kinds or {}).get(model, [])))
    return rows


def pairs_of(test, mine, theirs):
    """Ratios of rounds that both have, calm ones where there are three."""
    both = [(mine[r], theirs[r]) for r in mine if r in theirs]
    calm = [x for x in both if not any(map(disturbed, x))]
    return [test.ratio(a["value"], b["value"]) for a, b in (calm if len(calm) >= 3 else both)]


def summarise_row(model, test, memory, of, engines, kinds):
    mine = of("myna")
    row = dict(model=model, test=test, memory=memory, value=statistics.median(s["value"] for s in mine.values()), peers={}, share="", share_value=None)
    shares = [s for s in mine.values() if s["share"] != ""]
    if shares:
        name = statistics.mode(s["share_of"] for s in shares)
        shares = [s for s in shares if s["share_of"] == name]
        row["share_value"] = statistics.median(s["share"] for s in shares)
        row["share"] = f"{100 * row['share_value']:.0f} % {name} ({statistics.median(s['reached'] for s in shares):.0f} {shares[0]['reached_unit']})"
    for e in engines[1:]:
        theirs = of(e.name)
        ratios = pairs_of(test, mine, theirs)
        if ratios:
            row["peers"][e.name] = dict(value=statistics.median(s["value"] for s in theirs.values()), ratio=interval(ratios), pairs=len(ratios))
    itself = row["peers"].get("itself")
    row["best"] = min(((x["ratio"][0], p) for p, x in row["peers"].items() if p != "itself"), default=None)
    row["judged"] = (itself["ratio"][0], "itself") if itself else row["best"]
    row["goal"], row["goal_share"] = goal(test, kinds, bool(itself))
    row["met"] = None if not row["judged"] or row["goal"] is None else row["judged"][0] >= row["goal"]
    return row


def number(x, unit=""):
    return f"{x:.{0 if x >= 100 else 1 if x >= 10 else 2 if x >= 1 else 3}f}{unit}"


def goal_text(row):
    if row["met"] is None:
        return "-"
    share, value = row["goal_share"], row["share_value"]
    wants = f" and {100 * share:.0f} %" if share else ""
    missed = not row["met"] or share and value is not None and value < share
    return f"{row['goal']:g}{wants}{' **missed**' if missed else ' met'}"


def markdown(rows, engines):
    peers = [e.name for e in engines[1:] if any(e.name in r["peers"] for r in rows)]
    head = ["model", "test", "myna t/s"] + [x for p in peers for x in (f"{p} t/s", f"myna / {p} (95 %)")] + ["goal", "share of peak", "memory"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---:|" + "---:|---:|" * len(peers) + "---|---|---|"]
    for r in rows:
        unit = " s" if r["test"].kind == "start" else ""
        cells = [r["model"], r["test"].name, number(r["value"], unit)]
        for p in peers:
            x = r["peers"].get(p)
            cells += [number(x["value"], unit), "{:.2f} ({:.2f} to {:.2f})".format(*x["ratio"])] if x else ["-", "-"]
        lines.append("| " + " | ".join(cells + [goal_text(r), r["share"] or "-", r["memory"]]) + " |")
    return "\n".join(lines)


def headline(rows):
    """The worst ratio to the best peer, of all rows; empty without peers."""
    worst = min((r["best"] + (r["model"], r["test"].name) for r in rows if r["best"]), default=None)
    if not worst:
        return ""
    with_goal = [r for r in rows if r["met"] is not None]
    return f"Worst ratio: {worst[0]:.2f} against {worst[1]} ({worst[2]} {worst[3]}). {sum(r['met'] for r in with_goal)} of {len(with_goal)} ratios reach their goal."


def write_csv(path, rows):
    """One line per row and peer; ratio, low and high as in the table."""
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow("model test memory myna_value share share_of peer peer_value ratio low high pairs goal".split())
        for r in rows:
            share_of = r["share"].split(" % ")[-1].split(" ")[0] if r["share"] else ""
            first = [r["model"], r["test"].name, r["memory"], f"{r['value']:.6g}", "" if r["share_value"] is None else f"{r['share_value']:.4f}", share_of]
            for p, x in r["peers"].items() or [("", None)]:
                goal_of = r["goal"] if x and p == (r["judged"] or (0, ""))[1] else ""
                out.writerow(first + ([p, f"{x['value']:.6g}", *(f"{v:.4f}" for v in x["ratio"]), x["pairs"], goal_of] if x else [""] * 7))
