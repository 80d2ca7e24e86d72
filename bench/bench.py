#!/usr/bin/env python3
"""Speed of myna beside peers on the same files, as ratios within interleaved rounds and as shares of what the machine can do.

  bench.py --peers "llama=/path/to/its/bin ik=/path/to/llama-bench" --suites basic,batch MODEL.gguf OTHER.gguf:depth,kv FOLDER ...

A peer is a folder with llama-bench and what comes with it, or its llama-bench. A model may name suites of its own. Tests are named as in
myna bench: pp512, tg64, tg64@d4096 (behind 4096 positions), tg32x8@d32 (8 sequences), start (process start to the first token), replay256
(256 tokens along a text, with and without speculation); /kv=q8_0 and /t=8 behind them choose cache type and threads. README.md beside this
file says what the columns mean. Only Python's standard library is needed.
"""
import argparse
import csv
import datetime
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True

import table
from engines import Engine, Failed, Process, Test, groups, parse_peers

SUITES = {
    "quick": "pp512 tg64 tg32x8@d32 start",
    "basic": "pp512 tg64",
    "batch": "tg32x1@d32 tg32x4@d32 tg32x8@d32 tg32x16@d32 tg32x32@d32",
    "depth": "tg32@d4096 pp512@d4096 tg32@d16384",
    "kv": "tg32@d4096/kv=q8_0 pp512@d4096/kv=q8_0 tg32@d16384/kv=q8_0 tg32@d4096/kv=q4_0 pp512@d4096/kv=q4_0 tg32@d16384/kv=q4_0",
    "start": "start",
    "replay": "replay256",
    "threads": "pp512/t=8 tg64/t=8",
}
SUITES["full"] = " ".join(SUITES[x] for x in ("basic", "batch", "depth", "kv", "start", "replay", "threads"))
SHORT_DEPTH = 4096  # the deepest of --short
FORMS = {"BF16": "bf16", "F16": "f32", "F32": "f32", "F64": "f32"}  # arithmetic of a storage type; all others: int8
GATHERED = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_types.")  # of these a token reads one row
SMALL = 700e6  # weights of a small model


def run(cmd, timeout):
    """Standard output of a program."""
    process = Process(cmd)
    try:
        return process.finish(timeout)[0]
    finally:
        process.close()


# ---- the machine --------------------------------------------------------------------------------------------------------------------


def physical_cores():
    """Cores that this process may use; threads of one core count once."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = set()
    for c in cpus:
        try:
            with open(f"/sys/devices/system/cpu/cpu{c}/topology/thread_siblings_list") as f:
                cores.add(f.read().strip())
        except OSError:
            cores.add(str(c))
    return max(1, len(cores))


def machine():
    name = ""
    try:
        with open("/proc/cpuinfo") as f:
            name = next((x.split(":", 1)[1].strip() for x in f if x.startswith("model name")), "")
    except OSError:
        pass
    return name or os.uname().machine


def read_once(path, block=1 << 24):
    """Reads a file into memory, so that no sample waits for the disk. Folders and files that memory cannot hold are left as they are."""
    try:
        with open("/proc/meminfo") as f:
            free = next(int(x.split()[1]) * 1024 for x in f if x.startswith("MemAvailable"))
        if not os.path.isfile(path) or os.path.getsize(path) > 0.8 * free:
            return
        with open(path, "rb", buffering=0) as f:
            while f.read(block):
                pass
    except (OSError, StopIteration):
        pass


class Others:
    """Share of the machine that other programs had between two moments, from the kernel's ticks; None where it cannot tell."""

    def __init__(self):
        self.ticks, self.wall = self.read(), time.perf_counter()

    @staticmethod
    def read():
        try:
            with open("/proc/stat") as f:
                user, nice, system, idle, wait, irq, soft, steal = map(int, f.readline().split()[1:9])
            return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            return None

    def share(self, own):
        """own: processor seconds that were ours. A tick is 10 ms, so nothing is said of short times."""
        wall, now = time.perf_counter() - self.wall, self.read()
        if self.ticks is None or now is None or wall < 0.5:
            return None
        return max(0.0, (now - self.ticks - own) / (wall * (os.cpu_count() or 1)))


class Probe:
    """bench/probe.c beside the run; answers {} when there is none."""

    def __init__(self, path, model, threads, note):
        self.process = None
        if not path or not shutil.which(path):
            return note(f"{path or 'probe'} is not built (make bench does it): no shares and no class of memory")
        # In its own session, so that Ctrl-C ends the program that is measured and not the probe; it ends with its input.
        self.process = subprocess.Popen([path, "-t", str(threads), "-s", model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.note = note

    def ask(self, what):
        if not self.process:
            return {}
        try:
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.note("the probe ended early: no shares and no class of memory from there on")
            self.close()
            return {}

    def close(self):
        if self.process:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait()
        self.process = None


# ---- the model ----------------------------------------------------------------------------------------------------------------------


class Facts:
    """What a token costs: bytes read and multiply-adds by form of arithmetic, from `myna inspect --json`."""

    def __init__(self, info, kv_per_position=0.0):
        self.kinds = []
        self.file = info.get("n_bytes") or sum(t["bytes"] for t in info.get("tensors", []))
        self.positions = info.get("n_ctx_train") or 0
        self.kv = kv_per_position
        meta = info.get("metadata", {})
        self.experts = max((v for k, v in meta.items() if k.endswith(".expert_count")), default=0)
        self.used = max((v for k, v in meta.items() if k.endswith(".expert_used_count")), default=0)
        self.dense = self.expert = 0  # bytes read by a step: always, and of all experts
        self.body, self.head = {}, {}  # form: weights that a token is multiplied with
        tensors = info.get("tensors", [])
        tied = not any(t["name"] == "output.weight" for t in tensors)
        for t in tensors:
            is_head = t["name"] == "output.weight" or tied and t["name"] == "token_embd.weight"
            if t["name"].startswith(GATHERED) and not is_head:
                continue
            routed = "_exps." in t["name"]
            if routed:
                self.expert += t["bytes"]
            else:
                self.dense += t["bytes"]
            if len(t["shape"]) > 1:
                form, into = FORMS.get(t["type"], "int8"), self.head if is_head else self.body
                share = self.used / self.experts if routed and self.experts else 1
                into[form] = into.get(form, 0) + share * math.prod(t["shape"])

    def step_bytes(self, test):
        """Bytes that a step of decoding reads. Sequences choose experts independently."""
        touched = 1 - (1 - self.used / self.experts) ** test.together if self.experts else 1
        return self.dense + touched * self.expert + test.together * self.kv * (test.depth + test.n / 2)

    def weights(self, test):
        """{form: weights multiplied per token}: of a prompt only the last token needs the head."""
        head = 1 / test.n if test.kind == "pp" else 1
        return {f: self.body.get(f, 0) + head * self.head.get(f, 0) for f in {**self.body, **self.head}}

    def shares(self, test, rate, probed):
        """[(share of the peak, name of the peak, reached, unit)] of a rate, the binding one first; attention's arithmetic is not counted."""
        out = []
        weights = self.weights(test)
        if test.kind in ("start", "replay"):
            return out
        if weights and all(probed.get(f + "_gops") for f in weights):
            ideal = sum(2e-9 * w / probed[f + "_gops"] for f, w in weights.items())  # seconds per token
            out.append((rate * ideal, max(weights, key=weights.get), 2e-9 * rate * sum(weights.values()), "GOP/s"))
        if test.kind == "tg" and probed.get("read_gbs"):
            gbs = 1e-9 * self.step_bytes(test) * rate / test.together
            out.append((gbs / probed["read_gbs"], "read", gbs, "GB/s"))
        return sorted(out, reverse=True)


def kinds_of(info, facts):
    """What the goals ask of a model: its most frequent type, small, moe."""
    by_type, n = {}, 0
    for t in info.get("tensors", []):
        by_type[t["type"]] = by_type.get(t["type"], 0) + t["bytes"]
        n += math.prod(t["shape"])
    return ([max(by_type, key=by_type.get)] if by_type else []) + ["small"] * (n < SMALL) + ["moe"] * (facts.experts > 0)


def read_facts(myna, model, kv, timeout):
    """Facts of a model with a type of cache."""
    def inspect(ctx):
        cache = ["-ctk", kv, "-ctv", kv] if kv else []
        return json.loads(run([myna, "inspect", "--json", "-c", str(ctx)] + cache + [os.path.abspath(model)], timeout))

    low, high = inspect(1024), inspect(2048)
    low_facts = Facts(low)
    low_facts.kinds = kinds_of(low, low_facts)
    if "memory" not in low or "memory" not in high:
        return low_facts
    low_facts.kv = max(0, high["memory"]["kv"] - low["memory"]["kv"]) / 1024
    return low_facts


# ---- the run ------------------------------------------------------------------------------------------------------------------------

COLUMNS = ("time model test round order engine value unit memory_before memory_after ping_ns read_gbs int8_gops bf16_gops f32_gops share share_of "
           "reached reached_unit others rss took").split()
NUMBERS = "value ping_ns read_gbs int8_gops bf16_gops f32_gops share reached others rss took".split()


class Enough(Exception):
    """The time that was given is over."""


class Clock:
    """Time left, from how long the same samples took before; of a file not met yet by its size."""

    def __init__(self):
        self.took, self.sizes = {}, {}

    def add(self, model, tests, engine, seconds):
        self.took.setdefault((model, tests, engine), []).append(seconds)
        self.sizes[model] = max(1, os.path.getsize(model))

    def guess(self, model, tests, engine):
        known = self.took.get((model, tests, engine))
        if known:
            return statistics.median(known)
        others = [s / self.sizes[m] for (m, t, e), x in self.took.items() if (t, e) == (tests, engine) for s in x]
        if others:
            return statistics.median(others) * os.path.getsize(model)
        return statistics.mean([s for x in self.took.values() for s in x] or [0])

    @staticmethod
    def text(seconds):
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Run:
    def __init__(self, a, engines, plan, notes):
        """plan: {model: its tests}."""
        self.a, self.engines, self.plan, self.notes = a, engines, plan, notes
        self.samples, self.clock, self.facts, self.kinds = [], Clock(), {}, {}
        self.have = set()  # (model, test, engine, round) of samples
        self.out, self.flaky = set(), set()  # (model, test, engine) that are left out; that failed once
        self.file = self.writer = None
        self.start = time.perf_counter()

    def say(self, text, end="\n"):
        print(text, end=end, file=sys.stderr, flush=True)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            self.say("note: " + text)

    def label(self, model):
        return os.path.basename(model)[:-5] if model.endswith(".gguf") else os.path.basename(model)

    def todo(self, model):
        """(tests, engine) of one round; tests that share their depth are one sample."""
        return [([t for t in g if (model, t.name, e.name) not in self.out], e) for g in groups(self.plan[model]) for e in self.engines
                if any((model, t.name, e.name) not in self.out for t in g)]

    def missing(self, model, r, tests, engine):
        return [t for t in tests if (self.label(model), t.name, engine.name, r + 1) not in self.have]

    def left(self, at_model, at_round):
        """Seconds left."""
        total, models = 0, list(self.plan)
        for m in models[models.index(at_model):]:
            for tests, e in self.todo(m):
                one = self.clock.guess(m, " ".join(t.name for t in tests), e.name)
                total += one * sum(bool(self.missing(m, r, tests, e)) for r in range(at_round if m == at_model else 0, self.a.rounds))
        return total

    def all(self):
        for model, tests in self.plan.items():
            if not self.prepare(model, tests):
                continue
            if not any(self.missing(model, r, x, e) for r in range(self.a.rounds) for x, e in self.todo(model)):
                continue
            read_once(model)
            probe = Probe(self.a.probe, model, self.a.threads, self.note)
            try:
                for r in range(self.a.rounds):
                    self.round(model, probe, r)
            finally:
                probe.close()

    def facts_of(self, model, kv=""):
        if (model, kv) not in self.facts:
            try:
                self.facts[model, kv] = read_facts(self.a.myna, model, kv, self.a.timeout)
            except (Failed, ValueError):
                if not kv:
                    raise
                self.facts[model, kv] = self.facts_of(model)
        return self.facts[model, kv]

    def prepare(self, model, tests):
        """Leaves out what a model or an engine cannot do. False if myna cannot read the model."""
        try:
            facts = self.facts_of(model)
        except (Failed, ValueError) as e:
            self.note(f"{self.label(model)}: left out, myna cannot read it: {e}")
            return False
        self.kinds[self.label(model)] = facts.kinds
        for t in tests:
            for e in self.engines:
                if facts.positions and t.positions > facts.positions:
                    self.out.add((model, t.name, e.name))
                    self.note(f"{self.label(model)} {t.name}: left out, the model knows {facts.positions} positions")
                elif not e.has(t):
                    self.out.add((model, t.name, e.name))
                    if e.lacks(t):
                        self.note(e.lacks(t))
        return True

    def round(self, model, probe, r):
        todo = self.todo(model)
        if not any(self.missing(model, r, tests, e) for tests, e in todo):
            return
        peaks = probe.ask("all")
        before = peaks
        for group in groups(self.plan[model]):
            for place, engine in enumerate(self.engines if r % 2 == 0 else self.engines[::-1]):
                tests = self.missing(model, r, [t for t in group if (model, t.name, engine.name) not in self.out], engine)
                if tests:
                    before = self.sample(model, tests, engine, r, place, probe, peaks, before)

    def sample(self, model, tests, engine, r, place, probe, peaks, before):
        """One process of one engine; what the probe said behind it."""
        names = " ".join(t.name for t in tests)
        left = self.left(model, r)
        spent = time.perf_counter() - self.start
        if self.a.seconds and spent + self.clock.guess(model, names, engine.name) > self.a.seconds and self.samples:
            raise Enough
        self.say(f"{self.label(model)}  round {r + 1}/{self.a.rounds}  {names} {engine.name}", end=" ")
        start, others = time.perf_counter(), Others()
        try:
            done = engine.measure(tests, model, self.a.threads, self.a.timeout)
        except Failed as e:
            self.say("failed")
            if len(tests) == 1:
                self.failed((model, names, engine.name), f"{self.label(model)} {names}: {engine.name}", e)
                return probe.ask("quick")
            for t in tests:  # it may know one of them
                before = self.sample(model, [t], engine, r, place, probe, peaks, before)
            return before
        took, share = time.perf_counter() - start, others.share(done.cpu)
        after = probe.ask("quick")
        self.clock.add(model, names, engine.name, took)
        for t in tests:
            known = dict(others="" if share is None else round(share, 3), rss=done.rss, took=round(took / len(tests), 3))
            self.add(model, t, engine, r, place, done.values[t.name], {**peaks, **join(before, after), **known})
        s = self.samples[-1]
        values = ", ".join(table.number(done.values[t.name]) for t in tests)
        disturbed = f", OTHERS {100 * share:.0f} %" if table.disturbed(s) else ""
        self.say(f"{values} {s['unit']}, memory {s['memory_after'] or 'unknown'}{disturbed}, " + (f"{Clock.text(left)} left" if left else "time left unknown"))
        self.check_size(s, self.facts_of(model, tests[-1].kv), tests[-1])
        return after

    def failed(self, key, where, e):
        """What fails at once fails always; what fails later is tried once more."""
        known = any((s["model"], s["test"], s["engine"]) == (self.label(key[0]), *key[1:]) for s in self.samples)
        if known and key not in self.flaky:
            self.flaky.add(key)
            self.note(f"{where} failed in one round: {e}")
        else:
            self.out.add(key)
            self.note(f"{where} left out: {e}")

    def add(self, model, test, engine, r, place, value, known):
        facts = self.facts_of(model, test.kv)
        share = facts.shares(test, value, known)
        s = dict.fromkeys(COLUMNS, "")
        s.update(time=datetime.datetime.now().isoformat(timespec="seconds"), model=self.label(model), test=test.name, round=r + 1, order=place + 1,
                 engine=engine.name, value=round(value, 6), unit="s" if test.kind == "start" else "t/s")
        s.update({k: known[k] for k in COLUMNS if k in known})
        if share:
            s.update(share=round(share[0][0], 4), share_of=share[0][1], reached=round(share[0][2], 3), reached_unit=share[0][3])
        self.keep(s)
        self.write(s)

    def check_size(self, s, facts, test):
        """Resident size is to be at most the mapped file, the cache, and 5 % or 64 MB."""
        if s["engine"] != "myna" or test.kind == "start":
            return
        most = facts.file + facts.kv * test.positions * test.together
        if s["rss"] > most + max(0.05 * most, 64e6):
            self.note(f"{s['model']} {s['test']}: {s['rss'] / 1e6:.0f} MB resident, {most / 1e6:.0f} MB are file and cache")

    def keep(self, s):
        self.samples.append(s)
        self.have.add((s["model"], s["test"], s["engine"], s["round"]))

    def write(self, s):
        if not self.file:
            os.makedirs(os.path.dirname(os.path.abspath(self.a.csv)), exist_ok=True)
            fresh = not (self.a.go_on and os.path.exists(self.a.csv))
            self.file = open(self.a.csv, "w" if fresh else "a", newline="")
            self.writer = csv.DictWriter(self.file, COLUMNS)
            if fresh:
                self.writer.writeheader()
        self.writer.writerow(s)
        self.file.flush()

    def load(self, path):
        """Samples of an earlier run of the same tests, to go on with; all of the file stay in it."""
        with open(path, newline="") as f:
            for s in csv.DictReader(f):
                s["round"], s["order"] = int(s["round"]), int(s["order"])
                s.update({k: float(s[k]) for k in NUMBERS if s.get(k)})
                self.keep(s)
                model = next((m for m in self.plan if self.label(m) == s["model"]), None)
                if model and s.get("took"):
                    self.clock.add(model, s["test"], s["engine"], s["took"])


def join(before, after):
    """What was probed on both sides of a sample: other work only lowers what is read, so the better one counts."""
    out = {"memory_before": before.get("memory", ""), "memory_after": after.get("memory", "")}
    for key in ("read_gbs", "ping_ns"):
        known = [p[key] for p in (before, after) if key in p]
        if known:
            out[key] = max(known) if key == "read_gbs" else min(known)
    return out


# ---- the report ---------------------------------------------------------------------------------------------------------------------


def report(run):
    here = {run.label(m) for m in run.plan}
    samples = [s for s in run.samples if s["model"] in here]
    tests = list({t.name: t for tests in run.plan.values() for t in tests}.values())
    known = {s["model"] for s in samples if s["engine"] == "myna"}
    rows = table.summarise([s for s in samples if s["model"] in known], tests, run.engines, run.kinds)
    if not rows:
        print("nothing was measured")
    else:
        n = max(s["round"] for s in samples)
        changed = sum(table.memory_of(s) == "changed" for s in samples)
        noisy = sum(map(table.disturbed, samples))
        text = table.headline(rows)
        text += ("\n\n" if text else "") + table.markdown(rows, run.engines)
        text += f"\n\n{machine()}, {run.a.threads} threads, {n} round{'s' * (n > 1)}, medians; ratios are within rounds, above 1 myna is faster."
        if changed:
            text += f"\nThe memory's class changed during {changed} of {len(samples)} samples."
        if noisy:
            text += f"\nOther programs disturbed {noisy} of {len(samples)} samples."
        print(text)
        draw(run, rows, text)
    for text in run.notes:
        print(f"- {text}")
    if run.file:
        run.file.close()
        run.say(f"samples: {run.a.csv}")


def draw(run, rows, text):
    """Table and chart beside each other: DATE.md, DATE-table.csv, DATE.png."""
    import charts
    if not run.a.png:
        return
    os.makedirs(run.a.png, exist_ok=True)
    stem = os.path.join(run.a.png, run.a.stamp)
    with open(stem + ".md", "w") as f:
        f.write(text + "\n" + "".join(f"- {x}\n" for x in run.notes))
    table.write_csv(stem + "-table.csv", rows)
    run.say(f"table: {stem}.md, {stem}-table.csv")
    if any(r["peers"] for r in rows):
        run.say("chart: " + charts.draw(stem, rows, [e.name for e in run.engines[1:]]))


# ---- the command line ---------------------------------------------------------------------------------------------------------------


def parse_args(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", metavar="MODEL.gguf[:SUITE,...]", help="or a folder: all .gguf files in it")
    p.add_argument("--myna", default="build/myna", metavar="PATH")
    p.add_argument("--probe", default="build/probe", metavar="PATH", help="bench/probe.c, built (build/probe)")
    p.add_argument("--peers", default=os.environ.get("PEERS", ""), metavar='"NAME=PATH ..."', help="see above; also the environment variable PEERS")
    p.add_argument("--suites", "--suite", default="quick", metavar="NAME,...", help=f"of {', '.join(SUITES)} (quick)")
    p.add_argument("--tests", default="", metavar="NAME,...", help="these tests instead of suites")
    p.add_argument("--short", action="store_true", help=f"half as many tokens, depth {SHORT_DEPTH} at most, 3 rounds")
    p.add_argument("--rounds", type=int, default=0, metavar="N", help="(15; 3 if short)")
    p.add_argument("--seconds", type=int, default=0, metavar="N", help="stop in time, with the table of what was done")
    p.add_argument("--continue", dest="go_on", default="", metavar="FILE.csv", help="do what is missing in the samples of an earlier run, add to them")
    p.add_argument("--threads", type=int, default=0, metavar="N", help="(physical cores)")
    p.add_argument("--replay", default="", metavar="FILE,...", help="texts of the test replay256")
    p.add_argument("--speculation", action="append", default=[], metavar="NAME=FLAGS", help='ways to guess in replay256 ("ngram=--spec-type ngram")')
    p.add_argument("--timeout", type=int, default=1800, metavar="SECONDS", help="of one sample (1800)")
    p.add_argument("--csv", default="", metavar="FILE", help="every sample (build/bench/DATE.csv)")
    p.add_argument("--png", default="build/bench", metavar="DIR", help="where table and chart go (build/bench); empty: nowhere")
    p.add_argument("--self-test", action="store_true", help="check this script with engines that are none")
    a = p.parse_args(argv)
    a.stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    a.csv = a.csv or a.go_on or os.path.join("build", "bench", a.stamp + ".csv")
    a.threads = a.threads or physical_cores()
    a.rounds = a.rounds or (3 if a.short else 15)
    notes = []
    if a.self_test:
        return a, [], {}, notes
    if not a.models:
        p.error("MODEL.gguf: at least one is needed")
    for name, low in (("rounds", 1), ("threads", 1), ("timeout", 1), ("seconds", 0)):
        if getattr(a, name) < low:
            p.error(f"--{name}: {getattr(a, name)} is less than {low}")
    for flag, path in [("--replay", x) for x in a.replay.split(",") if x] + [("--continue", a.go_on)] * bool(a.go_on):
        if not os.path.isfile(path):
            p.error(f"{flag}: {path}: no such file")
    if not shutil.which(a.myna):
        p.error(f"--myna: {a.myna} is no program (make builds it)")
    programs = {"bench": shutil.which(a.myna)}
    engines = [Engine("myna", programs, is_myna=True), Engine("itself", programs, is_myna=True)]
    for e in engines:
        e.texts = {os.path.basename(x): x for x in a.replay.split(",") if x}
        e.speculations = {}
        for x in a.speculation or ["ngram=--spec-type ngram"]:
            name, _, flags = x.partition("=")
            if not flags:
                p.error(f"--speculation: {x}: NAME=FLAGS is expected")
            e.speculations[name] = flags.split()
    try:
        plan = {}
        for x in a.models:
            models, suites = named_models(x)
            names = (a.tests if a.tests and not suites else " ".join(tests_of(y) for y in (suites or a.suites).split(","))).replace(",", " ").split()
            for m in models:
                tests = plan.setdefault(m, {})
                tests.update({t.name: t for y in names for t in expand(y, a.short, engines[0], notes)})
        plan = {m: list(tests.values()) for m, tests in plan.items()}
    except ValueError as e:
        p.error(str(e))
    try:
        peers = parse_peers(a.peers, notes.append)
    except ValueError as e:
        p.error(f"--peers: {e}")
    if not any(t.kind == "replay" or t.threads for tests in plan.values() for t in tests):
        engines.pop()
    return a, engines[:1] + peers + engines[1:], plan, notes


def tests_of(suite):
    if suite not in SUITES:
        raise ValueError(f"--suites: {suite} is none of {', '.join(SUITES)}")
    return SUITES[suite]


def named_models(text):
    """(files, suites or "") of FILE, FOLDER, FILE:suites or FOLDER:suites."""
    path, suites = text, ""
    if not os.path.exists(path) and ":" in path:
        path, suites = path.rsplit(":", 1)
    if os.path.isdir(path) and not os.path.exists(os.path.join(path, "config.json")):
        files = sorted(os.path.join(path, x) for x in os.listdir(path) if x.endswith(".gguf"))
        if files:
            return files, suites
    if not os.path.exists(path):
        raise ValueError(f"MODEL.gguf: {text}: no such file")
    return [path], suites


def expand(name, short, myna, notes):
    """Tests of a name: replay256 is one for each text and way to guess."""
    t = Test(name)
    if short and t.depth > SHORT_DEPTH:
        return []
    if short and t.kind in ("tg", "replay") and t.n % 2 == 0 and not t.batched:
        return expand(name.replace(f"{t.kind}{t.n}", f"{t.kind}{t.n // 2}", 1), False, myna, notes)
    if t.kind != "replay" or t.text:
        if t.kind == "replay" and (t.text not in myna.texts or t.how not in myna.speculations):
            raise ValueError(f"--tests: {name}: no --replay or --speculation has this name")
        return [t]
    if not myna.texts:
        notes.append(f"{name}: left out, --replay names no text")
    return [Test(f"{name}/{how}/{text}") for text in myna.texts for how in myna.speculations]


def main(argv):
    a, engines, plan, notes = parse_args(argv)
    if a.self_test:
        import self_test
        return self_test.main()
    run = Run(a, engines, plan, notes)
    for text in notes:
        run.say("note: " + text)
    code = 0
    try:
        if a.go_on:
            run.load(a.go_on)
        run.all()
    except Enough:
        run.say("the time is over; --continue does the rest")
    except KeyboardInterrupt:
        run.say("\ninterrupted; this is what was done so far")
        code = 130
    for model in plan:
        if run.label(model) not in run.kinds and any(s["model"] == run.label(model) for s in run.samples):
            run.prepare(model, [])
    report(run)
    return code or (0 if run.samples else 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
