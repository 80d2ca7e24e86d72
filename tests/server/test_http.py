"""The transport of `myna serve`: limits, keys, origins, streams, hang-up, shutdown. Python 3 standard library only."""
import http.client
import json
import os
import signal
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "myna-stories.gguf")
MYNA = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "myna")
LONG = {"prompt": "Once upon a time", "max_tokens": 400, "stream": True, "ignore_eos": True}


class Server:
    """The binary on a port of its own choice."""

    def __init__(self, *args, threads=2):
        env = {k: v for k, v in os.environ.items() if not k.startswith("MYNA_") or k == "MYNA_CPU"}
        self.p = subprocess.Popen([MYNA, "serve", "-m", MODEL, "--port", "0", "-t", str(threads), "-c", "512", *args], stderr=subprocess.PIPE, env=env)
        self.log, self.port = [], None
        for line in self.p.stderr:
            if line.startswith(b"{") and json.loads(line)["event"] == "listening":
                self.port = json.loads(line)["port"]
                break
            self.log.append(line)
        if self.port is None:
            self.p.stderr.close()
            raise RuntimeError(f"no server: {self.p.wait()} {self.log}")
        self.reader = threading.Thread(target=lambda: self.log.extend(self.p.stderr), daemon=True)
        self.reader.start()

    def call(self, method, path, body=None, **headers):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            c.request(method, path, data, {k.replace("_", "-"): v for k, v in headers.items()})
            r = c.getresponse()
            return r.status, dict(r.getheaders()), r.read()
        finally:
            c.close()

    def metric(self, name):
        for line in self.call("GET", "/metrics")[2].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise KeyError(name)

    def wait_for(self, what):
        end = time.monotonic() + 60
        while not what():
            if time.monotonic() > end:
                raise AssertionError("did not come about")
            time.sleep(0.02)

    def raw(self, data):
        """Bytes in, bytes out until the server closes or says nothing for a while."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
            s.sendall(data)
            out = b""
            try:
                while True:
                    more = s.recv(65536)
                    if not more:
                        return out
                    out += more
                    if b"\r\n\r\n" in out:
                        return out
            except OSError:
                return out

    def stop(self, sig=signal.SIGTERM):
        self.p.send_signal(sig)
        return self.ended()

    def ended(self):
        rc = self.p.wait(60)
        self.reader.join(10)
        self.p.stderr.close()
        return rc


def events(body):
    return [line[6:] for line in body.decode().split("\n\n") if line.startswith("data: ")]


class Slots(unittest.TestCase):
    def test_save_and_restore(self):
        with tempfile.TemporaryDirectory() as d:
            ask = {"prompt": "Once upon a time there was a little dog", "n_predict": 12, "temperature": 0, "id_slot": 1, "ignore_eos": True}
            s = Server("-np", "3", "--slot-save-path", d)
            try:
                first = json.loads(s.call("POST", "/completion", ask)[2])
                n = first["timings"]["prompt_n"] + 12 - 1
                status, _, body = s.call("POST", "/slots/1?action=save", {"filename": "one.bin"})
                saved = json.loads(body)
                self.assertEqual((status, saved["id_slot"], saved["filename"], saved["n_saved"]), (200, 1, "one.bin", n))
                self.assertEqual(saved["n_written"], os.path.getsize(os.path.join(d, "one.bin")))
                self.assertGreater(saved["timings"]["save_ms"], 0)
                status, _, body = s.call("POST", "/slots/1?action=erase")
                self.assertEqual((status, json.loads(body)["n_erased"]), (200, n + 1))
                self.assertEqual(json.loads(s.call("POST", "/completion", ask)[2])["timings"]["prompt_n"], first["timings"]["prompt_n"])
                for path, ask_for, want in (("/slots/9?action=save", {"filename": "x"}, 400), ("/slots/1?action=save", {"filename": "../x"}, 400),
                                            ("/slots/1?action=save", {}, 400), ("/slots/1?action=fly", {"filename": "x"}, 400), ("/slots/2?action=save", {"filename": "x"}, 400),
                                            ("/slots/1?action=restore", {"filename": "none.bin"}, 400), ("/slots/x?action=erase", {}, 400)):
                    self.assertEqual(s.call("POST", path, ask_for)[0], want, path)
            finally:
                s.stop()
            s = Server("-np", "3", "--slot-save-path", d)
            try:
                back = json.loads(s.call("POST", "/slots/0?action=restore", {"filename": "one.bin"})[2])
                self.assertEqual((back["n_restored"], back["n_read"], back["id_slot"]), (n, saved["n_written"], 0))
                again = json.loads(s.call("POST", "/completion", dict(ask, id_slot=0))[2])
                self.assertEqual((again["timings"]["prompt_n"], again["content"], again["id_slot"]), (1, first["content"], 0))
            finally:
                s.stop()
            s = Server()
            try:
                self.assertEqual(s.call("POST", "/slots/0?action=save", {"filename": "x"})[0], 501)
            finally:
                s.stop()


class Plain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.s = Server("-np", "8", "--max-body", "20000")

    @classmethod
    def tearDownClass(cls):
        assert cls.s.stop() == 0

    def test_health_and_ids(self):
        status, headers, body = self.s.call("GET", "/health", X_Request_Id="mine-1")
        self.assertEqual((status, json.loads(body), headers["X-Request-Id"]), (200, {"status": "ok"}, "mine-1"))
        _, headers, _ = self.s.call("GET", "/health", X_Request_Id="not ok; x")
        self.assertTrue(headers["X-Request-Id"].startswith("req-"))
        for path in ("/v1/models", "/props", "/slots", "/metrics"):
            self.assertEqual(self.s.call("GET", path)[0], 200, path)
        self.assertEqual(len(json.loads(self.s.call("GET", "/slots")[2])), 8)

    def test_other_programs(self):
        """What llama-server's clients look at besides."""
        props = json.loads(self.s.call("GET", "/props")[2])
        self.assertEqual((props["endpoint_slots"], props["endpoint_metrics"], props["modalities"]["video"]), (True, True, False))
        self.assertEqual(props["default_generation_settings"]["params"]["seed"], 2**32 - 1)
        for path in ("/infill", "/embedding", "/v1/embeddings", "/rerank", "/v1/rerank"):
            self.assertEqual(self.s.call("POST", path, {"input": "a"})[0], 501, path)
        self.assertEqual(json.loads(self.s.call("GET", "/lora-adapters")[2]), [])
        self.assertEqual(json.loads(self.s.call("POST", "/lora-adapters", b"[]")[2]), {"success": True})
        for body in (b"[{\"id\": 0, \"scale\": 1}]", b"{}", b"nonsense"):
            self.assertEqual(self.s.call("POST", "/lora-adapters", body)[0], 400, body)
        self.assertEqual(json.loads(self.s.call("GET", "/v1/models")[2])["models"][0]["details"]["format"], "gguf")

    def test_busy_slots(self):
        c = http.client.HTTPConnection("127.0.0.1", self.s.port)
        c.request("POST", "/completion", json.dumps({"prompt": "Once", "n_predict": -1, "stream": True, "ignore_eos": True, "temperature": 0}), {"Content-Type": "application/json"})
        r = c.getresponse()
        r.readline()
        rows = json.loads(self.s.call("GET", "/slots")[2])
        r.close()
        c.close()
        busy = [row for row in rows if row["is_processing"]]
        self.assertEqual((len(rows), [row["id"] for row in rows]), (8, list(range(8))))
        for row in busy:  # it may have come to its end
            self.assertTrue(row["params"]["ignore_eos"])
            self.assertGreaterEqual(row["next_token"][0]["n_decoded"], 1)
            self.assertGreater(row["id_task"], 0)

    def test_paths(self):
        self.assertEqual(self.s.call("GET", "/nothing")[0], 404)
        self.assertEqual(self.s.call("GET", "/v1/completions")[0], 405)
        self.assertEqual(self.s.call("POST", "/health", b"{}")[0], 405)
        status, _, body = self.s.call("POST", "/v1/completions", b"{not json")
        self.assertEqual((status, json.loads(body)["error"]["type"]), (400, "invalid_request_error"))

    def test_answer_is_the_stream(self):
        ask = {"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0}
        status, _, body = self.s.call("POST", "/v1/completions", ask)
        self.assertEqual(status, 200)
        text = json.loads(body)["choices"][0]["text"]
        status, headers, body = self.s.call("POST", "/v1/completions", dict(ask, stream=True))
        self.assertEqual((status, headers["Content-Type"]), (200, "text/event-stream"))
        got = events(body)
        self.assertEqual(got[-1], "[DONE]")
        self.assertEqual("".join(json.loads(e)["choices"][0]["text"] for e in got[:-1]), text)
        self.assertGreater(len(text), 10)

    def test_body_limit(self):
        self.assertEqual(self.s.call("POST", "/tokenize", {"content": "x" * 15000})[0], 200)
        out = self.s.raw(b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20001\r\n\r\n{")
        self.assertTrue(out.startswith(b"HTTP/1.1 413"), out[:80])
        chunk, head = b"2710\r\n" + b" " * 10000 + b"\r\n", b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertTrue(self.s.raw(head + chunk + b"2\r\n{}\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200"))
        self.assertTrue(self.s.raw(head + 3 * chunk + b"0\r\n\r\n").startswith(b"HTTP/1.1 413"))
        self.assertEqual(self.s.raw(head + 20 * chunk), b"")  # who sends without end is cut off

    def test_hostile_bodies(self):
        # No field, however wrong, is more than a 400; what is merely odd is answered.
        odd, wrong, tool = '"prompt":"Tom","max_tokens":1', [], '"messages":[{"role":"user","content":"Tom"}],"max_tokens":1'
        for more in ('"n_probs":NaN', '"seed":1e400', '"seed":' + "9" * 400, '"x":' + "[" * 3000 + "]" * 3000, '"stop":"\\ud800"', '"stop":[["a"]]', '"logit_bias":[[5,true]]', '"stop":"a\\u0000b"',
                     '"n":2,"best_of":1', '"max_tokens":-2', '"max_tokens":1e300', '"prompt":[1.5]', '"prompt":[]', '"json_schema":' + '{"items":' * 1900 + "{}" + "}" * 1900, '"grammar":"root ::= root"'):
            wrong.append(("/v1/completions", "{%s,%s}" % (odd, more)))
        for more in ('"tools":[null]', '"tools":[{"name":5}]', '"messages":[null]', '"messages":[{"role":"user","content":[[]]}]', '"tool_choice":{"type":"allowed_tools"}', '"response_format":{"type":[]}',
                     '"chat_template_kwargs":[]'):
            wrong.append(("/v1/chat/completions", "{%s,%s}" % (tool, more)))
        for path, body in wrong:
            status, _, answer = self.s.call("POST", path, body.encode())
            self.assertEqual((status, json.loads(answer)["error"]["type"]), (400, "invalid_request_error"), body[:120])
        for more in ('"prompt":"a","prompt":"Tom"', '"stop":["",""]', '"logit_bias":{"5":1e300,"6":-1e300}', '"logit_bias":[]', '"":[{}]', '"prompt":["",[],[1],"a"]', '"prompt":"\\ud83d\\ude00"', '"n":3,"best_of":3', '"json_schema":"{}"', '"samplers":"?"',
                     '"logit_bias":{"999999999999999999999":1}', '"prompt":"a\\u0000b"'):
            status, _, answer = self.s.call("POST", "/v1/completions", ("{%s,%s}" % (odd, more)).encode())
            self.assertEqual(status, 200, more + str(answer))
        pieces = json.loads(self.s.call("POST", "/tokenize", b'\xef\xbb\xbf{"content":"a\\u0000b","with_pieces":true}')[2])["tokens"]
        self.assertEqual("".join(p["piece"] for p in pieces).strip(), "a\0b")  # and a mark of UTF-8 before the body is none of it

    def test_echo_with_logprobs_streams(self):
        ask = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0, "echo": True, "logprobs": 2}
        whole = json.loads(self.s.call("POST", "/v1/completions", ask)[2])["choices"][0]
        got = [json.loads(e)["choices"][0] for e in events(self.s.call("POST", "/v1/completions", dict(ask, stream=True))[2])[:-1]]
        self.assertEqual("".join(c["text"] for c in got), whole["text"])
        for name in ("tokens", "text_offset", "token_logprobs"):
            joined = [x for c in got if c["logprobs"] for x in c["logprobs"][name]]
            if name != "token_logprobs":
                self.assertEqual(joined, whole["logprobs"][name])
            self.assertEqual(len(joined), len(whole["logprobs"]["tokens"]))

    def test_foreign_pages(self):
        own = f"http://127.0.0.1:{self.s.port}"
        self.assertEqual(self.s.call("GET", "/health", Origin=own)[0], 200)
        self.assertEqual(self.s.call("GET", "/health", Origin="http://evil.example")[0], 403)
        self.assertEqual(self.s.call("GET", "/health", Origin="null")[0], 403)
        self.assertEqual(self.s.call("GET", "/health", Host="evil.example")[0], 403)
        self.assertEqual(self.s.call("GET", "/health", Host="localhost:1")[0], 200)
        # Refused before the body comes.
        out = self.s.raw(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 1000\r\n\r\n")
        self.assertTrue(out.startswith(b"HTTP/1.1 403"), out[:80])

    def test_malformed(self):
        for data in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
                     b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200000 + b"\r\n\r\n", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                     b"GET /health HTTP/1.1\r\n\r\n"):
            out = self.s.raw(data)
            self.assertFalse(out.startswith(b"HTTP/1.1 200"), data[:60])
        self.assertEqual(self.s.call("GET", "/health")[0], 200)

    def test_hang_up_cancels(self):
        for stream in (True, False):
            before = self.s.metric("myna_requests_cancelled_total")
            c = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=60)
            c.request("POST", "/v1/completions", json.dumps(dict(LONG, stream=stream, n=4)))
            if stream:
                r = c.getresponse()
                r.read(10)
                r.close()
            else:
                self.s.wait_for(lambda: self.s.metric("llamacpp:requests_processing") > 0)
            c.close()
            self.s.wait_for(lambda: self.s.metric("llamacpp:requests_processing") == 0)
            self.assertGreater(self.s.metric("myna_requests_cancelled_total"), before, f"stream {stream}")

    def test_hundred_streams_and_idle_connections(self):
        idle = [socket.create_connection(("127.0.0.1", self.s.port)) for _ in range(50)]
        results = []

        def one(i):
            status, _, body = self.s.call("POST", "/v1/completions", {"prompt": "The cat", "max_tokens": 8, "temperature": 0, "stream": True, "ignore_eos": True})
            got = events(body)
            results.append((status, got[-1], "".join(json.loads(e)["choices"][0]["text"] for e in got[:-1])))

        threads = [threading.Thread(target=one, args=(i,)) for i in range(100)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
        for s in idle:
            s.close()
        self.assertEqual(len(results), 100)
        self.assertEqual(len(set(results)), 1, set(results))
        self.assertEqual(results[0][:2], (200, "[DONE]"))

    def test_models(self):
        name = json.loads(self.s.call("GET", "/v1/models")[2])["data"][0]["id"]
        self.assertEqual(name, "myna-stories.gguf")
        status, _, body = self.s.call("GET", f"/v1/models/{name}")
        self.assertEqual((status, json.loads(body)["id"]), (200, name))
        for path in ("/v1/models/other", "/v1/models/"):
            self.assertEqual(self.s.call("GET", path)[0], 404, path)
        self.assertEqual(self.s.call("POST", "/props", b"{}")[0], 501)

    def test_signs_of_life(self):
        # The stream that waits is silent: every place is taken by a request that nobody has to wait for.
        c = [http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=60) for _ in range(8)]
        for x in c:
            x.request("POST", "/v1/completions", json.dumps(dict(LONG, max_tokens=490)))
            x.getresponse().read(1)
        try:
            w = http.client.HTTPConnection("127.0.0.1", self.s.port, timeout=60)
            w.request("POST", "/v1/completions", json.dumps({"prompt": "Hi", "max_tokens": 1, "stream": True, "sse_ping_interval": 1}))
            body = w.getresponse().read()
            w.close()
            self.assertTrue(body.endswith(b"data: [DONE]\n\n"), body)
            for line in body.split(b"\n\n")[:-1]:
                self.assertTrue(line == b":" or line.startswith(b"data: "), line)
        finally:
            for x in c:
                x.close()

    def test_large_bodies_keep_nobody_waiting(self):
        # A stream goes on while long texts are tokenized; both come out right.
        ask, texts = {"prompt": "Once upon a time", "max_tokens": 60, "temperature": 0, "stream": True}, []
        alone = self.s.call("POST", "/v1/completions", ask)[2]
        t = threading.Thread(target=lambda: texts.extend(self.s.call("POST", "/tokenize", {"content": "word " * 3900})[0] for _ in range(10)))
        t.start()
        beside = self.s.call("POST", "/v1/completions", ask)[2]
        t.join(60)
        text = ["".join(json.loads(e)["choices"][0]["text"] for e in events(b)[:-1]) for b in (alone, beside)]
        self.assertEqual(text[0], text[1])
        self.assertEqual(texts, [200] * 10)

    def test_pages_of_this_machine(self):
        s = Server("--cors-origins", "localhost")
        try:
            for origin, allowed in (("http://localhost", 1), ("http://localhost:8080", 1), ("https://127.0.0.1:3000", 1), ("http://[::1]:3000", 1), ("http://notlocalhost", 0), ("http://localhost.evil.example", 0),
                                    ("http://127.0.0.1.evil.example", 0), ("localhost", 1), ("null", 0)):
                self.assertEqual(s.call("OPTIONS", "/completion", Origin=origin)[1].get("Access-Control-Allow-Origin"), origin if allowed else None)
                self.assertEqual(s.call("POST", "/tokenize", {"content": "a"}, Origin=origin)[0], 200 if allowed else 403)
        finally:
            self.assertEqual(s.stop(), 0)

    def test_whole_address(self):
        self.assertTrue(self.s.raw(b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200"))

    def test_log_has_no_prompts(self):
        self.s.call("POST", "/tokenize", {"content": "SECRETWORD"}, X_Request_Id="look-here")
        self.s.wait_for(lambda: any(b"look-here" in line for line in self.s.log))
        self.assertFalse(any(b"SECRETWORD" in line for line in self.s.log))


class Keys(unittest.TestCase):
    def test_keys_and_limits(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as f:
            f.write("# keys\nfilekey requests=2\n\nother parallel=1\n  third tokens=30 # of a minute\n")
            f.flush()
            s = Server("--api-key", "one,two", "--api-key-file", f.name, "--cors-origins", "http://page.example")
        try:
            self.assertEqual(s.call("GET", "/health")[0], 200)
            self.assertEqual(s.call("GET", "/v1/models")[0], 200)  # the name is public, but a wrong key is told
            self.assertEqual(s.call("GET", "/props")[0], 401)
            for wrong in ("Bearer", "Bearer ", "Bearer on", "Bearer oneone", "Basic one", "one"):
                self.assertEqual(s.call("GET", "/v1/models", Authorization=wrong)[0], 401, wrong)
            self.assertEqual(s.call("GET", "/v1/models", Authorization="Bearer one")[0], 200)
            self.assertEqual(s.call("GET", "/v1/models", X_Api_Key="two")[0], 200)
            ask = {"prompt": "Hi", "max_tokens": 1}
            got = [s.call("POST", "/v1/completions", ask, X_Api_Key="filekey")[0] for _ in range(3)]
            self.assertIn(got, ([200, 200, 429], [200, 200, 200]))  # a minute may have passed between them
            with LongRequest(s, X_Api_Key="other"):
                self.assertEqual(s.call("POST", "/v1/completions", ask, X_Api_Key="other")[0], 429)
                self.assertEqual(s.call("POST", "/v1/completions", ask, X_Api_Key="one")[0], 200)
            s.wait_for(lambda: s.call("POST", "/v1/completions", ask, X_Api_Key="other")[0] == 200)
            got = [s.call("POST", "/v1/completions", dict(ask, max_tokens=40, ignore_eos=True), X_Api_Key="third")[0] for _ in range(4)]
            self.assertEqual(got[0], 200)
            self.assertIn(429, got)
            status, headers, _ = s.call("OPTIONS", "/v1/completions", Origin="http://page.example", Access_Control_Request_Headers="authorization")
            self.assertEqual((status, headers["Access-Control-Allow-Origin"], headers["Access-Control-Allow-Headers"]), (200, "http://page.example", "authorization"))
            status, headers, _ = s.call("OPTIONS", "/v1/completions", Origin="http://evil.example")
            self.assertEqual((status, headers.get("Access-Control-Allow-Origin"), headers.get("Access-Control-Allow-Methods")), (200, None, None))  # that is a no
            self.assertEqual(s.call("POST", "/tokenize", {"content": "a"}, Origin="http://evil.example", X_Api_Key="one")[0], 403)
        finally:
            self.assertEqual(s.stop(signal.SIGINT), 0)


class LongRequest:
    """A stream that runs meanwhile."""

    def __init__(self, s, n=1, **headers):
        self.c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
        self.c.request("POST", "/v1/completions", json.dumps(dict(LONG, n=n)), {k.replace("_", "-"): v for k, v in headers.items()})
        self.r = self.c.getresponse()
        assert self.r.status == 200, self.r.read()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.r.close()
        self.c.close()


class Ways(unittest.TestCase):
    """How the server is reached: TLS, prefix, addresses, contexts."""

    def test_tls(self):
        if not shutil.which("openssl"):
            self.skipTest("skipped: no openssl that makes a certificate")
        with tempfile.TemporaryDirectory() as d:
            key, cert = os.path.join(d, "key.pem"), os.path.join(d, "cert.pem")
            subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                            "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
            s = Server("--ssl-key-file", key, "--ssl-cert-file", cert)
            try:
                c = http.client.HTTPSConnection("localhost", s.port, timeout=60, context=ssl.create_default_context(cafile=cert))
                ask = {"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0, "stream": True}
                for _ in range(2):  # the connection is kept
                    c.request("POST", "/v1/completions", json.dumps(ask))
                    r = c.getresponse()
                    self.assertEqual((r.status, events(r.read())[-1]), (200, "[DONE]"))
                c.close()
                self.assertFalse(s.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200"))
                with self.assertRaises(ssl.SSLError):  # nobody vouches for this certificate
                    http.client.HTTPSConnection("localhost", s.port, timeout=60).request("GET", "/health")
                self.assertEqual(json.loads(self.over(s, cert)), {"status": "ok"})
            finally:
                self.assertEqual(s.stop(), 0)
            with open(key, "w") as f:
                f.write("no key")
            with self.assertRaisesRegex(RuntimeError, "no server: 1"):
                Server("--ssl-key-file", key, "--ssl-cert-file", cert)

    @staticmethod
    def over(s, cert):
        c = http.client.HTTPSConnection("localhost", s.port, timeout=60, context=ssl.create_default_context(cafile=cert))
        c.request("GET", "/health")
        body = c.getresponse().read()
        c.close()
        return body

    def test_prefix_and_hidden(self):
        s = Server("--api-prefix", "/here/", "--no-slots", "--no-metrics", "--alias", "b,a", "--tags", "x,y")
        try:
            self.assertEqual(s.call("GET", "/here/health")[0], 200)
            for path in ("/health", "/herehealth", "/other/health", "/here", "/"):
                self.assertEqual(s.call("GET", path)[0], 404, path)
            self.assertEqual((s.call("GET", "/here/slots")[0], s.call("GET", "/here/metrics")[0]), (501, 501))
            model = json.loads(s.call("GET", "/here/v1/models/b")[2])
            self.assertEqual((model["id"], sorted(model["aliases"]), model["tags"]), ("a", ["a", "b"], ["x", "y"]))
        finally:
            self.assertEqual(s.stop(), 0)

    def test_beyond_loopback(self):
        # Programs call us by any name, pages only by addresses and names that are ours or were listed.
        s = Server("--host", "0.0.0.0", "--cors-origins", "http://ours.example")
        try:
            self.assertEqual(s.call("GET", "/health", Host="any.example")[0], 200)
            self.assertEqual(s.call("GET", "/health", Host="evil.example", Origin="http://evil.example")[0], 403)
            self.assertEqual(s.call("GET", "/health", Host="10.0.0.1:8080", Origin="http://10.0.0.1:8080")[0], 200)
            self.assertEqual(s.call("GET", "/health", Host="10.0.0.1:8080", Origin="http://evil.example")[0], 403)
            self.assertEqual(s.call("GET", "/health", Host="ours.example", Origin="http://ours.example")[0], 200)
            own = socket.gethostname()
            self.assertEqual(s.call("GET", "/health", Host=own, Origin=f"http://{own}")[0], 200)
        finally:
            self.assertEqual(s.stop(), 0)

    def test_context_is_shared(self):
        for flags, n_ctx in ((["-np", "4"], 128), (["-np", "4", "-kvu"], 512), ([], 512)):
            s = Server(*flags)
            try:
                self.assertEqual(json.loads(s.call("GET", "/props")[2])["default_generation_settings"]["n_ctx"], n_ctx, flags)
                status, _, body = s.call("POST", "/completion", {"prompt": "word " * 600})
                e = json.loads(body)["error"]
                self.assertEqual((status, e["type"], e["n_ctx"]), (400, "exceed_context_size_error", n_ctx))
            finally:
                self.assertEqual(s.stop(), 0)


class Queue(unittest.TestCase):
    def test_full_queue(self):
        s = Server("-np", "1", "--queue", "-1")
        try:
            c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
            c.request("POST", "/v1/completions", json.dumps(LONG))
            r = c.getresponse()
            status, headers, body = s.call("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 1})
            self.assertEqual((status, json.loads(body)["error"]["type"], "Retry-After" in headers), (429, "rate_limit_error", True))
            r.close()
            c.close()
        finally:
            self.assertEqual(s.stop(), 0)


    def test_memory(self):
        # Under --mem-limit what waits has a part of it; beyond that there are numbers.
        s = Server("-np", "1", "--mem-limit", "200M")
        try:
            status, headers, body = s.call("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 1, "n": 120})
            e = json.loads(body)["error"]
            self.assertEqual((status, e["type"], "Retry-After" in headers), (503, "unavailable_error", True))
            self.assertRegex(e["message"], r"leaves 6\.\d MB .* take 1\d\.\d MB, this one 1\d\.\d MB")
            self.assertEqual(s.call("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 1, "n": 20})[0], 200)
        finally:
            self.assertEqual(s.stop(), 0)


class Shutdown(unittest.TestCase):
    def stream_at_the_end(self, *flags):
        s = Server("-np", "2", *flags)
        c = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
        c.request("POST", "/v1/completions", json.dumps(dict(LONG, max_tokens=300)))
        r = c.getresponse()
        first = r.read(20)
        s.p.send_signal(signal.SIGTERM)
        body = first + r.read()
        c.close()
        self.assertEqual(s.ended(), 0)
        return events(body)

    def test_streams_finish(self):
        got = self.stream_at_the_end("--shutdown-timeout", "60")
        self.assertEqual(got[-1], "[DONE]")
        self.assertIn("length", got[-2])

    def test_streams_end_properly(self):
        self.assertEqual(self.stream_at_the_end("--shutdown-timeout", "-1")[-1], "[DONE]")

    def test_second_signal(self):
        s = Server("-np", "2", "--shutdown-timeout", "600")
        with LongRequest(s, n=100):
            s.p.send_signal(signal.SIGTERM)
            s.wait_for(lambda: any(b'"stopping"' in line for line in s.log))
            end = time.monotonic() + 60
            while s.p.poll() is None and time.monotonic() < end:  # one that comes at once is taken for the same
                s.p.send_signal(signal.SIGTERM)
                time.sleep(0.1)
        self.assertEqual(s.ended(), 128 + signal.SIGTERM)

    def test_unix_socket(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "m.sock")
            s = Server("--host", path)
            with socket.socket(socket.AF_UNIX) as u:
                u.connect(path)
                u.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertTrue(u.recv(4096).startswith(b"HTTP/1.1 200"))
            self.assertEqual(s.stop(), 0)
            self.assertFalse(os.path.exists(path))

    def test_wrong_starts(self):
        for args in (["--ssl-key-file", "/nothing"], ["--host", "no.such.host.invalid"], ["--api-key-file", "/nothing"], ["--port", "70000"]):
            p = subprocess.run([MYNA, "serve", "-m", MODEL, *args], stderr=subprocess.PIPE, timeout=60)
            self.assertIn(p.returncode, (1, 2), args)
            self.assertIn(b"myna: ", p.stderr)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
