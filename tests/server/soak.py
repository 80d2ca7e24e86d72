"""Random clients against `myna serve` for some minutes: completions and chats of every shape, streams that are left, malformed requests, many at once.

  python3 tests/server/soak.py build/asan/myna [MINUTES [CLIENTS [SEED]]]      (20, 8 and 1 when nothing is said)

Every request must be answered or refused; the process must not die, and must end well. Meant for a build with sanitizers. No part of `make test`."""
import http.client
import json
import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
MINUTES = float(sys.argv[2]) if len(sys.argv) > 2 else 20
CLIENTS = int(sys.argv[3]) if len(sys.argv) > 3 else 8
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else 1
from test_http import Server  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORDS = "Tom Lily the cat sat on a big red ball and ran away \u00e9 \u4f60\u597d {\"a\": 1} <think> </think> <tool_call> \n".split(" ")
SCHEMA = {"type": "object", "properties": {"kind": {"type": "string", "maxLength": 8}, "n": {"type": "integer", "minimum": 0, "maximum": 20}}, "required": ["kind"]}
TOOLS = [{"type": "function", "function": {"name": "look", "description": "", "parameters": SCHEMA}}, {"type": "function", "function": {"name": "go", "description": ""}}]


def text(r, most=40):
    return " ".join(r.choice(WORDS) for _ in range(r.randint(1, most)))


def some(r, **choices):
    """Each field with one chance in four."""
    return {k: v() for k, v in choices.items() if r.random() < 0.25}


def sampling(r):
    return some(r, temperature=lambda: r.choice([0, 0.7, 1.5]), top_k=lambda: r.choice([0, 1, 40]), top_p=lambda: r.random(), seed=lambda: r.randint(0, 9),
                n=lambda: r.randint(1, 4), stop=lambda: [r.choice(WORDS), text(r, 2)], logit_bias=lambda: {str(r.randint(0, 400)): r.choice([-100, 5])},
                repeat_penalty=lambda: 1.3, mirostat=lambda: r.choice([1, 2]), min_p=lambda: 0.1, ignore_eos=lambda: True, cache_prompt=lambda: False,
                t_max_predict_ms=lambda: r.choice([1, 50]), timings_per_token=lambda: True, return_progress=lambda: True, sse_ping_interval=lambda: 1)


def constraint(r):
    return r.choice([{}, {}, {}, {"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
                     {"grammar": "root ::= \"yes\" | \"no\" [a-z]{1,5}"}, {"guided_regex": "[0-9]{2,6}(-[a-f]+)?"}, {"guided_choice": ["red", "blue", "\u4f60"]},
                     {"grammar": "root ::= nothing"}, {"guided_regex": "(?=a)b"}])


def chat(r):
    messages = [{"role": r.choice(["user", "system", "user"]), "content": text(r)} for _ in range(r.randint(1, 4))]
    if r.random() < 0.2:
        messages.append({"role": "assistant", "content": text(r, 5)})
    body = {"messages": messages, "max_tokens": r.randint(0, 40), **sampling(r), **constraint(r)}
    body |= some(r, tools=lambda: TOOLS, logprobs=lambda: True, enable_thinking=lambda: r.random() < 0.7, reasoning_budget=lambda: r.randint(-1, 10),
                 reasoning_format=lambda: r.choice(["none", "auto", "deepseek"]), parallel_tool_calls=lambda: False)
    if "tools" in body:
        body |= some(r, tool_choice=lambda: r.choice(["auto", "none", "required", {"type": "function", "function": {"name": r.choice(["look", "go", "fly"])}}]))
    return "/v1/chat/completions", body


def complete(r):
    prompt = r.choice([lambda: text(r), lambda: [text(r, 5), text(r, 5)], lambda: [1, r.randint(0, 500), text(r, 3)], lambda: text(r, 400)])()
    body = {"prompt": prompt, "max_tokens": r.randint(0, 40), **sampling(r), **constraint(r)}
    if r.random() < 0.5:
        return "/completion", body | some(r, n_probs=lambda: r.randint(0, 20), post_sampling_probs=lambda: True, return_tokens=lambda: True)
    return "/v1/completions", body | some(r, echo=lambda: True, logprobs=lambda: r.randint(0, 5), best_of=lambda: r.randint(1, 5))


def spoil(r, body):
    """A field of the wrong kind, or bytes that are no JSON any more."""
    if r.random() < 0.5:
        body[r.choice(list(body) + ["temperature", "n", "messages", "prompt", "tools"])] = r.choice([None, -1, 1e99, "x", [], {}, [[[]]], True, "\x00", 2**70])
    data = bytearray(json.dumps(body).encode())
    for _ in range(r.choice([0, 1, 3])):
        data[r.randrange(len(data))] = r.randrange(256)
    return bytes(data[:r.randint(0, len(data))] if r.random() < 0.2 else data)


class Client(threading.Thread):
    def __init__(self, server, end, seed):
        super().__init__()
        self.server, self.end, self.r, self.counts, self.problems = server, end, random.Random(seed), {}, []

    def run(self):
        while time.monotonic() < self.end and not self.problems:
            try:
                kind = self.r.choices([self.ask, self.leave, self.raw, self.small], [70, 12, 8, 10])[0]
                what = kind()
            except Exception as e:  # noqa: BLE001
                self.problems.append(f"{type(e).__name__}: {e}")
                return
            self.counts[what] = self.counts.get(what, 0) + 1

    def request(self):
        path, body = self.r.choice([chat, complete])(self.r)
        if self.r.random() < 0.5:
            body["stream"] = True
        data = spoil(self.r, body) if self.r.random() < 0.15 else json.dumps(body).encode()
        return path, data

    def send(self, path, data):
        c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        c.request("POST", path, data)
        return c

    def ask(self):
        path, data = self.request()
        c = self.send(path, data)
        r = c.getresponse()
        body = r.read()
        c.close()
        if r.status >= 500 and r.status not in (501, 503):
            raise AssertionError(f"{r.status} {data[:600]} {body[:300]}")
        if r.status == 200 and r.getheader("Content-Type") == "text/event-stream":
            for line in body.split(b"\n\n")[:-1]:
                if line != b":" and line != b"data: [DONE]":
                    json.loads(line[6:])
        else:
            json.loads(body)
        return r.status

    def leave(self):
        c = self.send(*self.request())
        if self.r.random() < 0.6:
            r = c.getresponse()
            r.read(self.r.randint(0, 300))
            r.close()
        c.close()
        return "left"

    def raw(self):
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=300) as s:
            path, data = self.request()
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
            bad = bytearray(head[:self.r.randint(1, len(head))])
            bad[self.r.randrange(len(bad))] = self.r.randrange(256)
            s.sendall(bytes(bad))
            if self.r.random() < 0.5:  # what is incomplete gets no answer
                s.settimeout(1)
                try:
                    while s.recv(65536):
                        pass
                except OSError:
                    pass
        return "raw"

    def small(self):
        method, path, body = self.r.choice([("GET", "/health", None), ("GET", "/metrics", None), ("GET", "/props", None), ("GET", "/slots", None), ("GET", "/v1/models", None),
                                            ("POST", "/tokenize", {"content": text(self.r, 400)}), ("POST", "/detokenize", {"tokens": [self.r.randint(-1, 600)]}), ("POST", "/infill", {"input_prefix": text(self.r), "input_suffix": text(self.r)}),
                                            ("POST", "/apply-template", {"messages": [{"role": "user", "content": text(self.r)}]}), ("OPTIONS", "/v1/models", None)])
        return self.server.call(method, path, body)[0]


def main():
    server = Server("-np", "4", "-c", "4096", "--queue", "16", "--reasoning", "off", "--chat-template-file", os.path.join(ROOT, "tests", "server", "chat.jinja"), threads=1)
    end = time.monotonic() + 60 * MINUTES
    clients = [Client(server, end, SEED * 1000 + i) for i in range(CLIENTS)]
    for c in clients:
        c.start()
    for c in clients:
        c.join(60 * MINUTES + 600)
    problems = [p for c in clients for p in c.problems] + [f"client {i} hangs" for i, c in enumerate(clients) if c.is_alive()]
    counts = {}
    for c in clients:
        for k, v in c.counts.items():
            counts[str(k)] = counts.get(str(k), 0) + v
    if server.p.poll() is None and not problems:
        server.wait_for(lambda: server.metric("llamacpp:requests_processing") == 0 and server.metric("llamacpp:requests_deferred") == 0)
    rc = server.stop() if server.p.poll() is None else server.ended()
    log = [line.decode(errors="replace").rstrip() for line in server.log if not line.startswith(b"{")]
    print(json.dumps({"minutes": MINUTES, "requests": sum(counts.values()), "counts": dict(sorted(counts.items())), "exit": rc}))
    for line in problems + log[:60]:
        print(line)
    sys.exit(1 if problems or rc != 0 else 0)


if __name__ == "__main__":
    main()
