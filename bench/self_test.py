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

# One script plays all programs; what it is called decides. Its flags are written to a log.
STUB = r'''#!/usr/bin/env -S python3 -SE
import json, os, sys
name, args = os.path.basename(sys.argv[0]), sys.argv[1:]
with open(os.path.join(os.path.dirname(sys.argv[0]), "log"), "a") as f:
    print(name, *args, file=f)
def flag(x, default="0"):
    return args[args.index(x) + 1] if x in args else default
def row(rate):
    print("some words first\n" + json.dumps([dict(n_prompt=1, avg_ts=rate)], indent=1))
if name == "probe":
    far = False
    for line in sys.stdin:
        p = dict(threads=2, ping_ns=90.5, memory="near", read_gbs=50.0)
        if line == "all\n":
            p.update(int8_gops=2000.0, bf16_gops=1000.0, f32_gops=500.0)
        print(json.dumps(p), flush=True)
elif name == "myna" and args[0] == "inspect":
    ctx = int(flag("-c"))
    tensors = [dict(name="token_embd.weight", type="F16", shape=[1000, 100], bytes=200000),
               dict(name="output.weight", type="Q8_0", shape=[1000, 100], bytes=106250),
               dict(name="blk.0.ffn_up.weight", type="Q8_0", shape=[1000, 1000], bytes=1062500),
               dict(name="blk.0.attn_norm.weight", type="F32", shape=[100], bytes=400)]
    print(json.dumps(dict(n_ctx_train=8192, tensors=tensors, metadata={"x.block_count": 1}, memory=dict(n_ctx=ctx, kv=1000 + 512 * ctx))))
elif name == "myna" and args[0] == "run":
    print("word")
elif name == "myna":
    row(600.0 if flag("-n") == "0" else 100.0 * int(flag("-B")))
elif name == "llama-bench":
    row(300.0 if flag("-n") == "0" else 80.0)
elif name == "llama-batched-bench":
    if os.path.exists(sys.argv[0] + ".lost"):
        print("noise\n" + json.dumps(dict(speed_pp=1.0, speed_tg=50.0)))
    else: # the first output is lost
        open(sys.argv[0] + ".lost", "w").close()
elif name == "llama-run":
    sys.exit("error: no such model")
elif name == "old-bench":
    if "-d" in args:
        sys.exit("error: invalid parameter for argument: -d")
    row(200.0 if "-gp" not in args else 40.0)
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
    t = bench.Test("tg32x8@d4096")
    equal((t.kind, t.n, t.together, t.depth), ("tg", 32, 8, 4096), "tg32x8@d4096")
    for name in ("pp", "pp0", "pp8x2", "tg4x0", "starts", "tg4@4096"):
        fails(bench.Test, name, words="a test is")
    near(bench.Test("start").ratio(0.5, 1.0), 2, "the ratio of times")
    near(bench.Test("tg4").ratio(3.0, 2.0), 1.5, "the ratio of rates")


def test_parsing():
    near(bench.parse_rate('ggml: a [bracket]\n[\n{"avg_ts": 12.5}]\n'), 12.5, "a rate")
    for text in ("", "[", "[]", '[{"avg_ts": 1}, {"avg_ts": 2}]', '[{"avg_ts": 0}]', '[{"avg": 1}]', "[1]"):
        fails(bench.parse_rate, text, words="not one row")
    fails(bench.parse_batched, '{"speed_pp": 1}', words="speed_tg")
    equal(bench.last_words("loading\nerror: bad flag\nusage:"), "error: bad flag", "the words of a program")
    for text, words in (("llama", "NAME=PATH"), ("a.b=c", "NAME=PATH"), ("myna=/bin/sh", "something else")):
        fails(bench.parse_peers, text, print, words=words)
    for args, words in (((), "MODEL.gguf"), (("none.gguf",), "none.gguf"), ((__file__, "--rounds", "0"), "--rounds"),
                        ((__file__, "--suite", "x"), "--suite"), ((__file__, "--myna", "/none"), "--myna"),
                        ((__file__, "--myna", "/bin/sh", "--tests", "xx"), "--tests"), ((__file__, "--myna", "/bin/sh", "--peers", "x"), "--peers")):
        fails(bench.parse_args, args, words=words)


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
    engines = [bench.Engine("myna", {}, is_myna=True), bench.Engine("llama", {})]
    tests = [bench.Test("tg4"), bench.Test("pp4")]
    samples = [sample("myna", r, v) for r, v in ((1, 10), (2, 70), (3, 20))] + [sample("llama", r, v) for r, v in ((1, 10), (2, 10), (3, 10))]
    samples += [sample("myna", 4, 100, "far", "far"), sample("llama", 4, 50, "far", ""), sample("myna", 5, 1000, "near", "far"), sample("llama", 5, 1)]
    samples += [sample("myna", 6, 40), sample("llama", 6, 1, "far", "far")]  # no ratio: not of one class
    samples += [sample("myna", 1, 7, "far", "near", "pp4"), sample("llama", 1, 14, test="pp4")]
    rows = bench.summarise(samples, tests, engines)
    equal([(r["test"].name, r["memory"]) for r in rows], [("tg4", "near 4"), ("tg4", "far 1"), ("pp4", "changed 1")], "rows by class")
    equal(rows[0]["peers"]["llama"]["ratio"], (2, 1, 7), "median and range of ratios within rounds")
    equal(rows[0]["value"], 30, "the median")
    equal(rows[1]["peers"]["llama"]["ratio"], (2, 2, 2), "the ratio of the other class")
    equal(rows[2]["peers"]["llama"]["ratio"], (0.5, 0.5, 0.5), "the ratio of a prompt")
    lines = bench.markdown(rows, engines).splitlines()
    equal(lines[0], "| model | test | myna t/s | llama t/s | myna / llama (range) | share of peak | memory |", "the table's head")
    equal(lines[2], "| m | tg4 | 30.0 | 10.0 | 2.00 (1.00 to 7.00) | 3 % read (30 GB/s) | near 4 |", "the table's first row")
    equal({x.count("|") for x in lines}, {8}, "cells of the table's lines")
    drawn = charts.svg(charts.panels(rows), ["llama"], 8)
    check(all(x in drawn for x in ("tg4 (near)", "tg4 (far)", "pp4", ">2.00<", "myna / llama", "</svg>")), f"the chart lacks something: {drawn}")


    equal([x[2] for x in charts.places(["a", "b", "c"], dict(a=0, c=0))], [-0.5, 0.5], "places of bars")
    equal(charts.text(0, 0, "a&b<c").count("a&amp;b&lt;c"), 1, "names in the chart")


def test_failures():
    """What fails at once is not tried again; what fails later is, once."""
    run = bench.Run(None, [], [], [])
    with contextlib.redirect_stderr(io.StringIO()):
        run.failed(("m.gguf", "tg4", "a"), "where", "why")
        run.samples = [dict(model="m", test="tg4", engine="b")]
        run.failed(("m.gguf", "tg4", "b"), "where", "why")
        equal(run.out, {("m.gguf", "tg4", "a")}, "left out after one failure")
        run.failed(("m.gguf", "tg4", "b"), "where", "why")
    check(("m.gguf", "tg4", "b") in run.out, "two failures are tried again")


def test_run(folder):
    programs = {}
    for name in ("myna", "probe", "llama-bench", "llama-batched-bench", "llama-run", "old-bench"):
        programs[name] = os.path.join(folder, name)
        with open(programs[name], "w") as f:
            f.write(STUB)
        os.chmod(programs[name], 0o755)
    model, table = os.path.join(folder, "tiny.gguf"), os.path.join(folder, "out", "samples.csv")
    open(model, "w").close()
    peers = "llama={llama-bench} llama.batched={llama-batched-bench} llama.run={llama-run} llama.args=-x,1 old={old-bench} gone=/no/such/program".format(**programs)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        rc = bench.main([model, "--myna", programs["myna"], "--probe", programs["probe"], "--peers", peers, "--rounds", "2", "--threads", "2", "--csv", table,
                         "--png", "", "--tests", "pp8,tg4@d64,tg4x2,start,tg4@d9000"])
    said = out.getvalue()
    equal(rc, 0, "the exit status")
    for words in ("| tiny | pp8 | 600 | 300 | 2.00 (2.00 to 2.00) | 200 | 3.00 (3.00 to 3.00) |", "% int8", "| tiny | tg4@d64 | 100 | 80.0 | 1.25 (1.25 to 1.25) | 40.0 | 2.50",
                  "| tiny | tg4x2 | 200 | 50.0 | 4.00 (4.00 to 4.00) | - | - |", "| near 2 |", "2 rounds", "tiny start: llama left out: error: no such model",
                  "old: several sequences left out, no old.batched=PATH", "gone: /no/such/program is no program", "tg4@d9000: left out, the model knows 8192 positions"):
        check(words in said, f"the report lacks {words!r}:\n{said}\n{err.getvalue()}")
    check("| tiny | start | " in said, f"the report lacks the start:\n{said}")
    check("round 2/2  tg4x2 myna 200 t/s, memory near" in err.getvalue(), f"progress is not told:\n{err.getvalue()}")
    with open(table, newline="") as f:
        rows = list(csv.DictReader(f))
    equal(len(rows), 2 * (3 + 3 + 2 + 1), "samples in the CSV")
    equal([r["engine"] for r in rows if r["test"] == "pp8"], ["myna", "llama", "old", "old", "llama", "myna"], "the order in two rounds")
    # 8 prompt tokens: a million int8 weights and an eighth of the head; 2000 GOP/s probed
    near(float(rows[0]["share"]), round(600 * 2e-9 * (1e6 + 1e5 / 8) / 2000, 4), "the share of a prompt")
    # weights, without the table of tokens, and 512 bytes for each of 66 positions
    near(float(next(r for r in rows if r["test"] == "tg4@d64")["reached"]), round(100 * 1e-9 * (106250 + 1062500 + 400 + 512 * 66), 3), "what a step reads")
    with open(os.path.join(folder, "log")) as f:
        log = f.read()
    check("old-bench -m " in log and "-p 0 -n 0 -gp 64,4" in log, f"an older program was not asked in its own words:\n{log}")
    check(" -x 1 " in log, f"the flags of a peer are missing:\n{log}")
    equal((log.count("llama-batched-bench"), log.count("-fa on")), (3, 3), "a lost output is asked for again, with the same flags")
    equal(log.count("old-bench") - log.count("-gp"), 3, "asked again with flags that are refused")


def main():
    test_names()
    test_parsing()
    test_facts()
    test_table()
    test_failures()
    with tempfile.TemporaryDirectory() as folder:
        test_run(folder)
    print(f"  bench: {checks} checks")
    return 0
