"""Real clients: the Python packages openai and langchain-openai against `myna serve`.

`tools/bootstrap.sh test` installs them into build/clients; without them this says that it was skipped."""
import asyncio
import json
import os
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, "build", "clients", "bin", "python3")
try:
    import openai
    import langchain_openai
    import pydantic
except ImportError:
    if os.path.exists(VENV) and os.environ.get("MYNA_TEST_VENV") != "1":
        os.execve(VENV, [VENV, *sys.argv], dict(os.environ, MYNA_TEST_VENV="1"))
    print("skipped: the Python packages openai and langchain-openai are not installed (tools/bootstrap.sh test)")
    sys.exit(0)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_http import Server  # noqa: E402

TEMPLATE = os.path.join(ROOT, "tests", "server", "chat.jinja")
ASK = [{"role": "user", "content": "Tell me about Tom."}]
PARAMETERS = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
              "required": ["city", "days"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": PARAMETERS}},
         {"type": "function", "function": {"name": "get_time", "description": "The time.", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}]


class Animal(pydantic.BaseModel):
    """An animal of the story."""
    kind: str = pydantic.Field(max_length=12)
    legs: int = pydantic.Field(ge=0, le=8)


def setUpModule():
    global server, client
    server = Server("-np", "8", "-c", "8192", "--reasoning", "off", "--chat-template-file", TEMPLATE, "--queue", "200")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0)


def tearDownModule():
    client.close()
    assert server.stop() == 0


class OpenAI(unittest.TestCase):
    def chat(self, **more):
        return client.chat.completions.create(**{"model": "any", "messages": ASK, "max_tokens": 24, "temperature": 0, **more})

    def test_models(self):
        models = client.models.list().data
        self.assertEqual([m.id for m in models], ["myna-stories.gguf"])
        self.assertEqual(client.models.retrieve(models[0].id).id, models[0].id)
        with self.assertRaises(openai.NotFoundError):
            client.models.retrieve("other")

    def test_completions(self):
        one = client.completions.create(model="any", prompt="Once upon a time", max_tokens=12, temperature=0)
        self.assertEqual((one.choices[0].finish_reason, one.usage.completion_tokens), ("length", 12))
        parts = list(client.completions.create(model="any", prompt="Once upon a time", max_tokens=12, temperature=0, stream=True))
        self.assertEqual("".join(c.text for p in parts for c in p.choices), one.choices[0].text)
        two = client.completions.create(model="any", prompt=["Once", "Tom"], n=2, best_of=3, max_tokens=5, seed=1, temperature=1)
        self.assertEqual([c.index for c in two.choices], [0, 1, 2, 3])
        echo = client.completions.create(model="any", prompt="Once upon", max_tokens=0, echo=True, logprobs=1).choices[0]
        self.assertEqual(echo.text, "Once upon")
        self.assertIsNone(echo.logprobs.token_logprobs[0])
        self.assertTrue(all(x <= 0 for x in echo.logprobs.token_logprobs[1:]))

    def test_chat_and_stream(self):
        one = self.chat()
        message, usage = one.choices[0].message, one.usage
        self.assertEqual((message.role, one.choices[0].finish_reason, usage.completion_tokens), ("assistant", "length", 24))
        self.assertTrue(one.system_fingerprint and one.id.startswith("chatcmpl"))
        again = self.chat()
        self.assertGreater(again.usage.prompt_tokens_details.cached_tokens, 0)
        parts = list(self.chat(stream=True, stream_options={"include_usage": True}))
        self.assertEqual("".join(c.delta.content or "" for p in parts for c in p.choices), message.content)
        self.assertEqual(parts[-1].usage.total_tokens, usage.total_tokens)
        self.assertEqual(len({p.id for p in parts}), 1)
        self.assertEqual(parts[0].choices[0].delta.role, "assistant")

    def test_n_seed_stop_logprobs(self):
        more = dict(n=3, seed=7, temperature=1.0, logprobs=True, top_logprobs=3)
        a = self.chat(**more)
        texts = [c.message.content for c in a.choices]
        self.assertEqual(len(set(texts)), 3)
        streamed = {0: "", 1: "", 2: ""}
        rows = {0: 0, 1: 0, 2: 0}
        for part in self.chat(stream=True, **more):
            for c in part.choices:
                streamed[c.index] += c.delta.content or ""
                rows[c.index] += len(c.logprobs.content) if c.logprobs else 0
        self.assertEqual(list(streamed.values()), texts)
        self.assertEqual(list(rows.values()), [len(c.logprobs.content) for c in a.choices])
        for c in a.choices:
            self.assertEqual("".join(t.token for t in c.logprobs.content), c.message.content)
            self.assertTrue(all(len(t.top_logprobs) == 3 for t in c.logprobs.content))
        full = self.chat().choices[0].message.content
        word = full.split()[3]
        cut = self.chat(stop=["never", word]).choices[0]
        self.assertEqual((cut.finish_reason, cut.message.content), ("stop", full[:full.index(word)]))

    def test_tools(self):
        for choice, names in (("required", {"get_weather", "get_time"}), ({"type": "function", "function": {"name": "get_weather"}}, {"get_weather"})):
            one = self.chat(tools=TOOLS, tool_choice=choice, max_tokens=200, parallel_tool_calls=False).choices[0]
            self.assertEqual(one.finish_reason, "tool_calls")
            self.assertEqual(len(one.message.tool_calls), 1)
            call = one.message.tool_calls[0]
            self.assertIn(call.function.name, names)
            self.check_arguments(call.function.name, call.function.arguments)
            name, arguments, ids, reason = "", "", set(), None
            for part in self.chat(tools=TOOLS, tool_choice=choice, max_tokens=200, parallel_tool_calls=False, stream=True):
                for d in part.choices[0].delta.tool_calls or []:
                    name += d.function.name or ""
                    arguments += d.function.arguments or ""
                    ids |= {d.id} - {None}
                reason = part.choices[0].finish_reason or reason
            self.assertEqual((name, arguments, len(ids), reason), (call.function.name, call.function.arguments, 1, "tool_calls"))
        # What the call gave goes back, and the model answers.
        back = [*ASK, one.message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
        self.assertTrue(self.chat(messages=back, tools=TOOLS).choices[0].message.content)
        self.assertFalse(self.chat(tools=TOOLS, tool_choice="none").choices[0].message.tool_calls)

    def check_arguments(self, name, text):
        arguments = json.loads(text)
        if name == "get_time":
            self.assertEqual(arguments, {})
        else:
            self.assertEqual(sorted(arguments), ["city", "days"])
            self.assertIn(arguments["city"], ("Paris", "Rome"))
            self.assertTrue(1 <= arguments["days"] <= 9)

    def test_tools_with_everything(self):
        # Calls cut off by the limit, together with n, logprobs, a schema of the answer, streams: no errors, and arguments that parse.
        schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": Animal.model_json_schema()}}
        for limit in (1, 7, 15, 40):
            for more in ({"tool_choice": "required"}, {"tool_choice": "auto", "response_format": schema}):
                one = self.chat(tools=TOOLS, n=2, seed=limit, temperature=1, logprobs=True, top_logprobs=2, max_tokens=limit, **more)
                for c in one.choices:
                    for call in c.message.tool_calls or []:
                        self.check_arguments(call.function.name, call.function.arguments)
                    if not c.message.tool_calls and "response_format" in more:
                        Animal.model_validate_json(c.message.content)
                parts = self.chat(tools=TOOLS, n=2, seed=limit, temperature=1, logprobs=True, top_logprobs=2, max_tokens=limit, stream=True, **more)
                calls = {}
                for p in parts:
                    for c in p.choices:
                        for d in c.delta.tool_calls or []:
                            calls[c.index, d.index] = calls.get((c.index, d.index), "") + (d.function.arguments or "")
                self.assertEqual(sorted(calls.values()), sorted(t.function.arguments for c in one.choices for t in c.message.tool_calls or []))

    def test_structured(self):
        parse = getattr(client.chat.completions, "parse", None) or client.beta.chat.completions.parse
        for seed in range(4):
            animal = parse(model="any", messages=ASK, response_format=Animal, seed=seed, temperature=1).choices[0].message.parsed
            self.assertIsInstance(animal, Animal)
        strict = openai.pydantic_function_tool(Animal)
        call = parse(model="any", messages=ASK, tools=[strict], tool_choice="required", seed=3).choices[0].message.tool_calls[0]
        self.assertIsInstance(call.function.parsed_arguments, Animal)
        stream = getattr(client.chat.completions, "stream", None) or client.beta.chat.completions.stream
        with stream(model="any", messages=ASK, response_format=Animal, seed=1, temperature=1) as s:
            for _ in s:
                pass
            self.assertIsInstance(s.get_final_completion().choices[0].message.parsed, Animal)
        loose = self.chat(response_format={"type": "json_object"}, max_tokens=30, n=2, logprobs=True)
        for c in loose.choices:
            self.assertIsInstance(json.loads(c.message.content), dict)

    def test_reasoning(self):
        think = {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_budget": 6}
        one = self.chat(extra_body=think).choices[0].message
        self.assertTrue(one.reasoning_content and one.content)
        self.assertNotIn("think>", one.reasoning_content + one.content)
        thought, text = "", ""
        for part in self.chat(extra_body=think, stream=True):
            delta = part.choices[0].delta
            thought += getattr(delta, "reasoning_content", None) or ""
            text += delta.content or ""
        self.assertEqual((thought, text), (one.reasoning_content, one.content))
        raw = self.chat(extra_body={**think, "reasoning_format": "none"}).choices[0].message
        self.assertIn("</think>", raw.content)
        self.assertFalse(getattr(raw, "reasoning_content", None))
        off = self.chat(extra_body={"enable_thinking": False}).choices[0].message
        self.assertFalse(getattr(off, "reasoning_content", None))
        # Reasoning first, then what must be.
        both = self.chat(extra_body=think, response_format={"type": "json_object"}, max_tokens=60).choices[0].message
        self.assertTrue(both.reasoning_content)
        self.assertIsInstance(json.loads(both.content), dict)
        call = self.chat(extra_body=think, tools=TOOLS, tool_choice="required", max_tokens=200).choices[0].message
        self.assertTrue(call.reasoning_content and call.tool_calls)

    def test_prefill(self):
        begun = [*ASK, {"role": "assistant", "content": "Tom was a very"}]
        prompt = json.loads(server.call("POST", "/apply-template", {"messages": begun})[2])["prompt"]
        self.assertTrue(prompt.endswith("<|im_start|>assistant\nTom was a very"), prompt)
        self.assertTrue(self.chat(messages=begun).choices[0].message.content)

    def test_errors(self):
        for bad, error, param in (({"temperature": "hot"}, openai.BadRequestError, "temperature"), ({"messages": []}, openai.BadRequestError, "messages"),
                                  ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, openai.BadRequestError, "tool_choice"),
                                  ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "hue"}}}}, openai.BadRequestError, "response_format"),
                                  ({"messages": [{"role": "user", "content": "word " * 9000}]}, openai.BadRequestError, None)):
            with self.assertRaises(error) as caught:
                self.chat(**bad)
            self.assertEqual(caught.exception.param, param, caught.exception)
            self.assertTrue(caught.exception.request_id)
        with self.assertRaises(openai.NotFoundError):
            client.with_options(base_url=f"http://127.0.0.1:{server.port}/none").chat.completions.create(model="a", messages=ASK)
        with self.assertRaises(openai.BadRequestError):
            self.chat(stream=True, response_format={"type": "sound"})

    def test_cancel(self):
        stream = self.chat(stream=True, max_tokens=4000, extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()
        server.wait_for(lambda: server.metric("llamacpp:requests_processing") == 0)

    def test_hundred_at_once(self):
        async def all_of_them():
            async with openai.AsyncOpenAI(base_url=client.base_url, api_key="none", max_retries=0) as c:
                async def one(i):
                    messages = [{"role": "user", "content": f"Story {i % 10}"}]
                    if i % 2:
                        answer = await c.chat.completions.create(model="any", messages=messages, max_tokens=10, temperature=0)
                        return i % 10, answer.choices[0].message.content
                    text = ""
                    async for part in await c.chat.completions.create(model="any", messages=messages, max_tokens=10, temperature=0, stream=True):
                        text += part.choices[0].delta.content or "" if part.choices else ""
                    return i % 10, text
                return await asyncio.gather(*(one(i) for i in range(100)))

        answers = asyncio.run(all_of_them())
        self.assertEqual(len(answers), 100)
        self.assertEqual(len(set(answers)), 10)  # the same question, the same answer, whoever else asks


class LangChain(unittest.TestCase):
    def model(self, **more):
        return langchain_openai.ChatOpenAI(model="any", base_url=str(client.base_url), api_key="none", max_retries=0, **{"max_tokens": 100, "temperature": 0, **more})

    def test_invoke_and_stream(self):
        m = self.model(max_tokens=20)
        one = m.invoke("Tell me about Tom.")
        self.assertEqual(one.usage_metadata["output_tokens"], 20)
        self.assertEqual("".join(p.content for p in m.stream("Tell me about Tom.")), one.content)
        self.assertEqual([a.content for a in asyncio.run(m.abatch(["Tell me about Tom."] * 3))], [one.content] * 3)

    def test_tools(self):
        m = self.model().bind_tools(TOOLS, tool_choice="get_weather")
        call = m.invoke("Weather?").tool_calls[0]
        self.assertEqual(call["name"], "get_weather")
        whole = None
        for part in m.stream("Weather?"):
            whole = part if whole is None else whole + part
        self.assertEqual([(c["name"], c["args"]) for c in whole.tool_calls], [(call["name"], call["args"])])

    def test_structured(self):
        for method in ("json_schema", "function_calling"):
            self.assertIsInstance(self.model().with_structured_output(Animal, method=method).invoke("An animal?"), Animal, method)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]])
