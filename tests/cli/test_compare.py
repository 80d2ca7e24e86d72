"""myna compare against small servers of Python's standard library: what it asks, what it counts, what it says when a server fails.

usage: test_compare.py BINARY [unittest arguments]"""
import http.server
import json
import os
import socket
import tempfile
import threading
import time
import unittest
import xml.etree.ElementTree

import cli_help
from cli_help import Case

PERSON = json.dumps({"name": "Ada", "age": 36, "member": True, "languages": ["English"]})


class Fake:
    """An OpenAI-compatible server; `json` answers requests with a schema, `status` breaks requests to chat, `plain` does not stream, `endless` streams long
    answers until the client has gone."""

    def __init__(self, json_text=PERSON, status=200, plain=False, usage=True, words=5, endless=False):
        fake = self
        self.bodies, self.lock, self.keys, self.cut = [], threading.Lock(), set(), 0

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def send(self, code, data, kind="application/json"):
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                assert self.path == "/v1/models", self.path
                self.send(200, b'{"object":"list","data":[{"id":"fake-model"}]}')

            def stream(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(b'data: {"choices": [{"delta": {"content": "on "}}]}\n\n')
                        time.sleep(0.002)
                except OSError:
                    fake.cut += 1
                self.close_connection = True

            def do_POST(self):
                assert self.path == "/v1/chat/completions", self.path
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with fake.lock:
                    fake.bodies.append(body)
                    fake.keys.add(self.headers.get("Authorization"))
                if status != 200:
                    return self.send(status, json.dumps({"error": {"message": "out of <order>\x1b[31m"}}).encode())
                if endless and body["max_tokens"] > 1000:
                    return self.stream()
                if endless and body["max_tokens"] == 1:
                    time.sleep(0.1)
                text = json_text if "response_format" in body else "one two three four five"
                pieces = [text] if "response_format" in body else [w + " " for w in text.split()[:words]]
                use = {"usage": {"completion_tokens": 7, "prompt_tokens": 11}} if usage else {}
                if plain:
                    return self.send(200, json.dumps({"choices": [{"message": {"content": text}}], **use}).encode())
                events = [{"choices": [{"delta": {"role": "assistant"}}]}]
                events += [{"choices": [{"delta": {"content": p}}]} for p in pieces] + [{"choices": [], **use}]
                self.send(200, "".join("data: %s\r\n\r\n" % json.dumps(e) for e in events).encode() + b"data: [DONE]\n\n", "text/event-stream")

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.server.shutdown()
        self.server.server_close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Compare(Case):
    def test_json(self):
        with Fake() as a, Fake(json_text='{"name":"Ada"}') as b:
            r = self.ok("compare", "a=" + a.url, "b=" + b.url + "/v1/", "--rounds", 3, "--clients", "1,3", "--sizes", "176,828", "--json").json()
            self.assertEqual(r["rounds"], 3)
            self.assertEqual([(s["name"], s["model"], s["json_valid"], s["json_total"]) for s in r["servers"]], [("a", "fake-model", 3, 3), ("b", "fake-model", 0, 3)])
            self.assertEqual([(x["server"], x["characters"]) for x in r["latency"]], [("a", 176), ("b", 176), ("a", 828), ("b", 828)])
            for x in r["latency"]:
                self.assertEqual((x["tokens_p50"], x["failed"], x["requests"]), (7, 0, 3))
                self.assertLessEqual(x["p50_s"], x["p90_s"])
                self.assertLessEqual(x["first_p50_s"], x["p50_s"])
                self.assertGreater(x["ratio"], 0)
            self.assertEqual([(x["clients"], x["requests"]) for x in r["throughput"]], [(1, 6), (1, 6), (3, 18), (3, 18)])
            self.assertEqual(r["throughput"][0]["ratio"], 1)
            # warm-up, sizes, clients, JSON: the same for both servers, and no text of a round twice
            self.assertEqual(len(a.bodies), 1 + 3 * (2 + 2 + 6 + 1))
            texts = sorted(x["messages"][0]["content"] for x in a.bodies)
            self.assertEqual(texts, sorted(x["messages"][0]["content"] for x in b.bodies))
            plain = [x for x in a.bodies if "response_format" not in x]
            self.assertEqual({len(x["messages"][0]["content"]) for x in plain}, {176, 828})
            self.assertEqual({x["max_tokens"] for x in plain}, {80})
            self.assertEqual({x["temperature"] for x in plain}, {0})

    def test_order_changes(self):
        order = []
        with Fake() as a, Fake() as b:
            for name, fake in (("a", a), ("b", b)):
                fake.bodies = type("L", (list,), {"append": lambda self, x, name=name: order.append(name)})()
            self.ok("compare", a.url.join(["x=", ""]), "y=" + b.url, "-r", 2, "--sizes", "176", "--clients", "1", "--warmup", 0, "--no-json-check")
        self.assertEqual("".join(order), "ab" + "aabb" + "ba" + "bbaa")

    def test_table_and_chart(self):
        with Fake(plain=True) as a, Fake(usage=False) as b, tempfile.TemporaryDirectory() as d:
            chart = os.path.join(d, "c.svg")
            r = self.ok("compare", "one=" + a.url, "<two>=" + b.url, "-r", 1, "--clients", "2", "-n", 9, "--chart", chart, "--api-key", "secret", "-m", "chosen")
            self.assertEqual(r.err, "")
            lines = r.out.splitlines()
            row = next(x for x in lines if x.startswith("| <two> | 176 |"))
            self.assertEqual(row.split("|")[7].strip(), "5")  # without usage pieces are counted
            self.assertEqual(next(x for x in lines if x.startswith("| one | 1747 |")).split("|")[7].strip(), "7")
            self.assertIn("| one | 1 of 1 | 100 % |", lines)
            self.assertEqual(a.keys, {"Bearer secret"})
            self.assertEqual({(x["model"], x["max_tokens"]) for x in a.bodies if "response_format" not in x}, {("chosen", 9)})
            root = xml.etree.ElementTree.parse(chart).getroot()
            texts = [t.text or "" for t in root.iter("{http://www.w3.org/2000/svg}text")]
            self.assertTrue(any(t.startswith("<two>") for t in texts), texts)
            self.assertIn("1747", texts)
            self.assertEqual(len(list(root.iter("{http://www.w3.org/2000/svg}title"))), 8)

    def test_long_prompts(self):
        flags = ["-r", 2, "--clients", "1", "--sizes", "176", "--warmup", 0, "--no-json-check", "--long-prompt", 5000, "--prefix", 3000]
        with Fake(endless=True) as a, Fake() as b:
            r = self.ok("compare", "a=" + a.url, "b=" + b.url, *flags, "--json")
            one, two = r.json()["servers"]
            long = one["long_prompt"]
            self.assertEqual((long["failed"], long["tokens"], two["long_prompt"]["failed"]), (0, 11, 2))
            self.assertGreaterEqual(long["alone_s"], 0.1)
            self.assertGreaterEqual(long["beside_s"], 0.1)
            for key in ("growth", "stream_s", "stream_beside_s", "stream_growth"):
                self.assertGreater(long[key], 0)
            self.assertGreaterEqual(long["stream_longest_s"], long["stream_beside_s"])
            self.assertIsNone(two["long_prompt"]["stream_s"])
            self.assertIn("b: requests failed, the first one with: the stream ended early", r.err)
            texts = [x["messages"][0]["content"] for x in a.bodies]
            self.assertEqual(len(texts), len(set(texts)))
            self.assertEqual([len(t) for t in texts].count(5000), 4)
            shared = [t for t in texts if len(t) == 3081]
            self.assertEqual(len(shared), 4)
            self.assertEqual(len({t[:3000] for t in shared}), 2)  # two questions to the prefix of each round
            for key in ("first_s", "again_s", "question_s"):
                self.assertGreater(two["prefix"][key], 0)
            out = self.ok("compare", "a=" + a.url, *flags).out
            self.assertIn("A prompt of 5000 characters, alone and beside", out)
            self.assertIn("share their first 3000 characters", out)
            end = time.time() + 10
            while a.cut < 4 and time.time() < end:
                time.sleep(0.01)
            self.assertEqual(a.cut, 4)  # streams are given up when the prompt was read

    def test_failures(self):
        port = free_port()
        with Fake() as a, Fake(status=503) as broken:
            self.fails(1, "down (http://127.0.0.1:%d) does not answer: " % port, "compare", "a=" + a.url, "down=http://127.0.0.1:%d" % port)
            self.fails(1, "broken (%s) does not answer: status 503: out of <order>" % broken.url, "compare", "a=" + a.url, "broken=" + broken.url)
            r = self.ok("compare", "a=" + a.url, "broken=" + broken.url, "-r", 1, "--clients", "1", "--sizes", "176", "--warmup", 0)
            self.assertIn("broken: requests failed, the first one with: status 503", r.err)
            self.assertNotIn("\x1b", r.err)
            self.assertIn("| broken | 176 | - | - | - | - | - | - | 1 |", r.out)

    def test_usage(self):
        url = "http://127.0.0.1:1"
        for args, part in [
            ([], "which servers?"),
            (["x"], "a server is NAME=URL"),
            (["a=" + url, "a=" + url], "two servers are named a"),
            (["a=" + url, "--clients", "0"], "--clients 0: numbers from 1 to 256"),
            (["a=" + url, "--sizes", "1x"], "--sizes 1x"),
            (["a=" + url, "--rounds", "-1"], "--rounds -1"),
            (["a=" + url, "--chart", "x.gif"], "--chart x.gif"),
            (["a=" + url, "--warmup", "101"], "--warmup 101"),
            (["a=" + url, "--prefix", "-1"], "--prefix -1"),
            (["a=" + url, "--long-prompt", "1048577"], "--long-prompt 1048577"),
        ]:
            self.fails(2, part, "compare", *args)


if __name__ == "__main__":
    cli_help.main()
