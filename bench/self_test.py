"""bench.py --self-test: parsing, medians, shares, table and chart against engines that are none: small scripts that print what the real ones
print, with rates chosen here. Nothing is timed."""
import contextlib
import csv
import io
import json
import os
import tempfile

import bench
import charts
import engines
import kl
import table

# One script plays all programs; what it is called decides. Its flags are written to a log.
STUB = r'''#!/usr/bin/env -S python3 -SE
import json, os, sys
name, args = os.path.basename(sys.argv[0]), sys.argv[1:]
with open(os.path.join(os.path.dirname(sys.argv[0]), "log"), "a") as f:
    print(name, *args, "ENV=" + os.environ.get("BENCH_ENV", ""), file=f)
def flag(x, default="0"):
    return args[args.index(x) + 1] if x in args else default
def bench_rows(depth, prompt, gen):
    out = [dict(n_prompt=int(p), n_gen=0, n_depth=depth, avg_ts=prompt) for p in flag("-p").split(",") if p != "0"]
    out += [dict(n_prompt=0, n_gen=int(n), n_depth=depth, avg_ts=gen) for n in flag("-n").split(",") if n != "0"]
    print("some words first\n" + json.dumps(out, indent=1))
if name == "probe":
    far = False
    for line in sys.stdin:
        p = dict(threads=2, ping_ns=90.5, memory="near", read_gbs=50.0)
        if line == "all\n":
            p.update(int8_gops=2000.0, bf16_gops=1000.0, f32_gops=500.0)
        print(json.dumps(p), flush=True)
elif name == "myna" and args[0] == "inspect":
    ctx = int(flag("-c"))
    if flag("-ctk") == "q4_0":
        sys.exit("myna: no such cache")
    tensors = [dict(name="token_embd.weight", type="F16", shape=[1000, 100], bytes=200000),
               dict(name="output.weight", type="Q8_0", shape=[1000, 100], bytes=106250),
               dict(name="blk.0.ffn_up.weight", type="Q8_0", shape=[1000, 1000], bytes=1062500),
               dict(name="blk.0.attn_norm.weight", type="F32", shape=[100], bytes=400)]
    kv = 256 if flag("-ctk") == "q8_0" else 512
    print(json.dumps(dict(n_ctx_train=8192, tensors=tensors, metadata={"x.block_count": 1}, memory=dict(n_ctx=ctx, kv=1000 + kv * ctx))))
elif name == "myna" and args[0] == "run":
    print("word")
elif name == "myna":
    depth = "@d" + flag("-d") if flag("-d") != "0" else ""
    together = "x" + flag("-B") if flag("-B") not in "01" else ""
    out = [dict(name="pp" + p + depth, avg_ts=600.0) for p in flag("-p").split(",") if p != "0"]
    out += [dict(name="tg" + n + together + depth, avg_ts=100.0 * int(flag("-B", "1"))) for n in flag("-n").split(",") if n != "0"]
    if "--replay" in args:
        out = [dict(name="tg" + flag("-n") + "@replay", avg_ts=150.0 if "--guess" in args else 100.0)]
    print(json.dumps(out))
elif name == "llama-bench":
    bench_rows(int(flag("-d")), 300.0, 80.0)
elif name == "llama-batched-bench":
    if os.path.exists(sys.argv[0] + ".lost"):
        print("noise\n" + json.dumps(dict(pp=int(flag("-npp")), tg=int(flag("-ntg")), pl=int(flag("-npl")), speed_pp=1.0, speed_tg=50.0)))
    else: # the first output is lost
        open(sys.argv[0] + ".lost", "w").close()
elif name == "llama-completion":
    sys.exit("error: no such model")
elif name == "llama-sweep-bench": # prints to standard error
    step, last = int(flag("-ub")), int(flag("-c")) - int(flag("-ub"))
    for at in (0, last):
        print(json.dumps(dict(pp=step, tg=int(flag("-n")), n_kv=at, speed_pp=500.0 - at, speed_tg=104.0 - at)), file=sys.stderr)
elif name == "old-bench":
    if "-d" in args:
        sys.exit("error: invalid parameter for argument: -d")
    if "-gp" in args:
        depth, n = flag("-gp").split(",")
        print(json.dumps([dict(n_prompt=int(depth), n_gen=int(n), avg_ts=40.0)]))
    else:
        bench_rows(0, 200.0, 200.0)
'''

checks = 0


def check(ok, what):
    global checks
    checks += 1
    if not ok:
        raise SystemExit(f"bench.py --self-test: {what}")


def equal(got, want, what):
    check(got == want, f"{what}: {got!r} instead of {want!r}")


def near(got, want, what):
    check(abs(got - want) <= 1e-9 * abs(want), f"{what}: {got!r} instead of {want!r}")


def fails(f, *args, words):
    """Calls f, which must fail with these words in its message."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            f(*args)
    except (ValueError, bench.Failed, SystemExit) as e:
        return check(words in f"{e} {said.getvalue()}", f"a message is {e} {said.getvalue()!r}, without {words!r}")
    check(False, f"{args} was accepted")


def test_names():
    t = bench.Test("tg32x8@d4096/kv=q8_0/t=3")
    equal((t.kind, t.n, t.together, t.batched, t.depth, t.kv, t.threads), ("tg", 32, 8, True, 4096, "q8_0", 3), "tg32x8@d4096/kv=q8_0/t=3")
    t = bench.Test("replay64/ngram/a b.txt")
    equal((t.kind, t.n, t.how, t.text), ("replay", 64, "ngram", "a b.txt"), "replay64/ngram/a b.txt")
    equal([bench.Test(x).batched for x in ("tg4x1", "tg4")], [True, False], "whether one sequence is asked of the program for several")
    for name in ("pp", "pp0", "pp8x2", "tg4x0", "tg00", "replay0", "tg4/t=0", "starts", "tg4@4096", "tg4/kv=", "replay4/a"):
        fails(bench.Test, name, words="a test is")
    near(bench.Test("start").ratio(0.5, 1.0), 2, "the ratio of times")
    near(bench.Test("tg4").ratio(3.0, 2.0), 1.5, "the ratio of rates")
    tests = [bench.Test(x) for x in ("pp8", "pp8@d64", "tg4", "tg4@d64", "tg4@d64/kv=q8_0", "tg4x2@d64", "tg2@d32", "tg4x4@d64", "pp4@d64/kv=q8_0")]
    equal([[t.name for t in g] for g in engines.groups(tests)],
          [["pp8"], ["pp8@d64", "tg4@d64"], ["tg4"], ["tg4@d64/kv=q8_0", "pp4@d64/kv=q8_0"], ["tg4x2@d64"], ["tg2@d32"], ["tg4x4@d64"]],
          "tests that share their depth")


# What programs print, each in its own way.
BENCH = """ggml: a [bracket]
[
  { "n_prompt": 8, "n_gen": 0, "n_depth": 64, "avg_ts": 12.5 },
  { "n_prompt": 0, "n_gen": 4, "n_depth": 64, "avg_ts": 2.5 }
]
"""
OLD_BENCH = '[\n{"n_prompt": 64, "n_gen": 4, "avg_ts": 3.5, "test": "tg4@pp64"}]\n'
JSONL = """main: n_kv_max = 2048

{"n_kv_max": 2048, "pp": 32, "tg": 4, "pl": 1, "n_kv": 36, "speed_pp": 9.0, "speed_tg": 5.5, "speed": 1.0}
{"n_kv_max": 2048, "pp": 32, "tg": 4, "pl": 2, "n_kv": 72, "speed_pp": 9.0, "speed_tg": 7.5, "speed": 1.0}
"""
TABLE = """
main: n_kv_max = 2048, n_batch = 2048

|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|    32 |      4 |    1 |     36 |    0.412 |   310.82 |    0.551 |     5.50 |    0.963 |   265.93 |
|    32 |      4 |    2 |     72 |    0.412 |   310.82 |    0.551 |     7.50 |    0.963 |   265.93 |

print_timings: total time | 3 | ms
"""
SWEEP = """
|    PP |     TG |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |
|-------|--------|--------|----------|----------|----------|----------|
|     8 |      4 |      0 |    2.000 |    88.00 |    1.000 |    44.00 |
|     8 |      4 |     64 |    2.000 |    12.50 |    1.000 |     2.50 |
"""
MYNA = '[\n{"name":"pp8@d64","avg_ts":12.5},\n{"name":"tg4@d64","avg_ts":2.5}\n]\n'


def test_parsing():
    deep = [bench.Test("pp8@d64"), bench.Test("tg4@d64")]
    for parse, text in ((engines.parse_bench, BENCH), (engines.parse_sweep, SWEEP), (engines.parse_myna, MYNA)):
        equal(parse(deep, text), {"pp8@d64": 12.5, "tg4@d64": 2.5}, f"what {parse.__name__} finds")
    equal(engines.parse_bench(deep[1:], OLD_BENCH), {"tg4@d64": 3.5}, "a depth that is called a prompt")
    for text in (JSONL, TABLE):
        equal([engines.parse_batched([bench.Test(t)], text)[t] for t in ("tg4x1@d32", "tg4x2@d32")], [5.5, 7.5], "rates of one and of two sequences")
    equal(engines.parse_myna([bench.Test("tg4x2@d32/t=8")], '[{"name":"tg4x2@d32","avg_ts":9}]'), {"tg4x2@d32/t=8": 9}, "a name with threads")
    equal(engines.parse_myna([bench.Test("tg4x1@d32")], '[{"name":"tg4@d32","avg_ts":9}]'), {"tg4x1@d32": 9}, "one sequence of several")
    equal(engines.parse_myna([bench.Test("replay4/ngram/a")], '[{"name":"tg4@replay","avg_ts":9}]'), {"replay4/ngram/a": 9}, "a replay")
    one = [bench.Test("pp8")]
    for text in ("", "[", "[]", '[{"n_prompt": 8, "avg_ts": 0}]', '[{"n_prompt": 8, "avg": 1}]', '[{"n_prompt": 9, "avg_ts": 1}]', "[1]",
                 '[{"n_prompt": 8, "avg_ts": 1}, {"n_prompt": 8, "avg_ts": 2}]'):
        fails(engines.parse_bench, one, text, words="one is expected")
    for text in ("", '{"pl": 2, "tg": 5, "speed_tg": 1}', '{"pl": 3, "tg": 4, "speed_tg": 1}', '{"pl": 2, "tg": 4}', "S_TG t/s | B\n1 | 2\n"):
        fails(engines.parse_batched, [bench.Test("tg4x2@d32")], text, words="speed_tg")
    equal(engines.last_words("loading\nerror: bad flag\nusage:"), "error: bad flag", "the words of a program")
    for text, words in (("llama", "NAME=PATH"), ("a.b=c", "NAME=PATH"), ("a.env=b", "NAME=PATH"), ("myna=/bin/sh", "something else"), ("itself=/x", "something else")):
        fails(bench.parse_peers, text, print, words=words)
    for args, words in (((), "MODEL.gguf"), (("none.gguf", "--myna", "/bin/sh"), "none.gguf"), ((__file__, "--rounds", "-1"), "--rounds"),
                        ((__file__, "--myna", "/bin/sh", "--suite", "x"), "--suite"), ((__file__, "--myna", "/none"), "--myna"),
                        ((__file__ + ":basic,x", "--myna", "/bin/sh"), "--suite"), ((__file__, "--replay", "/none"), "--replay"),
                        ((__file__, "--myna", "/bin/sh", "--speculation", "x"), "--speculation"), ((__file__, "--continue", "/none"), "--continue"),
                        ((__file__, "--myna", "/bin/sh", "--tests", "replay4/a/b"), "no --replay"),
                        ((__file__, "--myna", "/bin/sh", "--tests", "xx"), "a test is"), ((__file__, "--myna", "/bin/sh", "--peers", "x"), "--peers")):
        fails(bench.parse_args, args, words=words)


def plan_of(*args):
    """{model: names of tests} and notes."""
    _, all_engines, plan, notes = bench.parse_args([*args, "--myna", "/bin/sh"])
    return {os.path.basename(m): " ".join(t.name for t in tests) for m, tests in plan.items()}, [e.name for e in all_engines], notes


def test_plans(folder):
    for name in ("a.gguf", "b.gguf", "text", "llama-cli", "llama-batched-bench", "mine"):
        with open(os.path.join(folder, name), "w") as f:
            f.write("#!/bin/sh\n")
        os.chmod(os.path.join(folder, name), 0o755 if "l" in name or name == "mine" else 0o644)
    a, text = os.path.join(folder, "a.gguf"), os.path.join(folder, "text")
    equal(plan_of(a, "--suites", "basic,start")[0], {"a.gguf": "pp512 tg64 start"}, "two suites")
    equal(plan_of(folder + ":start")[0], {"a.gguf": "start", "b.gguf": "start"}, "a folder with a suite of its own")
    equal(plan_of(a, a + ":start", "--tests", "tg4")[:2], ({"a.gguf": "tg4 start"}, ["myna"]), "a model named twice")
    equal(plan_of(a, "--short", "--tests", "pp8 tg8 tg8x2@d32 tg8@d4096 tg8@d9000 pp8@d9000")[0], {"a.gguf": "pp8 tg4 tg8x2@d32 tg4@d4096"}, "the short mode")
    equal(plan_of(a, "--tests", "replay8"), ({"a.gguf": ""}, ["myna"], ["replay8: left out, --replay names no text"]), "a replay of nothing")
    equal(plan_of(a, "--tests", "replay8", "--replay", text, "--speculation", "x=-a", "--speculation", "y=-b -c", "--short")[:2],
          ({"a.gguf": "replay4/x/text replay4/y/text"}, ["myna", "itself"]), "replays of a text")
    for suite in bench.SUITES:
        check(plan_of(a, "--suites", suite, "--replay", text)[0]["a.gguf"], f"the suite {suite} is empty")
    found = engines.find_programs(os.path.join(folder, "mine"))
    equal({k: os.path.basename(v) for k, v in found.items()}, {"bench": "mine", "batched": "llama-batched-bench", "run": "llama-cli"}, "programs beside one")
    equal(sorted(engines.find_programs(folder)), ["batched", "run"], "programs of a folder")
    peer, = engines.parse_peers(f"p={folder} p.run={a}.no p.sweep={folder}/mine p.args=-rtr,1 p.batched.args=-rtr p.env=A=1,B=2", [].append)
    equal((sorted(peer.programs), peer.args, peer.env), (["batched", "run", "sweep"], {"bench": ["-rtr", "1"], "batched": ["-rtr"]}, dict(A="1", B="2")), "a peer")


def test_goals():
    for name, kinds, itself, want in (("pp512", ["Q4_K"], False, (1.8, 0.65)), ("pp512", ["Q6_K"], False, (1.3, 0.5)), ("pp512", ["IQ2_XXS"], False, (1.3, None)),
                                      ("pp512", ["Q4_K", "moe"], False, (1.5, None)), ("tg64", ["Q8_0"], False, (1.0, 0.95)), ("tg64", ["Q8_0", "small"], False, (1.3, 0.85)),
                                      ("tg32x4@d32", ["Q4_K"], False, (2.8, None)), ("tg32x16@d32", ["Q4_K"], False, (4, None)), ("tg32x1@d32", [], False, (1, None)),
                                      ("tg32@d4096", ["Q4_K"], False, (1.5, None)), ("tg32@d16384", [], False, (2, None)), ("pp512@d4096", [], False, (2, None)),
                                      ("tg32@d4096/kv=q4_0", [], False, (2, None)), ("start", [], False, (4, None)), ("tg64/t=8", [], True, (0.8, None)),
                                      ("replay256/ngram/a.c", [], True, (1.5, None)), ("replay256/ngram/wiki.valid.raw", [], True, (0.98, None))):
        equal(table.goal(bench.Test(name), kinds, itself), want, f"the goal of {name}")
    low = table.interval([1, 2, 3, 4, 100])
    equal(low[0], 3, "the median")
    check(low[1] in (1, 2) and low[2] in (4, 100), f"the interval of 5 is {low}")
    equal(table.interval([2.0]), (2, 2, 2), "the interval of one")
    many = table.interval([1 + k / 100 for k in range(101)])
    check(1.35 < many[1] < 1.44 and 1.56 < many[2] < 1.65, f"the interval of many is {many}")


def test_facts():
    def tensor(name, kind, shape, size):
        return dict(name=name, type=kind, shape=shape, bytes=size)

    body = [tensor("blk.0.ffn_up.weight", "Q4_K", [10, 100], 600), tensor("blk.0.ffn_norm.weight", "F32", [10], 40)]
    tied = bench.Facts(dict(tensors=body + [tensor("token_embd.weight", "F16", [50, 10], 1000)]), 20.0)
    near(tied.step_bytes(bench.Test("tg4@d100")), 600 + 40 + 1000 + 20 * 102, "bytes with a tied head and a cache")
    near(tied.step_bytes(bench.Test("tg4x3@d100")), 1640 + 3 * 20 * 102, "bytes of three sequences")
    equal(tied.weights(bench.Test("tg4")), {"int8": 1000, "f32": 500}, "weights of a step")
    equal(tied.weights(bench.Test("pp10")), {"int8": 1000, "f32": 50}, "weights of a prompt")
    moe = bench.Facts(dict(metadata={"m.expert_count": 8, "m.expert_used_count": 2}, tensors=[tensor("token_embd.weight", "F16", [50, 10], 1000),
                      tensor("output.weight", "BF16", [50, 10], 1000), tensor("blk.0.ffn_up_exps.weight", "Q8_0", [8, 10, 10], 800)]))
    near(moe.step_bytes(bench.Test("tg4")), 1000 + 200, "bytes of experts")
    near(moe.step_bytes(bench.Test("tg4x2")), 1000 + 800 * (1 - 0.75**2), "bytes of experts of two sequences")
    equal(moe.weights(bench.Test("tg4")), {"bf16": 500, "int8": 200}, "weights of experts")
    probed = dict(int8_gops=2.0, f32_gops=1.0, read_gbs=1e-3)
    (share, name, reached, unit), = tied.shares(bench.Test("pp10"), 1e5, probed)
    near(share, 1e5 * (2e-9 * 1000 / 2 + 2e-9 * 50 / 1), "share of two peaks")
    equal((name, unit), ("int8", "GOP/s"), "name of the peak")
    near(reached, 2e-9 * 1050 * 1e5, "operations reached")
    first = tied.shares(bench.Test("tg2"), 100, probed)[0]
    equal(first[1], "read", "what binds a step")
    near(first[0], 100 * (1640 + 20) * 1e-9 / 1e-3, "share of reading")
    equal(tied.shares(bench.Test("start"), 1, probed), [], "shares of the start")
    equal(tied.shares(bench.Test("tg2"), 1, {}), [], "shares without a probe")


def sample(engine, r, value, before="near", after="near", test="tg4"):
    return dict(model="m", test=test, engine=engine, round=r, value=value, memory_before=before, memory_after=after, share=value / 1000, share_of="read",
                reached=value, reached_unit="GB/s")


def test_table():
    both = [bench.Engine("myna", {}, is_myna=True), bench.Engine("llama", {}), bench.Engine("ik", {})]
    tests = [bench.Test("tg4"), bench.Test("pp4")]
    samples = [sample("myna", r, v) for r, v in ((1, 10), (2, 70), (3, 20))] + [sample("llama", r, v) for r, v in ((1, 10), (2, 10), (3, 10))]
    samples += [sample("myna", 4, 100, "far", "far"), sample("llama", 4, 50, "far", ""), sample("myna", 5, 1000, "near", "far"), sample("llama", 5, 1)]
    samples += [sample("myna", 6, 40), sample("llama", 6, 1, "far", "far")]  # no ratio: not of one class
    samples += [sample("myna", 1, 7, "far", "near", "pp4"), sample("llama", 1, 14, test="pp4"), sample("ik", 1, 28, test="pp4")]
    rows = table.summarise(samples, tests, both, {"m": ["Q4_K"]})
    equal([(r["test"].name, r["memory"]) for r in rows], [("tg4", "near 4"), ("tg4", "far 1"), ("pp4", "changed 1")], "rows by class")
    equal(rows[0]["peers"]["llama"]["ratio"], (2, 1, 7), "median and interval of ratios within rounds")
    equal(rows[0]["value"], 30, "the median")
    equal(rows[1]["peers"]["llama"]["ratio"], (2, 2, 2), "the ratio of the other class")
    equal(rows[2]["peers"]["llama"]["ratio"], (0.5, 0.5, 0.5), "the ratio of a prompt")
    equal([(r["best"], r["met"]) for r in rows], [((2, "llama"), True), ((2, "llama"), True), ((0.25, "ik"), False)], "the best peer and the goal")
    lines = table.markdown(rows, both).splitlines()
    equal(lines[0], "| model | test | myna t/s | llama t/s | myna / llama (95 %) | ik t/s | myna / ik (95 %) | goal | share of peak | memory |", "the table's head")
    equal(lines[2], "| m | tg4 | 30.0 | 10.0 | 2.00 (1.00 to 7.00) | - | - | 1.25 and 95 % **missed** | 3 % read (30 GB/s) | near 4 |", "the table's first row")
    equal({x.count("|") for x in lines}, {11}, "cells of the table's lines")
    own = table.summarise([sample(e, 1, v) for e, v in (("myna", 10), ("llama", 5), ("itself", 20))], tests[:1], both[:2] + [bench.Engine("itself", {}, is_myna=True)])
    equal((own[0]["best"], own[0]["judged"]), ((2, "llama"), (0.5, "itself")), "the best peer beside myna itself")
    equal(table.headline(rows), "Worst ratio: 0.25 against ik (m pp4). 2 of 3 ratios reach their goal.", "the headline")
    equal(table.headline([]), "", "the headline of nothing")
    drawn = charts.svg(charts.panels(rows), ["llama", "ik"])
    check(all(x in drawn for x in ("tg4 (near)", "tg4 (far)", "pp4", ">2.00<", "myna / llama", "</svg>")), f"the chart lacks something: {drawn}")
    more = [dict(r, model=m) for m in "xyz" for r in rows]
    equal([(k, [label for label, _ in v]) for k, v in charts.panels(more).items()],
          [("tg4", [f"{m} ({c})" for m in "xyz" for c in ("near", "far")]), ("pp4", ["x", "y", "z"])], "panels where there are more models than tests")
    equal([x[2] for x in charts.places(["a", "b", "c"], dict(a=0, c=0))], [-0.5, 0.5], "places of bars")
    equal(charts.text(0, 0, "a&b<c").count("a&amp;b&lt;c"), 1, "names in the chart")


def test_others():
    """Pairs that others disturbed do not count where three are left."""
    engines_here = [bench.Engine("myna", {}, is_myna=True), bench.Engine("llama", {})]
    samples = [dict(sample(e, r, v), others=o) for r, mine, o in ((1, 20, 0.01), (2, 30, ""), (3, 40, 0.05), (4, 900, 0.2)) for e, v in (("myna", mine), ("llama", 10))]
    row, = table.summarise(samples, [bench.Test("tg4")], engines_here)
    equal((row["peers"]["llama"]["pairs"], row["peers"]["llama"]["ratio"][0]), (3, 3), "calm pairs")
    row, = table.summarise(samples[2:], [bench.Test("tg4")], engines_here)
    equal(row["peers"]["llama"]["pairs"], 3, "pairs where too few are calm")
    others = bench.Others()
    if others.ticks is not None:
        others.ticks, others.wall = others.ticks - 4, others.wall - 2
        share, own = others.share(0), others.share(3.5)
        cores = os.cpu_count() or 1
        check(share > 1.5 / cores and own < share - 1 / cores, f"shares of others are {share} and {own}")


def test_divergence():
    equal(kl.windows_of(list(range(10)), None, 4, 9), [[0, 1, 2, 3], [4, 5, 6, 7]], "whole windows")
    equal(kl.windows_of(list(range(10)), 99, 4, 1), [[99, 1, 2, 3]], "a window that begins with BOS")
    said = "====== KL divergence statistics ======\nMean    KLD:   0.217302 ±   0.004888\nMaximum KLD:   9.500000\n"
    equal(kl.parse_kl(said), (0.217302, 0.004888), "a divergence")
    fails(kl.parse_kl, "Mean PPL(Q): 9", words="Mean KLD")
    drawn = kl.table(["/a/x.gguf"], {("/a/x.gguf", c): (0.5, 0.1) for c in kl.CACHES}, dict(llama={("/a/x.gguf", "default cache"): (0.25, 0.1)}))
    check("| x.gguf | 0.500000 ± 0.100000 | 0.250000 (2.000) | 0.500000 ± 0.100000 | - |" in drawn, f"the table is {drawn}")
    mine, theirs = {("/a/x", "c"): (0.5, 0.1), ("/a/y", "c"): (0.5, 0.1)}, {("/a/x", "c"): (0.45, 0.1), ("/a/y", "c"): (0.3, 0.1)}
    equal(kl.further(mine, dict(llama=theirs)), ["y (c)"], "what is clearly further from F32")
    try:
        import numpy
    except ImportError:
        return
    p, q = numpy.log([[0.5, 0.5], [0.25, 0.75]]), numpy.log([[0.5, 0.5], [0.5, 0.5]])
    check(numpy.allclose(kl.divergences(p, q), [0, 0.25 * numpy.log(0.5) + 0.75 * numpy.log(1.5)]), "a divergence that is known")


def test_failures():
    """What fails at once is not tried again; what fails later is, once."""
    run = bench.Run(None, [], {}, [])
    with contextlib.redirect_stderr(io.StringIO()):
        run.failed(("m.gguf", "tg4", "a"), "where", "why")
        run.samples = [dict(model="m", test="tg4", engine="b")]
        run.failed(("m.gguf", "tg4", "b"), "where", "why")
        equal(run.out, {("m.gguf", "tg4", "a")}, "left out after one failure")
        run.failed(("m.gguf", "tg4", "b"), "where", "why")
    check(("m.gguf", "tg4", "b") in run.out, "two failures are tried again")
    for cmd, words in ((["/no/such/program"], "No such file"), (["/bin/sh", "-c", "echo error: x >&2; exit 3"], "error: x (exit status 3)")):
        fails(bench.run, cmd, 10, words=words)
    fails(bench.run, ["/bin/sh", "-c", "sleep 5"], 0, words="more than 0 s")


def run_bench(*args):
    """(exit status, standard output, standard error) of bench.py."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        rc = bench.main(list(args))
    return rc, out.getvalue(), err.getvalue()


def test_run(folder):
    programs = {}
    for name in ("myna", "probe", "llama-bench", "llama-batched-bench", "llama-completion", "old/old-bench", "old/llama-sweep-bench", "older/old-bench"):
        programs[os.path.basename(name) if name != "older/old-bench" else "older"] = path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(STUB)
        os.chmod(path, 0o755)
    model, samples, text = os.path.join(folder, "tiny.gguf"), os.path.join(folder, "out", "samples.csv"), os.path.join(folder, "text.c")
    for path in (model, text):
        open(path, "w").close()
    peers = f"llama={folder} llama.args=-x,1 llama.env=BENCH_ENV=yes old={programs['old-bench']} older={programs['older']} gone=/no/such/program"
    args = [model, "--myna", programs["myna"], "--probe", programs["probe"], "--peers", peers, "--threads", "2", "--csv", samples, "--png", os.path.join(folder, "png"),
            "--replay", text, "--speculation", "ngram=--guess", "--tests",
            "pp8,tg4@d64,pp8@d64,tg4x2@d32,start,tg4@d9000,replay4,tg4/t=8,tg4@d32/kv=q8_0,tg4@d32/kv=q4_0"]
    rc, said, told = run_bench(*args, "--rounds", "1")
    equal(rc, 0, "the exit status")
    rc, said, told = run_bench(*args, "--rounds", "2", "--continue", samples)
    equal(rc, 0, "the exit status of going on")
    for words in ("Worst ratio: 0.50 against old (tiny tg4/t=8). 4 of 8 ratios reach their goal.", "| tiny | pp8 | 600 | 300 | 2.00 (2.00 to 2.00) | 200 | 3.00 (3.00 to 3.00) |", "% int8",
                  "| tiny | tg4@d64 | 100 | 80.0 | 1.25 (1.25 to 1.25) | 40.0 | 2.50 (2.50 to 2.50) | 40.0 | 2.50 (2.50", "| tiny | pp8@d64 | 600 | 300 | 2.00 (2.00 to 2.00) | 436 | 1.38 (1.38 to 1.38) | - | - | - | - | 2 **missed** |",
                  "| tiny | tg4x2@d32 | 200 | 50.0 | 4.00 (4.00 to 4.00) | - | - | - | - | - | - | 2.8 met |", "2.8 met | 0 % read", "| near 2 |", "2 rounds",
                  "| tiny | replay4/ngram/text.c | 150 | - | - | - | - | - | - | 100 | 1.50 (1.50 to 1.50) | 1.5 met |",
                  "| tiny | tg4/t=8 | 100 | 80.0 | 1.25 (1.25 to 1.25) | 200 | 0.50 (0.50 to 0.50) | 200 | 0.50 (0.50 to 0.50) | 100 | 1.00 (1.00 to 1.00) | 0.8 met |",
                  "tiny start: llama left out: error: no such model", "tiny pp8@d64: older left out", "old: several sequences left out, there is no llama-batched-bench",
                  "gone: /no/such/program is no program", "tg4@d9000: left out, the model knows 8192 positions"):
        check(words in said, f"the report lacks {words!r}:\n{said}\n{told}")
    check("| tiny | start | " in said, f"the report lacks the start:\n{said}")
    check("round 2/2  tg4x2@d32 myna 200 t/s, memory near" in told, f"progress is not told:\n{told}")
    check(all(x.endswith("failed") for x in told.splitlines() if "round 1/2" in x), f"what was done is done again:\n{told}")
    with open(samples, newline="") as f:
        rows = list(csv.DictReader(f))
    equal([r["engine"] for r in rows if r["test"] == "pp8"], ["myna", "llama", "old", "older", "older", "old", "llama", "myna"], "the order in two rounds")
    equal([r["engine"] for r in rows if r["test"] == "start"], ["myna", "myna"], "who starts")
    # 8 prompt tokens: a million int8 weights and an eighth of the head; 2000 GOP/s probed
    near(float(rows[0]["share"]), round(600 * 2e-9 * (1e6 + 1e5 / 8) / 2000, 4), "the share of a prompt")
    # weights, without the table of tokens, and 512 bytes for each of 66 positions; 256 where the cache is quantized
    reached = {t: float(next(r for r in rows if r["test"] == t)["reached"]) for t in ("tg4@d64", "tg4@d32/kv=q8_0", "tg4@d32/kv=q4_0")}
    for name, kv in (("tg4@d64", 512 * 66), ("tg4@d32/kv=q8_0", 256 * 34), ("tg4@d32/kv=q4_0", 512 * 34)):
        near(reached[name], round(100 * 1e-9 * (106250 + 1062500 + 400 + kv), 3), f"what a step of {name} reads")
    check(all(float(r["rss"]) > 0 for r in rows), "a program without size")
    log = ""
    for place in ("", "old", "older"):
        with open(os.path.join(folder, place, "log")) as f:
            log += f.read()
    asked = [x for x in log.splitlines() if x.startswith("old-bench")]
    check(any("-p 0 -n 0 -gp 64,4" in x for x in asked), f"an older program was not asked in its own words:\n{log}")
    check("llama-sweep-bench -m " in log and "-c 72 -ub 8 -b 2048 -n 4 --sweep-stride 8" in log, f"the sweep was not asked:\n{log}")
    check(" -x 1 " in log and "ENV=yes" in log, f"flags or environment of a peer are missing:\n{log}")
    check("-ctk q8_0 -ctv q8_0" in log and "-t 8 " in log, f"cache type or threads are missing:\n{log}")
    equal((log.count("llama-batched-bench"), log.count("-npp 32 -ntg 4 -npl 2 -fa on --output-format jsonl")), (3, 3), "a lost output is asked for again, with the same flags")
    made = sorted(x.split("-")[-1].split(".")[-1] for x in os.listdir(os.path.join(folder, "png")))
    check({"md", "csv"} <= set(made) and set(made) & {"png", "svg"}, f"what is drawn is {made}")
    rc, said, told = run_bench(*args, "--rounds", "9", "--csv", samples, "--continue", samples, "--seconds", "1")
    check("the time is over" in told and rc == 0 and "| tiny | pp8 |" in said, f"a run does not end in time:\n{told}")


def main():
    test_names()
    test_parsing()
    test_facts()
    test_goals()
    test_table()
    test_others()
    test_divergence()
    test_failures()
    for test in (test_plans, test_run):
        with tempfile.TemporaryDirectory() as folder:
            test(folder)
    print(f"  bench: {checks} checks")
    return 0
