#!/usr/bin/env python3
"""Speed of myna beside peers on the same files, as ratios within interleaved rounds and as shares of what the machine can do.

  bench.py [--peers "llama=/path/llama-bench llama.batched=/path/llama-batched-bench llama.run=/path/llama-completion"] MODEL.gguf ...

A peer is a program that takes llama-bench's flags and prints its JSON; NAME.batched and NAME.run are its programs for rows with
several sequences and for the start. NAME.args=-x,1 adds flags to its llama-bench. Tests are named as in myna bench: pp512, tg64,
tg64@d4096 (behind 4096 positions), tg32x8 (8 sequences), and start (process start to the first token). README.md beside this file
says what the columns mean. Only Python's standard library is needed.
"""
import argparse
import csv
import datetime
import json
import math
import os
import re
import select
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

SUITES = {
    "quick": "pp512 tg64 tg32x8 start",
    "full": "pp512 tg64 tg32@d4096 tg32@d16384 pp512@d4096 tg32x4 tg32x8 tg32x16 tg32x32 start",
}
FORMS = {"BF16": "bf16", "F16": "f32", "F32": "f32", "F64": "f32"}  # arithmetic of a storage type; all others: int8
GATHERED = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_types.")  # of these a token reads one row


class Failed(Exception):
    """A program could not be run; the text is its own message."""


class NoRow(Failed):
    """It ended well but without a result, as programs do that lose output when they end."""


# ---- tests --------------------------------------------------------------------------------------------------------------------------


class Test:
    """pp512, tg64@d4096, tg32x8 or start."""

    def __init__(self, name):
        m = re.fullmatch(r"(pp|tg)(\d+)(?:x(\d+))?(?:@d(\d+))?", name)
        if not m and name != "start" or m and (m[1] == "pp" and m[3] or int(m[2]) == 0 or m[3] and int(m[3]) == 0):
            raise ValueError(f"{name}: a test is pp512, tg64, tg64@d4096, tg32x8 or start")
        self.name = name
        self.kind = m[1] if m else "start"
        self.n = int(m[2]) if m else 1
        self.together = int(m[3] or 1) if m else 1
        self.depth = int(m[4] or 0) if m else 0
        self.positions = self.depth + self.n + 1

    def ratio(self, mine, theirs):
        """How many times as fast we are."""
        return theirs / mine if self.kind == "start" else mine / theirs


# ---- engines ------------------------------------------------------------------------------------------------------------------------


def last_words(text):
    """What a failed program said: its first line with an error, else its last lines."""
    lines = [x.strip() for x in text.splitlines() if x.strip()]
    errors = [x for x in lines if re.search(r"error|invalid|unknown|fail|refus|cannot", x, re.I)]
    return (errors[0] if errors else " / ".join(lines[-2:]) or "no message")[:300]


def run(cmd, timeout):
    """Standard output of a program."""
    with tempfile.TemporaryFile("w+", errors="replace") as err:
        try:
            done = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"took more than {timeout} s") from None
        except OSError as e:
            raise Failed(str(e)) from None
        out = done.stdout.decode(errors="replace")
        if done.returncode:
            err.seek(0)
            raise Failed(f"{last_words(err.read() or out)} (exit status {done.returncode})")
        return out


def first_output(cmd, timeout):
    """Seconds from the start of a program to its first byte of output, or to its end when it writes nothing (a token may have no text)."""
    with tempfile.TemporaryFile("w+", errors="replace") as err:
        start = time.perf_counter()
        try:
            p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err)
        except OSError as e:
            raise Failed(str(e)) from None
        try:
            if not select.select([p.stdout], [], [], timeout)[0]:
                raise Failed(f"no token in {timeout} s")
            os.read(p.stdout.fileno(), 1)
            seconds = time.perf_counter() - start
            p.stdout.read()
            if p.wait(timeout):
                err.seek(0)
                raise Failed(f"{last_words(err.read())} (exit status {p.returncode})")
        except subprocess.TimeoutExpired:
            raise Failed(f"took more than {timeout} s") from None
        finally:
            p.kill()
            p.stdout.close()
            p.wait()
        return seconds


def parse_rate(text):
    """avg_ts of the one row that llama-bench and myna bench print as JSON; other lines may stand before it."""
    start = re.search(r"^\[", text, re.M)
    try:
        rows = json.loads(text[start.start():]) if start else []
        if len(rows) == 1 and float(rows[0]["avg_ts"]) > 0:
            return float(rows[0]["avg_ts"])
    except (ValueError, KeyError, TypeError):
        pass
    raise NoRow("its output is not one row of JSON with avg_ts: " + last_words(text))


def parse_batched(text):
    """speed_tg of the row that llama-batched-bench prints as a line of JSON."""
    for line in reversed(text.splitlines()):
        try:
            return float(json.loads(line)["speed_tg"])
        except (ValueError, KeyError, TypeError):
            continue
    raise NoRow("its output has no line of JSON with speed_tg: " + last_words(text))


class Engine:
    """An engine's programs; `bench` of myna serves all kinds."""

    def __init__(self, name, programs, args=(), is_myna=False):
        self.name, self.programs, self.args, self.is_myna = name, programs, list(args), is_myna
        self.chosen = {}  # kind of test: which of the variants of its flags the program takes

    def has(self, test):
        return self.is_myna or self.kind(test) in self.programs

    def kind(self, test):
        return "run" if test.kind == "start" else "batched" if test.together > 1 else "bench"

    def variants(self, test, model, threads):
        """Command lines, best first: not all peers know all flags."""
        t, n, d, b = str(threads), str(test.n), str(test.depth), str(test.together)
        if self.is_myna and test.kind == "start":
            return [[self.programs["bench"], "run", "-m", model, "-t", t, "-c", "512", "-p", "Once", "-n", "1", "--temp", "0", "--raw", "-q"]]
        if self.is_myna:
            p, g = (n, "0") if test.kind == "pp" else ("0", n)
            return [[self.programs["bench"], "bench", "-m", model, "-t", t, "-p", p, "-n", g, "-B", b, "-d", d, "-r", "1", "--json", "-q"]]
        path = self.programs[self.kind(test)]
        if test.kind == "start":
            base = [path, "-m", model, "-t", t, "-c", "512", "-p", "Once", "-n", "1", "--temp", "0"]
            return [base + ["-no-cnv", "--no-display-prompt", "--no-warmup"], base + ["--no-display-prompt", "--no-warmup"], base]
        if test.together > 1:
            ctx = -(-test.together * test.positions // 256) * 256
            base = [path, "-m", model, "-t", t, "-tb", t, "-c", str(ctx), "-npp", str(test.depth + 1), "-ntg", n, "-npl", b]
            return [base + ["-fa", "on", "--output-format", "jsonl"], base + ["-fa", "--output-format", "jsonl"], base + ["--output-format", "jsonl"]]
        base = [path, "-m", model, "-t", t, "-r", "1", "-o", "json", "-fa", "1"] + self.args
        plain = base + (["-p", n, "-n", "0"] if test.kind == "pp" else ["-p", "0", "-n", n])
        if not test.depth:
            return [plain]
        older = [base + ["-p", "0", "-n", "0", "-gp", f"{d},{n}"]] if test.kind == "tg" else []
        return [plain + ["-d", d]] + older

    def measure(self, test, model, threads, timeout):
        """Tokens per second, of start seconds."""
        variants = self.variants(test, model, threads)
        key = (self.kind(test), test.kind, test.depth > 0)
        first = None
        for i in [self.chosen[key]] if key in self.chosen else range(len(variants)):
            try:
                value = self.try_flags(test, variants[i], timeout)
            except Failed as e:
                first = first or e
                continue
            self.chosen[key] = i
            return value
        raise first

    def try_flags(self, test, cmd, timeout, tries=3):
        if test.kind == "start":
            return first_output(cmd, timeout)
        parse = parse_batched if self.kind(test) == "batched" and not self.is_myna else parse_rate
        for left in reversed(range(tries)):
            try:
                return parse(run(cmd, timeout))
            except NoRow:
                if not left:
                    raise


def parse_peers(text, note):
    """Engines of "llama=/p/llama-bench llama.run=/p/llama-completion ik=..."; programs that are not there are noted and left out."""
    found = {}
    for word in shlex.split(text):
        m = re.fullmatch(r"([A-Za-z0-9_+-]+)(?:\.(batched|run|args))?=(.+)", word)
        if not m:
            raise ValueError(f"{word}: NAME=PATH, NAME.batched=PATH, NAME.run=PATH or NAME.args=FLAGS is expected")
        name, kind, value = m[1], m[2] or "bench", m[3]
        if name == "myna":
            raise ValueError("myna is the engine that is compared; call the peer something else")
        peer = found.setdefault(name, Engine(name, {}))
        if kind == "args":
            peer.args = value.split(",")
        elif shutil.which(value):
            peer.programs[kind] = value
        else:
            note(f"{name}: {value} is no program; its rows are left out")
    return list(found.values())


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
        if test.kind == "start":
            return out
        if weights and all(probed.get(f + "_gops") for f in weights):
            ideal = sum(2e-9 * w / probed[f + "_gops"] for f, w in weights.items())  # seconds per token
            out.append((rate * ideal, max(weights, key=weights.get), 2e-9 * rate * sum(weights.values()), "GOP/s"))
        if test.kind == "tg" and probed.get("read_gbs"):
            gbs = 1e-9 * self.step_bytes(test) * rate / test.together
            out.append((gbs / probed["read_gbs"], "read", gbs, "GB/s"))
        return sorted(out, reverse=True)


def read_facts(myna, model, timeout):
    def inspect(ctx):
        return json.loads(run([myna, "inspect", "--json", "-c", str(ctx), model], timeout))

    low, high = inspect(1024), inspect(2048)
    if "memory" not in low or "memory" not in high:
        return Facts(low)
    return Facts(low, max(0, high["memory"]["kv"] - low["memory"]["kv"]) / 1024)


# ---- the run ------------------------------------------------------------------------------------------------------------------------

COLUMNS = ("time model test round order engine value unit memory_before memory_after ping_ns read_gbs int8_gops bf16_gops f32_gops share share_of "
           "reached reached_unit").split()


class Clock:
    """Time left, from how long the same sample took before; of a file not met yet by its size."""

    def __init__(self):
        self.took = {}

    def add(self, model, test, engine, seconds):
        self.took.setdefault((model, test, engine), []).append(seconds)

    def guess(self, model, test, engine):
        known = self.took.get((model, test, engine))
        if known:
            return statistics.median(known)
        others = [s / max(1, os.path.getsize(m)) for (m, t, e), x in self.took.items() if (t, e) == (test, engine) for s in x]
        if others:
            return statistics.median(others) * os.path.getsize(model)
        return statistics.mean([s for x in self.took.values() for s in x] or [0])

    @staticmethod
    def text(seconds):
        return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Run:
    def __init__(self, a, engines, tests, notes):
        self.a, self.engines, self.tests, self.notes = a, engines, tests, notes
        self.samples, self.clock = [], Clock()
        self.out, self.flaky = set(), set()  # (model, test, engine) that are left out; that failed once
        self.file = self.writer = None

    def say(self, text, end="\n"):
        print(text, end=end, file=sys.stderr, flush=True)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)
            self.say("note: " + text)

    def label(self, model):
        return os.path.basename(model)[:-5] if model.endswith(".gguf") else os.path.basename(model)

    def todo(self, model):
        """(test, engine) of one round."""
        return [(t, e) for t in self.tests for e in self.engines if (model, t.name, e.name) not in self.out]

    def left(self, at_model, at_round, done):
        """Seconds left, `done` samples into a round."""
        total = sum(self.clock.guess(at_model, t.name, e.name) for t, e in self.todo(at_model)[done:])
        for m in self.a.models[self.a.models.index(at_model):]:
            rounds = self.a.rounds - at_round - 1 if m == at_model else self.a.rounds
            total += rounds * sum(self.clock.guess(m, t.name, e.name) for t, e in self.todo(m))
        return total

    def all(self):
        for model in self.a.models:
            try:
                facts = read_facts(self.a.myna, model, self.a.timeout)
            except (Failed, ValueError) as e:
                self.note(f"{self.label(model)}: left out, myna cannot read it: {e}")
                continue
            for t in self.tests:
                for e in self.engines:
                    if facts.positions and t.positions > facts.positions:
                        self.out.add((model, t.name, e.name))
                        self.note(f"{self.label(model)} {t.name}: left out, the model knows {facts.positions} positions")
                    elif not e.has(t):
                        self.out.add((model, t.name, e.name))
                        what = {"run": "start", "batched": "several sequences", "bench": "all other tests"}[e.kind(t)]
                        self.note(f"{e.name}: {what} left out, no {e.name}{'' if e.kind(t) == 'bench' else '.' + e.kind(t)}=PATH was given")
            probe = Probe(self.a.probe, model, self.a.threads, self.note)
            try:
                for r in range(self.a.rounds):
                    self.round(model, facts, probe, r)
            finally:
                probe.close()

    def round(self, model, facts, probe, r):
        peaks = probe.ask("all")
        before, done = peaks, 0
        for test in self.tests:
            for place, engine in enumerate(self.engines if r % 2 == 0 else self.engines[::-1]):
                if (model, test.name, engine.name) in self.out:
                    continue
                left = self.left(model, r, done)
                self.say(f"{self.label(model)}  round {r + 1}/{self.a.rounds}  {test.name} {engine.name}", end=" ")
                start = time.perf_counter()
                try:
                    value = engine.measure(test, model, self.a.threads, self.a.timeout)
                except Failed as e:
                    self.say("failed")
                    self.failed((model, test.name, engine.name), f"{self.label(model)} {test.name}: {engine.name}", e)
                    continue
                after = probe.ask("quick")
                self.clock.add(model, test.name, engine.name, time.perf_counter() - start)
                done += 1
                self.add(model, test, engine, r, place, value, facts, {**peaks, **join(before, after)})
                left = f"{Clock.text(left)} left" if left else "time left unknown"
                self.say(f"{number(value)} {self.samples[-1]['unit']}, memory {self.samples[-1]['memory_after'] or 'unknown'}, {left}")
                before = after

    def failed(self, key, where, e):
        """What fails at once fails always; what fails later is tried once more."""
        known = any((s["model"], s["test"], s["engine"]) == (self.label(key[0]), *key[1:]) for s in self.samples)
        if known and key not in self.flaky:
            self.flaky.add(key)
            self.note(f"{where} failed in one round: {e}")
        else:
            self.out.add(key)
            self.note(f"{where} left out: {e}")

    def add(self, model, test, engine, r, place, value, facts, probed):
        share = facts.shares(test, value, probed)
        s = dict.fromkeys(COLUMNS, "")
        s.update(time=datetime.datetime.now().isoformat(timespec="seconds"), model=self.label(model), test=test.name, round=r + 1, order=place + 1,
                 engine=engine.name, value=round(value, 6), unit="s" if test.kind == "start" else "t/s")
        s.update({k: probed.get(k, "") for k in ("memory_before", "memory_after", "ping_ns", "read_gbs", "int8_gops", "bf16_gops", "f32_gops")})
        if share:
            s.update(share=round(share[0][0], 4), share_of=share[0][1], reached=round(share[0][2], 3), reached_unit=share[0][3])
        self.samples.append(s)
        if self.a.csv and not self.file:
            os.makedirs(os.path.dirname(os.path.abspath(self.a.csv)), exist_ok=True)
            self.file = open(self.a.csv, "w", newline="")
            self.writer = csv.DictWriter(self.file, COLUMNS)
            self.writer.writeheader()
        if self.file:  # at once, so that whatever ends the run keeps them
            self.writer.writerow(s)
            self.file.flush()


def join(before, after):
    """What was probed on both sides of a sample: other work only lowers what is read, so the better one counts."""
    out = {"memory_before": before.get("memory", ""), "memory_after": after.get("memory", "")}
    for key in ("read_gbs", "ping_ns"):
        known = [p[key] for p in (before, after) if key in p]
        if known:
            out[key] = max(known) if key == "read_gbs" else min(known)
    return out


# ---- the table ----------------------------------------------------------------------------------------------------------------------


def memory_of(s):
    """Class of the memory during a sample. On a busy machine the probe may fail to tell on one side, or on both."""
    seen = {s["memory_before"], s["memory_after"]} - {""}
    return "unknown" if not seen else "changed" if len(seen) > 1 else seen.pop()


def summarise(samples, tests, engines):
    """Rows of the table. A test that reads weights (tg) has a row for each class of memory, and both sides of a ratio are of that class; samples
    whose class changed or is unknown count only where there are no others."""
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
                rows.append(summarise_row(model, test, ", ".join(counts), of, engines))
    return rows


def summarise_row(model, test, memory, of, engines):
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
        ratios = [test.ratio(mine[r]["value"], theirs[r]["value"]) for r in mine if r in theirs]
        if ratios:
            row["peers"][e.name] = dict(value=statistics.median(s["value"] for s in theirs.values()), ratio=(statistics.median(ratios), min(ratios), max(ratios)))
    return row


def number(x, unit=""):
    return f"{x:.{0 if x >= 100 else 1 if x >= 10 else 2 if x >= 1 else 3}f}{unit}"


def markdown(rows, engines):
    peers = [e.name for e in engines[1:] if any(e.name in r["peers"] for r in rows)]
    head = ["model", "test", "myna t/s"] + [x for p in peers for x in (f"{p} t/s", f"myna / {p} (range)")] + ["share of peak", "memory"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---:|" + "---:|---:|" * len(peers) + "---|---|"]
    for r in rows:
        unit = " s" if r["test"].kind == "start" else ""
        cells = [r["model"], r["test"].name, number(r["value"], unit)]
        for p in peers:
            x = r["peers"].get(p)
            cells += [number(x["value"], unit), "{:.2f} ({:.2f} to {:.2f})".format(*x["ratio"])] if x else ["-", "-"]
        lines.append("| " + " | ".join(cells + [r["share"] or "-", r["memory"]]) + " |")
    return "\n".join(lines)


def report(run):
    if not run.samples:
        print("nothing was measured")
    else:
        rows = summarise(run.samples, run.tests, run.engines)
        print(markdown(rows, run.engines))
        n = max(s["round"] for s in run.samples)
        changed = sum(memory_of(s) == "changed" for s in run.samples)
        print(f"\n{machine()}, {run.a.threads} threads, {n} round{'s' * (n > 1)}, medians; ratios are within rounds, above 1 myna is faster.")
        if changed:
            print(f"The memory's class changed during {changed} of {len(run.samples)} samples.")
        draw(run, rows)
    for text in run.notes:
        print(f"- {text}")
    if run.file:
        run.file.close()
        run.say(f"samples: {run.a.csv}")


def draw(run, rows):
    import charts
    if not run.a.png or not any(r["peers"] for r in rows):
        return
    os.makedirs(run.a.png, exist_ok=True)
    stem = os.path.join(run.a.png, run.a.stamp)
    run.say("chart: " + charts.draw(stem, rows, [e.name for e in run.engines[1:]]))


# ---- the command line ---------------------------------------------------------------------------------------------------------------


def parse_args(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", metavar="MODEL.gguf")
    p.add_argument("--myna", default="build/myna", metavar="PATH")
    p.add_argument("--probe", default="build/probe", metavar="PATH", help="bench/probe.c, built (build/probe)")
    p.add_argument("--peers", default=os.environ.get("PEERS", ""), metavar='"NAME=PATH ..."', help="see above; also the environment variable PEERS")
    p.add_argument("--suite", default="quick", help=f"{' or '.join(SUITES)} (quick)")
    p.add_argument("--tests", default="", metavar="NAME,...", help="these tests instead of a suite")
    p.add_argument("--rounds", type=int, default=15, metavar="N", help="(15)")
    p.add_argument("--threads", type=int, default=0, metavar="N", help="(physical cores)")
    p.add_argument("--timeout", type=int, default=1800, metavar="SECONDS", help="of one sample (1800)")
    p.add_argument("--csv", default="", metavar="FILE", help="every sample (build/bench/DATE.csv)")
    p.add_argument("--png", default="build/bench", metavar="DIR", help="where the chart goes (build/bench); empty: none")
    p.add_argument("--self-test", action="store_true", help="check this script with engines that are none")
    a = p.parse_args(argv)
    a.stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
    a.csv = a.csv or os.path.join("build", "bench", a.stamp + ".csv")
    a.threads = a.threads or physical_cores()
    notes = []
    if a.self_test:
        return a, [], [], notes
    if not a.models:
        p.error("MODEL.gguf: at least one is needed")
    for m in a.models:
        if not os.path.isfile(m):
            p.error(f"MODEL.gguf: {m}: no such file")
    for name, low in (("rounds", 1), ("threads", 1), ("timeout", 1)):
        if getattr(a, name) < low:
            p.error(f"--{name}: {getattr(a, name)} is less than {low}")
    if a.suite not in SUITES:
        p.error(f"--suite: {a.suite} is none of {', '.join(SUITES)}")
    if not shutil.which(a.myna):
        p.error(f"--myna: {a.myna} is no program (make builds it)")
    try:
        tests = [Test(x) for x in dict.fromkeys((a.tests or SUITES[a.suite]).replace(",", " ").split())]
    except ValueError as e:
        p.error(f"--tests: {e}")
    try:
        peers = parse_peers(a.peers, notes.append)
    except ValueError as e:
        p.error(f"--peers: {e}")
    a.models = list(dict.fromkeys(a.models))
    return a, [Engine("myna", {"bench": a.myna}, is_myna=True)] + [e for e in peers if e.programs], tests, notes


def main(argv):
    a, engines, tests, notes = parse_args(argv)
    if a.self_test:
        import self_test
        return self_test.main()
    run = Run(a, engines, tests, notes)
    for text in notes:
        run.say("note: " + text)
    load = os.getloadavg()[0]
    if load > 0.3:
        run.note(f"the machine had other work to do at the start (load {load:.1f})")
    code = 0
    try:
        run.all()
    except KeyboardInterrupt:
        run.say("\ninterrupted; this is what was done so far")
        code = 130
    report(run)
    return code or (0 if run.samples else 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
