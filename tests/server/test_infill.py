"""/infill and `suffix`: the shipped model gets ids of fill-in-the-middle tokens, and the prompts that come of it are read back. Python 3 standard library only."""
import json
import os
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_http  # noqa: E402

PRE, SUF, MID, REPO, SEP = 300, 301, 302, 303, 304
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def with_meta(src, dst, keys):
    """A copy of a GGUF file with more uint32 metadata: in front of the other, and what is behind moves to the next multiple of the alignment."""
    with open(src, "rb") as f:
        b = f.read()
    n_tensors, n_meta = struct.unpack_from("<QQ", b, 8)

    def string(at):
        return at + 8 + struct.unpack_from("<Q", b, at)[0]

    def value(kind, at):
        if kind == 8:
            return string(at)
        if kind != 9:
            return at + SIZES[kind]
        inner, n = struct.unpack_from("<IQ", b, at)
        at += 12
        for _ in range(n):
            at = value(inner, at)
        return at

    at = 24
    for _ in range(n_meta):
        at = string(at)
        at = value(struct.unpack_from("<I", b, at)[0], at + 4)
    for _ in range(n_tensors):
        at = string(at)
        at += 4 + 8 * struct.unpack_from("<I", b, at)[0] + 12
    new = b"".join(struct.pack("<Q", len(k)) + k.encode() + struct.pack("<II", 4, v) for k, v in keys.items())
    head = b[:16] + struct.pack("<Q", n_meta + len(keys)) + new + b[24:at]
    with open(dst, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32) + b[(at + 31) // 32 * 32:])


class Infill(unittest.TestCase):
    def test_without_tokens(self):
        s = test_http.Server()
        try:
            status, _, body = s.call("POST", "/infill", {"input_prefix": "a", "input_suffix": "b"})
            self.assertEqual((status, json.loads(body)["error"]["type"]), (501, "not_supported_error"))
            self.assertIn("prefix token is missing. suffix token is missing. middle token is missing.", json.loads(body)["error"]["message"])
        finally:
            self.assertEqual(s.stop(), 0)

    def run_with(self, names, checks):
        with tempfile.TemporaryDirectory() as d:
            path, model = os.path.join(d, "fim.gguf"), test_http.MODEL
            with_meta(model, path, {f"tokenizer.ggml.fim_{k}_token_id": v for k, v in names.items()})
            test_http.MODEL = path
            try:
                s = test_http.Server()
            finally:
                test_http.MODEL = model
            try:
                checks(s)
            finally:
                self.assertEqual(s.stop(), 0)

    def ids(self, s, text, **more):
        return json.loads(s.call("POST", "/tokenize", {"content": text, **more})[2])["tokens"]

    def piece(self, s, *ids):
        return json.loads(s.call("POST", "/detokenize", {"tokens": list(ids)})[2])["content"]

    def test_files(self):
        def checks(s):
            ask = {"input_prefix": "Tom", "prompt": " has", "input_suffix": " cat", "n_predict": 2, "temperature": 0, "input_extra": [{"filename": "a.h", "text": "Lily"}, {"text": "dog"}]}
            status, _, body = s.call("POST", "/infill", ask)
            answer = json.loads(body)
            self.assertEqual((status, answer["tokens_predicted"]), (200, 2), body)
            bos = self.ids(s, "", add_special=True)
            want = [REPO, *self.ids(s, "project\n"), SEP, *self.ids(s, "a.h\n"), *self.ids(s, "Lily"), SEP, *self.ids(s, "tmp\n"), *self.ids(s, "dog"), SEP, *self.ids(s, "file\n"), *bos,
                    PRE, *self.ids(s, "Tom"), *self.ids(s, " has"), SUF, *self.ids(s, " cat"), MID]
            self.assertEqual((answer["tokens_evaluated"], answer["prompt"]), (len(want), self.piece(s, *want)))
            # Around a gap at most 3/4 before it and 1/4 behind it are kept, and what is nearest to it; there is no room for files.
            long = {"input_prefix": "x " * 2000 + "Tom", "input_suffix": " cat" + " y" * 2000, "n_predict": 1, "input_extra": [{"text": "z " * 2000}]}
            answer = json.loads(s.call("POST", "/infill", long)[2])
            self.assertLess(answer["tokens_evaluated"], 512)
            self.assertIn(self.piece(s, *self.ids(s, "Tom")[-1:], SUF, *self.ids(s, " cat")), answer["prompt"])
            for bad, param in (({"input_prefix": "a"}, "input_suffix"), ({"input_suffix": "a"}, "input_prefix"), ({"input_prefix": "a", "input_suffix": 5}, "input_suffix"),
                               ({"input_prefix": "a", "input_suffix": "b", "prompt": [1]}, "prompt"), ({"input_prefix": "a", "input_suffix": "b", "input_extra": {}}, "input_extra"),
                               ({"input_prefix": "a", "input_suffix": "b", "input_extra": [{}]}, "input_extra"), ({"input_prefix": "a", "input_suffix": "b", "input_extra": [{"filename": 1, "text": "a"}]}, "input_extra"),
                               ({"input_prefix": "a", "input_suffix": "b", "temperature": "x"}, "temperature")):
                status, _, body = s.call("POST", "/infill", bad)
                self.assertEqual((status, json.loads(body)["error"]["param"]), (400, param), bad)
            stream = s.call("POST", "/infill", {"input_prefix": "a", "input_suffix": "b", "stream": True, "n_predict": 2})[2]
            self.assertTrue(json.loads(test_http.events(stream)[-1])["stop"])

        self.run_with({"pre": PRE, "suf": SUF, "mid": MID, "rep": REPO, "sep": SEP}, checks)

    def test_suffix(self):
        def checks(s):
            bos = self.ids(s, "", add_special=True)
            answer = json.loads(s.call("POST", "/infill", {"input_prefix": "Tom", "input_suffix": " cat", "n_predict": 3, "temperature": 0, "input_extra": [{"text": "dog"}]})[2])
            gap = [*bos, PRE, *self.ids(s, "Tom"), SUF, *self.ids(s, " cat"), MID]
            self.assertEqual(answer["prompt"], self.piece(s, *self.ids(s, "\n\n--- snippet ---\n\n"), *self.ids(s, "dog"), *gap))
            body = {"prompt": "Tom", "suffix": " cat", "max_tokens": 3, "temperature": 0}
            whole, infill = json.loads(s.call("POST", "/v1/completions", body)[2]), json.loads(s.call("POST", "/infill", {"input_prefix": "Tom", "input_suffix": " cat", "n_predict": 3, "temperature": 0})[2])
            self.assertEqual((whole["usage"]["prompt_tokens"], whole["choices"][0]["text"]), (len(gap), infill["content"]))

        self.run_with({"pre": PRE, "suf": SUF, "mid": MID}, checks)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
