"""`myna chat` as a pipe (one line, one turn) and on a terminal: turns, commands, files, editing, Ctrl-C.

usage: test_chat.py BINARY [unittest arguments]. The grammars make the answers of the story model known."""
import fcntl
import json
import os
import re
import select
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import termios
import time
import unittest

import cli_help
from cli_help import SHIPPED, Case, change_gguf, run

PLAIN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
STRICT = "{% for m in messages %}{% if 'boom' in m.content %}{{ raise_exception('no boom here') }}{% endif %}[{{ m.role }}]{{ m.content }}\n{% endfor %}[assistant]"
THINK = ("{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}\n{% endfor %}{% if add_generation_prompt %}<|assistant|>"
         "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}{% endif %}")
OK = ("--grammar", 'root ::= "ok"')


class Base(Case):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp()
        cls.models = {}
        for name, template in (("plain", PLAIN), ("strict", STRICT), ("think", THINK)):
            path = os.path.join(cls.dir, name + ".gguf")
            change_gguf(SHIPPED, path, {"tokenizer.chat_template": ("str", template)})
            setattr(cls, name, path)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def chat(self, *args, lines="", status=0, model=None):
        stdin = lines if isinstance(lines, bytes) else lines.encode()
        r = run("chat", model or self.plain, *args, stdin=stdin, env={"XDG_STATE_HOME": self.path("state")})
        self.assertEqual(r.status, status, r.err)
        return r

    def messages(self, *args, lines, **kw):
        """What /save wrote at the end, as (role, content)."""
        path = self.path("saved.json")
        if os.path.exists(path):
            os.unlink(path)
        self.chat(*args, lines=lines + "/save %s\n" % path, **kw)
        with open(path, encoding="utf-8") as f:
            return [(m["role"], m["content"]) for m in json.load(f)]


class Pipe(Base):
    def test_one_line_one_turn(self):
        r = self.chat(*OK, lines="Hi\nthere\n")
        self.assertEqual(r.out, "ok\nok\n")
        self.assertEqual(r.err, "")
        self.assertEqual(self.chat(*OK, lines="Hi\r\n\n  \nthere").out, "ok\nok\n")  # blank lines are nothing
        self.assertEqual(self.chat(*OK).out, "")
        self.assertFalse(os.path.exists(self.path("state")))  # a pipe has no history

    def test_turns_follow_each_other(self):
        self.assertEqual(self.messages(*OK, lines="a\nb\n"), [("user", "a"), ("assistant", "ok"), ("user", "b"), ("assistant", "ok")])
        # the second turn is computed behind the first, and by the engine only what is new of it
        first, second = [json.loads(line) for line in self.chat("--json", "-n", 5, "-s", 1, "--ignore-eos", lines="Hello you\nAnd then\n").out.splitlines()]
        self.assertEqual((first["finish"], first["timings"]["gen_n"], first["timings"]["cached_n"]), ("length", 5, 0))
        self.assertGreaterEqual(second["timings"]["cached_n"], first["timings"]["prompt_n"])
        # and it is what `run` makes of the same text
        text = "[user]Hello you\\n[assistant]"
        self.assertEqual(first["content"], self.ok("run", self.plain, "--raw", "-p", text, "-n", 5, "-s", 1, "--ignore-eos", "-q", "--json").json()["text"])

    def test_several_lines(self):
        for lines, want in (("a\\\nb\\\n c\n", "a\nb\n c"), ('"""\na\n b\n"""\n', "a\n b"), ('"""a"""\n', "a"), ('"""a\n\n/quit\nb"""\n', "a\n\n/quit\nb"), ('say """x\n', 'say """x'),
                            ("//etc\n", "/etc"), ('"""\n//x\n"""\n', "//x"), ('"""\nnever closed\n', "never closed\n"), ("goes on\\\n", "goes on\n")):
            if "never" in want or "goes" in want:  # /save does not come: the input ends inside of the message
                self.assertEqual(self.chat(*OK, lines=lines).out, "ok\n", lines)
            else:
                self.assertEqual(self.messages(*OK, lines=lines)[:1], [("user", want)], lines)

    def test_bytes(self):
        self.assertEqual(self.chat(*OK, lines=b"a\xffb\xc3\xa9\n").out, "ok\n")
        self.assertEqual(self.chat(*OK, lines=b"a\x00b\n").out, "ok\n")

    def test_first_message(self):
        self.assertEqual(self.messages(*OK, "-p", "a\\nb", lines="c\n")[0], ("user", "a\nb"))
        self.assertEqual(self.messages(*OK, "-p", "/quit", "--system", "be", lines="")[:2], [("system", "be"), ("user", "/quit")])
        self.assertEqual(self.chat(*OK, "-p", "a", "-st", lines="b\n").out, "ok\n")
        self.assertEqual(self.chat(*OK, "--single-turn", lines="b\nc\n").out, "ok\n")
        with open(self.path("first.txt"), "w") as f:
            f.write("from\na file\n")
        self.assertEqual(self.messages(*OK, "-f", self.path("first.txt"), lines="")[0], ("user", "from\na file"))

    def test_without_a_template(self):
        r = self.chat("-n", 4, "-s", 1, lines="Once upon\na\n", model=SHIPPED)
        self.assertEqual(r.err.count("no chat template"), 1)
        self.assertEqual(r.err.count("\n"), 1)
        self.assertGreaterEqual(r.out.count("\n"), 2)
        self.assertEqual(self.chat(*OK, "--chat-template", "chatml", lines="x\n", model=SHIPPED).err, "")

    def test_failures(self):
        """A turn that fails takes its message along, the conversation goes on, the status tells."""
        long = "word " * 2000
        r = self.chat(*OK, "-c", 128, lines="a\n%s\nb\n" % long, status=1)
        self.assertEqual(r.out, "ok\nok\n")
        self.assertRegex(r.err, r"^myna: this message makes a prompt of \d+ tokens, the context holds 128: --ctx-size enlarges it\n$")
        r = self.chat(*OK, lines="a boom\nb\n", model=self.strict, status=1)
        self.assertEqual(r.out, "ok\n")
        self.assertIn("no boom here", r.err)
        for args, part in ((["-n", 0], "no answers"), (["-n", "-7"], "--predict"), (["--reasoning", "x"], "on, off or auto"), (["--mli"], "unknown flag"), (["-mli"], '"""')):
            self.fails(2, part, "chat", self.plain, *args)

    def test_reasoning(self):
        args = ("-n", 40, "-s", 4, "--reasoning-budget", 6)
        j = json.loads(self.chat(*args, "--json", lines="Hi\n", model=self.think).out)
        self.assertTrue(j["reasoning"])
        self.assertEqual(self.chat(*args, lines="Hi\n", model=self.think).out.strip(), j["content"].strip())
        self.assertIn("</think>", self.chat(*args, "--show-reasoning", lines="Hi\n", model=self.think).out)
        self.assertEqual(json.loads(self.chat("-n", 5, "--json", lines="/set reasoning off\nHi\n", model=self.think).out)["reasoning"], "")

    def test_full_context(self):
        """The oldest turns are left out, the system's message never; the file still has all."""
        lines = "".join("message number %d with some words more\n" % i for i in range(12))
        path = self.path("full.json")
        r = self.chat("-c", 192, "-n", 16, "-s", 1, "--ignore-eos", "--system", "You tell stories", "-v", lines=lines + "/show\n/save %s\n" % path)
        self.assertGreaterEqual(r.err.count("of the oldest messages are not seen by the model any more"), 2)
        self.assertRegex(r.err, r"messages  25, \d+ of them not seen any more\n")
        with open(path) as f:
            saved = json.load(f)
        self.assertEqual(len(saved), 25)
        for used in re.findall(r"context (\d+) of 192", r.err):
            self.assertLessEqual(int(used), 192)
        again = self.chat(*OK, "-c", 192, lines="/load %s\nmore\n" % path)
        self.assertEqual(again.out, "ok\n")
        self.assertIn("not seen by the model", again.err)

    def test_output_is_gone(self):
        with open("/dev/full", "wb") as full:
            p = subprocess.run([cli_help.MYNA, "chat", self.plain, *OK], input=b"a\nb\nc\n", stdout=full, stderr=subprocess.PIPE, env=cli_help.clean_env(), timeout=60)
        self.assertEqual(p.returncode, 1)
        self.assertEqual(p.stderr.count(b"No space left"), 1, p.stderr)

    def test_signal(self):
        p = subprocess.Popen([cli_help.MYNA, "chat", self.plain, "--ignore-eos", "--context-shift"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli_help.clean_env())
        p.stdin.write(b"Hi\nmore\n")
        p.stdin.flush()
        self.assertTrue(os.read(p.stdout.fileno(), 10))
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=60)
        self.assertEqual(p.returncode, 130, err)


class Commands(Base):
    def test_help_names_all(self):
        r = self.chat(lines="/help\n/h\n")
        self.assertEqual(r.out, "")
        for name in ("help", "system", "save", "load", "regenerate", "undo", "set", "show", "clear", "quit"):
            self.assertEqual(r.err.count("  /%s " % name), 2, name)

    def test_unknown(self):
        r = self.chat(*OK, lines="/hepl\n/xyzzy\n/s\n/\nhi\n", status=1)
        self.assertEqual(r.out, "ok\n")
        for part in ("did you mean /help?", "there is no /xyzzy", "/s is the beginning of several"):
            self.assertIn(part, r.err)
        self.assertEqual(self.chat(*OK, lines="/quit\nhi\n").out, "")
        self.assertEqual(self.chat(*OK, lines="/q\nhi\n").out, "")

    def test_system(self):
        self.assertEqual(self.messages(*OK, lines="a\n/system be  kind\nb\n")[:2], [("system", "be  kind"), ("user", "a")])
        self.assertEqual(self.messages(*OK, "--system", "x", lines="/system y\na\n")[:2], [("system", "y"), ("user", "a")])
        self.assertEqual(self.messages(*OK, "--system", "x", lines='/system ""\na\n')[0], ("user", "a"))
        self.assertIn("x y\n", self.chat("--system", "x y", lines="/system\n").err)
        self.assertIn("there is no system prompt", self.chat(lines="/system\n").err)

    def test_undo_and_clear(self):
        self.assertEqual(self.messages(*OK, lines="a\nb\n/undo\n"), [("user", "a"), ("assistant", "ok")])
        self.assertEqual(self.messages(*OK, lines="a\n/undo\n/undo\nc\n"), [("user", "c"), ("assistant", "ok")])
        self.assertEqual(self.messages(*OK, "--system", "s", lines="a\nb\n/clear\nc\n"), [("system", "s"), ("user", "c"), ("assistant", "ok")])

    def test_regenerate(self):
        args = ("-n", 8, "-s", 3, "--ignore-eos", "--json")
        answers = [json.loads(line)["content"] for line in self.chat(*args, lines="Hi\n/regenerate\n/regenerate\n").out.splitlines()]
        self.assertEqual(len(set(answers)), 3)  # a seed of its own each, and the same ones every time
        again = [json.loads(line)["content"] for line in self.chat(*args, lines="Hi\n/regenerate\n/regenerate\n").out.splitlines()]
        self.assertEqual(answers, again)
        self.assertEqual([role for role, _ in self.messages(*args, lines="Hi\n/regenerate\n")], ["user", "assistant"])
        r = self.chat(lines="/regenerate\n")
        self.assertIn("no message to answer again", r.err)

    def test_set(self):
        args = ("-n", 10, "--json", "--ignore-eos")
        flags = self.chat(*args, "-s", 5, "--temp", 2, "--top-p", 0.7, lines="Hi\n").out
        r = self.chat(*args, lines="/set seed 5\n/set temperature 2\n/set top_p=0.7\nHi\n")
        self.assertEqual(json.loads(r.out)["content"], json.loads(flags)["content"])
        self.assertEqual(json.loads(self.chat("--json", "--ignore-eos", lines="/set n_predict 3\nHi\n").out)["timings"]["gen_n"], 3)
        r = self.chat("--temp", 1, lines="/set temp 0.5\n/set stop X\\n\n/show\n/set temp\n/set\n")
        self.assertIn("  temp                 0.5\n", r.err)
        self.assertIn('"X\\n"', r.err)
        self.assertEqual(r.err.count("  temp   "), 1)
        for line, part in (("tpo_p 1", "did you mean top-p?"), ("temp hot", "wants a number"), ("top_p 7", "top_p is 7"), ("reasoning x", "on, off or auto"), ("model x", "nothing to set is called model"),
                           ("samplers nose", "is no sampler"), ("n_predict 0", "no answers"), ("mirostat 7", "mirostat")):
            r = self.chat(*OK, lines="/set %s\n/show\nHi\n" % line)
            self.assertIn(part, r.err, line)
            self.assertEqual(r.out, "ok\n", line)  # what was refused is not in force

    def test_show(self):
        r = self.chat(*OK, "-s", 5, "--system", "be", lines="Hi\n/show\n")
        for part in ("model     %s\n" % self.plain, "messages  3\n", "context   1024 tokens", "system    be\n", "  seed                 5\n", "tokens, ", "/s"):
            self.assertIn(part, r.err)
        self.assertEqual(r.out, "ok\n")
        self.assertRegex(self.chat(*OK, "-v", lines="Hi\n").err, r"prompt \d+ tokens, 0 of them known, [\d.]+/s \| answer \d+ tokens, [\d.]+/s \| context \d+ of 1024 \| end: stop\n")


class Files(Base):
    def test_round_trip(self):
        path = self.path("c.json")
        self.chat(*OK, "--system", "caf\u00e9 \"x\"\n", lines="one \u00e9\ntwo\n/save %s\n" % path)
        with open(path, encoding="utf-8") as f:
            saved = json.load(f)
        self.assertEqual(saved[0], {"role": "system", "content": "caf\u00e9 \"x\"\n"})
        self.assertEqual(len(saved), 5)
        self.assertEqual(self.messages(*OK, lines="gone\n/load %s\nthree\n" % path), [(m["role"], m["content"]) for m in saved] + [("user", "three"), ("assistant", "ok")])
        with open(path, "w") as f:
            json.dump({"model": "m", "messages": saved}, f)  # the body of a request does as well
        self.assertEqual(len(self.messages(*OK, lines="/load %s\n" % path)), 5)

    def test_reasoning_is_kept(self):
        path = self.path("r.json")
        self.chat("-n", 30, "-s", 4, "--reasoning-budget", 4, lines="Hi\n/save %s\n" % path, model=self.think)
        with open(path) as f:
            self.assertTrue(json.load(f)[1]["reasoning_content"])

    def test_loading_fails(self):
        """The conversation that is there stays."""
        bad = self.path("bad.json")
        for content, part in (("{", "line 1, column 1"), ("3", "bad.json: "), ("{}", "an array of messages"), ('[{"role":"user"}]', "message 0 has no content"), ('[{"role":"user","content":"a"},{"role":"king","content":"b"}]', "message 1: role must be"),
                              ("[1]", "message 0 is no object"), ('[{"role":"user","content":3}]', "no content"), ('[{"role":"user","content":"boom"}]', "no boom here")):
            with open(bad, "w") as f:
                f.write(content)
            path = self.path("kept.json")
            r = self.chat(*OK, lines="a\n/load %s\n/save %s\nb\n" % (bad, path), model=self.strict, status=1)
            self.assertIn(part, r.err)
            self.assertEqual(r.out, "ok\nok\n")
            with open(path) as f:
                self.assertEqual(len(json.load(f)), 2)
        self.assertIn("No such file", self.chat(lines="/load /nowhere/x\n", status=1).err)

    def test_saving_is_whole_or_not(self):
        folder = self.path("folder")
        os.mkdir(folder)
        path = os.path.join(folder, "c.json")
        with open(path, "w") as f:
            f.write("old")
        os.chmod(path, 0o640)
        link = os.path.join(folder, "link")
        os.symlink("c.json", link)
        self.chat(*OK, lines="a\n/save %s\n" % link)
        self.assertTrue(os.path.islink(link))
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
        with open(path) as f:
            self.assertEqual(len(json.load(f)), 2)
        self.assertEqual(sorted(os.listdir(folder)), ["c.json", "link"])
        for target, part in ((folder, "Is a directory"), ("/nowhere/x", "No such file"), ("/dev/full", "Invalid argument")):
            r = self.chat(*OK, lines="a\n/save %s\nb\n" % target, status=1)
            self.assertIn(part, r.err)
            self.assertEqual(r.out, "ok\nok\n")


class Session:
    """A chat on a terminal of its own."""

    def __init__(self, case, *args, env=None):
        self.master, slave = case.terminal()
        self.case, self.shown, self.at = case, b"", 0
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        more = {"TERM": "xterm", "HOME": case.dir, "XDG_STATE_HOME": case.path("state"), **(env or {})}
        self.p = subprocess.Popen([cli_help.MYNA, "chat", *map(str, args)], stdin=slave, stdout=slave, stderr=slave, env=cli_help.clean_env(**more), start_new_session=True,
                                  preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def until(self, part):
        """Reads until part was shown, behind what was looked at before; returns what was shown up to it."""
        part = part.encode()
        end = time.time() + 60
        while part not in self.shown[self.at:]:
            self.case.assertLess(time.time(), end, self.shown[self.at:])
            if not select.select([self.master], [], [], 1)[0]:
                continue
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                piece = b""
            self.case.assertTrue(piece, b"it ended: " + self.shown[self.at:])
            self.shown += piece
        at = self.shown.index(part, self.at)
        before, self.at = self.shown[self.at:at], at + len(part)
        # The editor shows its prompt before the terminal gives it the keys: earlier ones would be the terminal's.
        while part.endswith(b"> ") and self.p.poll() is None and termios.tcgetattr(self.master)[3] & termios.ICANON and time.time() < end:
            time.sleep(0.005)
        return before.decode("utf-8", "replace")

    def type(self, keys):
        os.write(self.master, keys if isinstance(keys, bytes) else keys.encode())

    def end(self):
        end = time.time() + 60
        while self.p.poll() is None and time.time() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                try:
                    self.shown += os.read(self.master, 65536)
                except OSError:
                    pass
        self.close()
        return self.p.returncode

    def close(self):
        if self.p.poll() is None:
            self.p.kill()
            self.p.wait()
        if self.master >= 0:
            os.close(self.master)
        self.master = -1


PROMPT = "\x1b[?2004h> "


class Terminal(Base):
    def session(self, *args, env=None, model=None):
        s = Session(self, model or self.plain, *args, env=env)
        self.addCleanup(s.close)
        return s

    def test_turn(self):
        s = self.session(*OK)
        self.assertIn("/help lists commands", s.until(PROMPT))
        s.type("h\u00e9llo\x7fO\r")  # a character is taken back whole
        self.assertIn("h\u00e9llo", s.until("\x1b[?2004l"))
        self.assertEqual(s.until(PROMPT), "ok\r\n\r\n")
        path = self.path("typed.json")
        s.type("/save %s\r" % path)
        s.until(PROMPT)
        s.type("\x04")
        self.assertEqual(s.end(), 0)
        with open(path) as f:
            self.assertEqual(json.load(f)[0]["content"], "h\u00e9llO")

    def test_pasted_lines_are_one_message(self):
        s = self.session(*OK)
        s.until(PROMPT)
        s.type("a\x1b[200~b\rc\x07\x1b[2J\td\r\x1b[201~e")
        s.until("e")
        s.type("\r")
        s.until("ok\r\n")
        s.until(PROMPT)
        path = self.path("pasted.json")
        s.type("/save %s\r" % path)
        s.until(PROMPT)
        s.type("/quit\r")
        self.assertEqual(s.end(), 0)
        with open(path) as f:
            self.assertEqual(json.load(f)[0]["content"], "ab\nc[2J\td\ne")

    def test_several_lines(self):
        s = self.session(*OK)
        s.until(PROMPT)
        s.type("a\\\r")
        s.until("\x1b[?2004h. ")
        s.type("b\r")
        s.until("ok\r\n")
        s.until(PROMPT)
        s.type('"""\r')
        s.until("\x1b[?2004h. ")
        s.type("\x03")  # takes the whole block back
        s.until(PROMPT)
        s.type("\x1b[A")  # the message as it was sent is in the history
        s.until("a\r\nb")
        s.type("\x15\x04")
        self.assertEqual(s.end(), 0)

    def test_history_file(self):
        state = {"XDG_STATE_HOME": self.path("own")}
        path = os.path.join(self.path("own"), "myna", "history")
        s = self.session(*OK, env=state)
        s.until(PROMPT)
        s.type("remember me\r")
        s.until(PROMPT)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)  # at once, not at the end
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)
        self.assertEqual(os.listdir(os.path.dirname(path)), ["history"])
        s.type("\x04")
        self.assertEqual(s.end(), 0)
        s = self.session(*OK, env=state)
        s.until(PROMPT)
        s.type("\x1b[A\r")
        s.until("remember me")
        s.until("ok\r\n")
        s.until(PROMPT)
        s.type("\x04")
        s.end()
        with open(path) as f:
            before = f.read()
        self.assertEqual(before.count("remember"), 1)
        s = self.session(*OK, "--no-history", env=state)
        s.until(PROMPT)
        s.type("secret\r")
        s.until("ok\r\n")
        s.until(PROMPT)
        s.type("\x04")
        s.end()
        with open(path) as f:
            self.assertEqual(f.read(), before)
        with open(path, "w") as f:
            f.write("notes of mine\n")
        s = self.session(*OK, env=state)  # a strange file is left alone
        self.assertIn("is no history", s.until(PROMPT))
        s.type("hi\r")
        s.until(PROMPT)
        s.type("\x04")
        s.end()
        with open(path) as f:
            self.assertEqual(f.read(), "notes of mine\n")

    def test_interrupt_at_the_prompt(self):
        s = self.session(*OK)
        s.until(PROMPT)
        s.type("half a li")
        s.until("half a li")
        s.type("\x03")
        self.assertNotIn("again", s.until(PROMPT))
        s.type("whole\r")
        s.until("ok\r\n")
        s.until(PROMPT)
        s.type("\x03")
        self.assertIn("Ctrl-C again or Ctrl-D leaves", s.until(PROMPT))
        s.type("x\x7f")
        s.until("x")
        time.sleep(0.2)  # the key must have been read: Ctrl-C drops what waits
        s.type("\x03")
        s.until("again")
        s.until(PROMPT)
        s.type("\x03")
        self.assertEqual(s.end(), 0)

    def test_interrupt_of_an_answer(self):
        """The conversation goes on with what was said so far."""
        s = self.session("--ignore-eos", "--context-shift", "-s", 2)
        s.until(PROMPT)
        s.type("Hi\r")
        s.until("\x1b[?2004l")
        s.until(" ")
        s.type("\x03")
        said = s.until(PROMPT)
        self.assertTrue(said)
        s.type("/show\r")
        self.assertIn("end: cancelled", s.until(PROMPT))
        path = self.path("stopped.json")
        s.type("/save %s\r" % path)
        s.until(PROMPT)
        s.type("\x04")
        self.assertEqual(s.end(), 0)
        with open(path) as f:
            saved = json.load(f)
        self.assertEqual([m["role"] for m in saved], ["user", "assistant"])
        self.assertTrue(saved[1]["content"])

    def test_reasoning_is_dimmed(self):
        args = ("-n", 40, "-s", 4, "--reasoning-budget", 6)
        for env, want in (({}, r"^\x1b\[2m[^\x1b]+\x1b\[0m\r\n\r\n[^\x1b\r]"), ({"NO_COLOR": "1"}, r"^\[reasoning\]\r\n[^\x1b]+\r\n\[answer\]\r\n[^\x1b\r]"),
                          ({"TERM": "dumb"}, r"^\[reasoning\]\r\n")):
            s = self.session(*args, env=env, model=self.think)
            s.until("> ")
            s.type("Hi\r")
            s.until("\x1b[?2004l")
            self.assertRegex(s.until("\x1b[?2004h"), want)
            s.until("> ")  # a key that comes earlier is the terminal's, not the editor's
            s.type("\x04")
            self.assertEqual(s.end(), 0)

    def test_answers_do_not_drive_the_terminal(self):
        s = self.session("--grammar", r'root ::= "a\x1b[31mb" "\x07"')
        s.until(PROMPT)
        s.type("Hi\r")
        s.until("\x1b[?2004l")
        self.assertEqual(s.until("\x1b[?2004h"), "a?[31mb?\r\n\r\n")
        s.until("> ")
        s.type("\x04")
        self.assertEqual(s.end(), 0)

    def test_completion(self):
        with open(self.path("some-long-name.json"), "w") as f:
            json.dump([{"role": "user", "content": "a"}], f)
        s = self.session(*OK)
        s.until(PROMPT)
        s.type("/lo\t%s\t" % self.path("some-lo"))
        s.until("ng-name.json")
        s.type("\r")
        self.assertIn("(1 messages from ", s.until(PROMPT))
        s.type("/s\t\x15a\tb\r")  # several begin with s; elsewhere it is a character
        s.until("ok\r\n")
        s.until(PROMPT)
        s.type("/undo\r")
        self.assertIn("with its answer: a b", s.until(PROMPT))
        s.type("\x04")
        self.assertEqual(s.end(), 0)

    def test_first_message_is_shown(self):
        s = self.session(*OK, "-p", "the first", "-st")
        self.assertIn("> the first\r\nok\r\n", s.until("\r\n\r\n") + "\r\n")
        self.assertEqual(s.end(), 0)

    def test_window(self):
        s = self.session(*OK)
        s.until(PROMPT)
        s.type("abc")
        s.until("abc")
        fcntl.ioctl(s.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
        s.p.send_signal(signal.SIGWINCH)
        s.type("d\r")
        s.until("ok\r\n")
        s.until(PROMPT)
        s.p.send_signal(signal.SIGTERM)
        self.assertEqual(s.end(), 143)


if __name__ == "__main__":
    cli_help.main()
