"""Every command through the binary, as users and scripts meet it: results, statuses, messages, numbers against oracles.

usage: test_cli.py BINARY [unittest arguments]. What needs files that are absent says so and is counted as skipped."""
import json
import math
import os
import select
import signal
import stat
import subprocess
import tempfile
import time
import unittest

import cli_help
from cli_help import STORIES, SAMPLE, SHIPPED, DATA, Case, fixture, flags_of, nmse, read_npy, run


def known(reason):
    """A test that a known fault of another part fails: counted as skipped while it does."""
    def wrap(test):
        def body(self):
            try:
                test(self)
            except AssertionError:
                self.skipTest("KNOWN FAULT: " + reason)
        body.__name__, body.__doc__ = test.__name__, test.__doc__
        return body
    return wrap


COMMANDS = ["run", "chat", "bench", "perplexity", "tokenize", "inspect", "logits", "compare"]
LLAMA = fixture("llama.gguf")  # random weights, byte-level BPE, a chat template
NO_TOKENIZER = fixture("llama-tied.gguf")

stories = unittest.skipUnless(os.path.exists(STORIES), "no " + STORIES)
sample = unittest.skipUnless(os.path.exists(STORIES) and os.path.exists(SAMPLE), "no stories260K or tinystories sample")


class Usage(Case):
    def test_help_names_every_flag(self):
        for c in COMMANDS:
            text = self.ok(c, "--help")
            words = text.out.replace(",", " ").split()
            names = flags_of(c)
            self.assertGreater(len(names), 10)
            for name in names:
                self.assertIn(name, words, c)
            self.assertEqual(text.err, "")
            self.assertEqual(text.out, self.ok("help", c).out)
            self.assertLessEqual(max(map(len, text.out.splitlines())), 100)
        listed = self.ok("--help").out
        for c in COMMANDS:
            self.assertIn("  %s " % c, listed)

    def test_version(self):
        self.assertRegex(self.ok("--version").out, r"^myna \d+\.\d+\.\d+\n.*built with (clang|gcc)")

    def test_wrong_usage(self):
        self.fails(2, "did you mean run?", "runn")
        self.fails(2, "did you mean run?", "rn")
        self.fails(2, "see myna --help", "xyzzy")
        self.assertEqual(run().status, 2)
        for args, part in [
            (["--tepm", "0"], "did you mean --temp?"),
            (["--max-tok", "3"], "did you mean --max-tokens?"),
            (["--xyzzyx"], "--help lists them"),
            (["-n3"], "did you mean -n 3?"),
            (["-n"], "wants a value"),
            (["-n", "x"], "whole number"),
            (["-c", "1.5"], "whole number"),
            (["--temp", "hot"], "wants a number"),
            (["--temp", "nan"], "wants a number"),
            (["--json=maybe"], "wants 1 or 0"),
            (["-ngl=3"], "unknown flag"),
            (["--tokens", "1"], "is no flag of run but of: logits"),
            (["--lora", "x"], "not supported yet"),
            (["--grammar", "x"], "--grammar: line 1: "),
            (["-p", "a", "-f", "b"], "not both"),
            (["a", "b"], "unexpected argument: b"),
            (["--stop", ""], "empty"),
            (["-t", "100000"], "1 to 1024"),
            (["-c", "-5"], "--ctx-size"),
            (["-ctk", "q5_0"], "f32, f16, bf16, q8_0 and q4_0"),
            (["-ctk", "f32", "-ctv", "q4_k"], "--cache-type-v q4_k: auto"),
            (["--samplers", "top_k;nose"], "is no sampler"),
            (["-l", "15"], "ID+X"),
            (["--mem-limit", "-1"], "negative"),
            (["--cpu", "bad"], "myna: --cpu bad is unknown; available: ref"),
            (["--numa", "spread"], "--numa spread: distribute, isolate or numactl"),
            (["--cpu-mask", "0xg"], "--cpu-mask 0xg: hexadecimal"),
            (["-C", ""], "hexadecimal"),
            (["-Cr", "3"], "LO-HI"),
            (["-Cr", "3-2"], "LO-HI"),
            (["-Cr", "3000-3001"], "none of these processors"),
            (["--prio", "4"], "-1 to 3"),
            (["--poll", "101"], "0 to 100"),
            (["--cpu-strict", "auto"], "1 or 0"),
            (["-n", "-7"], "--predict"),
        ]:
            self.fails(2, part, "run", LLAMA, *args if args != ["a", "b"] else ("p", "b"))

    def test_environment(self):
        self.fails(2, "MYNA_CTX_SIZE wants a whole number", "run", LLAMA, env={"MYNA_CTX_SIZE": "abc"})
        self.fails(2, "myna: MYNA_CPU=bad is unknown; available: ref", "run", LLAMA, env={"MYNA_CPU": "bad"})
        a = self.ok("run", env={"MYNA_MODEL": LLAMA, "MYNA_PROMPT": "Hi", "MYNA_PREDICT": "5", "MYNA_TEMP": "0", "MYNA_JSON": "1", "MYNA_RAW": "1"})
        b = self.ok("run", "-m", LLAMA, "-p", "Hi", "-n", 5, "--temp", 0, "--json", "--raw")
        self.assertEqual(a.json()["tokens"], b.json()["tokens"])
        c = self.ok("run", LLAMA, "-p", "Hi", "-n", 3, "--json", env={"MYNA_PREDICT": "5", "MYNA_JSON": "0"})  # the command line wins
        self.assertEqual(len(c.json()["tokens"]), 3)
        d = self.ok("tokenize", LLAMA, "-f", "-", stdin=b"Hello", env={"MYNA_PROMPT": "no"})  # a text of the environment yields
        self.assertEqual(d.out, self.ok("tokenize", LLAMA, "Hello").out)

    def test_forms_of_flags(self):
        want = self.ok("tokenize", "-m", LLAMA, "-p", "Hello").out
        for args in (["--model=" + LLAMA, "--prompt=Hello"], [LLAMA, "Hello"], ["-p", "no", "-p", "Hello", LLAMA], ["-q", LLAMA, "--", "Hello"],
                     [LLAMA, "--ids", "-p", "Hello"]):
            self.assertEqual(self.ok("tokenize", *args).out, want, args)
        self.ok("run", LLAMA, "-n", 1, "--temp=-1", "-fa", "on", "-ngl", 99, "-tb", 3, "--numa", "distribute", "--color", "--simple-io", "-c", "1K", "-fa", "-b", 8192)


class Placement(Case):
    """Where threads and weights lie changes no token."""
    def tokens(self, *args, **kw):
        r = self.ok("run", LLAMA, "-p", "Hi", "-n", 6, "--temp", 0, "--json", *args, **kw)
        return r.json()["tokens"], r.err

    def test_same_tokens(self):
        want, _ = self.tokens()
        cpu = min(os.sched_getaffinity(0))
        one_node = not os.path.exists("/sys/devices/system/node/node1")
        for args in (["--cpu-strict", 1], ["--cpu-strict", "0"], ["-C", "%x" % (1 << cpu)], ["-Cr", "%d-%d" % (cpu, cpu), "-t", 3], ["--hugepages"], ["--mlock"],
                     ["--numa", "distribute"], ["--numa", "isolate", "-t", 2], ["--numa", "numactl"], ["--poll", 0, "-t", 3], ["--poll", 100], ["--prio", -1]):
            got, err = self.tokens(*args)
            self.assertEqual(got, want, args)
            said = one_node and ("distribute" in args or "isolate" in args)
            self.assertEqual("one node: no effect" in err, said, args)

    def test_masks(self):
        """The number of threads follows the processors that are left."""
        cpus = sorted(os.sched_getaffinity(0))
        for flag, value in (("-C", "0x%X" % (1 << cpus[-1])), ("-Cr", "%d-%d" % (cpus[-1], cpus[-1]))):
            row = self.ok("bench", LLAMA, "-p", 1, "-n", 0, "-r", 1, "--json", flag, value).json()[0]
            self.assertEqual(row["n_threads"], 1, flag)
        self.assertEqual(self.ok("bench", LLAMA, "-p", 1, "-n", 0, "-r", 1, "--json", "-Cr", "-").json()[0]["n_threads"],
                         self.ok("bench", LLAMA, "-p", 1, "-n", 0, "-r", 1, "--json").json()[0]["n_threads"])

    def test_mlock_refused(self):
        """Without the right to lock so much it is said and goes on."""
        def drop():
            import ctypes
            import resource
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
            ctypes.CDLL(None).prctl(24, 14, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_IPC_LOCK: root may lock whatever the limit is
        p = subprocess.run([cli_help.MYNA, "run", LLAMA, "-p", "Hi", "-n", "1", "--mlock"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=cli_help.clean_env(), timeout=120, preexec_fn=drop)
        self.assertEqual(p.returncode, 0, p.stderr)
        self.assertIn(b"ulimit -l is 0 KB", p.stderr)

    def test_resident(self):
        """At most the mapped file, the cache and a little: nothing is unpacked, no buffer is touched that this run does not need."""
        if not os.path.exists("/proc/self/status"):
            self.skipTest("no /proc")
        r = self.ok("run", SHIPPED, "-p", "Once upon a time " * 20, "-n", 8, "--temp", 0, "--json", "-c", 512, "-t", 2)
        plan = self.ok("inspect", SHIPPED, "-c", 512, "--json").json()["memory"]
        empty = self.ok("run", LLAMA, "-p", "Hi", "-n", 1, "--json", "-c", 64, "-t", 2).json()["timings"]["memory_bytes"]  # the program itself
        room = r.json()["timings"]["memory_bytes"] - empty - os.path.getsize(SHIPPED) - plan["kv"]
        self.assertLess(room, 8e6)


class Models(Case):
    def test_wrong_paths(self):
        self.fails(1, "did you mean %s?" % LLAMA, "run", LLAMA + "x")
        self.fails(1, "did you mean %s?" % LLAMA, "run", LLAMA.replace("fixtures", "fixtuers"))
        self.fails(1, "is a directory", "run", cli_help.FIXTURES)
        self.fails(1, "llama.gguf" if len(os.listdir(cli_help.FIXTURES)) < 5 else ".gguf files in", "inspect", cli_help.FIXTURES)
        self.fails(1, "a prompt is given with -p", "run", "Once upon a time")
        self.fails(1, "myna: ", "inspect", __file__)

    def test_default_model(self):
        with tempfile.TemporaryDirectory() as d:  # a copy of the binary far from models/
            copy = os.path.join(d, "myna")
            with open(cli_help.MYNA, "rb") as f, open(copy, "wb") as g:
                g.write(f.read())
            os.chmod(copy, 0o755)
            if not os.path.exists("/usr/local/share/myna/myna-stories.gguf"):
                r = run("run", binary=copy)
                self.assertEqual(r.status, 2)
                self.assertIn("--model FILE", r.err)

    @unittest.skipUnless(os.path.exists(SHIPPED), "models/myna-stories.gguf is not there yet")
    def test_shipped_model(self):
        r = self.ok("run", "-m", SHIPPED, "-p", "Once upon a time", "-n", 40, "--temp", 0, "--raw")
        self.assertGreater(len(r.out.split()), 20)

    def test_split_by_any_part(self):
        parts = [os.path.join(cli_help.ROOT, "tests", "fixtures", "formats", "split-0000%d-of-00003.gguf" % i) for i in (1, 2, 3)]
        names = [[t["name"] for t in self.ok("inspect", p, "--json").json()["tensors"]] for p in parts]
        self.assertEqual(names[0], names[1])
        self.assertEqual(names[0], names[2])

    def test_files_that_cannot_run(self):
        self.fails(1, "has no tokenizer", "run", NO_TOKENIZER, "-p", "x")
        self.fails(1, "has no tokenizer", "tokenize", NO_TOKENIZER, "-p", "x")
        vocab = os.path.join(DATA, "tokenizers", "gguf", "ggml-vocab-gpt-2.gguf")
        if not os.path.exists(vocab):
            self.skipTest("no " + vocab)
        self.fails(1, "no weights, only a vocabulary", "run", vocab, "-p", "x")
        self.assertEqual(self.ok("tokenize", vocab, "-p", "Hello world").out, "15496 995\n")
        self.assertIn("only a vocabulary", self.ok("inspect", vocab).out)
        self.assertFalse(self.ok("inspect", vocab, "--json").json()["runs"])

    def test_limits(self):
        self.fails(1, "the least is", "run", LLAMA, "-p", "x", "--mem-limit", "10K")
        r = self.fails(1, "--ctx-size", "run", LLAMA, "-p", "x", "-c", 2000000000)
        fits = [w for w in r.err.split() if w.isdigit()]
        self.assertTrue(fits)
        self.fails(1, "a larger --ctx-size", "run", LLAMA, "-p", "a b c d e f g h", "-c", 4)
        total = self.ok("inspect", LLAMA, "--json", "-c", 256).json()["memory"]["total"]
        self.ok("run", LLAMA, "-p", "x", "-n", 1, "-c", 256, "--mem-limit", total)
        self.assertEqual(run("run", LLAMA, "-p", "x", "-n", 1, "-c", 256, "--mem-limit", total - 4096).status, 1)


class Run(Case):
    def test_streams(self):
        r = self.ok("run", LLAMA, "-p", "Hello", "-n", 5)
        for part in ("load", "first token", "prompt", "generation", "memory", "end: length"):
            self.assertIn(part, r.err)
        self.assertNotIn("Hello", r.out)
        self.assertNotIn("\r", r.err)  # no progress in a pipe
        quiet = self.ok("run", LLAMA, "-p", "Hello", "-n", 5, "-q")
        self.assertEqual(quiet.err, "")
        self.assertNotIn("end:", self.ok("run", LLAMA, "-p", "Hello", "-n", 5, "--no-perf").err)

    def test_prompts(self):
        def echoed(*args, **kw):
            return self.ok("run", LLAMA, "--raw", "-n", 0, "--echo", "-q", *args, **kw).raw
        self.assertEqual(echoed("-p", "Hello"), b"Hello\n")
        self.assertEqual(echoed("-p", ""), b"\n")
        self.assertEqual(echoed("-p", r"a\nb\t\x41\q\\"), b"a\nb\tA\\q\\\n")
        self.assertEqual(echoed("--no-escape", "-p", r"a\nb"), b"a\\nb\n")
        self.assertEqual(echoed("-f", "-", stdin=b"from\\n stdin\n"), b"from\\n stdin\n")  # the last newline is dropped, one is added
        self.assertEqual(echoed("-p", "-", stdin=b"dash"), b"dash\n")
        self.assertEqual(echoed("-f", "-", stdin=b"a\xff\x00b"), b"a\xff\x00b\n")
        self.ok("run", LLAMA, "-p", "", "-n", 3)
        self.ok("run", LLAMA, "-n", 3)
        self.fails(1, "No such file", "run", LLAMA, "--raw", "-f", "/nowhere/at/all")

    def test_json(self):
        r = self.ok("run", LLAMA, "-p", "caf\u00e9 \"x\"\n", "-n", 12, "--json", "--echo", "--seed", 7, "--ignore-eos", "--raw").json()
        self.assertEqual(r["prompt"], "caf\u00e9 \"x\"\n")
        self.assertEqual((len(r["tokens"]), r["finish"], r["seed"]), (12, "length", 7))
        t = r["timings"]
        self.assertEqual(t["gen_n"], 12)
        for key in ("load_s", "first_token_s", "prompt_n", "prompt_s", "prompt_per_second", "gen_s", "gen_per_second", "memory_bytes"):
            self.assertGreater(t[key], 0, key)

    def test_seeds(self):
        def tokens(seed, *more):
            return self.ok("run", LLAMA, "-p", "Hello", "-n", 20, "--json", "--ignore-eos", "--seed", seed, *more).json()["tokens"]
        self.assertEqual(tokens(1), tokens(1, "-t", 1))
        self.assertNotEqual(tokens(1), tokens(2))
        self.assertEqual(tokens(1, "--temp", 0), tokens(2, "--temp", 0))
        self.assertNotEqual(tokens(-1), tokens(-1))
        self.assertEqual(tokens(5), tokens(5, "-b", 2))

    def test_speculation(self):
        """The same answer; what was guessed is told, and only when asked for."""
        args = ("run", LLAMA, "-p", "Hello hello hello", "-n", 60, "--json", "--ignore-eos", "--seed", 3, "-l", "100+60", "-l", "101+60")
        plain = self.ok(*args)
        t = plain.json()["timings"]
        self.assertEqual((t["drafted_n"], t["accepted_n"]), (0, 0))
        self.assertNotIn("guesses", plain.err)
        for more in ((), ("--draft-max", 31, "--spec-always"), ("--draft-n", 2, "--draft-min", 2, "--spec-ngram-size-n", 1, "--spec-always")):
            for kind in ("ngram", "ngram-simple"):
                r = self.ok(*args, "--spec-type", kind, *more)
                self.assertEqual(r.json()["tokens"], plain.json()["tokens"])
                self.assertEqual(r.json()["text"], plain.json()["text"])
                t = r.json()["timings"]
                self.assertGreater(t["accepted_n"], 0)
                self.assertGreaterEqual(t["drafted_n"], t["accepted_n"])
                self.assertIn(" | guesses %d, right %d | memory" % (t["drafted_n"], t["accepted_n"]), r.err)
        # a model that drafts for itself is always right
        for more, lookup in ((("-md", LLAMA), False), (("--model-draft", LLAMA, "--spec-type", "ngram,draft"), True), (("-md", LLAMA, "--spec-type", "draft-simple", "-ngld", 99, "-td", 2), False)):
            r = self.ok(*args, "--spec-always", *more)
            self.assertEqual(r.json()["tokens"], plain.json()["tokens"])
            t = r.json()["timings"]
            self.assertGreater(t["accepted_n"], 20)
            if not lookup:
                self.assertEqual(t["accepted_n"], t["drafted_n"])
            self.assertIn(" | guesses %d, right %d | memory" % (t["drafted_n"], t["accepted_n"]), r.err)
        self.assertIn("--model-draft is not used", self.ok(*args, "--spec-type", "ngram", "-md", LLAMA).err)
        self.assertEqual(self.ok(*args, "-md", LLAMA, "--spec-always", "--draft-p-min", 1).json()["timings"]["drafted_n"], 0)
        self.fails(1, "vocabulary has 128 tokens, not 272", *args, "-md", NO_TOKENIZER)
        self.fails(1, "No such file", *args, "-md", "/nowhere/x.gguf")
        env = self.ok(*args, env={"MYNA_SPEC_TYPE": "ngram", "MYNA_DRAFT_MAX": "3"}).json()
        self.assertGreater(env["timings"]["drafted_n"], 0)
        self.assertEqual(self.ok(*args, "--spec-type", "none").json()["timings"]["drafted_n"], 0)
        self.assertIn("nothing is guessed without --spec-type or --model-draft", self.ok(*args, "--draft-max", 4).err)
        for more, part in ((("--spec-type", "x"), "--spec-type x: none, ngram, draft or ngram,draft"), (("--spec-type", "ngram,y"), "--spec-type y: "), (("--spec-type", "draft"), "which model? --model-draft FILE"), (("--draft-max", 32), "--draft-max 32: 1 to 31"), (("--draft-max", 3, "--draft-min", 4), "--draft-min 4: 1 to 3"),
                           (("--draft-min", -1), "--draft-min -1: 1 to 31"), (("--spec-ngram-size-n", 9), "--spec-ngram-size-n 9: 1 to 8"),
                           (("--draft-p-min", 2), "--draft-p-min 2: 0 to 1"), (("-hfd", "x/y"), "models are not fetched yet")):
            self.fails(2, part, "run", LLAMA, "-p", "x", *more)

    def test_bias_and_ignore_eos(self):
        forced = self.ok("run", LLAMA, "-p", "a", "-n", 4, "--json", "--temp", 0, "-l", "100+1000").json()["tokens"]
        self.assertEqual(forced, [100] * 4)
        banned = self.ok("run", LLAMA, "-p", "a", "-n", 4, "--json", "--temp", 0, "-l", "100+1000", "-l", "100-inf").json()["tokens"]
        self.assertNotIn(100, banned)

    @stories
    def test_greedy_text(self):
        with open(os.path.join(DATA, "models", "stories260K", "golden", "greedy-empty.json"), encoding="utf-8") as f:
            golden = json.load(f)
        ids = golden["ids"][1:101]
        r = self.ok("run", STORIES, "-p", "", "-n", len(ids), "--temp", 0, "--json", "-c", 512).json()
        self.assertEqual(r["tokens"], ids)
        self.assertTrue(r["text"].startswith("Once upon a time, there was a little girl named Lily. She loved to play outside in the park."))
        self.assertEqual(self.ok("run", STORIES, "-p", "", "-n", len(ids), "--temp", 0, "-c", 512).raw.decode(), r["text"] + "\n")

    @stories
    @known("engine: the detokenizer of an answer drops the first space although a prompt stands before it (job_new: detok.started)")
    def test_continuation_keeps_its_space(self):
        r = self.ok("run", STORIES, "-p", "Once", "-n", 3, "--temp", 0, "--echo", "-q")
        self.assertEqual(r.out, "Once upon a time\n")

    @stories
    def test_ends(self):
        stop = self.ok("run", STORIES, "-p", "", "-n", 60, "--temp", 0, "--json", "--stop", "little girl", "-r", "nothing").json()
        self.assertEqual((stop["text"], stop["finish"]), ("Once upon a time, there was a ", "stop_string"))
        full = self.ok("run", STORIES, "-p", "", "--temp", 0, "-c", 64, "--ignore-eos")
        self.assertIn("--context-shift", full.err)
        full = self.ok("run", STORIES, "-p", "", "--temp", 0, "-c", 64, "--ignore-eos", "--json").json()
        self.assertEqual((full["finish"], len(full["tokens"])), ("context", 64))
        shifted = self.ok("run", STORIES, "-p", "", "--temp", 0, "-c", 64, "--ignore-eos", "--json", "--context-shift", "-n", 150).json()
        self.assertEqual((shifted["finish"], len(shifted["tokens"])), ("length", 150))
        self.assertEqual(shifted["tokens"][:64], full["tokens"])

    @known("engine: with a pool of one page a context shift finds its own indexed page, which it may not write")
    def test_many_shifts(self):
        self.ok("run", LLAMA, "-p", "x", "-n", 12000, "--context-shift", "--ignore-eos", "-c", 64, "--raw", "--seed", 3)


class Tokenize(Case):
    @stories
    def test_ids(self):
        self.assertEqual(self.ok("tokenize", STORIES, "-p", "hi there").out, "1 270 417 383\n")
        self.assertEqual(self.ok("tokenize", STORIES, "-p", "hi there", "--no-bos").out, "270 417 383\n")
        self.assertEqual(self.ok("tokenize", STORIES, "--stdin", stdin=b"hi there").out, "1 270 417 383\n")
        self.assertEqual(self.ok("tokenize", STORIES, "-p", "</s>", "--parse-special", "--no-bos").out.split()[-1], "2")
        self.assertNotIn("2", self.ok("tokenize", STORIES, "-p", "</s>", "--no-bos").out.split())

    @stories
    def test_json_pieces(self):
        pieces = self.ok("tokenize", STORIES, "-p", "hi \u2603", "--json", "--no-bos").json()
        data = b"".join(bytes(p["bytes"]) if "bytes" in p else p["piece"].encode() for p in pieces)
        self.assertEqual(data.decode(), " hi \u2603")
        self.assertEqual([p["id"] for p in pieces], [int(x) for x in self.ok("tokenize", STORIES, "-p", "hi \u2603", "--no-bos").out.split()])

    def test_bytes(self):
        """Any bytes come through, also where they are no UTF-8 or NUL."""
        self.ok("tokenize", LLAMA, "-f", "-", "--json", stdin=bytes(range(256))).json()
        literal = self.ok("tokenize", LLAMA, "-p", r"a\n").out
        self.assertEqual(literal, self.ok("tokenize", LLAMA, "-f", "-", stdin=rb"a\n").out)
        self.assertEqual(self.ok("tokenize", LLAMA, "-p", r"a\n", "-e").out, self.ok("tokenize", LLAMA, "-f", "-", stdin=b"a\n").out)
        self.fails(2, "wants a text", "tokenize", LLAMA)


class Inspect(Case):
    def test_json(self):
        r = self.ok("inspect", LLAMA, "--json", "--plan").json()
        self.assertEqual((r["arch"], r["runs"], r["has_template"]), ("llama", True, True))
        self.assertEqual(r["metadata"]["general.architecture"], "llama")
        self.assertEqual(r["metadata"]["llama.block_count"], r["n_layer"])
        t = {x["name"]: x for x in r["tensors"]}["token_embd.weight"]
        self.assertEqual((t["type"], t["shape"]), ("F32", [r["n_vocab"], r["n_embd"]]))
        self.assertEqual(t["bytes"], 4 * r["n_vocab"] * r["n_embd"])
        m = r["memory"]
        self.assertEqual(m["total"], sum(m[k] for k in ("weights", "kv", "compute", "tokenizer", "other")))
        self.assertTrue(m["fits"])
        self.assertIn("attention", r["plan"])
        small = self.ok("inspect", LLAMA, "--json", "--mem-limit", m["total"] // 2).json()["memory"]
        self.assertFalse(small["fits"])

    def test_every_fixture(self):
        for name in sorted(os.listdir(cli_help.FIXTURES)):
            if name.endswith(".gguf"):
                self.assertTrue(self.ok("inspect", fixture(name), "--json").json()["runs"], name)

    def test_text(self):
        r = self.ok("inspect", LLAMA)
        for part in ("architecture llama", "memory for one sequence", "metadata:", "fits into"):
            self.assertIn(part, r.out)
        self.assertIn("token_embd.weight", self.ok("inspect", LLAMA, "--tensors").out)
        self.assertNotIn("token_embd.weight", self.ok("inspect", LLAMA, "--meta").out)
        self.assertIn("does NOT fit", self.ok("inspect", LLAMA, "--memory", "--mem-limit", "1K").out)
        self.assertIn("embed", self.ok("inspect", LLAMA, "--plan").out)

    def test_hostile_names(self):
        """Escape sequences of a stranger's file do not reach the terminal."""
        with open(LLAMA, "rb") as f:
            data = f.read()
        at = data.index(b"general.architecture") + 28  # u64 length of the key before it, u32 type and u64 length behind
        name = data.index(b"general.name")
        length = int.from_bytes(data[name + 16:name + 24], "little")
        self.assertGreater(at, 0)
        evil = data[:name + 24] + b"\x1b[31m\xff"[:length].ljust(length, b"x") + data[name + 24 + length:]
        with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
            f.write(evil)
            f.flush()
            r = self.ok("inspect", f.name)
            self.assertNotIn(b"\x1b", r.raw)
            self.ok("inspect", f.name, "--json").json()


class Logits(Case):
    def check(self, name, suffix="", *more):
        shape, want = read_npy(fixture(name + ".logits" + suffix + ".npy"))
        _, ids = read_npy(fixture(name + ".tokens" + suffix + ".npy"))
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "o.npy")
            self.ok("logits", "-m", fixture(name + ".gguf"), "--tokens", ",".join(map(str, ids)), "-o", out, *more)
            got_shape, got = read_npy(out)
        self.assertEqual(tuple(got_shape), tuple(shape))
        error = nmse(got, want)
        self.assertLess(error, 1e-6, name + suffix)

    def test_oracle(self):
        with open(fixture("index.tsv"), encoding="utf-8") as f:
            names = [line.split("\t")[0] for line in f.read().splitlines()[1:]]
        self.assertGreater(len(names), 20)
        for name in names:
            self.check(name, "", "--exact")
        for name in ("llama-tied", "qwen2", "gemma3", "phi3-longrope"):
            self.check(name, ".1")
            self.check(name, ".2", "-t", 1, "-b", 3)

    def test_output(self):
        r = self.ok("logits", "-m", NO_TOKENIZER, "--tokens", "1, 2,3", "-o", "-")
        with tempfile.TemporaryDirectory() as d:
            out = os.path.join(d, "a \"b\".npy")
            info = self.ok("logits", "-m", NO_TOKENIZER, "--tokens", "1,2,3", "-o", out, "--json").json()
            self.assertEqual((info["rows"], info["file"]), (3, out))
            with open(out, "rb") as f:
                self.assertEqual(f.read(), r.raw)
            missing = os.path.join(d, "no", "x.npy")
            self.fails(1, "No such file", "logits", NO_TOKENIZER, "--tokens", "1", "-o", missing)
            for bad in ("1,x", "", "1,,2", "-1", "99999999"):
                self.fails(2, "--tokens", "logits", NO_TOKENIZER, "--tokens", bad, "-o", os.path.join(d, "bad.npy"))
            self.assertEqual(os.listdir(d), [os.path.basename(out)])
        self.fails(2, "logits wants", "logits", NO_TOKENIZER)
        if os.path.exists("/dev/full"):
            self.fails(1, "No space left", "logits", NO_TOKENIZER, "--tokens", "1,2,3", "-o", "/dev/full")
            self.assertTrue(stat.S_ISCHR(os.stat("/dev/full").st_mode))  # a device is not removed


class Perplexity(Case):
    def measure(self, *more):
        with open(SAMPLE, "rb") as f:
            text = f.read(204800)
        return self.ok("perplexity", "-m", STORIES, "-f", "-", "--json", *more, stdin=text).json()

    def near(self, got, want):
        self.assertLess(abs(got / want - 1), 2e-4, (got, want))

    @sample
    def test_llama_cpp_value(self):
        r = self.measure()
        self.near(r["ppl"], 10.0915)  # llama-perplexity b9749, F32 cache, no flash attention; its own float64 check: 10.091465
        self.near(r["ppl_stderr"], 0.13449)
        self.assertEqual((r["tokens"], r["windows"], r["n_ctx"]), (52275, 205, 512))

    @sample
    def test_parts(self):
        for chunks, want in ((1, 9.0402), (2, 8.3997), (4, 9.4342)):
            r = self.measure("--chunks", chunks)
            self.near(r["ppl"], want)
            self.assertEqual(r["tokens"], 255 * chunks)
        self.assertEqual(self.measure("--chunks", 2, "-b", 100, "-t", 1)["ppl"], self.measure("--chunks", 2)["ppl"])

    @sample
    def test_cache_types(self):
        ppl = {kind: self.measure("--chunks", 4, *kind)["ppl"] for kind in (("-ctk", "f32"), ("-ctk", "q8_0"), ("-ctk", "q4_0"), ("-ctk", "f16", "-ctv", "q4_0"))}
        exact, q8, q4, mixed = ppl.values()
        self.assertLess(abs(q8 / exact - 1), 5e-3, ppl)
        self.assertLess(q4 / exact, 2.2, ppl)  # heads of 8: 4 bits cannot hold these keys; 2.5 without the rotation
        self.assertLess(abs(mixed / exact - 1), 0.05, ppl)

    def test_messages(self):
        self.fails(2, "wants a text", "perplexity", LLAMA)
        self.fails(1, "too short", "perplexity", LLAMA, "-f", "-", stdin=b"short")
        self.fails(2, "--chunks", "perplexity", LLAMA, "-f", "-", "--chunks", 0)
        r = self.ok("perplexity", LLAMA, "-f", "-", "-c", 32, stdin=b"some words of a text that goes on and on " * 5)
        self.assertRegex(r.out, r"^perplexity \d+\.\d+ \+/- \d+\.\d+ over \d+ tokens\n$")
        self.assertIn("load", r.err)


class Bench(Case):
    def rows(self, *more):
        rows = self.ok("bench", LLAMA, "-r", 2, "-o", "json", *more).json()
        for r in rows:
            self.assertEqual(len(r["samples_ts"]), 2)
            self.assertTrue(all(x > 0 for x in r["samples_ts"]))
            self.assertAlmostEqual(r["avg_ts"] / (sum(r["samples_ts"]) / 2), 1, 5)
            a, b = r["samples_ts"]
            self.assertAlmostEqual(r["stddev_ts"], abs(a - b) / math.sqrt(2), delta=1e-3 * r["avg_ts"])
            self.assertGreater(r["gbps"], 0)
            self.assertGreater(r["gops"], 0)
            self.assertGreaterEqual(r["n_threads"], 1)
        return [r["name"] for r in rows], rows

    def test_rows(self):
        names, rows = self.rows("-p", 16, "-n", 8, "-B", "1,4", "-d", "0,64", "-t", 1)
        self.assertEqual(names, ["pp16", "tg8", "tg8x4", "pp16@d64", "tg8@d64", "tg8x4@d64"])
        self.assertEqual(rows[0]["n_threads"], 1)
        self.assertEqual(self.rows("-p", "8,16", "-n", 0)[0], ["pp8", "pp16"])
        self.assertEqual(self.rows("-p", 0, "-n", "4,5", "--no-warmup")[0], ["tg4", "tg5"])
        self.assertEqual(self.rows("-p", 0, "-n", 1, "-B", 3)[0], ["tg1x3"])
        self.assertEqual(self.rows("-p", 0, "-n", 0, "-pg", "16,4,8,2", "-d", "0,32")[0], ["pp16+tg4", "pp8+tg2", "pp16+tg4@d32", "pp8+tg2@d32"])

    def test_replay(self):
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
            f.write("the same words again and again, " * 30)
            f.flush()
            args = ("-n", "100,20", "-d", "0,50", "--replay", f.name)
            names, rows = self.rows(*args)
            self.assertEqual(names, ["tg100@replay", "tg20@replay", "tg100@d50@replay", "tg20@d50@replay"])
            self.assertTrue(all(r["n_drafted"] == 0 == r["n_accepted"] for r in rows))
            names, rows = self.rows(*args, "--spec-type", "ngram", "-p", 8)
            self.assertEqual(names[:2], ["pp8", "tg100@replay"])
            self.assertEqual((rows[0]["n_drafted"], rows[0]["n_accepted"]), (0, 0))
            self.assertGreater(rows[1]["n_accepted"], 150)  # of two repetitions
            self.assertGreaterEqual(rows[1]["n_drafted"], rows[1]["n_accepted"])
            size = rows[1]["gbps"] / rows[1]["avg_ts"] / (1 - rows[1]["n_accepted"] / 200)  # fewer steps read the weights
            self.assertAlmostEqual(rows[2]["gbps"] / rows[2]["avg_ts"] / (1 - rows[2]["n_accepted"] / 40) / size, 1, 1)
            r = self.ok("bench", LLAMA, "-r", 1, "-n", 100, "--replay", f.name, "--spec-type", "ngram")
            self.assertRegex(r.err, r"myna: tg100@replay: \d+ tokens guessed, \d+ of them right")
            self.fails(1, "tokens, ", "bench", LLAMA, "-n", 5000, "--replay", f.name)
            self.fails(1, "tokens, ", "bench", LLAMA, "-n", 1, "-d", 5000, "--replay", f.name)
            self.fails(2, "--replay: one sequence", "bench", LLAMA, "-B", 2, "--replay", f.name)
            # drafts of a model that are right as often as is said
            names, rows = self.rows("-p", 0, "-n", 150, "--replay", f.name, "-md", LLAMA, "--draft-accept", 0.7, "--spec-always", "--draft-max", 1)
            self.assertAlmostEqual(rows[0]["n_accepted"] / rows[0]["n_drafted"], 0.7, delta=0.15)
            self.fails(2, "--draft-accept 2: 0 to 1", "bench", LLAMA, "--replay", f.name, "-md", LLAMA, "--draft-accept", 2)
            self.fails(2, "--draft-accept: only with", "bench", LLAMA, "--replay", f.name, "--draft-accept", 0.5)
        self.fails(1, "No such file", "bench", LLAMA, "--replay", "/nowhere/x")
        self.fails(1, "no tokenizer", "bench", NO_TOKENIZER, "--replay", __file__)
        # several sequences guess too
        names, rows = self.rows("-p", 0, "-n", 8, "-B", 3, "--spec-type", "ngram", "--spec-always", "--spec-ngram-size-min", 1)
        self.assertEqual(names, ["tg8x3"])
        self.assertTrue(all(x > 0 for r in rows for x in r["samples_ts"]))

    def test_formats(self):
        md = self.ok("bench", LLAMA, "-p", 8, "-n", 4, "-r", 1).out.splitlines()
        self.assertEqual([len(line.split("|")) for line in md], [12] * 4)
        csv = self.ok("bench", LLAMA, "-p", 8, "-n", 4, "-r", 1, "-o", "csv").out.splitlines()
        self.assertEqual([line.split(",")[0] for line in csv], ["name", "pp8", "tg4"])
        self.assertEqual(len(self.ok("bench", NO_TOKENIZER, "-p", 8, "-n", 4, "-r", 1, "--json").json()), 2)
        self.fails(2, "md, csv or json", "bench", LLAMA, "-o", "xml")
        self.fails(2, "nothing to measure", "bench", LLAMA, "-p", 0, "-n", 0)
        self.fails(2, "numbers from", "bench", LLAMA, "-p", "1,x")
        self.fails(2, "pairs", "bench", LLAMA, "-pg", "16,4,8")
        self.fails(2, "--n-prompt-gen 0", "bench", LLAMA, "-pg", "16,0")


class Streams(Case):
    def start(self, *args, **kw):
        return subprocess.Popen([cli_help.MYNA, *map(str, args)], env=cli_help.clean_env(), stdout=kw.get("stdout", subprocess.PIPE), stderr=kw.get("stderr", subprocess.PIPE),
                                stdin=kw.get("stdin", subprocess.DEVNULL))

    def test_interrupted_run(self):
        p = self.start("run", LLAMA, "-p", "x", "-n", 100000000, "--ignore-eos", "-c", 300000, "--raw")
        first = p.stdout.read(10)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 130, err)
        self.assertEqual(len(first), 10)
        self.assertTrue(out.endswith(b"\n"))
        self.assertIn(b"end: cancelled", err)

    def test_interrupted_json_is_whole(self):
        p = self.start("run", LLAMA, "-p", "x", "-n", 100000000, "--ignore-eos", "-c", 300000, "--raw", "--json")
        time.sleep(0.5)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 130, err)
        self.assertEqual(json.loads(out)["finish"], "cancelled")

    def test_interrupted_bench(self):
        p = self.start("bench", LLAMA, "-p", 4, "-n", 200000, "-r", 100, "-o", "json")
        first = b""
        while not first.endswith(b"}"):  # the row of the prompt comes as soon as it is known
            first += p.stdout.read(1)
        p.send_signal(signal.SIGINT)
        out, _ = p.communicate(timeout=30)
        self.assertEqual(p.returncode, 130)
        self.assertEqual([r["name"] for r in json.loads(first + out)], ["pp4"])

    def test_interrupted_perplexity(self):
        with tempfile.NamedTemporaryFile() as f:
            f.write(b"words that go on and on, more of them. " * 200000)
            f.flush()
            p = self.start("perplexity", LLAMA, "-f", f.name, "--json", "-c", 64)
            time.sleep(3)
            p.send_signal(signal.SIGINT)
            out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)
        if out:
            self.assertGreater(json.loads(out)["tokens"], 0)

    def test_interrupted_input(self):
        r, w = os.pipe()
        p = self.start("run", LLAMA, "-f", "-", "--raw", stdin=r)
        time.sleep(0.5)
        p.send_signal(signal.SIGTERM)
        _, err = p.communicate(timeout=30)
        os.close(r)
        os.close(w)
        self.assertEqual((p.returncode, err), (143, b""))

    def test_closed_pipe_is_quiet(self):
        p = self.start("run", LLAMA, "-p", "x", "-n", 100000000, "--ignore-eos", "-c", 300000, "--raw")
        p.stdout.read(5)
        p.stdout.close()
        self.assertEqual(p.stderr.read(), b"")
        self.assertEqual(p.wait(30), -signal.SIGPIPE)
        p.stderr.close()

    def test_full_disk(self):
        for args in (["tokenize", LLAMA, "-p", "x"], ["run", LLAMA, "-n", "3"], ["inspect", LLAMA], ["run", "--help"]):
            with open("/dev/full", "wb") as full:
                p = self.start(*args, stdout=full)
                _, err = p.communicate(timeout=30)
            self.assertEqual(p.returncode, 1, args)
            self.assertIn(b"No space left", err)

    def test_progress_on_a_terminal(self):
        """On a terminal long work shows a bar and clears it; the result in the pipe stays clean."""
        master, slave = self.terminal()
        p = self.start("bench", LLAMA, "-p", 0, "-n", 2000, "-r", 40, "-o", "csv", stderr=slave)
        shown = b""
        end = time.time() + 20
        while b"[" not in shown and time.time() < end and select.select([master], [], [], 20)[0]:
            shown += os.read(master, 4096)
        p.send_signal(signal.SIGINT)
        shown += self.seen(p, master, slave)
        out, _ = p.communicate(timeout=30)
        self.assertTrue(shown.endswith(b"\r\x1b[K"), shown[-100:])  # the line is cleared at the end
        for line in shown.split(b"\r")[1:-1]:
            self.assertRegex(line, rb"^tg2000 \[#{0,20}\.{0,20}\] [ 0-9]{3} %  \d+\.\d s, \d+\.\d s left  \x1b\[K$")
            bar, percent = line[8:28], int(line[29:33])
            self.assertEqual(len(bar.strip(b"#.")), 0)
            self.assertLess(abs(5 * bar.count(b"#") - percent), 6)
        self.assertIn(b"tg2000 [", shown)
        self.assertIn(b"%", shown)
        self.assertNotIn(b"\r", out)


if __name__ == "__main__":
    cli_help.main()
