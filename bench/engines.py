"""Tests by name, and the engines that do them: their command lines and what they print. Nothing here knows of rounds or tables."""
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import tempfile
import time

# A peer's programs, found beside the one that is named: the first name that exists.
BESIDE = {
    "bench": ("llama-bench",),
    "batched": ("llama-batched-bench",),
    "sweep": ("llama-sweep-bench",),
    "run": ("llama-completion", "llama-cli"),
}
FOR = {"bench": "all that has one sequence", "batched": "several sequences", "sweep": "prompts at depth where llama-bench has no -d", "run": "the start"}
WORDS = "a test is pp512, tg64, tg64@d4096, tg32x8@d32, start or replay256, with /kv=q8_0 and /t=8 behind it"


class Failed(Exception):
    """A program could not be run; the text is its own message."""


class NoRow(Failed):
    """It ended well but without a result, as programs do that lose output when they end."""


# ---- tests --------------------------------------------------------------------------------------------------------------------------


class Test:
    """pp512, tg64@d4096, tg32x8@d32, start; replay256/HOW/TEXT (256 tokens along a text with speculation HOW); at the end /kv=TYPE, /t=THREADS."""

    def __init__(self, name):
        m = re.fullmatch(r"(?:(pp|tg)(\d+)(?:x(\d+))?(?:@d(\d+))?|(start)|(replay)(\d+)(?:/([^/=]+)/([^/=]+))?)(?:/kv=(\w+))?(?:/t=(\d+))?", name)
        if not m or m[1] == "pp" and m[3] or any(x and int(x) == 0 for x in (m[2], m[3], m[7], m[11])):
            raise ValueError(f"{name}: {WORDS}")
        self.name = name
        self.kind = m[1] or m[5] or m[6]
        self.n = int(m[2] or m[7] or 1)
        self.batched = m[3] is not None  # also of one sequence: then peers are asked for it by their program for several
        self.together = int(m[3] or 1)
        self.depth = int(m[4] or 0)
        self.how, self.text = m[8], m[9]
        self.kv = m[10] or ""
        self.threads = int(m[11] or 0)  # 0: as all others
        self.positions = self.depth + self.n + 1

    def ratio(self, mine, theirs):
        """How many times as fast we are."""
        return theirs / mine if self.kind == "start" else mine / theirs

    def shares_depth(self, other):
        """Whether one process can do both behind one computation of what lies before."""
        return self.depth > 0 and not self.batched and (self.depth, self.batched, self.kv, self.threads) == (other.depth, other.batched, other.kv, other.threads)


def groups(tests):
    """Lists of tests that share what lies before, in the order of the first of each."""
    out = []
    for t in tests:
        beside = next((g for g in out if g[0].shares_depth(t)), None)
        if beside:
            beside.append(t)
        else:
            out.append([t])
    return out


# ---- programs -----------------------------------------------------------------------------------------------------------------------


def last_words(text):
    """What a failed program said: its first line with an error, else its last lines."""
    lines = [x.strip() for x in text.splitlines() if x.strip()]
    errors = [x for x in lines if re.search(r"error|invalid|unknown|fail|refus|cannot", x, re.I)]
    return (errors[0] if errors else " / ".join(lines[-2:]) or "no message")[:300]


class Process:
    """A program from its start to its end; afterwards what it printed, its largest resident size and its processor time."""

    def __init__(self, cmd, env=None):
        self.folder = tempfile.TemporaryDirectory()  # some programs write logs where they stand
        self.err = tempfile.TemporaryFile("w+", errors="replace")
        self.start, self.rc, self.rss, self.cpu = time.perf_counter(), None, 0, 0.0
        try:
            self.p = subprocess.Popen([os.path.abspath(cmd[0]), *cmd[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.err,
                                      cwd=self.folder.name, env={**os.environ, **(env or {})})
        except OSError as e:
            self.err.close()
            self.folder.cleanup()
            raise Failed(str(e)) from None
        os.set_blocking(self.p.stdout.fileno(), False)

    def first_byte(self, timeout):
        """Seconds until the first byte of output, or until the end when there is none (a token may have no text)."""
        if not select.select([self.p.stdout], [], [], timeout)[0]:
            raise Failed(f"no token in {timeout} s")
        return time.perf_counter() - self.start

    def finish(self, timeout):
        """Standard output and standard error of the whole run. wait4 tells size and time of this child alone."""
        out, fd = b"", self.p.stdout.fileno()
        while self.rc is None:
            if time.perf_counter() - self.start > timeout:
                raise Failed(f"took more than {timeout} s")
            if select.select([fd], [], [], 1.0)[0]:
                part = os.read(fd, 1 << 16)
                out += part
                if part:
                    continue
            pid, status, usage = os.wait4(self.p.pid, os.WNOHANG)
            if pid:
                self.rc = self.p.returncode = os.waitstatus_to_exitcode(status)
                self.rss, self.cpu = usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime
            else:
                time.sleep(0.002)
        self.err.seek(0)
        out, err = out.decode(errors="replace"), self.err.read()
        if self.rc:
            raise Failed(f"{last_words(err or out)} (exit status {self.rc})")
        return out, err

    def close(self):
        if self.rc is None:
            self.p.kill()
            self.p.wait()
        self.p.stdout.close()
        self.err.close()
        self.folder.cleanup()


# ---- what programs print ------------------------------------------------------------------------------------------------------------


def rows_of(text):
    """The rows of a JSON array, of lines of JSON, or of a table of batched-bench or sweep-bench, as dicts; other lines may stand between."""
    start = re.search(r"^\[\s*$|^\[\s*\{|^\[\]", text, re.M)
    try:
        rows = json.JSONDecoder().raw_decode(text[start.start():])[0] if start else []
        if rows and all(isinstance(r, dict) for r in rows):
            return rows
    except ValueError:
        pass
    rows, head = [], None
    for line in text.splitlines():
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if line.strip().startswith("{"):
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        elif "S_TG t/s" in cells:
            head = cells
        elif head and len(cells) == len(head):
            try:
                rows.append(dict(zip(head, map(float, cells))))
            except ValueError:
                continue
    names = {"PP": "pp", "TG": "tg", "B": "pl", "N_KV": "n_kv", "S_PP t/s": "speed_pp", "S_TG t/s": "speed_tg"}
    return [{names.get(k, k): v for k, v in r.items()} for r in rows]


def rate(test, found, what, text):
    """The one positive rate among values found for a test."""
    found = [x for x in found if isinstance(x, (int, float)) and x > 0]
    if len(found) != 1:
        raise NoRow(f"its output has {len(found)} rows of {what} for {test.name}, one is expected: {last_words(text)}")
    return float(found[0])


def parse_myna(tests, text):
    rows = rows_of(text)

    def name(t):
        return f"tg{t.n}@replay" if t.kind == "replay" else t.name.split("/")[0].replace("x1@", "@")

    return {t.name: rate(t, [r.get("avg_ts") for r in rows if r.get("name") == name(t)], "avg_ts", text) for t in tests}


def parse_bench(tests, text):
    """llama-bench's JSON. Depth is n_depth, or where there is none n_prompt of a row that generates."""
    rows, out = rows_of(text), {}
    for t in tests:
        asked = [dict(n_prompt=t.n, n_gen=0, n_depth=t.depth) if t.kind == "pp" else dict(n_prompt=0, n_gen=t.n, n_depth=t.depth)]
        if t.kind == "tg" and t.depth:
            asked.append(dict(n_prompt=t.depth, n_gen=t.n, n_depth=0))
        out[t.name] = rate(t, [r.get("avg_ts") for r in rows if any(all(r.get(k, 0) == v for k, v in a.items()) for a in asked)], "avg_ts", text)
    return out


def parse_batched(tests, text):
    rows = rows_of(text)
    return {t.name: rate(t, [r.get("speed_tg") for r in rows if (r.get("pl"), r.get("tg")) == (t.together, t.n)], "speed_tg", text) for t in tests}


def parse_sweep(tests, text):
    rows = rows_of(text)
    return {t.name: rate(t, [r.get("speed_" + t.kind) for r in rows if (r.get("n_kv"), r.get(t.kind)) == (t.depth, t.n)], "speed_" + t.kind, text)
            for t in tests}


# ---- engines ------------------------------------------------------------------------------------------------------------------------


class Sample:
    """Values of tests by name, and what the process took."""

    def __init__(self, values, process):
        self.values, self.rss, self.cpu = values, process.rss, process.cpu


class Engine:
    """An engine's programs; `bench` of myna serves all kinds. `itself` is myna without what a test is about (speculation, more threads)."""

    def __init__(self, name, programs, is_myna=False):
        self.name, self.programs, self.is_myna = name, programs, is_myna
        self.args, self.env = {}, {}  # kind of program: flags
        self.chosen = {}  # kind of tests: which of the variants of its flags the program takes
        self.speculations, self.texts = {}, {}  # of myna: flags by name, paths by name

    def has(self, test):
        if self.name == "itself":
            return test.kind == "replay" or test.threads > 0
        return self.is_myna or test.kind != "replay" and self.kind(test) in self.programs

    def lacks(self, test):
        """Why it has not the test, for a note; empty where that is nobody's fault."""
        if self.is_myna or test.kind == "replay":
            return ""
        return f"{self.name}: {FOR[self.kind(test)]} left out, there is no {' or '.join(BESIDE[self.kind(test)])}"

    @staticmethod
    def kind(test):
        return "run" if test.kind == "start" else "batched" if test.batched else "bench"

    def variants(self, tests, model, threads):
        """(command line, parser), best first: not all peers know all flags. The tests share depth, cache type and threads."""
        t = tests[0]
        cache = ["-ctk", t.kv, "-ctv", t.kv] if t.kv else []
        n_threads = str(threads if self.name == "itself" or not t.threads else t.threads)
        base = ["-m", os.path.abspath(model), "-t", n_threads]
        if self.is_myna:
            return self.myna_variants(tests, base, cache)
        kind = self.kind(t)
        path, args = self.programs[kind], self.args.get(kind, [])
        if kind == "run":
            base = [path] + base + ["-c", "512", "-p", "Once", "-n", "1", "--temp", "0"] + args
            quiet = ["--no-display-prompt", "--no-warmup"]
            return [(base + ["-no-cnv"] + quiet, None), (base + quiet, None), (base, None)]
        if kind == "batched":
            ctx = -(-t.together * (t.depth + t.n + 1) // 256) * 256
            base = [path] + base + ["-tb", n_threads, "-c", str(ctx), "-npp", str(t.depth or 1), "-ntg", str(t.n), "-npl", str(t.together)] + cache + args
            lines = ["--output-format", "jsonl"]
            return [(base + more, parse_batched) for more in (["-fa", "on"] + lines, ["-fa", "on"], ["-fa"] + lines, lines, [])]
        return self.bench_variants(tests, base, cache)

    def bench_variants(self, tests, base, cache):
        t, threads = tests[0], base[-1]
        p, n = ([x.n for x in tests if x.kind == k] or [0] for k in ("pp", "tg"))
        bench = [self.programs["bench"]] + base + ["-r", "1", "-o", "json", "-fa", "1"] + cache + self.args.get("bench", [])
        both = bench + ["-p", ",".join(map(str, p)), "-n", ",".join(map(str, n))]
        if not t.depth:
            return [(both, parse_bench)]
        out = [(both + ["-d", str(t.depth)], parse_bench)]
        # One step of the sweep is a prompt: rows at all multiples of it, the first and the one at our depth are measured.
        step = max(p) or (512 if t.depth % 512 == 0 else t.depth)
        if "sweep" in self.programs and t.depth % step == 0 and len(set(p)) == len(set(n)) == 1:
            out.append(([self.programs["sweep"]] + base + ["-tb", threads, "-c", str(t.depth + step), "-ub", str(step), "-b", str(max(step, 2048)), "-n",
                        str(max(n) or 1), "--sweep-stride", str(t.depth // step), "-fa", "on", "--output-format", "jsonl"] + cache +
                        self.args.get("sweep", []), parse_sweep))
        if p == [0]:
            out.append((bench + ["-p", "0", "-n", "0"] + [x for i in n for x in ("-gp", f"{t.depth},{i}")], parse_bench))
        return out

    def myna_variants(self, tests, base, cache):
        t, path = tests[0], self.programs["bench"]
        if t.kind == "start":
            return [([path, "run"] + base + ["-c", "512", "-p", "Once", "-n", "1", "--temp", "0", "--raw", "-q"], None)]
        bench = [path, "bench"] + base + ["-r", "1", "--json", "-q"] + cache
        if t.kind == "replay":
            flags = [] if self.name == "itself" else self.speculations[t.how]
            return [(bench + ["-p", "0", "-n", str(t.n), "--replay", os.path.abspath(self.texts[t.text])] + flags, parse_myna)]
        p, n = (",".join(str(x.n) for x in tests if x.kind == k) or "0" for k in ("pp", "tg"))
        return [(bench + ["-p", p, "-n", n, "-B", str(t.together), "-d", str(t.depth)], parse_myna)]

    def measure(self, tests, model, threads, timeout):
        """A Sample of tests that share what lies before: tokens per second, of start seconds."""
        variants = self.variants(tests, model, threads)
        key = (self.kind(tests[0]), tests[0].depth > 0, tests[0].kv != "", *sorted({t.kind for t in tests}))
        first = None
        for i in [self.chosen[key]] if key in self.chosen else range(len(variants)):
            try:
                sample = self.try_flags(tests, *variants[i], timeout)
            except Failed as e:
                first = first or e
                continue
            self.chosen[key] = i
            return sample
        raise first

    def try_flags(self, tests, cmd, parse, timeout, tries=3):
        for left in reversed(range(tries)):
            process = Process(cmd, self.env)
            try:
                if tests[0].kind == "start":
                    seconds = process.first_byte(timeout)
                    process.finish(timeout)
                    return Sample({tests[0].name: seconds}, process)
                out, err = process.finish(timeout)
                try:
                    return Sample(parse(tests, out), process)
                except NoRow:
                    if not err.strip():
                        raise
                    return Sample(parse(tests, err), process)  # some print their table there
            except NoRow:
                if not left:
                    raise
            finally:
                process.close()


def find_programs(path):
    """{kind: path} of a folder or of a program and what lies beside it. Programs on PATH count."""
    if os.path.isdir(path):
        folder, found = path, {}
    else:
        named = shutil.which(path)
        if not named:
            return {}
        folder, name = os.path.split(named)
        found = {next((k for k, names in BESIDE.items() if name in names), "bench"): named}
    for kind, names in BESIDE.items():
        for name in names:
            beside = os.path.join(folder, name)
            if kind not in found and os.path.isfile(beside) and os.access(beside, os.X_OK):
                found[kind] = beside
    return found


def parse_peers(text, note):
    """Engines of "llama=/p/bin ik=/q/llama-bench ik.run=/r/llama-cli ik.args=-rtr,1 ik.env=OMP_PROC_BIND=close"; what is not there is noted."""
    found = {}
    for word in shlex.split(text):
        m = re.fullmatch(r"([A-Za-z0-9_+-]+)(?:\.(bench|batched|sweep|run))?(?:\.(args|env))?=(.+)", word)
        if not m or m[3] == "env" and (m[2] or not all("=" in x for x in m[4].split(","))):
            raise ValueError(f"{word}: NAME=PATH, NAME.{'|'.join(BESIDE)}=PATH, NAME.args=FLAGS, NAME.KIND.args=FLAGS or NAME.env=A=B,C=D is expected")
        name, kind, what, value = m.groups()
        if name in ("myna", "itself"):
            raise ValueError(f"{name} is the engine that is compared; call the peer something else")
        peer = found.setdefault(name, Engine(name, {}))
        if what == "args":
            peer.args[kind or "bench"] = value.split(",")
        elif what == "env":
            peer.env = dict(x.split("=", 1) for x in value.split(","))
        elif kind and shutil.which(value):
            peer.programs[kind] = shutil.which(value)
        elif not kind and find_programs(value):
            peer.programs = {**find_programs(value), **peer.programs}
        else:
            note(f"{name}: {value} is no program; its rows are left out")
    return [p for p in found.values() if p.programs]
