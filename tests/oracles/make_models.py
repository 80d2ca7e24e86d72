#!/usr/bin/env python3
"""Tiny random models of every family as GGUF, with reference logits by transformers (float32, eager, one shot).

usage: make_models.py [--out DIR] [--hf DIR] NAME...|all

Per model NAME: NAME.gguf, and for token sequence i = 0, 1, 2 ("" for 0, ".1", ".2"):
    NAME.tokens.i.npy  int32 [n_tok]          NAME.logits.i.npy  float32 [n_tok, n_vocab]
and one row in index.tsv. Everything follows from NAME: the same name gives the same bytes.
--hf writes the models as Hugging Face folders too (for llama.cpp's own converter, or for tests of folders).
GGUF files hold what llama.cpp's converter writes: same keys, same tensor names, same row order.
"""
import argparse
import math
import zlib
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as T

import blocks
import vocabs

GAP = 1e-3          # smallest allowed distance of router probabilities between the last chosen and the first refused expert
LENGTHS = (40, 7, 23)

LLAMA = dict(hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             vocab_size=128, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=False)
SMALL = dict(LLAMA, hidden_size=32, head_dim=16, tie_word_embeddings=True)
SMALL_QWEN2 = dict(LLAMA, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True)
GEMMA = dict(hidden_size=32, intermediate_size=32, num_attention_heads=4, num_key_value_heads=2, head_dim=16, vocab_size=128,
             max_position_embeddings=512, rms_norm_eps=1e-6, query_pre_attn_scalar=16, sliding_window=16)
PHI = dict(LLAMA, original_max_position_embeddings=512, pad_token_id=None)
PHI_SMALL = dict(PHI, hidden_size=32, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True)

K_MIX = dict(token_embd="Q6_K", attn_q="Q4_K", attn_k="Q5_K", attn_v="Q6_K", attn_output="Q3_K", ffn_gate="Q4_K", ffn_up="Q2_K", ffn_down="Q5_K")
I_MIX = dict(token_embd="IQ4_NL", attn_q="IQ2_XXS", attn_k="IQ2_S", attn_v="IQ4_XS", attn_output="IQ3_XXS", ffn_gate="IQ3_S", ffn_up="IQ1_M",
             ffn_down="IQ2_XS")


def rope(**kw):
    return dict(rope_theta=10000.0, rope_type="default") | kw


def gemma_rope(theta_full, theta_window, **full):
    return dict(full_attention=rope(rope_theta=theta_full, **full), sliding_attention=rope(rope_theta=theta_window))


# name: (GGUF architecture, transformers class, configuration, options, note). Options:
#   vocab     a tokenizer from vocabs.py instead of none
#   bare      no tokenizer keys and no vocab_size either: n_vocab is the number of rows of token_embd
#   skip      keys that the file leaves out although the configuration has them
#   extra     keys to add (without architecture prefix)
#   scales    matrices of layers and head have scale tensors, as NVFP4 files have: the weight is matrix times scale
#   types     one file each, named NAME-key: a storage type for all matrices, or a type per tensor name (random blocks then)
MODELS = {
    "llama": ("llama", "Llama", LLAMA | dict(vocab_size=272, rope_parameters=rope(rope_theta=500000.0)), dict(vocab="llama3"),
              "GQA, untied head, byte-level BPE tokenizer with chat template"),
    "llama-tied": ("llama", "Llama", LLAMA | dict(tie_word_embeddings=True), {}, "tied head, no tokenizer"),
    "llama-bias": ("llama", "Llama", LLAMA | dict(hidden_size=48, intermediate_size=36, num_attention_heads=6, head_dim=12,
                                                  attention_bias=True, mlp_bias=True), {},
                   "biases on q, k, v, o, gate, up, down; widths 36, 48, 72, head dim 12: not multiples of 32; 3 heads per kv head"),
    "llama-hd80": ("llama", "Llama", SMALL | dict(num_hidden_layers=1, num_key_value_heads=1, head_dim=80), {},
                   "head dim 80; one kv head; n_head * head_dim != dim"),
    "llama-rope3": ("llama", "Llama",
                    SMALL | dict(rope_parameters=rope(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                      original_max_position_embeddings=64)), {},
                    "Llama 3.1 scaling as tensor rope_freqs.weight; no rope.scaling keys"),
    "llama-linear": ("llama", "Llama", SMALL | dict(rope_parameters=rope(rope_type="linear", factor=4.0)), dict(bare=True),
                     "linear rope scaling 4; no tokenizer keys, no vocab_size"),
    "llama-yarn": ("llama", "Llama",
                   SMALL | dict(rope_parameters=rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=128)), {},
                   "YaRN, factor 4, original context 128, default betas 32 and 1"),
    "llama-factor": ("llama", "Llama",
                     SMALL | dict(num_hidden_layers=1, rope_parameters=rope(rope_type="linear", factor=2.5)),
                     dict(skip=("rope.scaling.type",)), "rope.scaling.factor without a type is linear"),
    "llama-yarn-attn": ("llama", "Llama",
                        SMALL | dict(num_hidden_layers=1, rope_parameters=rope(rope_type="yarn", factor=6.0, attention_factor=0.8, beta_fast=16.0,
                                                                               beta_slow=2.0, original_max_position_embeddings=128)), {},
                        "YaRN with its own magnitude and betas (llama.cpp ignores all three)"),
    "llama-16": ("llama", "Llama", SMALL, dict(types=dict(bf16="BF16", f16="F16")), "16-bit matrices, float32 norms"),
    "llama-256": ("llama", "Llama",
                  LLAMA | dict(hidden_size=256, intermediate_size=256, num_hidden_layers=1, num_key_value_heads=1, head_dim=64,
                               tie_word_embeddings=True), dict(types=dict(q8_0="Q8_0", q4_0="Q4_0", k=K_MIX, i=I_MIX)),
                  "all matrix widths 256 (K-quants apply); logits are those of the file's own dequantized weights in float32; "
                  "k and i: another type per matrix"),
    "qwen2": ("qwen2", "Qwen2", LLAMA | dict(tie_word_embeddings=True, rms_norm_eps=1e-6, rope_parameters=rope(rope_theta=1e6)), {},
              "bias on q, k, v; tied head"),
    "qwen2-scales": ("qwen2", "Qwen2", SMALL_QWEN2, dict(scales=True), "a scale tensor beside every matrix, with biases on q, k, v; tied head"),
    "qwen3-bias": ("qwen3", "Qwen3", SMALL | dict(num_hidden_layers=1, attention_bias=True, rms_norm_eps=1e-6), {}, "biases on q, k, v, o"),
    "qwen3": ("qwen3", "Qwen3", SMALL | dict(head_dim=32, rms_norm_eps=1e-6, tie_word_embeddings=False, rope_parameters=rope(rope_theta=1e6)),
              {}, "q and k norms; head dim 32 != dim / heads; untied head"),
    "qwen3-yarn": ("qwen3", "Qwen3",
                   SMALL | dict(num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=64, rms_norm_eps=1e-6,
                                rope_parameters=rope(rope_theta=1e6, rope_type="yarn", factor=4.0, original_max_position_embeddings=128)),
                   {}, "YaRN on a neox rope; head dim 64"),
    "gemma3": ("gemma3", "Gemma3", GEMMA | dict(num_hidden_layers=7, vocab_size=288, rope_parameters=gemma_rope(1e6, 10000.0)),
               dict(vocab="gemma"), "window 16 on all layers but the 6th; two rope bases; SentencePiece tokenizer"),
    "gemma3-linear": ("gemma3", "Gemma3",
                      GEMMA | dict(num_hidden_layers=4, rope_parameters=gemma_rope(1e6, 20000.0, rope_type="linear", factor=8.0),
                                   layer_types=["sliding_attention"] * 2 + ["full_attention", "sliding_attention"]),
                      {"extra": {"attention.sliding_window_pattern": 3}},
                      "linear scaling 8 on full layers only; window base 20000 (rope.freq_base_swa); pattern key 3: layer 3 is full"),
    "gemma3-full": ("gemma3", "Gemma3",
                    GEMMA | dict(num_hidden_layers=3, layer_types=["full_attention"] * 3, final_logit_softcapping=5.0,
                                 rope_parameters=gemma_rope(1e6, 10000.0)), dict(skip=("attention.sliding_window",)),
                    "no sliding_window key: every layer is full and takes the base of full layers; softcapped logits"),
    "gemma3-62": ("gemma3", "Gemma3",
                  GEMMA | dict(num_hidden_layers=62, hidden_size=8, intermediate_size=8, num_attention_heads=2, num_key_value_heads=1,
                               head_dim=8, query_pre_attn_scalar=4, rope_parameters=gemma_rope(1e6, 10000.0, rope_type="linear", factor=8.0)),
                  dict(skip=("rope.freq_base_swa",)),
                  "62 layers means 27B: attention scale 1/sqrt(dim/heads), not 1/sqrt(head dim); no rope.freq_base_swa key (default 10000)"),
    "phi3": ("phi3", "Phi3", PHI | dict(rope_parameters=rope(partial_rotary_factor=0.5)), {},
             "fused attn_qkv, ffn_up = [gate; up]; 8 of 16 head dims rotated"),
    "phi3-longrope": ("phi3", "Phi3",
                      PHI_SMALL | dict(max_position_embeddings=128, original_max_position_embeddings=32, rope_parameters=rope(
                          rope_type="longrope", partial_rotary_factor=0.75, original_max_position_embeddings=32,
                          short_factor=[1.0, 1.1, 1.2, 1.35, 1.5, 1.8], long_factor=[1.1, 1.4, 2.2, 3.6, 5.5, 9.0])), {},
                      "original context 32: sequence 0 (40 tokens) uses the long factors at all positions, 1 and 2 the short; attn_factor on both"),
    "phi3-swa": ("phi3", "Phi3", PHI_SMALL | dict(sliding_window=16), {}, "window 16 on all layers (llama.cpp ignores the window of phi3)"),
    "phi3-scales": ("phi3", "Phi3", PHI_SMALL | dict(num_hidden_layers=1), dict(scales=True), "scale tensors on the fused matrices"),
    "mixtral-scales": ("llama", "Mixtral", SMALL | dict(num_hidden_layers=1, num_local_experts=4, num_experts_per_tok=2), dict(scales=True),
                       "a scale per expert"),
    "mixtral": ("llama", "Mixtral", SMALL | dict(num_local_experts=4, num_experts_per_tok=2, rope_parameters=rope(rope_theta=1e6)), {},
                "4 experts, 2 used, weights renormalised"),
    "qwen3moe": ("qwen3moe", "Qwen3Moe",
                 SMALL | dict(rms_norm_eps=1e-6, intermediate_size=128, moe_intermediate_size=32, num_experts=6,
                              num_experts_per_tok=3, norm_topk_prob=True, rope_parameters=rope(rope_theta=1e6)), {},
                 "6 experts, 3 used, weights renormalised; expert width from expert_feed_forward_length, not feed_forward_length"),
}


# ---- models ----------------------------------------------------------------------------------------------------

def build(name):
    """A transformers model of the row with every parameter random."""
    _, family, config, _, _ = MODELS[name]
    config_class = getattr(transformers, {"Gemma3": "Gemma3TextConfig"}.get(family, family + "Config"))
    kw = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None) | config
    cfg = config_class(**kw, attn_implementation="eager", experts_implementation="eager")
    model = getattr(transformers, family + "ForCausalLM")(cfg).to(torch.float32).eval()
    rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        for pname, p in model.named_parameters():
            p.copy_(initial(pname, p.shape, rng, family, cfg.num_hidden_layers))
    return model


def initial(pname, shape, rng, family, n_layer):
    """Values that keep activations near 1, attention uneven and routing decided."""
    x = torch.randn(shape, generator=rng)
    if pname.endswith("bias"):
        return x * 0.2
    if len(shape) == 1:  # norms; Gemma stores weight - 1
        if family == "Gemma3" and "post_" in pname:  # small steps per layer keep even 62 layers well conditioned
            return (1.0 + x * 0.2) / math.sqrt(n_layer) - 1.0
        return x * 0.2 + (0.0 if family == "Gemma3" else 1.0)
    if "embed_tokens" in pname:
        return x * (1.5 / math.sqrt(shape[-1]))
    fan_in = shape[-1]
    gain = 2.0 if "mlp.gate.weight" in pname else 1.5 if ("q_proj" in pname or "k_proj" in pname or "qkv" in pname) else 1.0
    return x * (gain / math.sqrt(fan_in))


def token_sequences(name, n_vocab, attempt):
    rng = np.random.default_rng([zlib.crc32(name.encode()), attempt])
    return [rng.integers(0, n_vocab, n, dtype=np.int32) for n in LENGTHS]


def run(model, tokens):
    """Logits [n_tok, n_vocab] and the smallest router gap (inf without experts)."""
    gaps, hooks = [math.inf], []
    top_k = getattr(model.config, "num_experts_per_tok", None)

    def router_hook(_module, _inputs, outputs):
        p = outputs[0].float().softmax(-1).sort(-1, descending=True).values
        gaps.append((p[:, top_k - 1] - p[:, top_k]).min().item())

    for pname, module in model.named_modules():
        if pname.endswith("mlp.gate"):
            hooks.append(module.register_forward_hook(router_hook))
    with torch.no_grad():
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        logits = model(input_ids=ids, use_cache=False).logits[0].float().numpy()
    for hook in hooks:
        hook.remove()
    return logits, min(gaps)


def references(name, model):
    """Token sequences and logits, with tokens drawn again until no expert choice is close."""
    for attempt in range(1000):
        sequences = token_sequences(name, model.config.vocab_size, attempt)
        results = [run(model, t) for t in sequences]
        if min(gap for _, gap in results) > GAP:
            return [(t, logits) for t, (logits, _) in zip(sequences, results)]
    raise SystemExit(f"{name}: no tokens with router gaps above {GAP}")


# ---- GGUF ------------------------------------------------------------------------------------------------------

def metadata(w, arch, cfg):
    """The keys that llama.cpp's converter writes for the architecture."""
    c, rp = cfg.to_dict(), cfg.rope_parameters
    head_dim = c.get("head_dim") if arch != "phi3" else None
    w.add_block_count(cfg.num_hidden_layers)
    w.add_context_length(cfg.max_position_embeddings)
    w.add_embedding_length(cfg.hidden_size)
    w.add_feed_forward_length(cfg.intermediate_size)
    w.add_head_count(cfg.num_attention_heads)
    w.add_head_count_kv(cfg.num_key_value_heads)
    w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    if head_dim:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if arch == "llama":
        w.add_rope_dimension_count(head_dim or cfg.hidden_size // cfg.num_attention_heads)
    if c.get("num_local_experts"):
        w.add_expert_count(cfg.num_local_experts)
        w.add_expert_used_count(cfg.num_experts_per_tok)
    if arch == "qwen3moe":
        w.add_expert_feed_forward_length(cfg.moe_intermediate_size)
    if arch == "gemma3":
        w.add_sliding_window(cfg.sliding_window)
        w.add_rope_freq_base_swa(rp["sliding_attention"]["rope_theta"])
        rp = rp["full_attention"]
    w.add_rope_freq_base(rp["rope_theta"])
    if arch == "phi3":
        phi3_metadata(w, cfg, rp)
    elif rp["rope_type"] in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(rp["rope_type"]))
        w.add_rope_scaling_factor(rp["factor"])
        if rp["rope_type"] == "yarn":
            w.add_rope_scaling_orig_ctx_len(rp["original_max_position_embeddings"])
            if "attention_factor" in rp:
                w.add_rope_scaling_yarn_attn_factor(rp["attention_factor"])
                w.add_rope_scaling_yarn_beta_fast(rp["beta_fast"])
                w.add_rope_scaling_yarn_beta_slow(rp["beta_slow"])
    if c.get("final_logit_softcapping"):
        w.add_final_logit_softcapping(c["final_logit_softcapping"])


def phi3_metadata(w, cfg, rp):
    """No rope.scaling.type, even with LongRoPE factors: the converter does not write it for phi3."""
    old = rp.get("original_max_position_embeddings", cfg.original_max_position_embeddings)
    w.add_rope_dimension_count(int(rp.get("partial_rotary_factor", 1.0) * cfg.hidden_size) // cfg.num_attention_heads)
    w.add_rope_scaling_orig_ctx_len(old)
    w.add_sliding_window(cfg.sliding_window or 0)
    if "long_factor" in rp:
        scale = cfg.max_position_embeddings / old
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(old)))


def interleave(x, n_head):
    """Rows of one head from halves [0..d/2) [d/2..d) to pairs: the order in which llama's rope takes them."""
    return x.reshape(n_head, 2, x.shape[0] // n_head // 2, -1).swapaxes(1, 2).reshape(x.shape)


def tensors(arch, model):
    """(GGUF name, float32 array) of every tensor, in the order of the model."""
    cfg = model.config
    names = gguf.get_tensor_name_map({v: k for k, v in gguf.MODEL_ARCH_NAMES.items()}[arch], cfg.num_hidden_layers)
    heads = {"q_proj": cfg.num_attention_heads, "k_proj": cfg.num_key_value_heads}
    for pname, p in model.named_parameters():
        x, module = p.detach().numpy(), pname.split(".")[-2]
        if arch == "llama" and module in heads:
            x = interleave(x, heads[module])
        if arch == "gemma3" and pname.endswith("norm.weight"):
            x = x + np.float32(1)
        if pname.endswith("experts.gate_up_proj"):
            half = x.shape[1] // 2
            parts = [(pname.replace("gate_up", "gate"), x[:, :half]), (pname.replace("gate_up", "up"), x[:, half:])]
        else:
            parts = [(pname, x)]
        for part, y in parts:
            full = part if part.endswith(("weight", "bias")) else part + ".weight"
            yield names.get_name(full, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(y)
    yield from rope_tensors(model)


def rope_tensors(model):
    rp = model.config.rope_parameters
    if rp.get("rope_type") == "llama3":  # base frequency / scaled frequency, both by transformers
        head_dim = model.config.head_dim
        base = 1.0 / (rp["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim))
        yield "rope_freqs.weight", (base / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32)
    for kind in ("long", "short"):
        if f"{kind}_factor" in rp:
            yield f"rope_factors_{kind}.weight", np.array(rp[f"{kind}_factor"], dtype=np.float32)


def file_type(types):
    """The label in general.file_type; for mixtures the one of the type that is most frequent among the matrices."""
    matrix = max(set(types) - {T.F32}, key=types.count, default=T.F32).name
    names = gguf.LlamaFileType.__members__
    return next(names[n] for n in (f"ALL_{matrix}", f"MOSTLY_{matrix}", f"MOSTLY_{matrix}_M") if n in names)


def write_gguf(path, name, model, weights):
    """weights: list of (name, array, storage type); arrays of quantized types are bytes already."""
    arch, _, _, options, _ = MODELS[name]
    w = gguf.GGUFWriter(path, arch)
    w.add_type(gguf.GGUFType.MODEL)
    w.add_name(path.stem)
    w.add_file_type(file_type([t for n, _, t in weights if n.endswith(".weight")]))
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    metadata(w, arch, model.config)
    for key, value in options.get("extra", {}).items():
        w.add_uint32(f"{arch}.{key}", value)
    if not options.get("bare"):
        vocabs.add(w, options.get("vocab", "none"))
        if arch == "llama" or "vocab" not in options:
            w.add_vocab_size(model.config.vocab_size)
    for key in options.get("skip", ()):
        del w.kv_data[0][f"{arch}.{key}"]
    for tname, x, qtype in weights:
        w.add_tensor(tname, x, raw_dtype=qtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def set_parameters(arch, model, arrays):
    """The inverse of tensors(), for dequantized weights: q and k rows back to halves."""
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    params = {n: p for (n, _), p in zip(tensors(arch, model), model.parameters())}
    with torch.no_grad():
        for tname, x in arrays:
            h = heads.get(tname.split(".")[-2])
            if h:
                x = x.reshape(h, x.shape[0] // h // 2, 2, -1).swapaxes(1, 2).reshape(x.shape)
            params[tname].copy_(torch.from_numpy(np.ascontiguousarray(x)))


# ---- command line ----------------------------------------------------------------------------------------------

def split_scales(arch, model):
    """Matrices as (weight / scale, scale), scales exact powers of two between 1/4 and 4, one per expert where there are experts."""
    rng, weights = np.random.default_rng(1), []
    for n, x in tensors(arch, model):
        if x.ndim == 1 or "token_embd" in n or "ffn_gate_inp" in n:
            weights.append((n, x, T.F32))
            continue
        scale = np.exp2(rng.integers(-2, 3, x.shape[0] if x.ndim == 3 else 1)).astype(np.float32)
        weights.append((n, x / scale.reshape(-1, *[1] * (x.ndim - 1)), T.F32))
        weights.append((n.removesuffix("weight") + "scale", scale, T.F32))
    return weights


def make_plain(out, name, model):
    weights = [(n, x, T.F32) for n, x in tensors(MODELS[name][0], model)]
    if MODELS[name][3].get("scales"):
        weights = split_scales(MODELS[name][0], model)
    write_gguf(out / f"{name}.gguf", name, model, weights)
    return {name: references(name, model)}


def make_typed(out, name, model):
    """One file per entry of types; the logits are those of what the file holds."""
    arch, results = MODELS[name][0], {}
    source = list(tensors(arch, model))
    for key, types in MODELS[name][3]["types"].items():
        full = f"{name}-{key}"
        weights = [(n, *stored(full, n, x, types)) for n, x in source]
        write_gguf(out / f"{full}.gguf", name, model, weights)
        set_parameters(arch, model, [(n, gguf.quants.dequantize(data, t).astype(np.float32).reshape(x.shape))
                                     for (n, data, t), (_, x) in zip(weights, source)])
        results[full] = references(name, model)
    return results


def stored(full, tname, x, types):
    """(data, storage type) of one tensor: quantized, or random blocks of about the same deviation where no quantizer exists."""
    if x.ndim == 1:
        return x, T.F32
    if isinstance(types, str):
        return gguf.quants.quantize(x, T[types]), T[types]
    type_name = types[tname.split(".")[-2]]
    rng = np.random.default_rng([zlib.crc32(full.encode()), zlib.crc32(tname.encode())])
    return blocks.random_matrix(type_name, x.shape, x.std(), rng), T[type_name]


def save_references(out, name, pairs):
    for i, (tokens, logits) in enumerate(pairs):
        suffix = f".{i}" if i else ""
        np.save(out / f"{name}.tokens{suffix}.npy", tokens)
        np.save(out / f"{name}.logits{suffix}.npy", np.ascontiguousarray(logits, dtype=np.float32))


def write_index(out):
    rows = ["name\tarch\tn_tok\tnote"]
    for name, (arch, _, _, options, note) in MODELS.items():
        for full in [f"{name}-{t}" for t in options.get("types", ())] or [name]:
            rows.append(f"{full}\t{arch}\t{','.join(map(str, LENGTHS))}\t{note}")
    (out / "index.tsv").write_text("\n".join(rows) + "\n")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("names", nargs="+")
    ap.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "fixtures/models")
    ap.add_argument("--hf", type=Path)
    args = ap.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in MODELS if args.names == ["all"] else args.names:
        model = build(name)
        make = make_typed if "types" in MODELS[name][3] else make_plain
        for full, pairs in make(args.out, name, model).items():
            save_references(args.out, full, pairs)
            logits = pairs[0][1]
            print(f"{full}: {(args.out / f'{full}.gguf').stat().st_size / 1000:.0f} kB, logits std {logits.std():.2f}")
        if args.hf:
            model.save_pretrained(args.hf / name)
    write_index(args.out)


if __name__ == "__main__":
    main()
