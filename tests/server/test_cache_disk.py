"""`--cache-disk`: what leaves the cache comes back from the disk with the same answers; the cap holds; damage is a miss; nothing is left behind.
Python 3 standard library only."""
import json
import os
import signal
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_http import ROOT, Server  # noqa: E402

CTX, N_TEXTS = 512, 3
WORDS = ("dog cat sun tree boat red big little happy sad".split(), "Tom Lily Ben Mia Sam Anna Max Sue Tim Zoe".split())


def text(k):
    """About 400 tokens; texts of different k share no page."""
    return " ".join(f"{WORDS[1][(i * (k + 2) + k) % 10]} saw a {WORDS[0][(i * (k + 3) + i // 3 + k) % 10]}." for i in range(k % 3, 62))


class Disk(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def server(self, most=64 << 20):
        # One sequence of 512 positions, and pages for not more than that.
        return Server("-np", "1", "--cache-disk", self.dir.name, "--cache-disk-max", str(most))

    def ask(self, s, k):
        status, _, body = s.call("POST", "/v1/completions", {"prompt": text(k), "max_tokens": 8, "temperature": 0, "ignore_eos": True})
        self.assertEqual(status, 200, body)
        o = json.loads(body)
        usage = o["usage"]
        self.assertTrue(300 < usage["prompt_tokens"] < CTX - 8, usage)
        return o["choices"][0]["text"], usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], o.get("timings", {})

    def metric(self, s, name):
        return s.metric("myna_cache_disk_" + name)

    def settle(self, s):
        """Until everything that is held is written."""
        last = [-1, -1]

        def quiet():
            now = [self.metric(s, "pages_written_total"), self.metric(s, "bytes")]
            same, last[:] = now == last, now
            return same and now[0] > 0
        s.wait_for(quiet)

    def file(self, s):
        """The server's file: it has no name, but it is open."""
        fds = f"/proc/{s.p.pid}/fd"
        found = [p for p in (os.path.join(fds, n) for n in os.listdir(fds)) if os.readlink(p).startswith(self.dir.name)]
        self.assertEqual(len(found), 1)
        return found[0]

    def test_back_from_disk(self):
        s = self.server()
        try:
            first = [self.ask(s, k) for k in range(N_TEXTS)]
            self.assertTrue(all(f[2] < 64 for f in first), first)
            again = [self.ask(s, k) for k in range(N_TEXTS)]
            for f, a in zip(first, again):
                self.assertEqual(a[:2], f[:2])  # the same answer
                self.assertGreaterEqual(a[2], f[1] // 64 * 64 - 64)
            self.settle(s)
            held, written = self.metric(s, "bytes"), self.metric(s, "pages_written_total")
            self.assertGreaterEqual(written, 2 * 5)
            self.assertGreaterEqual(self.metric(s, "pages_fetched_total"), 2 * 5)
            hits = self.metric(s, "hit_tokens_total")
            self.assertTrue(2 * 5 * 64 <= hits <= sum(a[2] for a in again), hits)
            self.assertEqual((self.metric(s, "failures_total"), self.metric(s, "checksum_failures_total")), (0, 0))
            self.assertTrue(0 < held <= self.metric(s, "max_bytes") == 64 << 20)
            self.assertLessEqual(os.stat(self.file(s)).st_size, 64 << 20)
            self.assertEqual(os.listdir(self.dir.name), [])  # nameless also while it is used
            names = [line.split()[2] for line in s.call("GET", "/metrics")[2].decode().splitlines() if line.startswith("# TYPE myna_")]
            with open(os.path.join(ROOT, "docs", "API.md")) as f:
                docs = f.read()
            self.assertGreater(len(names), 10)
            self.assertEqual([n for n in names if f"`{n}`" not in docs], [])
        finally:
            self.assertEqual(s.stop(), 0)
        self.assertEqual(os.listdir(self.dir.name), [])
        self.cap(int(held / written))

    def cap(self, page):
        """Room for three pages and a bit."""
        most = 3 * page + page // 2
        s = self.server(most)
        try:
            answers = [self.ask(s, k)[0] for k in range(N_TEXTS)]
            for k in range(N_TEXTS):
                self.assertEqual(self.ask(s, k)[0], answers[k])
                self.assertLessEqual(os.stat(self.file(s)).st_size, most)
                self.assertLessEqual(self.metric(s, "bytes"), 3 * page)
            self.settle(s)
            self.assertGreater(self.metric(s, "pages_written_total") + self.metric(s, "pages_skipped_total"), 3)
            self.assertEqual(os.stat(self.file(s)).st_size, 3 * page)
        finally:
            s.p.send_signal(signal.SIGKILL)  # however it ends
            s.ended()
        self.assertEqual(os.listdir(self.dir.name), [])

    def test_damage_is_a_miss(self):
        s = self.server()
        try:
            first = [self.ask(s, k) for k in range(N_TEXTS)]
            self.settle(s)
            with open(self.file(s), "r+b", buffering=0) as f:
                n = os.fstat(f.fileno()).st_size
                for at in range(50, n, 1000):
                    f.seek(at)
                    f.write(b"damage")
            a = self.ask(s, 0)
            self.assertEqual(a[:2], first[0][:2])
            self.assertLess(a[2], 64)
            self.assertGreater(self.metric(s, "checksum_failures_total"), 0)
            self.assertEqual((self.metric(s, "failures_total"), self.metric(s, "hit_tokens_total")), (0, 0))
            self.settle(s)
            with open(self.file(s), "r+b", buffering=0) as f:
                f.truncate(10)
            a = self.ask(s, 1)
            self.assertEqual(a[:2], first[1][:2])
            self.assertGreater(self.metric(s, "failures_total"), 0)
            for k in (2, 0, 1, 2):  # and it goes on
                self.assertEqual(self.ask(s, k)[:2], first[k][:2])
        finally:
            self.assertEqual(s.stop(), 0)
        self.assertEqual(os.listdir(self.dir.name), [])

    def test_no_disk(self):
        s = Server("-np", "1")
        try:
            self.assertNotIn(b"cache_disk", s.call("GET", "/metrics")[2])
        finally:
            s.stop()
        with self.assertRaisesRegex(RuntimeError, "no file for the cache"):
            Server("-np", "1", "--cache-disk", os.path.join(self.dir.name, "none"))
        with self.assertRaisesRegex(RuntimeError, "holds no page"):
            self.server(10)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
