"""`--mem-limit` and grammars: many schemas keep within their part of it, and what has no room is refused with the numbers. Standard library only."""
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_http import Server  # noqa: E402

LIMIT = 64_000_000
ROOM = LIMIT // 16


def schema(i):
    names = [f"{'abcdefghij'[k]}{i}" for k in range(1 + i % 5)]
    return {"type": "object", "properties": {n: {"type": "string", "maxLength": 3 + i % 7} for n in names}, "required": names, "additionalProperties": False}


class Grammars(unittest.TestCase):
    def test_many_schemas(self):
        s = Server("-np", "2", "--mem-limit", str(LIMIT))
        try:
            most = 0
            for i in range(40):
                status, _, body = s.call("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 24, "temperature": 0, "json_schema": schema(i)})
                self.assertEqual(status, 200, body)
                answer = json.loads(json.loads(body)["choices"][0]["text"])
                self.assertEqual(set(answer), set(schema(i)["required"]))
                most = max(most, s.metric("myna_grammar_bytes"))
            self.assertTrue(0 < most <= ROOM, most)
            # One too large for it, and afterwards the server goes on.
            large = f'root ::= x{{3000}}\nx ::= "{"a" * 40}"'
            status, _, body = s.call("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 8, "grammar": large})
            e = json.loads(body)["error"]
            self.assertIn(status, (400, 503))
            self.assertIn("memory limit", e["message"])
            self.assertLessEqual(s.metric("myna_grammar_bytes"), ROOM)
            self.assertEqual(s.call("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 8, "json_schema": schema(1)})[0], 200)
        finally:
            self.assertEqual(s.stop(), 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
