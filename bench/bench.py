#!/usr/bin/env python3
"""Speed of myna against peers on the same files in one interleaved run.

  bench.py --myna build/myna --peers "llama=/path/llama-bench ik=/path/llama-bench" --rounds 15 MODEL.gguf ...

A peer is any binary that takes llama-bench's flags and prints its JSON. Each round runs every engine once (order reversed every other
round), so that a change of the machine's state hits all alike; what counts is the median of the ratios within rounds. A memory probe
(one thread per core summing a large array) stands beside each round. Writes a CSV of every sample and prints a Markdown table.
Without --peers it measures myna alone. Only Python's standard library is needed.
"""
import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import threading
import time


def parse_args():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+")
    p.add_argument("--myna", default="build/myna")
    p.add_argument("--peers", default=os.environ.get("PEERS", ""), help='"name=path name=path"')
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--gen", type=int, default=32)
    p.add_argument("--depth", type=int, default=0)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--csv", default="")
    return p.parse_args()


def run_json(cmd):
    done = subprocess.run(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(cmd)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def run_myna(path, model, a):
    rows = run_json([path, "bench", "-m", model, "-t", str(a.threads), "-p", str(a.prompt), "-n", str(a.gen), "-d", str(a.depth), "-r", "1", "-o", "json", "-q"])
    return {("pp" if r["name"].startswith("pp") else "tg"): r["avg_ts"] for r in rows}


def run_peer(path, model, a):
    cmd = [path, "-m", model, "-t", str(a.threads), "-p", str(a.prompt), "-n", str(a.gen), "-r", "1", "-o", "json", "-fa", "1"]
    if a.depth:
        cmd += ["-d", str(a.depth)]
    return {("pp" if r["n_gen"] == 0 else "tg"): r["avg_ts"] for r in run_json(cmd)}


def probe(threads, size=1 << 28):
    """GB/s read and written by copying a large buffer in `threads` threads (a coarse class of the memory's state)."""
    data = [bytearray(size // threads) for _ in range(threads)]
    out = [bytearray(size // threads) for _ in range(threads)]

    def work(i):
        out[i][:] = data[i]

    for _ in range(2):
        t = time.perf_counter()
        pool = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        [x.start() for x in pool]
        [x.join() for x in pool]
        dt = time.perf_counter() - t
    return 2 * size / dt / 1e9


def main():
    a = parse_args()
    engines = [("myna", a.myna, run_myna)]
    for spec in a.peers.split():
        name, _, path = spec.partition("=")
        engines.append((name, path, run_peer))
    samples = []
    for model in a.models:
        for r in range(a.rounds):
            order = engines if r % 2 == 0 else engines[::-1]
            got = {name: fn(path, model, a) for name, path, fn in order}
            gbs = probe(a.threads)
            for name, values in got.items():
                for test, ts in values.items():
                    samples.append(dict(model=os.path.basename(model), round=r, engine=name, test=test, ts=ts, copy_gbs=round(gbs, 1)))
            print(f"{os.path.basename(model)} round {r + 1}/{a.rounds}: " + "  ".join(f"{n} pp {v.get('pp', 0):.1f} tg {v.get('tg', 0):.1f}" for n, v in got.items()) + f"  copy {gbs:.0f} GB/s", file=sys.stderr)
    if a.csv:
        with open(a.csv, "w", newline="") as f:
            w = csv.DictWriter(f, fieldnames=list(samples[0]))
            w.writeheader()
            w.writerows(samples)
    report(samples, engines)


def report(samples, engines):
    peers = [n for n, _, _ in engines[1:]]
    print("| model | test | myna t/s | " + " | ".join(f"{p} t/s | myna / {p}" for p in peers) + (" |" if peers else ""))
    print("|---|---|---:|" + "---:|---:|" * len(peers))
    for model, test in sorted({(s["model"], s["test"]) for s in samples}):
        def series(engine):
            return {s["round"]: s["ts"] for s in samples if (s["model"], s["test"], s["engine"]) == (model, test, engine)}
        mine = series("myna")
        cells = [model, test, f"{statistics.median(mine.values()):.1f}"]
        for p in peers:
            theirs = series(p)
            ratios = sorted(mine[r] / theirs[r] for r in mine)
            cells += [f"{statistics.median(theirs.values()):.1f}", f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"]
        print("| " + " | ".join(cells) + " |")


main()
