#!/usr/bin/env python3
"""KL divergence of quantized files to their F32 original, computed by myna and by peers on the same files and text.

  kl.py --base F32.gguf --text FILE --peers "llama=/path/to/its/bin" Q4_0.gguf Q4_K_M.gguf ...

Windows of --ctx tokens, the second half of each scored, as llama-perplexity does it. Each engine is measured against its own result for the F32 file,
with its default cache and with an F32 cache; myna's must not be larger than the peer's. Needs numpy.
"""
import argparse
import os
import re
import shlex
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True

from engines import Failed, Process

CACHES = {"default cache": [], "F32 cache": ["-ctk", "f32", "-ctv", "f32"]}
MYNA_DEFAULT = ["-ctk", "bf16", "-ctv", "bf16"]  # what `run` takes for such files; `logits` takes F32


def run(cmd, timeout=3600):
    """Both outputs of a program."""
    process = Process(cmd)
    try:
        return process.finish(timeout)
    finally:
        process.close()


def windows_of(ids, bos, size, most):
    """Windows of `size` ids, whose first becomes BOS where the model asks for one."""
    out = [ids[i:i + size] for i in range(0, len(ids) - size + 1, size)][:most]
    return [[bos] + w[1:] for w in out] if bos is not None else out


def tokenize(myna, model, text):
    """(ids, BOS or None)."""
    ids = [int(x) for x in run([myna, "tokenize", "-m", model, "-f", text])[0].split()]
    plain = [int(x) for x in run([myna, "tokenize", "-m", model, "-f", text, "--no-bos"])[0].split()]
    return ids, ids[0] if len(ids) > len(plain) else None


def log_probabilities(myna, model, window, cache, threads, folder):
    """float64 [second half of the window, n_vocab]: the position before each scored token."""
    import numpy
    out = os.path.join(folder, "logits.npy")
    run([myna, "logits", "-m", model, "-t", str(threads), "--tokens", ",".join(map(str, window)), "-o", out, "-q"] + cache)
    x = numpy.load(out)[len(window) // 2:-1].astype(numpy.float64)
    x -= x.max(axis=1, keepdims=True)
    return x - numpy.log(numpy.exp(x).sum(axis=1, keepdims=True))


def divergences(base, other):
    """KL divergence of each row, from logarithms of probabilities."""
    import numpy
    return (numpy.exp(base) * (base - other)).sum(axis=1)


def parse_kl(text):
    """(mean, its error) of what llama-perplexity --kl-divergence prints."""
    m = re.search(r"^Mean\s+KLD:\s*(-?[\d.]+)\s*(?:±|\+/-)\s*([\d.]+)", text, re.M)
    if not m:
        raise Failed("its output has no line Mean KLD")
    return float(m[1]), float(m[2])


def of_myna(a, windows, folder):
    """{(file, cache): (mean, error)}."""
    import numpy
    base = [log_probabilities(a.myna, a.base, w, CACHES["F32 cache"], a.threads, folder) for w in windows]
    out = {}
    for model in a.models:
        for name, cache in CACHES.items():
            kl = numpy.concatenate([divergences(b, log_probabilities(a.myna, model, w, cache or MYNA_DEFAULT, a.threads, folder)) for b, w in zip(base, windows)])
            out[model, name] = float(kl.mean()), float(kl.std() / len(kl) ** 0.5)
            print(f"{os.path.basename(model)} {name}: myna {out[model, name][0]:.6f}", file=sys.stderr, flush=True)
    return out


def of_peer(a, path, folder):
    program = path if os.path.isfile(path) else os.path.join(path, "llama-perplexity")
    common = [program, "-f", os.path.abspath(a.text), "-c", str(a.ctx), "-t", str(a.threads), "--chunks", str(a.windows), "--kl-divergence-base",
              os.path.join(folder, "base")]
    run(common + ["-m", a.base] + CACHES["F32 cache"])
    out = {}
    for model in a.models:
        for name, cache in CACHES.items():
            try:
                out[model, name] = parse_kl("\n".join(run(common + ["-m", model, "--kl-divergence"] + cache)))
                print(f"{os.path.basename(model)} {name}: {os.path.basename(program)} {out[model, name][0]:.6f}", file=sys.stderr, flush=True)
            except Failed as e:
                print(f"{os.path.basename(model)} {name}: {program}: {e}", file=sys.stderr)
    return out


def table(models, mine, peers):
    """Markdown; a peer's cell ends in the ratio of divergences, below 1 myna is closer to F32."""
    head = ["file"] + [f"{who}, {c}" for c in CACHES for who in ["myna"] + list(peers)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for m in models:
        cells = [os.path.basename(m)]
        for c in CACHES:
            cells.append("{:.6f} ± {:.6f}".format(*mine[m, c]))
            for found in peers.values():
                x = found.get((m, c))
                cells.append(f"{x[0]:.6f} ({mine[m, c][0] / x[0]:.3f})" if x and x[0] > 0 else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def further(mine, peers):
    """"file, cache" where myna's divergence is larger than a peer's by more than its own error."""
    return [f"{os.path.basename(m)} ({c})" for (m, c), (mean, error) in mine.items() if any((m, c) in f and mean - error > f[m, c][0] for f in peers.values())]


def main(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+", metavar="MODEL.gguf")
    p.add_argument("--base", required=True, metavar="F32.gguf")
    p.add_argument("--text", required=True, metavar="FILE")
    p.add_argument("--myna", default="build/myna", metavar="PATH")
    p.add_argument("--peers", default=os.environ.get("PEERS", ""), metavar='"NAME=PATH ..."', help="folders with llama-perplexity, or the program")
    p.add_argument("--ctx", type=int, default=512, metavar="N", help="(512)")
    p.add_argument("--windows", type=int, default=40, metavar="N", help="at most (40)")
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N")
    a = p.parse_args(argv)
    a.base, a.models = os.path.abspath(a.base), [os.path.abspath(m) for m in a.models]
    a.myna = shutil.which(a.myna) or p.error(f"--myna: {a.myna} is no program (make builds it)")
    try:
        peers = dict(x.split("=", 1) for x in shlex.split(a.peers))
    except ValueError:
        p.error("--peers: NAME=PATH is expected")
    with tempfile.TemporaryDirectory() as folder:
        try:
            ids, bos = tokenize(a.myna, a.base, os.path.abspath(a.text))
            windows = windows_of(ids, bos, a.ctx, a.windows)
            if not windows:
                p.error(f"--text: {len(ids)} tokens are less than a window of {a.ctx}")
            mine = of_myna(a, windows, folder)
            found = {name: of_peer(a, path, folder) for name, path in peers.items()}
        except Failed as e:
            sys.exit(f"kl.py: {e}")
    print(table(a.models, mine, found))
    worse = further(mine, found)
    print(f"\n{len(windows)} windows of {a.ctx} tokens of {os.path.basename(a.text)}; in brackets myna's divergence over the peer's, below 1 is closer to F32.")
    if worse:
        print("Further from F32 than a peer by more than the error of the mean: " + ", ".join(worse))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
