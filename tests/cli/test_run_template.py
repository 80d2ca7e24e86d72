"""`myna run` by way of the model's chat template: what the model reads, what is written, reasoning, and answers that a grammar constrains.

usage: test_run_template.py BINARY [unittest arguments]."""
import json
import os
import shutil
import tempfile

import cli_help
from cli_help import SHIPPED, Case, change_gguf

PLAIN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if extra is defined %}{{ extra }}{% endif %}{% if add_generation_prompt %}[assistant]{% endif %}"
# opens the reasoning by itself unless it is switched off
THINK = ("{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>"
         "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}{% endif %}")


def chat_model(path, template, **more):
    """The model that ships, with a chat template."""
    change_gguf(SHIPPED, path, {"tokenizer.chat_template": ("str", template), **more})
    return path


class Base(Case):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp()
        cls.plain = chat_model(os.path.join(cls.dir, "plain.gguf"), PLAIN)
        cls.think = chat_model(os.path.join(cls.dir, "think.gguf"), THINK)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def path(self, name, content=None):
        path = os.path.join(self.dir, name)
        if content is not None:
            with open(path, "w", encoding="utf-8") as f:
                f.write(content)
        return path


class Template(Base):
    def prompt(self, *args, model=None, **kw):
        return self.ok("run", model or self.plain, "-q", "-n", 0, "--json", "--echo", *args, **kw).json()["prompt"]

    def test_prompt(self):
        self.assertEqual(self.prompt("-p", "Hi"), "[user]Hi\n[assistant]")
        self.assertEqual(self.prompt("-p", "Hi", "--raw"), "Hi")
        self.assertEqual(self.prompt("-p", "Hi", "--system", "Be\\nkind"), "[system]Be\nkind\n[user]Hi\n[assistant]")
        self.assertEqual(self.prompt("-p", "Hi", "--no-escape", "-sys", "Be\\nkind"), "[system]Be\\nkind\n[user]Hi\n[assistant]")
        self.assertEqual(self.prompt("-f", self.path("in.txt", "a\nb\n"), "-sysf", self.path("sys.txt", "be\n")), "[system]be\n[user]a\nb\n[assistant]")
        self.assertEqual(self.prompt(), "[user]\n[assistant]")
        self.assertEqual(self.prompt("-f", "-", stdin=b"a\xff\x00b"), "[user]a\ufffd\x00b\n[assistant]")
        self.assertEqual(self.prompt("-p", "Hi", "--prefill-response", "So"), "[user]Hi\n[assistant]So")
        self.assertEqual(self.prompt("-p", "Hi", "--chat-template-kwargs", '{"extra": "E"}'), "[user]Hi\nE[assistant]")

    def test_other_templates(self):
        other = "<{{ messages[0].content }}>{{ bos_token }}"
        for args in (["--chat-template", other], ["--chat-template", self.path("t.jinja", other)], ["--chat-template-file", self.path("t.jinja", other)]):
            self.assertTrue(self.prompt("-p", "Hi", *args).startswith("<Hi>"), args)
        self.assertEqual(self.prompt("-p", "Hi", "--chat-template", "chatml"), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
        self.assertEqual(self.prompt("-p", "Hi", "--chat-template", "chatml", model=SHIPPED), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
        self.assertEqual(self.prompt("-p", "Hi", model=SHIPPED), "Hi")  # without any the text is completed

    def test_the_model_reads_it(self):
        """The tokens are those of the rendered text; what is written is what is generated."""
        a = self.ok("run", self.plain, "-p", "Once", "-n", 12, "--temp", 0, "--json").json()
        b = self.ok("run", self.plain, "-p", "[user]Once\\n[assistant]", "--raw", "-n", 12, "--temp", 0, "--json").json()
        self.assertEqual((a["tokens"], a["text"]), (b["tokens"], b["text"]))
        self.assertEqual(a["timings"]["prompt_n"], b["timings"]["prompt_n"])
        self.assertNotIn("reasoning", b)
        self.assertEqual(a["reasoning"], "")
        self.assertEqual(self.ok("run", self.plain, "-p", "Once", "-n", 12, "--temp", 0).raw.decode(), a["text"] + "\n")
        raw = self.ok("run", self.plain, "-p", "Once", "-n", 12, "--temp", 0, "--raw", "--json").json()
        self.assertNotEqual(raw["tokens"], a["tokens"])
        echoed = self.ok("run", self.plain, "-p", "Once", "-n", 12, "--temp", 0, "--echo").raw.decode()
        self.assertEqual(echoed, "[user]Once\n[assistant]" + a["text"] + "\n")

    def test_wrong_ones(self):
        for args, part in [
            (["--chat-template", "{% if %}"], "--chat-template: template line 1: "),
            (["--chat-template", "{{ raise_exception('no such role') }}"], "no such role"),
            (["--chat-template-kwargs", "[1]"], "a JSON object is wanted"),
            (["--chat-template-kwargs", "{"], "--chat-template-kwargs: line 1, column 1"),
            (["--chat-template", "nonesuch"], "none of the built-in ones: "),
            (["--chat-template", "chatml", "--chat-template-file", "x"], "not both"),
            (["--system", "a", "--system-prompt-file", "b"], "not both"),
            (["--reasoning", "maybe"], "--reasoning maybe: on, off or auto"),
            (["--reasoning-budget", "-2"], "--reasoning-budget -2"),
            (["--chat-template-file", "/nowhere/x"], "No such file"),
            (["--system-prompt-file", "/nowhere/x"], "No such file"),
        ]:
            r = cli_help.run("run", self.plain, "-p", "x", *args)
            self.assertIn(r.status, (1, 2))
            self.assertIn(part, r.err)
            self.assertEqual(r.out, "")
        self.fails(2, "need a chat template", "run", SHIPPED, "-p", "x", "--system", "y", "-q")
        self.fails(2, "myna chat holds conversations", "run", self.plain, "-cnv")
        broken = chat_model(self.path("broken.gguf"), "a{% if %}")
        self.fails(1, "the model's chat template: template line 1: ", "run", broken, "-p", "x")
        self.ok("run", broken, "-p", "x", "-n", 1, "--raw")


class Reasoning(Base):
    def test_not_written(self):
        args = ("run", self.think, "-p", "Hi", "-n", 30, "--seed", 4, "--reasoning-budget", 6, "--ignore-eos")
        j = self.ok(*args, "--json").json()
        self.assertTrue(j["reasoning"])
        self.assertTrue(j["text"])
        self.assertNotIn("think>", j["text"] + j["reasoning"])
        self.assertEqual(self.ok(*args).raw.decode(), j["text"] + "\n")
        shown = self.ok(*args, "--show-reasoning").raw.decode()
        self.assertIn("</think>", shown)
        self.assertIn(j["reasoning"].strip(), shown)
        self.assertTrue(shown.endswith(j["text"] + "\n"))
        told = self.ok(*args, "--json", "--reasoning-budget-message", "Enough.").json()
        self.assertIn("Enough.", told["reasoning"])

    def test_off(self):
        for args in (["--reasoning", "off"], ["--reasoning-budget", 0], ["--chat-template-kwargs", '{"enable_thinking": false}']):
            j = self.ok("run", self.think, "-p", "Hi", "-n", 8, "--seed", 4, "--json", "--echo", *args).json()
            self.assertTrue(j["prompt"].endswith("<think>\n\n</think>\n\n"), j["prompt"])
            self.assertEqual(j["reasoning"], "")
            self.assertTrue(j["text"])

    def test_grammar_holds_behind_it(self):
        j = self.ok("run", self.think, "-p", "Hi", "-n", 60, "--seed", 4, "--reasoning-budget", 6, "--json", "--grammar", 'root ::= "yes" | "no"').json()
        self.assertIn(j["text"].strip(), ("yes", "no"))
        self.assertTrue(j["reasoning"])


class Constraints(Base):
    def test_kinds(self):
        for model in (self.plain, SHIPPED):
            for args, want in [
                (["--grammar", 'root ::= "yes" | "no"'], r"yes|no"),
                (["--grammar-file", self.path("g.gbnf", 'root ::= x x\nx ::= [ab]\n')], r"[ab]{2}"),
                (["--regex", "[0-9]{3}-[0-9]{2}"], r"[0-9]{3}-[0-9]{2}"),
            ]:
                for seed in (1, 2):
                    out = self.ok("run", model, "-p", "Hi", "-n", 20, "-q", "--seed", seed, *args).out
                    self.assertRegex(out, "^(%s)\n$" % want, args)
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3, "maximum": 5}, "w": {"enum": ["a", "b"]}},
                  "required": ["n", "w"], "additionalProperties": False}
        for args in (["-j", json.dumps(schema)], ["--json-schema-file", self.path("s.json", json.dumps(schema))]):
            got = json.loads(self.ok("run", self.plain, "-p", "Hi", "-n", 60, "-q", "--seed", 3, *args).out)
            self.assertIn(got["n"], (3, 4, 5))
            self.assertIn(got["w"], ("a", "b"))

    def test_closed_at_the_limit(self):
        out = self.ok("run", self.plain, "-p", "Hi", "-n", 4, "-q", "--seed", 3, "-j", '{"type":"object","properties":{"abc":{"type":"string"}},"required":["abc"]}').out
        self.assertIsInstance(json.loads(out)["abc"], str)

    def test_errors(self):
        """With the place: line and the line itself, or the part of the schema."""
        bad = 'root ::= x\nx ::= "a" nowhere\n'
        r = self.fails(2, "--grammar: line 2: ", "run", self.plain, "-p", "x", "--grammar", bad)
        self.assertIn('myna:   x ::= "a" nowhere\n', r.err)
        path = self.path("bad.gbnf", bad)
        self.fails(1, "%s: line 2: " % path, "run", self.plain, "-p", "x", "--grammar-file", path)
        self.fails(2, "--json-schema: #/properties/a/type", "run", self.plain, "-p", "x", "-j", '{"properties":{"a":{"type":"strin"}}}')
        self.fails(2, "--json-schema: offset ", "run", self.plain, "-p", "x", "-j", '{"type":')
        self.fails(2, "--regex: ", "run", self.plain, "-p", "x", "--regex", "[a")
        self.fails(2, "give --grammar or --regex, not both", "run", self.plain, "-p", "x", "--regex", "a", "--grammar", 'root ::= "a"')
        self.fails(1, "No such file", "run", self.plain, "-p", "x", "-jf", "/nowhere/x")


if __name__ == "__main__":
    cli_help.main()
