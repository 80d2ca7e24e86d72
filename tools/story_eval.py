#!/usr/bin/env python3
"""Judge a small llama-architecture GGUF as a story teller, independently of myna.

Reads the file with the `gguf` package, dequantizes it to float32, and runs a plain PyTorch forward pass:
  * bits per character of unseen stories, each scored alone from BOS (its EOS not counted), for the model
    and for a baseline file on the same text;
  * sampled stories: do they end by themselves, do they repeat a 6-gram of words three times.

Needs: gguf, numpy, torch. Example:
  story_eval.py models/NAME.gguf --baseline stories260K.gguf --baseline-context 512 \\
      --text tinystories_sample_2MB.txt --tail-bytes 100000 --samples 200
"""
import argparse
import json
import math
import re
import sys

import numpy as np
import torch
import torch.nn.functional as F

SPACE = "\u2581"  # how SentencePiece writes a space
NORMAL_TYPE, BYTE_TYPE = 1, 6  # tokenizer.ggml.token_type


class Tokenizer:
    """SentencePiece BPE as stored in a GGUF: merge the neighbouring pair of best score until none is left."""

    def __init__(self, tokens, scores, types, bos, eos, add_space_prefix=True):
        self.tokens, self.scores, self.bos, self.eos = tokens, scores, bos, eos
        self.add_space_prefix = add_space_prefix
        self.ids = {t: i for i, (t, k) in enumerate(zip(tokens, types)) if k == NORMAL_TYPE}
        self.bytes = {int(t[3:5], 16): i for i, (t, k) in enumerate(zip(tokens, types)) if k == BYTE_TYPE}
        self.byte_of = {i: b for b, i in self.bytes.items()}
        # A word is a unit of merging only where no piece crosses from one word into the next.
        assert not any(SPACE in t[1:] for t in self.ids if t.strip(SPACE)), "a piece spans two words"
        self.cache = {}

    def _word(self, word):
        parts = list(word)
        while True:
            best, at = None, -1
            for i in range(len(parts) - 1):
                j = self.ids.get(parts[i] + parts[i + 1])
                if j is not None and (best is None or self.scores[j] > best):
                    best, at = self.scores[j], i
            if at < 0:
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        out = []
        for p in parts:
            out.extend([self.ids[p]] if p in self.ids else [self.bytes[b] for b in p.encode("utf-8")])
        return out

    def encode(self, text):
        text = ((" " if self.add_space_prefix else "") + text).replace(" ", SPACE)
        out = []
        for word in re.findall(f"{SPACE}+[^{SPACE}]*|[^{SPACE}]+", text):
            if word not in self.cache:
                self.cache[word] = self._word(word)
            out.extend(self.cache[word])
        return out

    def decode(self, ids):
        raw = b"".join(bytes([self.byte_of[i]]) if i in self.byte_of
                       else self.tokens[i].replace(SPACE, " ").encode("utf-8") for i in ids)
        text = raw.decode("utf-8", errors="replace")
        return text[1:] if self.add_space_prefix and text.startswith(" ") else text


class Llama:
    """A llama-architecture GGUF in float32. Queries and keys rotate in adjacent pairs, as GGUF stores them."""

    def __init__(self, path):
        from gguf import GGUFReader
        from gguf.quants import dequantize
        reader = GGUFReader(path)

        def key(name, default=None):
            f = reader.fields.get(name)
            return default if f is None else f.contents()

        self.n_layer = int(key("llama.block_count"))
        self.dim = int(key("llama.embedding_length"))
        self.n_head = int(key("llama.attention.head_count"))
        self.n_kv = int(key("llama.attention.head_count_kv", self.n_head))
        self.head_dim = self.dim // self.n_head
        self.context = int(key("llama.context_length"))
        self.eps = float(key("llama.attention.layer_norm_rms_epsilon"))
        base = float(key("llama.rope.freq_base", 10000.0))
        self.w = {t.name: torch.from_numpy(np.array(dequantize(t.data, t.tensor_type), dtype=np.float32))
                  for t in reader.tensors}
        self.w.setdefault("output.weight", self.w["token_embd.weight"])
        inv = base ** (-torch.arange(0, self.head_dim, 2).float() / self.head_dim)
        angle = torch.outer(torch.arange(4096).float(), inv)
        self.cos, self.sin = angle.cos(), angle.sin()
        self.tok = Tokenizer(key("tokenizer.ggml.tokens"), key("tokenizer.ggml.scores"),
                             key("tokenizer.ggml.token_type"), int(key("tokenizer.ggml.bos_token_id")),
                             int(key("tokenizer.ggml.eos_token_id")),
                             bool(key("tokenizer.ggml.add_space_prefix", True)))

    def _norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.w[name + ".weight"]

    def _rope(self, x, pos):
        """x [batch, heads, time, head_dim]; the pair (2i, 2i+1) turns by pos * base^(-2i/head_dim)."""
        c, s, n = self.cos[pos], self.sin[pos], x.shape[2]
        a, b = x[..., 0::2], x[..., 1::2]
        assert c.shape[0] == n
        return torch.stack((a * c - b * s, a * s + b * c), -1).flatten(-2)

    @torch.no_grad()
    def forward(self, ids, cache=None):
        """Logits [batch, time, vocab] of ids [batch, time]; cache: list per layer of (k, v), extended in place."""
        batch, time = ids.shape
        past = cache[0][0].shape[2] if cache and cache[0] is not None else 0
        pos = torch.arange(past, past + time)
        h = self.w["token_embd.weight"][ids]
        for l in range(self.n_layer):
            p = f"blk.{l}."
            x = self._norm(h, p + "attn_norm")

            def heads(name, count):
                return (x @ self.w[p + name].T).view(batch, time, count, self.head_dim).transpose(1, 2)

            q = self._rope(heads("attn_q.weight", self.n_head), pos)
            k = self._rope(heads("attn_k.weight", self.n_kv), pos)
            v = heads("attn_v.weight", self.n_kv)
            if cache is not None:
                if cache[l] is not None:
                    k, v = torch.cat((cache[l][0], k), 2), torch.cat((cache[l][1], v), 2)
                cache[l] = (k, v)
            rep = self.n_head // self.n_kv
            o = F.scaled_dot_product_attention(q, k.repeat_interleave(rep, 1), v.repeat_interleave(rep, 1),
                                               is_causal=time > 1)
            h = h + o.transpose(1, 2).reshape(batch, time, -1) @ self.w[p + "attn_output.weight"].T
            x = self._norm(h, p + "ffn_norm")
            gate = F.silu(x @ self.w[p + "ffn_gate.weight"].T)
            h = h + (gate * (x @ self.w[p + "ffn_up.weight"].T)) @ self.w[p + "ffn_down.weight"].T
        return self._norm(h, "output_norm") @ self.w["output.weight"].T


def read_stories(path, tail_bytes=0):
    """Whole stories of a TinyStories text; with tail_bytes only those lying in the file's last bytes.

    The sample is cut in the middle of its last story, so what follows the last separator is left out."""
    raw = open(path, "rb").read()
    whole = raw[-tail_bytes:] if tail_bytes and tail_bytes < len(raw) else raw
    parts = whole.decode("utf-8", errors="ignore").split("<|endoftext|>")
    if len(whole) < len(raw):
        parts = parts[1:]
    return [p.strip() for p in parts[:-1] if p.strip()]


def bits_per_character(model, stories, context):
    """Each story from BOS. A story longer than the context goes on in windows that overlap by half."""
    bits, chars, tokens, long = 0.0, 0, 0, 0
    for text in stories:
        ids = [model.tok.bos] + model.tok.encode(text)
        chars += len(text)
        tokens += len(ids) - 1
        long += len(ids) - 1 > context
        done = 1  # ids[:done] are scored or given
        while done < len(ids):
            end = min(len(ids), max(done + context // 2, context + 1))
            start = max(0, end - 1 - context)
            logits = model.forward(torch.tensor([ids[start:end - 1]]))[0]
            lp = F.log_softmax(logits.double(), -1)[torch.arange(done - 1 - start, end - 1 - start),
                                                    torch.tensor(ids[done:end])]
            bits -= lp.sum().item() / math.log(2)
            done = end
    return {"bpc": bits / chars, "stories": len(stories), "chars": chars, "tokens": tokens,
            "chars_per_token": chars / tokens, "nats_per_token": bits * math.log(2) / tokens,
            "longer_than_context": long, "context": context}


def sample_stories(model, prompt, count, seed, temperature=0.8, top_k=40, top_p=0.95, min_p=0.0, limit=1024):
    """`count` continuations of `prompt` after BOS, as (text, ended by EOS, tokens)."""
    gen = torch.Generator().manual_seed(seed)
    start = [model.tok.bos] + (model.tok.encode(prompt) if prompt else [])
    out = [list(start) for _ in range(count)]
    ended, live = [False] * count, list(range(count))
    cache = [None] * model.n_layer
    ids = torch.tensor([start] * count)
    while live and len(start) < limit:
        logits = model.forward(ids, cache)[:, -1].float()
        top, idx = logits.topk(min(top_k, logits.shape[1]), -1)
        prob = top.softmax(-1)
        before = prob.cumsum(-1) - prob  # mass above each token: keep the first always
        keep = (before < top_p) & (prob >= min_p * prob[:, :1])
        prob = (top / temperature).masked_fill(~keep, float("-inf")).softmax(-1)
        nxt = idx.gather(1, torch.multinomial(prob, 1, generator=gen))[:, 0].tolist()
        stay = []
        for row, (story, t) in enumerate(zip(live, nxt)):
            if t == model.tok.eos:
                ended[story] = True
            else:
                out[story].append(t)
                if len(out[story]) < limit:
                    stay.append(row)
        if len(stay) < len(live):
            sel = torch.tensor(stay, dtype=torch.long)
            cache = [(k[sel], v[sel]) for k, v in cache]
        ids = torch.tensor([[nxt[r]] for r in stay], dtype=torch.long)
        live = [live[r] for r in stay]
    return [(model.tok.decode(o[1:]), e, len(o) - 1) for o, e in zip(out, ended)]


def repeated_ngram(text, n=6, times=3):
    """The first n-gram of words (lower case, punctuation left out) that occurs `times` times, or None."""
    words = re.findall(r"[a-z0-9']+", text.lower().replace("\u2019", "'"))
    seen = {}
    for i in range(len(words) - n + 1):
        gram = tuple(words[i:i + n])
        seen[gram] = seen.get(gram, 0) + 1
        if seen[gram] == times:
            return " ".join(gram)
    return None


def judge_samples(model, prompt, count, seed, **how):
    samples = sample_stories(model, prompt, count, seed, **how)
    loops = [(i, repeated_ngram(s)) for i, (s, _, _) in enumerate(samples)]
    loops = [(i, g) for i, g in loops if g]
    lengths = sorted(n for _, _, n in samples)
    return {"prompt": prompt, "seed": seed, "count": count, **how,
            "not_ended": sum(not e for _, e, _ in samples), "repeating": len(loops),
            "repeats": [g for _, g in loops][:5], "tokens_median": lengths[len(lengths) // 2],
            "tokens_max": lengths[-1]}, samples


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("model")
    ap.add_argument("--text", help="TinyStories text with <|endoftext|> after each story")
    ap.add_argument("--tail-bytes", type=int, default=0, help="use only the last bytes of --text")
    ap.add_argument("--baseline", help="a second GGUF to compare with")
    ap.add_argument("--baseline-context", type=int, default=0, help="instead of its context_length key")
    ap.add_argument("--samples", type=int, default=0, help="stories to sample, per prompt")
    ap.add_argument("--prompt", action="append", help='repeatable; default: "" (BOS only) and "Once upon a time"')
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--temperature", type=float, default=0.8)
    ap.add_argument("--top-k", type=int, default=40)
    ap.add_argument("--top-p", type=float, default=0.95)
    ap.add_argument("--min-p", type=float, default=0.0)
    ap.add_argument("--print", type=int, default=0, dest="show", help="sampled stories to print, per prompt")
    ap.add_argument("--threads", type=int, default=0)
    a = ap.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    model, result = Llama(a.model), {"model": a.model}
    if a.text:
        stories = read_stories(a.text, a.tail_bytes)
        result["text"] = bits_per_character(model, stories, model.context)
        if a.baseline:
            base = Llama(a.baseline)
            result["baseline"] = bits_per_character(base, stories, a.baseline_context or base.context)
            result["ratio"] = result["text"]["bpc"] / result["baseline"]["bpc"]
    if a.samples:
        result["samples"] = []
        for prompt in a.prompt or ["", "Once upon a time"]:
            verdict, samples = judge_samples(model, prompt, a.samples, a.seed, temperature=a.temperature,
                                             top_k=a.top_k, top_p=a.top_p, min_p=a.min_p)
            result["samples"].append(verdict)
            for text, ended, n in samples[:a.show]:
                print(f"--- {n} tokens, {'ended' if ended else 'NOT ENDED'}\n{text}\n", file=sys.stderr)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
