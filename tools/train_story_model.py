#!/usr/bin/env python3
"""Train the story model that ships in models/ and write it as GGUF (Q8_0 matrices, F32 norms).

From raw story texts to the judged file in one command, on a CPU or a CUDA GPU:
  1. texts: clean, drop stories that are too long, too short or that loop; hold some out
  2. a SentencePiece BPE tokenizer with byte fallback
  3. a llama-architecture transformer, one document per row (BOS story EOS, so nothing leaks between stories);
     Muon for the matrices, AdamW for embedding and norms
  4. GGUF, then story_eval.py's verdict on the file itself, written beside it as JSON

Held out and never trained on: the last --test-bytes of the TinyStories text (the test, touched once, at the
end), the --val-bytes before it and every 40th story (validation, printed while training).

Needs: torch, numpy, sentencepiece, gguf. The work folder keeps tokens and checkpoints; --resume goes on from the
last one and takes the same steps as an uninterrupted run (with --minutes: as many as fit).
  train_story_model.py --tinystories tinystories_sample_2MB.txt --stories a.txt b.txt --out models/NAME.gguf
  quick look on a small machine: --steps 300
"""
import argparse
import hashlib
import json
import math
import os
import random
import re
import shutil
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import story_eval  # noqa: E402

BOS, EOS = 1, 2
EPS, ROPE_BASE = 1e-5, 10000.0


# ---------------------------------------------------------------------------------------------- 1. texts

def clean(text):
    """Whitespace as TinyStories has it (one newline between paragraphs), one kind of apostrophe per job."""
    text = text.replace("\u00a0", " ").replace("\r", "")
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ?\n[\n ]*", "\n", text)
    return text.strip()


def clean_generated(text):
    """A model-written story without its title, headings and notes; None if it is not plain prose."""
    text = clean(text)
    lines = [l for l in text.split("\n") if not re.fullmatch(r"\W*the end\W*", l, re.I)]
    while lines and (len(lines[0]) < 70 and not re.search(r"[.!?\"\u201d]$", lines[0])):
        lines.pop(0)  # a title
    text = "\n".join(lines)
    text = text.replace("\u2013", "-").replace("\u2014", "-").replace("\u2018", "'").replace("\u2019", "'")
    text = text.replace("\u201c", '"').replace("\u201d", '"').replace("\u2026", "...")
    if re.search(r"[*#_<>|\[\]{}]|\bNote:", text) or re.search(r"[^\n -~\u00c0-\u00ff]", text):
        return None
    return text


def load_texts(a, say=lambda text: None):
    """(tinystories, {name: other stories}, validation, other validation): lists of clean stories."""
    raw = open(a.tinystories, "rb").read()
    cut = len(raw) - a.test_bytes
    # Whatever touches the last test_bytes stays out, also a story that only ends in them.
    train_raw = raw[:cut][:raw[:cut].rfind(b"<|endoftext|>")].decode("utf-8", errors="ignore")
    val_at = len(train_raw) - a.val_bytes
    stories = [clean(s) for s in train_raw.split("<|endoftext|>")]
    tiny, val, at = [], [], 0
    for i, s in enumerate(stories):
        at += len(s)
        (val if at > val_at - 14 * len(stories) or i % 40 == 7 else tiny).append(s)
    other, other_val = {}, []
    for path in a.stories:
        found = re.findall(r"<start>(.*?)<end>", open(path, encoding="utf-8", errors="ignore").read(), re.S)
        kept = [c for c in map(clean_generated, found) if c]
        name = os.path.splitext(os.path.basename(path))[0]
        other[name] = [s for i, s in enumerate(kept) if i % 100 != 7]
        other_val += kept[7::100]
    held = set(val)
    bad = lambda s: len(s) < 150 or s in held or s[-1] not in ".!?\"'\u201d" or story_eval.repeated_ngram(s)
    kept_tiny = [s for s in dict.fromkeys(tiny) if not bad(s)]
    for name in other:
        other[name] = [s for s in dict.fromkeys(other[name]) if not bad(s)]
    say(f"TinyStories: {len(kept_tiny)} of {len(tiny)} stories, {sum(map(len, kept_tiny))} characters; "
        f"validation {len(val)}; " + "; ".join(f"{n}: {len(s)}, {sum(map(len, s))}" for n, s in other.items()))
    return kept_tiny, other, val, other_val


# ------------------------------------------------------------------------------------------ 2. tokenizer

def train_tokenizer(a, tiny, other):
    import sentencepiece as spm
    lines = os.path.join(a.work, "tokenizer.txt")
    with open(lines, "w", encoding="utf-8") as f:
        for _ in range(a.tokenizer_weight):  # the target style counts more than its size
            f.writelines(s + "\n" for s in tiny)
        for stories in other.values():
            f.writelines(s + "\n" for s in stories)
    spm.SentencePieceTrainer.train(
        input=lines, model_prefix=os.path.join(a.work, "tokenizer"), vocab_size=a.vocab, model_type="bpe",
        byte_fallback=True, character_coverage=0.9999, normalization_rule_name="identity",
        remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=False,
        unk_id=0, bos_id=BOS, eos_id=EOS, pad_id=-1, num_threads=a.threads, minloglevel=2)
    os.remove(lines)


def encode_all(sp, stories, limit):
    """Token arrays `BOS story EOS`, without those longer than `limit`."""
    out = []
    for ids in sp.encode(stories):
        if len(ids) + 2 <= limit:
            out.append(np.array([BOS] + ids + [EOS], dtype=np.int32))
    return out


class Stream:
    """Endless shuffled passes over one source; its state is (epoch, position), so that a run can go on."""

    def __init__(self, docs, seed):
        self.docs, self.seed, self.epoch, self.at = docs, seed, 0, 0
        self.mean = sum(map(len, docs)) / len(docs)
        self._shuffle()

    def _shuffle(self):
        self.order = list(range(len(self.docs)))
        random.Random(f"{self.seed}/{self.epoch}").shuffle(self.order)

    def next(self):
        if self.at == len(self.order):
            self.epoch, self.at = self.epoch + 1, 0
            self._shuffle()
        self.at += 1
        return self.docs[self.order[self.at - 1]]

    def restore(self, state):
        self.epoch, self.at = state
        self._shuffle()


def microbatches(docs, max_tokens):
    """Padded (inputs, targets) of documents of similar length; target -1 is padding."""
    docs = sorted(docs, key=len)
    groups, cur = [], []
    for d in docs:
        # A group ends when it is full or when its shortest document would be padded by more than a third.
        if cur and ((len(cur) + 1) * len(d) > max_tokens or len(d) > 1.34 * len(cur[0]) + 32):
            groups.append(cur)
            cur = []
        cur.append(d)
    groups.append(cur)
    for g in groups:
        width = -(-(len(g[-1]) - 1) // 32) * 32
        x = np.zeros((len(g), width), dtype=np.int64)
        y = np.full((len(g), width), -1, dtype=np.int64)
        for row, d in enumerate(g):
            x[row, :len(d) - 1], y[row, :len(d) - 1] = d[:-1], d[1:]
        yield torch.from_numpy(x), torch.from_numpy(y)


# ---------------------------------------------------------------------------------------------- 3. model

class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        y = x.float()
        return (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + EPS) * self.weight).to(x.dtype)


def rope(x, cos, sin):
    """x [batch, time, heads, head_dim]: adjacent pairs turn together, the order that a llama GGUF stores."""
    a, b = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


class Block(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.heads, self.kv, self.hd, self.drop = a.heads, a.kv_heads, a.dim // a.heads, a.dropout
        lin = lambda i, o: nn.Linear(i, o, bias=False)
        self.attn_norm, self.ffn_norm = Norm(a.dim), Norm(a.dim)
        self.attn_q, self.attn_output = lin(a.dim, a.dim), lin(a.dim, a.dim)
        self.attn_k, self.attn_v = lin(a.dim, self.kv * self.hd), lin(a.dim, self.kv * self.hd)
        self.ffn_gate, self.ffn_up, self.ffn_down = lin(a.dim, a.ffn), lin(a.dim, a.ffn), lin(a.ffn, a.dim)

    def forward(self, h, cos, sin):
        b, t, _ = h.shape
        x = self.attn_norm(h)
        q = rope(self.attn_q(x).view(b, t, self.heads, self.hd), cos, sin).transpose(1, 2)
        k = rope(self.attn_k(x).view(b, t, self.kv, self.hd), cos, sin).transpose(1, 2)
        v = self.attn_v(x).view(b, t, self.kv, self.hd).transpose(1, 2)
        rep = self.heads // self.kv
        k, v = k.repeat_interleave(rep, 1), v.repeat_interleave(rep, 1)
        # Padding lies after the text, so causal order alone keeps it out of every scored position.
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, -1)
        h = h + F.dropout(self.attn_output(o), self.drop, self.training)
        x = self.ffn_norm(h)
        f = self.ffn_down(F.silu(self.ffn_gate(x)) * self.ffn_up(x))
        return h + F.dropout(f, self.drop, self.training)


class Story(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.token_embd = nn.Embedding(a.vocab, a.dim)  # also the output matrix (tied)
        self.blk = nn.ModuleList(Block(a) for _ in range(a.layers))
        self.output_norm = Norm(a.dim)
        self.drop = a.dropout
        hd = a.dim // a.heads
        angle = torch.outer(torch.arange(a.context).float(), ROPE_BASE ** (-torch.arange(0, hd, 2).float() / hd))
        self.register_buffer("cos", angle.cos()[:, None], persistent=False)
        self.register_buffer("sin", angle.sin()[:, None], persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                std = 0.02 if name.startswith("token_embd") else p.shape[1] ** -0.5 * 0.6
                if name.endswith(("attn_output.weight", "ffn_down.weight")):
                    std *= (2 * a.layers) ** -0.5
                nn.init.normal_(p, std=std)

    def forward(self, x, y):
        """Summed cross-entropy (nats) of the targets y != -1."""
        t = x.shape[1]
        h = F.dropout(self.token_embd(x), self.drop, self.training)
        for block in self.blk:
            h = block(h, self.cos[:t], self.sin[:t])
        h = self.output_norm(h).view(-1, h.shape[-1])
        logits = F.linear(h, self.token_embd.weight.to(h.dtype))
        return F.cross_entropy(logits.float(), y.view(-1), ignore_index=-1, reduction="sum")


def orthogonal(g, dtype):
    """Newton-Schulz iteration towards the nearest (semi-)orthogonal matrices; g [n, rows, cols] (Muon, K. Jordan)."""
    x = g.to(dtype)
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = x / (x.float().norm(dim=(1, 2), keepdim=True).to(dtype) + 1e-7)
    for _ in range(5):
        s = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * (s @ s)) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalized, for hidden matrices; matrices of one shape are handled as one batch."""

    def __init__(self, params, lr, weight_decay, dtype, momentum=0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = {}
            for p in group["params"]:
                buf = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buf.lerp_(p.grad, 1 - group["momentum"])
                shapes.setdefault(tuple(p.shape), []).append((p, p.grad.lerp(buf, group["momentum"])))
            for (rows, cols), pairs in shapes.items():
                update = orthogonal(torch.stack([u for _, u in pairs]), self.dtype)
                for (p, _), u in zip(pairs, update):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(u, alpha=-group["lr"] * max(1, rows / cols) ** 0.5)


def make_optimizers(model, a, dtype):
    matrix = [p for n, p in model.named_parameters() if p.dim() == 2 and not n.startswith("token_embd")]
    norm = [p for p in model.parameters() if p.dim() == 1]
    muon = Muon(matrix, a.lr, a.weight_decay, dtype)
    adam = torch.optim.AdamW([{"params": [model.token_embd.weight], "weight_decay": 0.05},
                              {"params": norm, "weight_decay": 0.0}], lr=a.adam_lr, betas=(0.9, 0.98), eps=1e-9)
    return [(muon, a.lr), (adam, a.adam_lr)]


# ------------------------------------------------------------------------------------------- 4. training

def schedule(a, done):
    """(learning rate factor, share of TinyStories among the tokens) when `done` in [0, 1) of the run is over."""
    warm = min(1.0, (done + 1e-3) / max(1e-3, a.warmup))
    left = min(1.0, (1 - done) / a.decay)
    lo, hi = a.tiny_share
    rise = min(1.0, max(0.0, (done - a.rise_from) / max(1e-9, 1 - a.rise_from)))
    return warm * (0.02 + 0.98 * left), lo + (hi - lo) * rise


class Trainer:
    """One of a.workers equal processes: same documents drawn, every n-th one worked on, gradients summed.

    On CPUs this beats threads inside one process: workers wait for each other once per step, threads at every
    small matrix. On a busy 2-core machine one step took 3.1 CPU seconds with one thread, 6.6 or more with two."""

    def __init__(self, a, rank, sources, val, chars):
        self.a, self.rank, self.val, self.val_chars = a, rank, val, chars
        self.device = torch.device(a.device)
        bf16 = self.device.type == "cuda" or getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        self.dtype = torch.bfloat16 if bf16 and not a.float32 else torch.float32
        torch.manual_seed(a.seed)
        self.model = Story(a).to(self.device)
        if a.start:
            self.model.load_state_dict(torch.load(a.start, map_location="cpu", weights_only=False)["best"]["model"])
        self.run = torch.compile(self.model, dynamic=True) if a.compile else self.model
        self.optimizers = make_optimizers(self.model, a, self.dtype)
        self.streams = {n: Stream(d, f"{a.seed}/{n}") for n, d in sources.items()}
        self.pick = random.Random(a.seed)
        self.step, self.tokens, self.seconds, self.cpu_seconds, self.history = 0, 0, 0.0, 0.0, []
        self.done = 0.0
        self.best = {"step": 0, "bpc": math.inf, "model": None}
        n = sum(p.numel() for p in self.model.parameters())
        self.log(f"{n} parameters, {self.dtype}, {self.device}, {a.workers} workers; " + ", ".join(
            f"{k}: {len(s.docs)} stories, {int(s.mean * len(s.docs))} tokens" for k, s in self.streams.items()))

    def loss(self, x, y):
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype == torch.bfloat16):
            return self.run(x.to(self.device), y.to(self.device))

    def docs_of_step(self, share):
        """Documents of one step: sources drawn so that TinyStories makes up `share` of the tokens."""
        names = list(self.streams)
        other = {n: self.streams[n].mean * len(self.streams[n].docs) * self.a.weights.get(n, 1.0)
                 for n in names if n != "tinystories"}
        total = sum(other.values())
        want = {n: (share if n == "tinystories" else (1 - share) * other[n] / total) for n in names}
        odds = [want[n] / self.streams[n].mean for n in names]
        docs, count = [], 0
        while count < self.a.batch_tokens:
            docs.append(self.streams[self.pick.choices(names, odds)[0]].next())
            count += len(docs[-1]) - 1
        return docs, count

    def train_step(self):
        factor, share = schedule(self.a, self.done)
        docs, count = self.docs_of_step(share)
        # Dropout's numbers follow from seed, step and worker: nothing to save, nothing to restore.
        torch.manual_seed((self.a.seed * 1_000_003 + self.step) * 64 + self.rank)
        self.model.train()
        total = 0.0
        for x, y in microbatches(self.mine(docs), self.a.micro_tokens):
            loss = self.loss(x, y) / count
            loss.backward()
            total += loss.item()
        total = self.sum_gradients(total)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for opt, lr in self.optimizers:
            for g in opt.param_groups:
                g["lr"] = lr * factor
            opt.step()
            opt.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += count
        return total, count

    def advance(self):
        """Share of the run that is over: of the steps, or of the minutes on the first worker's clock."""
        self.done = self.step / self.a.steps
        if self.a.minutes:
            clock = torch.tensor([self.seconds / 60 / self.a.minutes])
            if self.a.workers > 1:
                dist.broadcast(clock, 0)
            self.done = clock.item()

    def mine(self, docs):
        return sorted(docs, key=len)[self.rank::self.a.workers]

    def sum_gradients(self, total):
        """Adds gradients and the loss `total` over the workers."""
        if self.a.workers == 1:
            return total
        params = list(self.model.parameters())
        flat = torch.cat([p.grad.reshape(-1) for p in params] + [torch.tensor([total])])
        dist.all_reduce(flat)
        at = 0
        for p in params:
            p.grad.copy_(flat[at:at + p.numel()].view_as(p))
            at += p.numel()
        return flat[-1].item()

    @torch.no_grad()
    def validate(self):
        """Bits per character of each validation set, stories alone from BOS, EOS counted as one more symbol."""
        self.model.eval()
        out = {}
        for name, docs in self.val.items():
            nats = torch.tensor(sum(self.loss(x, y).item() for x, y in microbatches(self.mine(docs),
                                                                                    self.a.micro_tokens)))
            if self.a.workers > 1:
                dist.all_reduce(nats)
            out[name] = nats.item() / math.log(2) / self.val_chars[name]
        return out

    def settle(self):
        """Loads what the file gets: a mixture of the best state and the last one, and a temperature, folded into the final norm,
        as the validation stories like them. A model that saw few stories often is too sure of itself. Returns the choice."""
        best, last, found = self.best["model"], {k: t.clone() for k, t in self.model.state_dict().items()}, []
        for share in (0.0, 0.15, 0.3, 0.5, 0.75, 1.0):
            for temperature in (1.0, 1.08, 1.16, 1.24):
                mixed = {k: torch.lerp(best[k].float(), last[k].float(), share) for k in best}
                mixed["output_norm.weight"] /= temperature
                self.model.load_state_dict(mixed)
                found.append((self.validate()["tinystories"], share, temperature, mixed))
        bpc, share, temperature, mixed = min(found, key=lambda f: f[0])
        self.model.load_state_dict(mixed)
        self.log(f"settled: {share} of the last state, temperature {temperature}: validation {bpc:.4f}")
        return {"validation": round(bpc, 4), "share_of_last": share, "temperature": temperature}

    def save(self, path):
        state = {"model": self.model.state_dict(), "opt": [o.state_dict() for o, _ in self.optimizers],
                 "streams": {n: (s.epoch, s.at) for n, s in self.streams.items()}, "pick": self.pick.getstate(),
                 "step": self.step, "tokens": self.tokens, "seconds": self.seconds,
                 "cpu_seconds": self.cpu_seconds, "history": self.history, "best": self.best, "print": fingerprint(self.a)}
        torch.save(state, path + ".part")
        os.replace(path + ".part", path)

    def load(self, path):
        state = torch.load(path, map_location="cpu", weights_only=False)
        if state["print"] != fingerprint(self.a):
            sys.exit(f"{path}: made with other settings or data; start a new --work folder")
        self.model.load_state_dict(state["model"])
        for (o, _), s in zip(self.optimizers, state["opt"]):
            o.load_state_dict(s)
        for n, s in state["streams"].items():
            self.streams[n].restore(s)
        self.pick.setstate(state["pick"])
        for name in ("step", "tokens", "seconds", "cpu_seconds", "history", "best"):
            setattr(self, name, state[name])
        self.advance()
        self.log(f"resumed at step {self.step}")

    def log(self, text):
        if self.rank == 0:
            log(text)

    def fit(self, checkpoint):
        a, saved, shown = self.a, time.time(), time.time()
        mean, rate = None, 0.0
        while self.done < 1:
            t, cpu = time.time(), time.process_time()
            loss, count = self.train_step()
            took = time.time() - t
            self.seconds += took
            self.cpu_seconds += (time.process_time() - cpu) * a.workers
            mean = loss if mean is None else 0.98 * mean + 0.02 * loss
            rate = count / took if not rate else 0.95 * rate + 0.05 * count / took
            self.advance()
            last = self.done >= 1
            if self.step % a.eval_every == 0 or last:
                v = self.validate()
                if v["tinystories"] < self.best["bpc"]:
                    self.best = {"step": self.step, "bpc": v["tinystories"], "model": {
                        k: t.detach().cpu().clone() for k, t in self.model.state_dict().items()}}
                self.history.append({"step": self.step, "tokens": self.tokens, "loss": round(mean, 4),
                                     **{k: round(x, 4) for k, x in v.items()}})
                self.log(f"step {self.step}: validation bits/char "
                         + ", ".join(f"{k} {x:.4f}" for k, x in v.items()) + "; epochs "
                         + ", ".join(f"{n} {s.epoch + s.at / len(s.docs):.1f}" for n, s in self.streams.items()))
            if time.time() - shown > 15 or last:
                shown = time.time()
                left = self.seconds * (1 / self.done - 1)
                self.log(f"step {self.step} ({100 * self.done:.1f} %) loss {mean:.3f} {rate:.0f} tokens/s {self.seconds / 60:.1f} min "
                         f"(cpu {self.cpu_seconds / 60:.1f}), {left / 60:.1f} min left")
            stop = a.stop_after and self.step >= a.stop_after
            if self.rank == 0 and (time.time() - saved > a.save_every or last or stop):
                saved = time.time()
                self.save(checkpoint)
            if stop:
                self.log(f"stopped at step {self.step} as asked; go on with --resume")
                return False
        return True


# ------------------------------------------------------------------------------------------------- output

def write_gguf(path, model, a):
    import gguf
    import sentencepiece as spm
    from gguf.quants import quantize
    sp = spm.SentencePieceProcessor(model_file=os.path.join(a.work, "tokenizer.model"))
    w = gguf.GGUFWriter(path, "llama")
    w.add_name(a.name)
    w.add_description("Writes short children's stories in English. Made by tools/train_story_model.py.")
    w.add_license(a.licence)
    w.add_languages(["en"])
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_vocab_size(a.vocab)
    w.add_context_length(a.context)
    w.add_embedding_length(a.dim)
    w.add_block_count(a.layers)
    w.add_feed_forward_length(a.ffn)
    w.add_head_count(a.heads)
    w.add_head_count_kv(a.kv_heads)
    w.add_rope_dimension_count(a.dim // a.heads)
    w.add_rope_freq_base(ROPE_BASE)
    w.add_layer_norm_rms_eps(EPS)
    kind = lambda i: (2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1)
    w.add_tokenizer_model("llama")
    w.add_token_list([sp.id_to_piece(i).encode("utf-8") for i in range(a.vocab)])
    w.add_token_scores([sp.get_score(i) for i in range(a.vocab)])
    w.add_token_types([kind(i) for i in range(a.vocab)])
    w.add_bos_token_id(BOS)
    w.add_eos_token_id(EOS)
    w.add_unk_token_id(0)
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_add_space_prefix(True)
    w.add_float32("general.sampling.penalty_repeat", a.penalty_repeat)
    for name, p in model.state_dict().items():
        x = p.detach().float().cpu().numpy()
        if x.ndim == 2:
            q = gguf.GGMLQuantizationType.Q8_0
            w.add_tensor(name, quantize(x, q), raw_dtype=q)
        else:
            w.add_tensor(name, x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def judge(path, a):
    """story_eval's numbers of the file itself, on stories that were never trained on."""
    model = story_eval.Llama(path)
    stories = story_eval.read_stories(a.tinystories, a.test_bytes)
    out = {"test": story_eval.bits_per_character(model, stories, model.context)}
    if a.baseline:
        base = story_eval.Llama(a.baseline)
        out["baseline"] = story_eval.bits_per_character(base, stories, a.baseline_context)
        out["ratio"] = out["test"]["bpc"] / out["baseline"]["bpc"]
    out["samples"] = []
    for prompt in ("", "Once upon a time"):
        verdict, samples = story_eval.judge_samples(model, prompt, a.samples, a.seed, temperature=0.8,
                                                    top_k=40, top_p=0.95, min_p=0.0)
        out["samples"].append(verdict)
        log(f"--- a sample from {prompt!r}:\n{samples[0][0]}\n---")
    return out


def fingerprint(a):
    """What a checkpoint depends on."""
    keep = ("vocab", "layers", "dim", "ffn", "heads", "kv_heads", "context", "steps", "minutes", "batch_tokens", "lr", "adam_lr",
            "weight_decay", "dropout", "warmup", "decay", "tiny_share", "rise_from", "weights", "seed", "test_bytes",
            "val_bytes", "workers", "tokenizer_weight", "max_tokens")
    h = hashlib.sha256(json.dumps({k: getattr(a, k) for k in keep}, sort_keys=True).encode())
    for path in [a.tinystories] + a.stories:
        h.update(str(os.path.getsize(path)).encode())
    return h.hexdigest()


def log(text):
    print(text, file=sys.stderr, flush=True)


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = ap.add_argument
    add("--tinystories", required=True, help="text with <|endoftext|> after each story")
    add("--stories", nargs="*", default=[], help="files of instruction<start>story<end>")
    add("--baseline", help="GGUF to compare with at the end")
    add("--baseline-context", type=int, default=512)
    add("--out", required=True, help="GGUF to write; OUT.json gets the numbers")
    add("--work", default="story-work", help="folder for tokenizer and checkpoint")
    add("--resume", action="store_true")
    add("--start", help="checkpoint of another run: begin with its best weights and its tokenizer")
    add("--stop-after", type=int, default=0, help="stop at this step, as if interrupted")
    add("--name", default="myna stories")
    add("--penalty-repeat", type=float, default=1.1, help="recommended in the file: keeps small models from going in circles")
    add("--licence", default="cdla-sharing-1.0")
    add("--steps", type=int, default=5000)
    add("--minutes", type=float, default=0, help="train for this long instead of --steps, whatever the machine manages")
    add("--batch-tokens", type=int, default=4096, help="tokens of one step")
    add("--micro-tokens", type=int, default=2048, help="tokens of one forward pass")
    add("--vocab", type=int, default=4096)
    add("--layers", type=int, default=6)
    add("--dim", type=int, default=256)
    add("--ffn", type=int, default=768)
    add("--heads", type=int, default=4)
    add("--kv-heads", type=int, default=2)
    add("--context", type=int, default=1024)
    add("--lr", type=float, default=0.02, help="of the matrices (Muon)")
    add("--adam-lr", type=float, default=0.004, help="of embedding and norms")
    add("--weight-decay", type=float, default=0.1)
    add("--dropout", type=float, default=0.1)
    add("--warmup", type=float, default=0.02, help="share of the steps")
    add("--decay", type=float, default=1.0, help="share of the steps over which the rate falls to 2 %%")
    add("--tiny-share", type=float, nargs=2, default=[0.25, 0.75], help="TinyStories' share of tokens: first, last")
    add("--rise-from", type=float, default=0.4, help="share of the steps after which it rises")
    add("--weights", type=json.loads, default={}, help='JSON: source name to weight, e.g. {"generated-bedtime":0.5}')
    add("--tokenizer-weight", type=int, default=8, help="times that TinyStories counts for the tokenizer")
    add("--max-tokens", type=int, default=960, help="longer stories are left out, never cut")
    add("--test-bytes", type=int, default=100_000)
    add("--val-bytes", type=int, default=50_000)
    add("--samples", type=int, default=200)
    add("--eval-every", type=int, default=250)
    add("--save-every", type=float, default=300, help="seconds between checkpoints")
    add("--seed", type=int, default=1)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--workers", type=int, default=0, help="processes; default: one per core on a CPU, 1 on a GPU")
    add("--threads", type=int, default=1, help="of each process")
    add("--float32", action="store_true", help="no bf16")
    add("--compile", action="store_true", help="torch.compile (needs a C++ compiler; 2 to 3 times as fast)")
    a = ap.parse_args()
    if not a.workers:
        a.workers = 1 if a.device != "cpu" else len(os.sched_getaffinity(0))
    return a


def work(rank, a):
    """One training process; the first one also writes and judges the file."""
    started = time.time()
    torch.set_num_threads(a.threads)
    if a.workers > 1:
        dist.init_process_group("gloo", init_method="file://" + os.path.abspath(os.path.join(a.work, "workers")),
                                rank=rank, world_size=a.workers)
    import sentencepiece as spm
    sp = spm.SentencePieceProcessor(model_file=os.path.join(a.work, "tokenizer.model"))
    tiny, other, val, other_val = load_texts(a)
    sources = {"tinystories": encode_all(sp, tiny, a.max_tokens)}
    sources.update({n: encode_all(sp, s, a.max_tokens) for n, s in other.items()})
    vals = {"tinystories": encode_all(sp, val, a.context), "other": encode_all(sp, other_val, a.context)}
    vals = {k: v for k, v in vals.items() if v}
    chars = {k: sum(len(sp.decode(d[1:-1].tolist())) for d in v) for k, v in vals.items()}
    trainer = Trainer(a, rank, sources, vals, chars)
    checkpoint = os.path.join(a.work, "checkpoint.pt")
    if a.resume and os.path.exists(checkpoint):
        trainer.load(checkpoint)
    done = trainer.fit(checkpoint)
    settled = trainer.settle() if done else None
    if a.workers > 1:
        dist.barrier()
        dist.destroy_process_group()
    if rank or not done:
        return
    torch.set_num_threads(a.threads * a.workers)
    write_gguf(a.out, trainer.model, a)
    paths = ("tinystories", "stories", "baseline", "out", "work", "resume", "stop_after")
    result = {"file": os.path.basename(a.out), "bytes": os.path.getsize(a.out),
              "settings": {k: v for k, v in vars(a).items() if k not in paths},
              "parameters": sum(p.numel() for p in trainer.model.parameters()), "dtype": str(trainer.dtype),
              "tokens_trained": trainer.tokens, "training_seconds": round(trainer.seconds),
              "training_cpu_seconds": round(trainer.cpu_seconds),
              "epochs": {n: round(s.epoch + s.at / len(s.docs), 2) for n, s in trainer.streams.items()},
              "best_step": trainer.best["step"], "settled": settled, "history": trainer.history, **judge(a.out, a), "last_run_seconds": round(time.time() - started)}
    with open(a.out + ".json", "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    log(json.dumps({k: result[k] for k in ("bytes", "test", "baseline", "ratio", "samples") if k in result}, indent=1))


def main():
    a = arguments()
    os.makedirs(a.work, exist_ok=True)
    if a.start:
        shutil.copy(os.path.join(os.path.dirname(a.start), "tokenizer.model"), a.work)
    elif not (a.resume and os.path.exists(os.path.join(a.work, "tokenizer.model"))):
        tiny, other, _, _ = load_texts(a, log)
        train_tokenizer(a, tiny, other)
    rendezvous = os.path.join(a.work, "workers")
    if os.path.exists(rendezvous):
        os.remove(rendezvous)
    if a.workers == 1:
        work(0, a)
    else:
        mp.spawn(work, args=(a,), nprocs=a.workers)


if __name__ == "__main__":
    main()
