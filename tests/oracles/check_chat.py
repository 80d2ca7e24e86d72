"""Compares the prompts that libmyna makes with those of jinja2 in transformers' environment, byte for byte.

    pip install jinja2; python3 tests/oracles/check_chat.py build/libmyna.so DIR_OF_TEMPLATES

libmyna fits messages to what a template shows (arguments as objects or text, content null or "", a system message merged into the user's); jinja2 gets
the same conversation in each of these forms, and one of them has to agree. Prints a line per template that does not, and how many do.
"""
import ctypes, datetime, itertools, json, pathlib, sys, types
import jinja2, jinja2.ext, jinja2.nodes
from jinja2.sandbox import SandboxedEnvironment

NOW = 1721995200


class Generation(jinja2.ext.Extension):
    """{% generation %} of transformers: its body."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    x = list(x) if isinstance(x, types.GeneratorType) else x  # as other engines than jinja2 have it
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    # Lists may be changed, which some templates do and transformers' own environment forbids.
    env = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, "jinja2.ext.loopcontrols"])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda f: datetime.datetime.fromtimestamp(NOW).strftime(f)
    return env


class Options(ctypes.Structure):
    _fields_ = [(n, ctypes.c_char_p) for n in ("template_source", "bos", "eos")]


class Input(ctypes.Structure):
    _fields_ = [("messages", ctypes.c_char_p), ("tools", ctypes.c_char_p), ("kwargs", ctypes.c_char_p),
                ("tool_choice", ctypes.c_int), ("tool_name", ctypes.c_char_p), ("one_tool_call", ctypes.c_bool),
                ("no_generation_prompt", ctypes.c_bool), ("continue_final", ctypes.c_bool),
                ("reasoning", ctypes.c_int), ("reasoning_effort", ctypes.c_char_p), ("now", ctypes.c_double),
                ("allowed_tools", ctypes.c_char_p)]


def text_of(o):
    return json.dumps(o).encode() if o is not None else None


class Chat:
    def __init__(self, lib, source):
        self.lib, self.chat, err = lib, ctypes.c_void_p(), ctypes.create_string_buffer(4096)
        o = Options(source.encode(), b"<s>", b"</s>")
        if lib.myna_chat_new(ctypes.byref(self.chat), None, ctypes.byref(o), err):
            raise RuntimeError("it does not compile")

    def render(self, messages, tools=None, kwargs=None, ask=True):
        i = Input(text_of(messages), text_of(tools), text_of(kwargs), no_generation_prompt=not ask, now=NOW)
        out, err = ctypes.create_string_buffer(1024), ctypes.create_string_buffer(4096)
        if self.lib.myna_chat_apply(self.chat, ctypes.byref(i), out, err):
            return None
        text = ctypes.cast(out, ctypes.POINTER(ctypes.c_char_p))[0].decode()
        self.lib.myna_chat_prompt_free(out)
        return text


def forms(messages, source):
    """The conversation in the forms that a template may want."""
    for as_text, null, parts, merge in itertools.product((0, 1), repeat=4):
        m = json.loads(json.dumps(messages))
        if merge and m[0]["role"] == "system" and len(m) > 1:
            m[1]["content"] = m[0]["content"] + "\n" + m[1]["content"]
            m = m[1:]
        for one in m:
            if one.get("content") is None:
                one["content"] = None if null else ""
            for call in one.get("tool_calls", []):
                if not as_text:
                    call["function"]["arguments"] = json.loads(call["function"]["arguments"])
            if parts and isinstance(one["content"], str):
                one["content"] = [{"type": "text", "text": one["content"]}]
            if "reasoning_content" in one and "reasoning_content" not in source:
                for mark, key in (("message.thinking", "thinking"), ("message.reasoning ", "reasoning")):
                    if mark in source:
                        one[key] = one["reasoning_content"]
                        if "<|channel|>" in source and "tool_calls" in one:
                            one["content"] = ""
        yield m


U = {"role": "user", "content": "Hello, wörld "}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather of a place.", "parameters": {
    "type": "object", "properties": {"place": {"type": "string", "description": "Name"}, "days": {"type": "integer"}},
    "required": ["place"]}}}]


def call(n):
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "call0000%d" % n, "type": "function", "function": {
        "name": "get_weather", "arguments": "{\"place\": \"Zürich\", \"days\": %d}" % n}}]}


def result(n):
    return {"role": "tool", "tool_call_id": "call0000%d" % n, "name": "get_weather", "content": "{\"sun\": true}"}


A = {"role": "assistant", "content": "  Hi there. \n"}
R = {"role": "assistant", "content": "Four.", "reasoning_content": "Two and two."}
CASES = {
    "user": dict(messages=[U]),
    "system": dict(messages=[{"role": "system", "content": "Be brief."}, U]),
    "turns": dict(messages=[{"role": "system", "content": "Be brief."}, U, A, {"role": "user", "content": "And?\n"}, A, U]),
    "answered": dict(messages=[U, A], ask=False),
    "tools": dict(messages=[U], tools=TOOLS),
    "call": dict(messages=[U, call(1), result(1)], tools=TOOLS),
    "calls": dict(messages=[U, call(1), result(1), A, U, call(2), result(2)], tools=TOOLS),
    "reasoned": dict(messages=[U, R, U]),
    "reasoned_call": dict(messages=[U, {**call(1), "reasoning_content": "I look it up."}, result(1)], tools=TOOLS),
    "thinking": dict(messages=[U], kwargs={"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}),
    "no_thinking": dict(messages=[U], kwargs={"enable_thinking": False, "thinking": False}),
}


def oracle(template, source, case):
    tools = case.get("tools")
    more = {"tools": tools, **case.get("kwargs", {})}
    if "+ functions -" in source:  # Firefunction's
        more["functions"] = json.dumps(tools, indent=2, ensure_ascii=False) if tools else "[]"
        more["datetime"] = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime("%b %d %Y %H:%M:%S GMT")
    out, errors = [], []
    for m in forms(case["messages"], source):
        for absent in (False, True):
            if absent and tools:
                continue
            variables = {k: v for k, v in more.items() if not (absent and k == "tools")}
            try:
                out.append(template.render(messages=m, documents=None, bos_token="<s>", eos_token="</s>",
                                           add_generation_prompt=case.get("ask", True), **variables))
            except Exception as e:
                errors.append(str(e))
    return out, errors


def lacks_tools(case, want):
    """The template shows nothing of the tools, of a call or of a result: libmyna writes them as text."""
    calls = [m for m in case["messages"] if "tool_calls" in m]
    shown = [w for w in want if "The weather of a place." in w and (not calls or "Zürich" in w or "Z\\u00fcrich" in w)]
    return "tools" in case and not shown


def main():
    lib = ctypes.CDLL(sys.argv[1])
    env, same, other, refused, beyond = environment(), 0, [], 0, 0
    for path in sorted(pathlib.Path(sys.argv[2]).glob("*.jinja")):
        source = path.read_text()
        template, chat = env.from_string(source), Chat(lib, source)
        for name, case in CASES.items():
            got = chat.render(**case)
            want, errors = oracle(template, source, case)
            if got in want:
                same += 1
            elif got is None and not want:
                refused += 1
            elif got is not None and lacks_tools(case, want):
                beyond += 1
            else:
                other.append((path.name, name, got, want, errors))
    for file, name, got, want, errors in other:
        print("%s %s\n  got  %r\n  want %r %s" % (file, name, got, want[0] if want else None, errors[:1]))
    print("%d same, %d refused by both, %d with tools that the template does not show, %d differ"
          % (same, refused, beyond, len(other)))
    return 1 if other else 0


if __name__ == "__main__":
    sys.exit(main())
