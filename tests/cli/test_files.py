"""Files: models made by hand or changed, what is said when one is not found or cannot run, and numbers that follow from a file:
memory plans, perplexity from logits, rates of bench."""
import math
import os
import resource
import shutil
import signal
import subprocess
import tempfile

import cli_help
from cli_help import FIXTURES, Case, change_gguf, fixture, read_npy, write_gguf

LLAMA = fixture("llama.gguf")
SHIPPED_NAME = "myna-stories.gguf"


class Folder(Case):
    """A folder of its own for each test."""
    def setUp(self):
        self.dir = os.path.realpath(tempfile.mkdtemp(prefix="myna-cli-"))

    def tearDown(self):
        shutil.rmtree(self.dir)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def touch(self, *names):
        for name in names:
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            open(self.path(name), "wb").close()

    def at(self, *args, binary=None, **env):
        """Runs in the folder."""
        p = subprocess.run([binary or cli_help.MYNA, *map(str, args)], cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                           env=cli_help.clean_env(**env), timeout=60)
        return cli_help.Result(p)

    def says(self, want, *args):
        """The last line of what is said in the folder; None: only one line."""
        r = self.at(*args)
        self.assertEqual(r.status, 1, r.err)
        lines = r.err.splitlines()
        if want is None:
            self.assertEqual(len(lines), 1, r.err)
        else:
            self.assertEqual(lines[1:], ["myna: " + want])


class Paths(Folder):
    def test_suggestions(self):
        self.touch("models/tiny.gguf", "models/Other.gguf", "near.gguf")
        self.says("did you mean near.gguf?", "inspect", "naer.gguf")
        self.says("did you mean models/tiny.gguf?", "inspect", "models/tinny.gguf")
        self.says("did you mean models/tiny.gguf?", "inspect", "modles/tiny.gguf")
        self.says("did you mean models/Other.gguf?", "inspect", "models/OTHER.GGUF")
        self.says("did you mean models/a/b/tiny.gguf?", "inspect", "modles/a/b/tiny.gguf")
        self.says("did you mean %s/models/x/y.gguf?" % self.dir, "inspect", self.path("mdels/x/y.gguf"))
        self.says("did you mean /tmp/nothing?", "inspect", "/tmpp/nothing")
        self.says(None, "inspect", "models/tiny.gguf/x" * 3)

    def test_lists(self):
        self.says(None, "inspect", "zzzzzzzzzzzz")  # nothing there to name
        self.touch("a.gguf", "notes.txt", ".hidden.gguf", ".gguf", "sub/b.GGUF")
        self.says(".gguf files in this folder: a.gguf", "inspect", "zzzzzzzzzzzz")
        self.says(".gguf files in sub: b.GGUF", "inspect", "sub/zzzzzzzzzzzz")
        self.says(".gguf files in sub: b.GGUF", "inspect", "sub")
        self.touch(*["many/%d.gguf" % i for i in range(5)])
        five = self.at("inspect", "many").err.splitlines()[1]
        self.assertEqual(sorted(five[len("myna: .gguf files in many: "):].split(", ")), ["%d.gguf" % i for i in range(5)])
        self.touch("many/5.gguf")
        six = self.at("inspect", "many").err.splitlines()[1]
        names = six[len("myna: .gguf files in many: "):].split(", ")
        self.assertEqual((len(set(names)), names[-1]), (6, "..."))
        self.touch("hf/config.json", "hf/x.safetensors")
        self.says("MLX and Hugging Face folders are not supported yet", "inspect", "hf")
        os.makedirs(self.path("empty"))
        self.says(None, "inspect", "empty")

    def test_a_prompt_is_no_model(self):
        self.says("the first word without a flag is the model; a prompt is given with -p", "run", "Once upon")
        self.touch("Once_upon.gguf")
        self.says("did you mean Once_upon.gguf?", "run", "-m", "Once upon.gguf")

    def test_the_model_that_ships(self):
        """Beside the binary's folder, installed, or below it; else the binary asks for one."""
        binary = self.path("bin", "myna")
        os.makedirs(self.path("bin"))
        shutil.copy(cli_help.MYNA, binary)
        if not os.path.exists("/usr/local/share/myna/" + SHIPPED_NAME):
            r = self.at("inspect", "--json", binary=binary)
            self.assertEqual((r.status, r.err), (2, "myna: which model? name a file: --model FILE (the one that ships, %s, is not there)\n" % SHIPPED_NAME))
        for folder in ("bin/models", "share/myna", "models"):  # each goes before the one above
            os.makedirs(self.path(folder))
            model = self.path(folder, SHIPPED_NAME)
            write_gguf(model, [("general.architecture", "str", "x"), ("general.name", "str", folder)])
            r = self.at("inspect", "--json", binary=binary)
            self.assertEqual(r.status, 0, r.err)
            self.assertEqual(r.json()["name"], folder)

    def test_files_that_are_none(self):
        self.touch("empty.gguf")
        self.says(None, "inspect", "empty.gguf")
        with open(self.path("text.gguf"), "w") as f:
            f.write("no model" * 100)
        self.says(None, "run", "text.gguf", "-p", "x")


class Strange(Folder):
    """Files that this version cannot run are still shown."""
    def strange(self):
        path = self.path("strange.gguf")
        change_gguf(LLAMA, path, {"general.architecture": ("str", "nosuch")}, lambda key: key.replace("llama.", "nosuch."))
        return path

    def test_unknown_architecture(self):
        path = self.strange()
        r = self.ok("inspect", path)
        self.assertIn("architecture nosuch\n", r.out)
        self.assertIn("memory     unknown: this version cannot run the model\n", r.out)
        self.assertIn("nosuch", r.err.splitlines()[0])
        self.assertIn("general.name", r.out)
        for flag in ("--memory", "--plan"):
            r = cli_help.run("inspect", path, flag)
            self.assertEqual((r.status, r.out), (1, ""))
            self.assertIn("nosuch", r.err)
        self.assertNotIn("nosuch", self.ok("inspect", path, "--tensors").err)
        self.assertNotIn("unknown", self.ok("inspect", path, "--meta").out)
        j = self.ok("inspect", path, "--json", "--plan").json()
        self.assertEqual((j["runs"], j["arch"], "memory" in j, "plan" in j, len(j["tensors"])), (False, "nosuch", False, False, 21))
        r = cli_help.run("run", path, "-p", "x")
        self.assertEqual((r.status, r.err.splitlines()[-1]), (1, "myna: myna inspect shows what is in the file"))

    def test_only_a_vocabulary(self):
        path = self.path("v.gguf")
        write_gguf(path, [("general.architecture", "str", "llama")])
        r = cli_help.run("run", path, "-p", "x")
        self.assertEqual((r.status, r.err.splitlines()[-1]), (1, "myna: the file has no weights, only a vocabulary: tokenize and inspect work with it"))
        r = self.ok("inspect", path)
        self.assertEqual(r.out, "file       %s (%d B)\nmodel      (unnamed), architecture llama\nweights    none: only a vocabulary\ntext       tokenizer: no, chat template: no\n"
                         "metadata:\n  %-44s %-16s llama\n" % (path, os.path.getsize(path), "general.architecture", "str"))
        self.assertEqual(r.err, "")
        j = self.ok("inspect", path, "--json").json()
        self.assertEqual((j["has_tokenizer"], j["has_template"], j["runs"], j["tensors"]), (False, False, False, []))

    def test_metadata(self):
        path = self.path("m.gguf")
        long = "a" * 76 + "\u00e9" + "b" * 10
        write_gguf(path, [("general.architecture", "str", ""), ("i", "i32", -5), ("u", "u64", 2**64 - 1), ("t", "bool", True), ("f", "f32", 0.5), ("inf", "f32", math.inf),
                          ("nan", "f64", math.nan), ("minus", "f64", -math.inf), ("s", "str", 'x"\n\x1b\\'), ("long", "str", long), ("eighty", "str", "c" * 80), ("more", "str", "d" * 81),
                          ("list", "[i32]", range(7)), ("four", "[i32]", range(4)), ("words", "[str]", ["one", "t\x07o"]), ("key", "u8", 1), ("none", "[i32]", []),
                          ("many", "[u8]", [k % 256 for k in range(1001)])])
        lines = dict((l[2:46].rstrip(), l[47:]) for l in self.ok("inspect", path, "--meta").out.splitlines())
        self.assertEqual(len(lines), 18)
        value = {k: v[17:] for k, v in lines.items()}
        self.assertEqual((value["i"], value["u"], value["t"], value["f"], value["inf"], value["minus"]), ("-5", str(2**64 - 1), "true", "0.5", "inf", "-inf"))
        self.assertEqual((value["s"], value["key"], value["words"], value["none"]), ('x" ?\\', "1", "[one, t?o]", "[]"))
        self.assertEqual((value["eighty"], value["more"], value["long"]), ("c" * 80, "d" * 77 + "...", "a" * 76 + "?..."))
        self.assertEqual((value["four"], value["list"]), ("[0, 1, 2, 3]", "[0, 1, 2, 3, ...]"))
        self.assertEqual((lines["i"].split()[0], lines["list"].split()[0], lines["u"].split()[0]), ("i32", "arr[i32,7]", "u64"))
        verbose = {l[2:46].rstrip(): l[64:] for l in self.ok("inspect", path, "--meta", "-v").out.splitlines()}
        self.assertEqual((verbose["more"], verbose["long"], verbose["list"]), ("d" * 81, long, "[0, 1, 2, 3, 4, 5, 6]"))
        self.assertEqual(verbose["many"].count(","), 1000)
        self.assertTrue(verbose["many"].endswith(" %d, ...]" % (999 % 256)))
        j = self.ok("inspect", path, "--json").json()["metadata"]
        self.assertEqual((j["i"], j["u"], j["t"], j["f"], j["inf"], j["minus"], j["nan"].strip("-")), (-5, 2**64 - 1, True, 0.5, "inf", "-inf", "nan"))
        self.assertEqual((j["s"], j["long"], j["list"], j["key"]), ('x"\n\x1b\\', long, "[0, 1, 2, 3, ...]", 1))

    def test_tensors(self):
        def people(n):
            for unit in ("B", "KB", "MB"):
                if n < 1000:
                    return ("%.1f %s" if unit != "B" else "%.0f %s") % (n, unit)
                n /= 1000
        j = self.ok("inspect", LLAMA, "--json").json()
        want = "".join("  %-40s %-8s %-22s %10s\n" % (t["name"], t["type"], ", ".join(map(str, t["shape"])), people(t["bytes"])) for t in j["tensors"])
        self.assertEqual(self.ok("inspect", LLAMA, "--tensors").out, want)
        size = os.path.getsize(LLAMA)
        head = self.ok("inspect", LLAMA).out.splitlines()
        self.assertEqual(head[:6], ["file       %s (%s)" % (LLAMA, people(size)), "model      llama, architecture llama",
                                    "weights    0.07 M parameters in 21 tensors, mostly F32", "shape      2 layers, 64 wide, 4 heads (2 for keys and values), vocabulary 272",
                                    "context    trained for 512 tokens", "text       tokenizer: yes, chat template: yes"])
        self.assertEqual((j["n_params"], j["file_bytes"], j["weight_bytes"]), (sum(math.prod(t["shape"]) for t in j["tensors"]), size, sum(t["bytes"] for t in j["tensors"])))
        with open(LLAMA, "rb") as f:
            data = f.read()
        for t in j["tensors"]:
            self.assertLessEqual(t["offset"] + t["bytes"], size)
        self.assertEqual(max(t["offset"] + t["bytes"] for t in j["tensors"]), len(data))
        lines = self.ok("inspect", LLAMA, "--memory").out.splitlines()
        m = j["memory"]
        self.assertEqual([l.split()[0] for l in lines[1:]], ["weights", "cache", "compute", "tokenizer", "other", "total"])
        for l, key in zip(lines[1:], ("weights", "kv", "compute", "tokenizer", "other", "total")):
            self.assertEqual(l[:23], "  %-10s %10s" % (l.split()[0], people(m[key])))
        self.assertIn("mapped from the file", lines[1])
        self.assertIn("read into memory", self.ok("inspect", LLAMA, "--memory", "--no-mmap").out)

    def test_context_that_fits(self):
        """The number that is named is the largest that fits: it does, a page more does not."""
        def plan(*args):
            return self.ok("inspect", LLAMA, "--json", *args).json()["memory"]
        self.assertEqual(plan()["n_ctx"], 512)
        long = self.path("long.gguf")
        change_gguf(LLAMA, long, {"llama.context_length": ("u32", 100000)})
        self.assertEqual(self.ok("inspect", long, "--json").json()["memory"]["n_ctx"], 4096)
        fixed = self.ok("inspect", long, "--json", "-c", 64).json()["memory"]
        for limit in (fixed["total"] + fixed["kv"], fixed["total"] + 2 * fixed["kv"] - 1, fixed["total"] + 20 * fixed["kv"] + 7):
            fits = self.ok("inspect", long, "--json", "--mem-limit", limit, "-c", 64).json()["memory"]["n_ctx_that_fits"]
            self.assertEqual(fits % 64, 0)
            per_page = fixed["kv"]
            self.assertEqual(fits // 64, (limit - (fixed["total"] - fixed["kv"])) // per_page)
            line = self.ok("inspect", long, "--memory", "--mem-limit", limit, "-c", 64).out.splitlines()[-1]
            self.assertTrue(line.endswith("; a context of %d does too" % fits if fits > 64 else "fits into 4.4 MB"), line)
        large = self.ok("inspect", long, "--json", "-c", 6400).json()["memory"]
        line = self.ok("inspect", long, "--memory", "--mem-limit", large["total"] - 1, "-c", 6400).out.splitlines()[-1]
        self.assertRegex(line, r"does NOT fit into .*; a context of 6336 would$")
        line = self.ok("inspect", long, "--memory", "--mem-limit", "1G", "-c", 6400).out.splitlines()[-1]
        self.assertRegex(line, r"  total +\S+ MB  fits into 1.0 GB; a context of \d+, all it was trained for, does too$")
        self.assertEqual(plan("--mem-limit", "1K")["n_ctx_that_fits"], 0)
        self.assertEqual(plan("--mem-limit", "1G", "-c", 64)["n_ctx_that_fits"], 512)
        line = self.ok("inspect", LLAMA, "--memory", "--mem-limit", "1G", "-c", 64).out.splitlines()[-1]
        self.assertTrue(line.endswith("fits into 1.0 GB; a context of 512, all it was trained for, does too"), line)
        line = self.ok("inspect", LLAMA, "--memory", "--mem-limit", "1G").out.splitlines()[-1]
        self.assertTrue(line.endswith("fits into 1.0 GB"), line)
        line = self.ok("inspect", LLAMA, "--memory", "--mem-limit", "1K").out.splitlines()[-1]
        self.assertTrue(line.endswith("does NOT fit into 1.0 KB"), line)

    def test_wrong_usage_shows_nothing(self):
        for args in (("-c", -5), ("--json", "-c", -5), ("--memory", "-ctk", "x"), ("--tensors", "-t", -1), ("--meta", "--mem-limit", -1)):
            r = cli_help.run("inspect", LLAMA, *args)
            self.assertEqual((r.status, r.out), (2, ""), args)

    def test_limits(self):
        """The context that run suggests works; less than the least is told, with what would help."""
        whole = self.ok("inspect", LLAMA, "--json", "-c", 64).json()["memory"]
        r = self.fails(1, "would fit", "run", LLAMA, "-p", "x", "-q", "-n", 1, "-c", 100000, "--mem-limit", whole["total"] + 3 * whole["kv"] + 5)
        fits = int(r.err.split("--ctx-size ")[-1].split()[0])
        self.assertEqual(fits, 256)
        r = self.fails(1, "the least is", "run", LLAMA, "-p", "x", "-q", "-n", 1, "--mem-limit", 200)
        self.assertIn(", with --ctx-size 64; a smaller --batch-size needs less\n", r.err)
        r = self.fails(1, "the least is", "run", LLAMA, "-p", "x", "-q", "-n", 1, "--mem-limit", 200, "-b", 64)
        self.assertTrue(r.err.endswith(", with --ctx-size 64\n"), r.err)
        rest = self.ok("inspect", LLAMA, "--json", "-c", 64).json()["memory"]
        self.assertEqual(rest["weights"] > 100000, True)
        r = self.fails(1, "the least is", "run", LLAMA, "-p", "x", "-q", "-n", 1, "--mem-limit", rest["total"] - 50000)
        self.assertIn("; --mem-weights cached does not count the mapped file\n", r.err)
        self.ok("run", LLAMA, "-p", "x", "-q", "-n", 1, "-c", 64, "--mem-limit", rest["total"] - 50000, "--mem-weights", "cached")

    def test_empty_prompts(self):
        """BOS, else an end token, begins a text of nothing; without either there is no way."""
        nothing = {"tokenizer.ggml.add_bos_token": ("bool", False), "tokenizer.chat_template": None}
        args = ("-p", "", "-n", 4, "--temp", "0", "--json", "--ignore-eos")
        path = self.path("p.gguf")
        change_gguf(LLAMA, path, nothing)
        self.assertEqual(self.ok("tokenize", path, "-p", "").out, "\n")
        r = self.ok("run", path, *args)
        self.assertEqual((r.json()["tokens"], r.json()["timings"]["prompt_n"]), (self.ok("run", LLAMA, "--raw", *args).json()["tokens"], 1))
        self.assertNotIn("template", r.err)
        change_gguf(LLAMA, path, {**nothing, "tokenizer.ggml.bos_token_id": None})
        end = self.ok("run", path, *args, "--verbose-prompt")
        self.assertEqual(end.json()["timings"]["prompt_n"], 1)
        self.assertEqual(int(end.err.split()[0]), 269)
        change_gguf(LLAMA, path, {**nothing, "tokenizer.ggml.bos_token_id": None, "tokenizer.ggml.eos_token_id": None, "tokenizer.ggml.eot_token_id": None})
        self.fails(1, "an empty prompt needs a model with a BOS or an end token", "run", path, *args)

    def test_more_ids_than_bytes(self):
        """Each space becomes the three bytes of U+2581 where the vocabulary has no token for it."""
        path = self.path("bytes.gguf")
        tokens = ["<unk>"] + ["<0x%02X>" % b for b in range(256)]
        write_gguf(path, [("general.architecture", "str", "llama"), ("tokenizer.ggml.model", "str", "llama"), ("tokenizer.ggml.tokens", "[str]", tokens),
                          ("tokenizer.ggml.scores", "[f32]", [0.0] * 257), ("tokenizer.ggml.token_type", "[i32]", [2] + [6] * 256), ("tokenizer.ggml.unknown_token_id", "u32", 0),
                          ("tokenizer.ggml.add_bos_token", "bool", False), ("tokenizer.ggml.add_space_prefix", "bool", False)])
        for n in (1, 3, 4, 5, 100, 1000):
            self.assertEqual(self.ok("tokenize", path, "-p", " " * n).out.split(), [str(1 + b) for b in b"\xe2\x96\x81" * n])

    def test_long_pieces(self):
        path = self.path("long.gguf")
        word = "ab" * 600
        write_gguf(path, [("general.architecture", "str", "llama"), ("tokenizer.ggml.model", "str", "llama"), ("tokenizer.ggml.tokens", "[str]", ["<unk>", word, "a", "b"]),
                          ("tokenizer.ggml.scores", "[f32]", [0.0] * 4), ("tokenizer.ggml.token_type", "[i32]", [2, 4, 1, 1]), ("tokenizer.ggml.unknown_token_id", "u32", 0),
                          ("tokenizer.ggml.add_bos_token", "bool", False), ("tokenizer.ggml.add_space_prefix", "bool", False)])
        pieces = self.ok("tokenize", path, "--json", "--parse-special", "-p", word + "a").json()
        self.assertEqual(pieces, [{"id": 1, "piece": word[:1024]}, {"id": 2, "piece": "a"}])

    def test_file_that_shrinks(self):
        """A mapped file that is truncated while it is used: the message names file and place, the signal is the system's."""
        path = self.path("shrinks.gguf")
        shutil.copy(LLAMA, path)
        p = subprocess.Popen([cli_help.MYNA, "run", path, "-p", "x", "-n", "100000000", "--ignore-eos", "-c", "300000", "--raw"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=cli_help.clean_env())
        p.stdout.read(10)
        os.truncate(path, 4096)
        _, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, -signal.SIGBUS)
        text = err.decode()
        self.assertRegex(text, r"^myna: .*shrinks\.gguf: offset \d+: cannot be read any more: was the file truncated\? \(--no-mmap reads it into memory\)\n$")
        self.assertIn(path, text)
        offset = int(text.split("offset ")[1].split(":")[0])
        self.assertTrue(4096 <= offset < os.path.getsize(LLAMA), offset)


class Numbers(Folder):
    def logits(self, ids, *args):
        out = self.path("o.npy")
        self.ok("logits", LLAMA, "--tokens", ",".join(map(str, ids)), "-o", out, *args)
        (rows, cols), x = read_npy(out)
        return [x[i * cols:(i + 1) * cols] for i in range(rows)]

    def test_perplexity_from_logits(self):
        """Windows of n_ctx tokens, the first is BOS, the second half is scored."""
        text = b"the quick brown fox, 12 of them; in a hat and the rain. " * 7
        ids = [int(x) for x in self.ok("tokenize", LLAMA, "-f", "-", stdin=text).out.split()]
        for n_ctx, chunks in ((32, -1), (33, 2), (4, 5), (5, -1), (64, 1), (len(ids), -1)):
            nll = []
            windows = len(ids) // n_ctx
            windows = windows if chunks < 0 else min(windows, chunks)
            for w in range(windows):
                window = [268] + ids[w * n_ctx + 1:(w + 1) * n_ctx]
                rows = self.logits(window)
                for i in range(n_ctx // 2, n_ctx - 1):
                    most = max(rows[i])
                    nll.append(math.log(sum(math.exp(v - most) for v in rows[i])) + most - rows[i][window[i + 1]])
            mean = sum(nll) / len(nll)
            var = sum(v * v for v in nll) / len(nll) - mean * mean
            error = math.sqrt(var / (len(nll) - 1)) * math.exp(mean) if len(nll) > 1 else 0
            r = self.ok("perplexity", LLAMA, "-f", "-", "--json", "-c", n_ctx, *(("--chunks", chunks) if chunks > 0 else ()), stdin=text).json()
            self.assertEqual((r["tokens"], r["windows"], r["n_ctx"], r["timings"]["prompt_n"]), (len(nll), windows, n_ctx, windows * n_ctx))
            self.assertLess(abs(r["ppl"] / math.exp(mean) - 1), 1e-5)
            self.assertLess(abs(r["ppl_stderr"] - error), 1e-3 * error + 1e-6)
            for key in ("prompt_s", "prompt_per_second", "load_s", "memory_bytes"):
                self.assertGreater(r["timings"][key], 0, key)
        plain = self.ok("perplexity", LLAMA, "-f", "-", "-c", 32, stdin=text)
        self.assertEqual(plain.out, self.ok("perplexity", LLAMA, "-f", "-", "-c", 32, stdin=text + b"\n").out)  # one newline at the end is dropped
        self.assertIn("end: done", plain.err)
        self.fails(1, "- is too short: %d tokens, one window has %d (--ctx-size)" % (len(ids), len(ids) + 1), "perplexity", LLAMA, "-f", "-", "-c", len(ids) + 1, stdin=text)
        self.fails(2, "--ctx-size 3: a window has at least 4 tokens", "perplexity", LLAMA, "-f", "-", "-c", 3, stdin=text)
        self.fails(2, "--chunks -2: a number of windows, or -1", "perplexity", LLAMA, "-f", "-", "--chunks", -2, stdin=text)
        self.fails(1, "No such file", "perplexity", LLAMA, "-f", "/nowhere/at/all")
        self.fails(1, "is too short", "perplexity", LLAMA, "-f", "-", stdin=b"")

    def test_perplexity_without_bos(self):
        path = self.path("p.gguf")
        change_gguf(LLAMA, path, {"tokenizer.ggml.add_bos_token": ("bool", False)})
        text = b"the quick brown fox, 12 of them"
        ids = [int(x) for x in self.ok("tokenize", path, "-f", "-", stdin=text).out.split()][:16]
        rows, nll = self.logits(ids), []
        for i in range(8, 15):
            nll.append(math.log(sum(math.exp(v) for v in rows[i])) - rows[i][ids[i + 1]])
        r = self.ok("perplexity", path, "-f", "-", "--json", "-c", 16, "--chunks", 1, stdin=text).json()
        self.assertLess(abs(r["ppl"] / math.exp(sum(nll) / 7) - 1), 1e-5)

    def rates(self, model, *args):
        return self.ok("bench", model, "-r", 1, "--json", *args).json()

    def test_rates(self):
        """GB/s and GOP/s are the weights of a step, and two operations per weight, times the measured speed."""
        checked = set()
        for name in sorted(os.listdir(FIXTURES)):
            if not name.endswith(".gguf"):
                continue
            j = self.ok("inspect", fixture(name), "--json").json()
            meta = j["metadata"]
            experts = [v for k, v in meta.items() if k.endswith(".expert_count")]
            used = [v for k, v in meta.items() if k.endswith(".expert_used_count")]
            share = used[0] / experts[0] if experts and used and experts[0] and used[0] else 1
            head = any(t["name"] == "output.weight" for t in j["tensors"])
            if (head, share) in checked:
                continue
            checked.add((head, share))
            size = weights = 0
            for t in j["tensors"]:
                if head and t["name"] == "token_embd.weight":
                    continue
                part = share if "_exps." in t["name"] else 1
                size += part * t["bytes"]
                weights += part * math.prod(t["shape"]) if len(t["shape"]) > 1 else 0
            for r in self.rates(fixture(name), "-p", "7,3", "-n", 5, "-B", "1,2", "-b", 3):
                steps = {"pp7": 3 / 7, "pp3": 1 / 3, "tg5": 1, "tg5x2": 1 / 2}[r["name"]]
                self.assertLess(abs(r["gbps"] - 1e-9 * size * r["avg_ts"] * steps), 0.001 + 1e-4 * r["gbps"], (name, r))
                self.assertLess(abs(r["gops"] - 2e-9 * weights * r["avg_ts"]), 0.001 + 1e-4 * r["gops"], (name, r))
                self.assertEqual(r["samples_ts"], [r["avg_ts"]])
                self.assertEqual((r["stddev_ts"], r["model"], r["type"]), (0, fixture(name), j["weight_type"]))
        self.assertGreater(len(checked), 2)

    def test_bench_arguments(self):
        for args, part in ((("-p", -1), "--n-prompt -1: numbers from 0 to 1048576 with commas between"), (("-p", 1048577), "--n-prompt 1048577"), (("-n", "-1"), "--n-gen -1"),
                           (("-n", 1048577), "--n-gen 1048577: numbers from 0 to 1048576"), (("-d", "-1"), "--n-depth -1: numbers from 0 to 1048576"), (("-d", "5,1048577"), "--n-depth 1048577"),
                           (("-B", 0), "--n-batch-decode 0: numbers from 1 to 256"), (("-B", 257), "--n-batch-decode 257"), (("-p", "1x"), "--n-prompt 1x"), (("-d", "x"), "--n-depth x"),
                           (("-r", 0), "--repetitions 0: 1 to 100"), (("-r", 101), "--repetitions 101: 1 to 100"), (("-p", 0, "-n", 0), "nothing to measure"), (("-t", -1), "--threads -1"),
                           (("-o", "xml"), "--output xml: md, csv or json")):
            self.fails(2, part, "bench", LLAMA, *args)
        self.assertEqual(len(self.ok("bench", LLAMA, "-p", 1, "-n", 0, "-r", 100, "--json").json()[0]["samples_ts"]), 100)
        names = [r["name"] for r in self.rates(LLAMA)]
        self.assertEqual(names, ["pp512", "tg128"])
        self.assertEqual(len(self.ok("bench", LLAMA, "-p", 1, "-n", 0, "--json").json()[0]["samples_ts"]), 5)
        self.fails(1, "--ctx-size 64", "bench", LLAMA, "-p", 1, "-n", 0, "--mem-limit", "1K")
        r = cli_help.run("bench", self.path("none.gguf"))
        self.assertEqual((r.status, r.out), (1, ""))

    def test_bench_table(self):
        md = self.ok("bench", LLAMA, "-p", "8,9", "-n", 0, "-r", 2, "-t", 2, "--cpu", "ref").out.splitlines()
        self.assertEqual(md[0], "| model | type | size | params | threads | cpu | test | t/s | GB/s | GOP/s |")
        self.assertEqual(len(md), 4)
        for line, name in zip(md[2:], ("pp8", "pp9")):
            self.assertRegex(line, r"^\| llama \| F32 \| 294\.5 KB \| 0\.07 M \| 2 \| ref \| %s \| \d+\.\d\d ± \d+\.\d\d \| \d+\.\d \| \d+ \|$" % name)
        path = self.path("n.gguf")
        change_gguf(LLAMA, path, {"general.name": ("str", 'a "b"\x1b')})
        csv = self.ok("bench", path, "-p", "8,9", "-n", 0, "-r", 1, "-o", "csv", "-t", 2).out.splitlines()
        self.assertEqual(csv[0], "name,model,type,n_threads,avg_ts,stddev_ts,gbps,gops")
        self.assertEqual(len(csv), 3)
        for line, name in zip(csv[1:], ("pp8", "pp9")):
            self.assertRegex(line, r'^%s,"a \'b\'\?",F32,2,\d+\.\d{6},0\.000000,\d+\.\d{3},\d+\.\d{3}$' % name)
        change_gguf(LLAMA, path, {"general.name": None})
        self.assertRegex(self.ok("bench", path, "-p", 8, "-n", 0, "-r", 1).out.splitlines()[2], r"^\| llama \| F32")

    def test_logits_of_many(self):
        """Errors of writing: no half file stays, a device does; what is written is what was asked for."""
        many = ",".join(str(i % 272) for i in range(200))
        out = self.path("o.npy")
        rows = self.logits([i % 272 for i in range(200)])
        self.assertEqual((len(rows), len(rows[0])), (200, 272))
        again = self.logits([i % 272 for i in range(200)], "-b", 7, "--exact")
        for a, b in zip(rows, again):
            self.assertLess(max(abs(x - y) for x, y in zip(a, b)), 1e-4)
        if os.path.exists("/dev/full"):
            self.fails(1, "/dev/full: No space left", "logits", LLAMA, "-q", "--tokens", many, "-o", "/dev/full")
        os.remove(out)

        def small():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        for tokens in (many, ",".join(["1"] * 12)):
            p = subprocess.run([cli_help.MYNA, "logits", LLAMA, "--tokens", tokens, "-o", out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli_help.clean_env(), preexec_fn=small)
            self.assertEqual((p.returncode, p.stdout), (1, b""))
            self.assertIn(b"o.npy: File too large", p.stderr)
            self.assertFalse(os.path.exists(out))
        self.fails(2, "logits wants", "logits", LLAMA, "--tokens", "1")
        self.fails(2, "logits wants", "logits", LLAMA, "-o", out)
        for bad, part in (("1;2", '"1;2" is no list of ids'), ("1,272", "272 is not in the vocabulary of 272"), ("-1", "-1 is not in the vocabulary"), ("1,", '"" is no list')):
            self.fails(2, part, "logits", LLAMA, "--tokens", bad, "-o", out)
        self.ok("logits", LLAMA, "--tokens", "271", "-o", out)
        with open(out, "rb") as f:
            data = f.read()
        self.assertEqual((data[:8], (10 + data[8] + 256 * data[9]) % 64, len(data) - 10 - data[8] - 256 * data[9]), (b"\x93NUMPY\x01\x00", 0, 4 * 272))
        self.assertEqual(data[9 + data[8] + 256 * data[9]:][:1], b"\n")
        self.fails(1, "cannot", "logits", self.path("none.gguf"), "--tokens", "1", "-o", out)
        self.fails(1, "the least is", "logits", LLAMA, "--tokens", "1", "-o", out, "--mem-limit", 100)

    def test_cache_of_measurements(self):
        """perplexity and logits compute with an F32 cache unless a flag chooses."""
        ids = list(range(40))
        name = "llama-256-q8_0.gguf"
        if not os.path.exists(fixture(name)):
            self.skipTest("no " + name)

        def rows(*args):
            out = self.path("c.npy")
            self.ok("logits", fixture(name), "--tokens", ",".join(map(str, ids)), "-o", out, *args)
            with open(out, "rb") as f:
                return f.read()
        self.assertEqual(rows(), rows("-ctk", "f32"))
        self.assertNotEqual(rows(), rows("-ctk", "bf16"))
        self.assertEqual(rows("-ctv", "bf16"), rows("-ctk", "bf16"))
        different = [rows("-ctk", k, "-ctv", v) for k in ("f32", "q8_0", "q4_0") for v in ("f32", "q8_0", "q4_0")]
        self.assertEqual(len(set(different)), 9)
        self.assertEqual(rows("-ctk", "q8_0"), rows("-ctk", "q8_0", "-ctv", "q8_0"))


if __name__ == "__main__":
    cli_help.main()
