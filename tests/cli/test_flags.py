"""Flags, numbers, names, help and text as such: what every command shares, against rules written again in Python."""
import fcntl
import os
import random
import shutil
import struct
import subprocess
import tempfile
import termios

import cli_help
from cli_help import Case, change_gguf, fixture, flags_of, rows_of

COMMANDS = ["run", "chat", "bench", "perplexity", "tokenize", "inspect", "logits"]
LLAMA = fixture("llama.gguf")


# ---- help ----

def wrapped(text, at, indent, width):
    """Greedy lines; a list of names may break behind a comma. `at`: columns that are taken already."""
    out = " " * max(0, indent - at)
    at = max(at, indent)
    first = True
    for word in text.replace(",", ",\0").replace("\0 ", " ").replace("\0\0", "\0").split(" "):
        for k, part in enumerate(p for p in word.split("\0") if p):
            space = k == 0 and not first
            if at + space + len(part) > width and at > indent:
                out, at = out + "\n" + " " * indent, indent
            elif space:
                out, at = out + " ", at + 1
            out, at, first = out + part, at + len(part), False
    return out + "\n"


def help_of(command, args, about, width):
    out = "usage: myna %s %s\n\n%s" % (command, args, wrapped(about, 0, 0, width))
    title = ""
    for names, arg, text, heading in rows_of(command):
        if heading != title:
            title = heading
            out += "\n%s\n" % title
        left = names.replace(",", ", ") + (" " + arg if arg else "")
        if len(left) + 4 <= 30:
            out += "  " + left + wrapped(text, len(left) + 2, 30, width)
        else:
            out += "  " + wrapped(left, 2, 2, width) + wrapped(text, 0, 30, width)
    return out + '\nEach flag above "Accepted without effect" has an environment variable: --ctx-size is MYNA_CTX_SIZE.\n'


class Help(Case):
    def about(self, command):
        line = [l for l in self.ok("--help").out.splitlines() if l.startswith("  %-11s " % command)][0]
        usage = self.ok(command, "--help").out.splitlines()[0]
        return usage.split(" ", 3)[3], line[14:]

    def test_layout(self):
        for c in COMMANDS:
            self.assertEqual(self.ok(c, "--help").out, help_of(c, *self.about(c), 100))

    def test_width_of_a_terminal(self):
        cases = [("run", *c) for c in ((0, 100), (1, 60), (60, 60), (61, 61), (80, 80), (139, 139), (140, 140), (141, 140), (500, 140))]
        for command in COMMANDS:
            n = len(self.about(command)[1])
            cases += [(command, w, w) for w in (n - 1, n, n + 1) if w >= 60]
        for command, columns, width in cases:
            args, about = self.about(command)
            master, slave = self.terminal()
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
            p = subprocess.Popen([cli_help.MYNA, command, "--help"], env=cli_help.clean_env(), stdout=slave, stderr=slave)
            shown = self.seen(p, master, slave)
            self.assertEqual(p.wait(30), 0)
            self.assertEqual(shown.decode().replace("\r\n", "\n"), help_of(command, args, about, width), columns)

    def test_commands(self):
        top = self.ok("--help").out
        self.assertEqual(top, self.ok("-h").out)
        self.assertEqual(top, self.ok("help").out)
        r = cli_help.run()
        self.assertEqual((r.status, r.out, r.err), (2, "", top))
        self.assertEqual(self.ok("-V").out, self.ok("version").out)
        self.fails(2, "no command xyzzy; see myna --help", "help", "xyzzy")
        self.fails(2, "a command comes before the flags: myna run -p", "-p", "x")
        self.assertRegex(self.ok("--version", env={"MYNA_CPU": "ref"}).out, r"\nCPU level in use: ref\n$")
        r = cli_help.run("--version", env={"MYNA_CPU": "bad"})
        self.assertEqual(r.status, 1)
        self.assertIn("bad is unknown", r.err)


# ---- names ----

def distance(a, b):
    """Optimal string alignment; swaps count only for equal letters, other comparisons are blind to case."""
    if len(a) > 60 or len(b) > 60:
        return 99
    d = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i][j] = min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1].lower() != b[j - 1].lower()))
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1)
    return d[-1][-1]


def closest(word, names):
    w = word.lstrip("-")
    best, best_d = None, 1 if len(w) < 3 else len(w) // 3 + 1
    for n in names:
        d = distance(w, n.lstrip("-"))
        if d < best_d:
            best, best_d = n, d
    if best is None and len(w) >= 4:
        for n in names:
            if n.lstrip("-").lower().startswith(w.lower()):
                return n
    return best


def abbreviated(word, names):
    """The one name that begins with the word's first letter and has its letters in order."""
    fits = []
    for n in names:
        rest = iter(n)
        if n[0] == word[0] and all(c in rest for c in word):
            fits.append(n)
    return fits[0] if len(fits) == 1 else None


class Names(Case):
    def changed(self, r, word):
        w = list(word)
        for _ in range(r.randrange(1, 5)):
            at = r.randrange(len(w) + 1)
            kind = r.randrange(5)
            if kind == 0:
                w.insert(at, r.choice("abcdeXYZ-"))
            elif kind == 1 and at < len(w):
                del w[at]
            elif kind == 2 and at < len(w):
                w[at] = r.choice("abcdeXYZ")
            elif kind == 3 and at + 1 < len(w):
                w[at], w[at + 1] = w[at + 1], w[at]
            elif kind == 4 and at < len(w):
                w[at] = w[at].swapcase()
        return "".join(w)

    def test_commands(self):
        r = random.Random(1)
        words = [self.changed(r, r.choice(COMMANDS)) for _ in range(80)] + ["r", "ru", "RUN", "R", "un", "benc", "perp", "per", "PERP", "inspectt" * 8, "l" * 61, "tokenizeabcd"]
        for word in words:
            if word in COMMANDS or not word or word in ("-h", "-V", "help"):
                continue
            near = closest(word, COMMANDS) or abbreviated(word, COMMANDS)
            if near:
                part = "there is no command %s; did you mean %s?" % (word, near)
            elif word[0] == "-":
                part = "a command comes before the flags: myna run %s ..." % word
            else:
                part = "there is no command %s; see myna --help" % word
            self.fails(2, part, word)

    def test_flags(self):
        r = random.Random(2)
        everyone = {n for c in COMMANDS for n in flags_of(c)}
        for command in ("run", "tokenize"):
            names = flags_of(command)
            words = ["--" + self.changed(r, r.choice(names).lstrip("-")) for _ in range(60)] + ["--max", "--ctx", "--CTX", "--dry", "-q" + "x" * 70, "-", "--"]
            for word in words:
                if word in everyone or "=" in word or len(word) < 3 or word.lstrip("-") == "":
                    continue
                cut = word[:63]
                near = closest(cut, names)
                want = "unknown flag %s; did you mean %s?" % (cut, near) if near else "unknown flag %s; myna %s --help lists them" % (cut, command)
                self.fails(2, want, command, word)
        self.fails(2, "--tokens is no flag of tokenize but of: logits", "tokenize", "--tokens")
        self.fails(2, "unknown flag -c5; did you mean -c 5?", "run", "-c5")
        self.fails(2, "unknown flag -c512; did you mean -c 512?", "run", "-c512")
        self.assertNotIn("did you mean -z 5", self.fails(2, "unknown flag -z5", "run", "-z5").err)
        self.assertNotIn("-c x", self.fails(2, "unknown flag -cx", "run", "-cx").err)


# ---- values ----

class Values(Case):
    def limit(self, text):
        return self.ok("inspect", LLAMA, "--json", "--mem-limit", text).json()["memory"]["available"]

    def n_ctx(self, text):
        return self.ok("inspect", LLAMA, "--json", "-c", text).json()["memory"]["n_ctx"]

    def test_whole_numbers(self):
        for text, want in (("1", 1), ("007", 7), ("4096", 4096), ("1K", 1000), ("1k", 1000), ("3KB", 3000), ("3kb", 3000), ("4KiB", 4096), ("4Kib", 4096), ("4Ki", 4096),
                           ("5M", 5000000), ("5MiB", 5 << 20), ("2G", 2000000000), ("2g", 2000000000), ("8GiB", 8 << 30), ("1.5G", 1500000000), (".5K", 500),
                           ("0.5Ki", 512), ("9000000G", 9 * 10**15), ("9223372036854775807", 2**63 - 1), ("+12", 12)):
            self.assertEqual(self.limit(text), want, text)
        for text, want in (("64", 64), ("1K", 1024), ("1.5K", 1536), ("2k", 2048), ("2KB", 2048), ("1Ki", 1024)):
            self.assertEqual(self.n_ctx(text), want, text)
        for text in ("", "K", "x", "4KX", "4K B", "4T", "4i", "1.5", "1e3x", "99999999999999999999", "9300000000G", "-1K", "1KiBB", "nanK", "infK", "1.", "4 K"):
            self.fails(2, '--mem-limit wants a whole number, not "%s"' % text, "inspect", LLAMA, "--mem-limit", text)

    def test_numbers(self):
        for text in ("", "x", "1x", "nan", "inf", "-inf", "1 ", "0x"):
            self.fails(2, '--temp wants a number, not "%s"' % text, "run", LLAMA, "--temp", text)
        self.ok("run", LLAMA, "-n", 0, "--temp", "1e-1")

    def test_switches(self):
        """--echo=VALUE is what the value says; [on] takes the next word only when it is one of a few."""
        for value, on in (("1", True), ("true", True), ("on", True), ("yes", True), ("0", False), ("false", False), ("off", False), ("no", False)):
            self.assertEqual(self.ok("run", LLAMA, "--raw", "-n", 0, "-p", "Hi", "--echo=" + value).out, "Hi\n" if on else "\n", value)
            self.assertEqual(self.ok("run", LLAMA, "--raw", "-n", 0, "-p", "Hi", env={"MYNA_ECHO": value}).out, "Hi\n" if on else "\n", value)
        for value in ("", "2", "truely", "o", "n", "0 false"):
            self.fails(2, '--echo wants 1 or 0, not "%s"' % value, "run", LLAMA, "--echo=" + value)
        for value in ("on", "off", "auto", "0", "1", "true", "false"):
            self.ok("run", "-fa", value, LLAMA, "-n", 0)
        self.ok("run", "-fa", LLAMA, "-n", 0)
        self.ok("run", LLAMA, "-n", 0, "-fa")
        self.ok("run", LLAMA, "-n", 0, "--flash-attn=whatever")
        self.fails(2, "--mmap takes no value", "run", LLAMA, "--mmap=1")
        self.fails(2, "-ngl wants a value: N", "run", LLAMA, "-ngl")
        self.fails(2, "-p wants a value: TEXT", "run", LLAMA, "-p")

    def test_many(self):
        stops = [x for i in range(64) for x in ("--stop", "stop%d" % i)]
        self.ok("run", LLAMA, "-n", 0, *stops)
        self.fails(2, "too many values for -r", "run", LLAMA, "-n", 0, *stops, "-r", "x")
        self.fails(2, "too many values for -p", "bench", LLAMA, "-p", ",".join(["1"] * 65))
        self.fails(2, '-p wants numbers, not ","', "bench", LLAMA, "-p", ",")
        rows = self.ok("bench", LLAMA, "-p", "1,2", "-p", "3", "-n", 0, "-r", 1, "-o", "json", env={"MYNA_N_PROMPT": "7,8"}).json()
        self.assertEqual([r["name"] for r in rows], ["pp1", "pp2", "pp3"])  # the command line replaces the environment
        rows = self.ok("bench", LLAMA, "-n", 0, "-r", 1, "-o", "json", env={"MYNA_N_PROMPT": "7,8"}).json()
        self.assertEqual([r["name"] for r in rows], ["pp7", "pp8"])

    def test_words(self):
        """The model, then the prompt; what is given by flag or environment leaves its place."""
        def echoed(*args, **kw):
            return self.ok("run", "--raw", "-n", 0, "--echo", "-q", *args, **kw).out
        self.assertEqual(echoed(LLAMA, "two"), "two\n")
        self.assertEqual(echoed("-m", LLAMA, "two"), "two\n")
        self.assertEqual(echoed("--", LLAMA, "--echo"), "--echo\n")
        self.assertEqual(echoed(LLAMA, "-", stdin=b"in"), "in\n")
        self.assertEqual(echoed(LLAMA, "two", env={"MYNA_PROMPT": "env", "MYNA_FILE": "/nowhere"}), "two\n")
        self.assertEqual(echoed(LLAMA, "-p", "two", env={"MYNA_FILE": "/nowhere"}), "two\n")
        self.fails(2, "unexpected argument: c", "run", LLAMA, "b", "c")
        self.fails(2, "unexpected argument: d", "run", LLAMA, "b", "c", "d")
        self.fails(2, "unexpected argument: b", "run", LLAMA, "-f", "-", "b")
        self.fails(2, "unexpected argument: b", "inspect", LLAMA, "b")
        self.fails(2, "unexpected argument: b", "bench", "-m", LLAMA, "b")
        self.fails(2, "not both", "run", LLAMA, "-f", "-", "-p", "x")

    def test_environment(self):
        self.assertEqual(self.ok("inspect", LLAMA, "--json", env={"MYNA_MEM_LIMIT": "2K", "MYNA_HELP": "1"}).json()["memory"]["available"], 2000)
        self.assertEqual(self.ok("inspect", LLAMA, "--json", env={"MYNA_MEM_LIMIT": ""}).json()["memory"]["fits"], True)
        self.fails(2, "MYNA_N_PROMPT wants numbers", "bench", LLAMA, env={"MYNA_N_PROMPT": ","})
        self.ok("inspect", LLAMA, env={"MYNA_FLASH_ATTN": "x", "MYNA_LORA": "x"})  # what has no effect has no variable

    def test_ranges(self):
        run = ("run", LLAMA, "-n", "0")
        for args, part in ((("-t", -1), "--threads -1: 1 to 1024"), (("-t", 1025), "--threads 1025: 1 to 1024"), (("-c", -1), "--ctx-size -1: 1 to 2147483647, or 0"),
                           (("-c", 2**31), "--ctx-size 2147483648"), (("-b", -1), "--batch-size -1: 1 to 2048"), (("-ub", -3, "-b", 5), "--ubatch-size -3: 1 to 2048"),
                           (("--mem-limit", -1), "--mem-limit -1 is negative"), (("--mem-weights", "x"), "--mem-weights x: only cached is possible"),
                           (("-ctk", "q4_1"), "--cache-type-k q4_1: auto, f32, f16, bf16, q8_0 and q4_0 are possible"), (("-ctv", "nosuch"), "--cache-type-v nosuch"),
                           (("-n", -3), "--predict -3"), (("--stop", "a", "--stop", ""), "--stop: an empty text")):
            self.fails(2, part, *run, *args)
        for args in (("-t", 1), ("-b", 0), ("-b", 2048), ("-b", 2049), ("-ub", 1, "-b", -5), ("-c", 1), ("-n", -2), ("--mem-weights", "cached"), ("-ctk", "AUTO", "-ctv", "auto")):
            self.ok("run", LLAMA, "-p", "", "-n", 0, *args)
        kinds = ("f32", "f16", "bf16", "q8_0", "q4_0")
        for kind, other in zip(kinds, kinds[1:] + kinds[:1]):
            for args, want in ((("-ctk", kind), kind), (("-ctv", kind.upper()), kind), (("-ctk", kind, "-ctv", other.upper()), other)):
                row = self.ok("bench", LLAMA, "-p", 1, "-n", 0, "-r", 1, "--json", *args).json()[0]
                self.assertEqual((row["kv_type"].lower(), row["kv_type_v"].lower()), (kind, want))
        self.assertEqual(self.ok("bench", LLAMA, "-p", 1, "-n", 0, "-r", 1, "--json", "-t", 3, "--cpu", "ref").json()[0]["n_threads"], 3)
        self.assertEqual(self.ok("bench", LLAMA, "-p", 1, "-n", 0, "-r", 1, "--json", "--cpu", "ref").json()[0]["cpu"], "ref")


# ---- sampling ----

class Sampling(Case):
    def tokens(self, *args):
        return self.ok("run", LLAMA, "--raw", "-p", "Hello", "-n", 24, "--json", "--ignore-eos", "--seed", 5, "--temp", 3, *args).json()["tokens"]

    def test_orders(self):
        """Names and letters mean the same; each sampler does something by itself, and only what is named works."""
        strong = ["--repeat-penalty", 9, "--dry-multiplier", 9, "--dry-base", 3, "--dry-allowed-length", 1, "--top-nsigma", 0.4, "--top-k", 3, "--typical", 0.1,
                  "--top-p", 0.1, "--min-p", 0.9, "--xtc-probability", 1, "--xtc-threshold", 0.001, "--repeat-last-n", -1]
        none = self.tokens("--sampling-seq", "t")
        for names, letter in (("penalties", "e"), ("dry", "d"), ("top_n_sigma", "s"), ("top_k", "k"), ("typ_p,typical_p,typical", "y"), ("top_p", "p"), ("min_p", "m"), ("xtc", "x")):
            want = self.tokens("--sampling-seq", letter + "t", *strong)
            for name in names.split(","):
                self.assertEqual(self.tokens("--samplers", name + ";temperature", *strong), want, name)
                self.assertEqual(self.tokens("--samplers", name + ",temp", *strong), want, name)
            if letter not in "dx":
                self.assertNotEqual(want, none, letter)
        everything = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature"
        self.assertEqual(self.tokens("--samplers", everything, *strong), self.tokens("--sampling-seq", "edskypmxt", *strong))
        self.assertEqual(self.tokens("--samplers", everything), self.tokens())
        self.assertEqual(self.tokens("--samplers", "temperature"), none)
        for bad in ("top_kk", "top", "top_k;;temp", "top_k;x", ";"):
            self.fails(2, "is no sampler", "run", LLAMA, "-n", 1, "--samplers", bad)
        self.ok("run", LLAMA, "-n", 1, "--samplers", ";".join(["top_k"] * 31))

    def test_effects(self):
        """Each number reaches the engine: it changes what is generated."""
        plain = self.tokens()
        greedy = self.tokens("--temp", 0)
        self.assertEqual(self.tokens("--top-k", 1), greedy)
        self.assertEqual(self.tokens("--top-p", 1e-9), greedy)
        self.assertEqual(self.tokens("--min-p", 1), greedy)
        for args in (("--top-k", 2), ("--top-p", 0.05), ("--min-p", 0.7), ("--typical", 0.05), ("--top-nsigma", 0.5), ("--repeat-penalty", 1.5), ("--frequency-penalty", 5),
                     ("--presence-penalty", 5), ("--dynatemp-range", 2.9), ("--mirostat", 1), ("--mirostat", 2), ("--seed", 6)):
            self.assertNotEqual(self.tokens(*args), plain, args)
        self.assertNotEqual(self.tokens("--mirostat", 2, "--mirostat-ent", 0.1), self.tokens("--mirostat", 2))
        self.assertNotEqual(self.tokens("--mirostat", 2, "--mirostat-lr", 5), self.tokens("--mirostat", 2))
        self.assertNotEqual(self.tokens("--dynatemp-range", 2.9, "--dynatemp-exp", 9), self.tokens("--dynatemp-range", 2.9))
        self.assertEqual(self.tokens("--repeat-penalty", 9, "--repeat-last-n", 0), plain)

    def test_defaults(self):
        """What the help says is the default is the default."""
        def tokens(*args):
            return self.ok("run", LLAMA, "--raw", "-p", "Hello", "-n", 40, "--json", "--ignore-eos", "--seed", 3, *args).json()["tokens"]
        plain = tokens()
        for args in (("--temp", 0.8), ("--top-k", 40), ("--top-p", 0.95), ("--min-p", 0.05), ("--typical", 1), ("--top-nsigma", -1), ("--xtc-probability", 0), ("--repeat-penalty", 1),
                     ("--frequency-penalty", 0), ("--presence-penalty", 0), ("--dry-multiplier", 0), ("--mirostat", 0), ("--dynatemp-range", 0), ("--min-keep", 0)):
            self.assertEqual(tokens(*args), plain, args)
        pairs = (("--xtc-probability", 1, "--xtc-threshold", 0.1), ("--repeat-penalty", 4, "--repeat-last-n", 64), ("--dry-multiplier", 4, "--dry-base", 1.75),
                 ("--dry-multiplier", 4, "--dry-allowed-length", 2), ("--dry-multiplier", 4, "--dry-penalty-last-n", -1), ("--mirostat", 2, "--mirostat-lr", 0.1),
                 ("--mirostat", 2, "--mirostat-ent", 5), ("--dynatemp-range", 0.5, "--dynatemp-exp", 1))
        for args in pairs:
            self.assertEqual(tokens(*args), tokens(*args[:2]), args)

    def test_file_recommends(self):
        """Keys general.sampling.* are defaults that flags replace."""
        folder = tempfile.mkdtemp(prefix="myna-cli-")
        self.addCleanup(shutil.rmtree, folder)
        model = os.path.join(folder, "recommends.gguf")
        def tokens(path, *args):
            return self.ok("run", path, "--raw", "-p", "Hello", "-n", 30, "--json", "--ignore-eos", "--seed", 3, *args).json()["tokens"]
        flags = {"temp": ("--temp", 1.7, "f32"), "top_k": ("--top-k", 3, "i32"), "top_p": ("--top-p", 0.3, "f32"), "min_p": ("--min-p", 0.4, "f32"),
                 "penalty_repeat": ("--repeat-penalty", 1.8, "f32"), "mirostat": ("--mirostat", 2, "i32")}
        pairs = {"xtc_threshold": ("--xtc-threshold", 0.02, "f32", "xtc_probability", "--xtc-probability", 1.0, "f32"),
                 "penalty_last_n": ("--repeat-last-n", 3, "i32", "penalty_repeat", "--repeat-penalty", 4.0, "f32"),
                 "mirostat_tau": ("--mirostat-ent", 1.0, "f32", "mirostat", "--mirostat", 2, "i32"), "mirostat_eta": ("--mirostat-lr", 3.0, "f32", "mirostat", "--mirostat", 2, "i32")}
        plain = tokens(LLAMA)
        for key, (flag, value, kind) in flags.items():
            change_gguf(LLAMA, model, {"general.sampling." + key: (kind, value)})
            self.assertEqual(tokens(model), tokens(LLAMA, flag, value), key)
            self.assertNotEqual(tokens(model), plain, key)
        for key, (flag, value, kind, key2, flag2, value2, kind2) in pairs.items():
            change_gguf(LLAMA, model, {"general.sampling." + key: (kind, value), "general.sampling." + key2: (kind2, value2)})
            self.assertEqual(tokens(model), tokens(LLAMA, flag, value, flag2, value2), key)
            self.assertNotEqual(tokens(model), tokens(LLAMA, flag2, value2), key)
        change_gguf(LLAMA, model, {"general.sampling.temp": ("f32", 0.0)})
        self.assertEqual(tokens(model, "--temp", 0.8), plain)
        change_gguf(LLAMA, model, {"general.sampling.min_p": ("f32", -1.0)})
        self.fails(1, "min_p is -1", "run", model, "-n", 1, "-q")

    def test_bias(self):
        for text in ("x", "5", "+1", "5*2", "5+", "5+x", "5+nan", "5+1x", "-1+5", "3000000000+1", "5 +1"):
            self.fails(2, "--logit-bias %s: write ID+X or ID-X" % text, "run", LLAMA, "-n", 1, "-l", text)
        self.assertEqual(self.tokens("-l", "5+1e3", "--temp", 0), [5] * 24)
        self.fails(1, "must be a number below infinity", "run", LLAMA, "-n", 1, "-q", "-l", "5+inf")
        self.assertEqual(self.tokens("-l", "5+1000", "-l", "6+2000"), [6] * 24)
        self.assertEqual(self.tokens("-l", "0+1e4"), [0] * 24)
        self.assertNotIn(self.tokens("--temp", 0)[0], self.tokens("--temp", 0, "-l", "%d-inf" % self.tokens("--temp", 0)[0]))

    def test_dry_breakers(self):
        """A breaker between repetitions makes them harmless."""
        args = ["--dry-multiplier", 50, "--temp", 0, "--dry-allowed-length", 1]
        text = "a b a b a b a b"
        def tokens(*more):
            return self.ok("run", LLAMA, "--raw", "-p", text, "-n", 30, "--json", "--ignore-eos", *args, *more).json()["tokens"]
        self.assertNotEqual(tokens(), tokens("--dry-multiplier", 0))
        every = [x for c in "abcdefghijklmnopqrstuvwxyz" for x in ("--dry-sequence-breaker", c)]
        self.assertNotEqual(tokens(*every), tokens())
        self.assertEqual(tokens("--dry-sequence-breaker", r"\x0a"), tokens("--dry-sequence-breaker", "\n"))

    def test_seeds(self):
        def seed(*args):
            return self.ok("run", LLAMA, "-n", 1, "--json", *args).json()["seed"]
        self.assertEqual([seed("-s", s) for s in (0, 1, 2**62)], [0, 1, 2**62])
        self.assertGreater(seed(), 1600000000 * 1000003)  # of the clock
        self.assertNotEqual(seed("-s", -2), seed("-s", -2))


# ---- text ----

def unescape(s):
    out, i = b"", 0
    while i < len(s):
        two = s[i:i + 2]
        if len(two) == 2 and two[:1] == b"\\" and two[1:] in b"nrt'\"\\":
            out += {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(two[1:], two[1:])
            i += 2
        elif two == b"\\x" and len(s) >= i + 4 and all(c in b"0123456789abcdefABCDEF" for c in s[i + 2:i + 4]):
            out += bytes([int(s[i + 2:i + 4], 16)])
            i += 4
        else:
            out += s[i:i + 1]
            i += 1
    return out


def characters(data):
    """Pieces: a well-formed character, or one byte that begins none."""
    i = 0
    while i < len(data):
        for n in (1, 2, 3, 4):
            try:
                data[i:i + n].decode()
            except UnicodeDecodeError:
                continue
            if len(data[i:i + n]) == n:
                yield data[i:i + n], True
                i += n
                break
        else:
            yield data[i:i + 1], False
            i += 1


def odd_bytes(r, n):
    pool = [b"a", b"\x1b", b"\x7f", b"\xc2\x80", b"\xc2\x9f", b"\xc2\xa0", b"\xc3\xa9", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xe0\x9f\xbf", b"\xed\x9f\xbf", b"\xed\xa0\x80", b"\xef\xbf\xbf",
            b"\xf0\x90\x80\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc1\xbf", b"\xc0\x80", b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"\xff",
            b"\n", b"\t", b"\r", b'"', b"\\", b"\xe1\x80x", b"\xc3x", b"\xf1\x80\x80x", b"~", b" ", b"\x1f", b"\xee\x80\x80", b"\xe4\xb8\xad"]
    return b"".join(r.choice(pool) for _ in range(n))


class Text(Case):
    def echoed(self, text, *args):
        raw = self.ok("run", LLAMA, "--raw", "-n", 0, "--echo", "-q", "-p", os.fsdecode(text), *args).raw
        self.assertTrue(raw.endswith(b"\n"))
        return raw[:-1]

    def test_escapes(self):
        r = random.Random(3)
        pieces = [b"\\n", b"\\r", b"\\t", b"\\'", b'\\"', b"\\\\", b"\\x41", b"\\x0", b"\\xg1", b"\\x1g", b"\\xFf", b"\\q", b"\\", b"x", b"41", b"\\xe4\\xb8\\xad", b"\\x"]
        texts = [b"".join(r.choice(pieces) for _ in range(r.randrange(6))) for _ in range(60)] + pieces
        for text in texts:
            want = unescape(text)
            self.assertEqual(self.echoed(text), want, text)
            self.assertEqual(self.echoed(text, "-e"), want, text)
            self.assertEqual(self.echoed(text, "--no-escape"), text)

    def test_long_input(self):
        for n in (0, 1, 65534, 65535, 65536, 65537, 131071, 131072, 300000):
            text = (b"0123456789abcdef" * (n // 16 + 1))[:n]
            r = self.ok("run", LLAMA, "--raw", "-n", 0, "--echo", "-q", "-f", "-", stdin=text)
            self.assertEqual(r.raw, text + b"\n")
        self.assertEqual(self.ok("run", LLAMA, "--raw", "-n", 0, "--echo", "-q", "-f", "-", stdin=b"a\n\n").raw, b"a\n\n")  # one newline is dropped
        self.fails(1, "/tmp: Is a directory", "run", LLAMA, "-q", "-f", "/tmp")
        self.fails(1, "/nowhere/x: No such file", "tokenize", LLAMA, "-f", "/nowhere/x")

    def test_json_strings(self):
        r = random.Random(4)
        for k in range(80):
            text = odd_bytes(r, r.randrange(1, 12))
            got = self.ok("run", LLAMA, "--raw", "-n", 0, "--echo", "--json", "-q", "--no-escape", "-p", os.fsdecode(text))
            want = "".join(c.decode() if good else "\ufffd" for c, good in characters(text))
            self.assertEqual(got.json()["prompt"], want, text)
            self.assertFalse(any(c < 0x20 and c != 10 or c == 0x7f for c in got.raw), got.raw)

    def test_pieces(self):
        """Each token's text; bytes are listed when it is no text by itself."""
        r = random.Random(5)
        seen = set()
        for k in range(20):
            text = odd_bytes(r, 20)
            pieces = self.ok("tokenize", LLAMA, "--json", "-f", "-", stdin=text).json()
            seen.update("bytes" in p for p in pieces)
            for p in pieces:
                if "bytes" in p:
                    data = bytes(p["bytes"])
                    self.assertTrue(any(not good for _, good in characters(data)), p)
                    self.assertEqual(p["piece"], "".join(c.decode() if good else "\ufffd" for c, good in characters(data)))
        self.assertEqual(seen, {True, False})

    def test_messages_are_clean(self):
        """What a stranger chose reaches the terminal without control characters."""
        r = random.Random(6)
        for k in range(80):
            path = b"/nowhere-" + odd_bytes(r, r.randrange(1, 10))
            want = b""
            for c, good in characters(path):
                if good and (c < b" " or c == b"\x7f" or (c[:1] == b"\xc2" and c[1:] < b"\xa0")):
                    want += b" " if c in b"\n\t" else b"?" * len(c)
                else:
                    want += c if good else b"?"
            p = subprocess.run([cli_help.MYNA.encode(), b"inspect", path], stderr=subprocess.PIPE, env=cli_help.clean_env())
            self.assertEqual(p.returncode, 1)
            self.assertTrue(p.stderr.startswith(b"myna: " + want + b": cannot open"), (p.stderr, want))

    def test_bytes_for_people(self):
        for n, want in (("1", "1 B"), ("999", "999 B"), ("1000", "1.0 KB"), ("1499", "1.5 KB"), ("999900", "999.9 KB"), ("1000000", "1.0 MB"), ("2500000", "2.5 MB"), ("3G", "3.0 GB"),
                        ("4000G", "4.0 TB"), ("5000000G", "5000.0 TB")):
            line = [l for l in self.ok("inspect", LLAMA, "--memory", "--mem-limit", n).out.splitlines() if "total" in l][0]
            self.assertIn("fits into " + want if n[-1] == "G" else "does NOT fit into " + want, line)

    def test_escapes_of_stops(self):
        args = ("run", LLAMA, "--raw", "-p", "Hello", "-n", 200, "--temp", 0, "--json", "--ignore-eos")
        text = self.ok(*args).json()["text"]
        at, c = next((i, c) for i, c in enumerate(text) if " " < c < "\x7f" and c != "\\" and i > 5 and c not in text[:i])
        self.assertEqual(self.ok(*args, "--stop", "\\x%02x" % ord(c)).json()["text"], text[:at])
        self.assertEqual(self.ok(*args, "--stop", "never this", "--stop", c).json()["finish"], "stop_string")
        self.assertEqual(self.ok(*args, "--stop", "\\x%02x" % ord(c), "--no-escape").json()["text"], text)

    def test_verbose_prompt(self):
        r = self.ok("run", LLAMA, "--raw", "-n", 0, "-q", "--verbose-prompt", "-p", "Hi\x1b \u00e9")
        pieces = self.ok("tokenize", LLAMA, "--json", "-p", "Hi\x1b \u00e9").json()
        lines = r.err.splitlines()
        self.assertEqual([int(line.split()[0]) for line in lines], [p["id"] for p in pieces])
        for line, p in zip(lines, pieces):
            self.assertEqual(line[:8], "%6d '" % p["id"])
            if "bytes" not in p:
                self.assertEqual(line[8:-1], p["piece"].replace("\x1b", "?"))
            else:
                self.assertEqual(line[8:-1], "?" * len(p["bytes"]))

    def test_long_answers(self):
        """Memory for an answer grows with it; --json holds what is streamed otherwise."""
        for n in (1, 63, 64, 65, 129, 400):
            args = ("run", LLAMA, "-p", "x", "-n", n, "--seed", 2, "--ignore-eos", "-q")
            r = self.ok(*args, "--json").json()
            self.assertEqual(len(r["tokens"]), n)
            self.assertEqual(self.ok(*args).raw.decode(), r["text"] + "\n")
        self.assertEqual(self.ok("run", LLAMA, "-p", "x", "-n", 0, "--json").json()["tokens"], [])
        self.assertEqual(self.ok("run", LLAMA, "-p", "x", "-n", 0, "--json").json()["text"], "")


if __name__ == "__main__":
    cli_help.main()
