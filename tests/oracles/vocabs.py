"""Small tokenizers for fixtures, written as GGUF keys.

llama3: byte-level BPE (pre-tokenizer "llama-bpe"), 272 tokens: id = byte for 0..255, then 12 merges, then 4 special tokens.
gemma:  SentencePiece ("llama"), 288 tokens: 4 special, 256 bytes <0x00>.., then pieces; no leading space.
none:   the words that llama.cpp's loader accepts for "no tokenizer".
"""
from gguf import TokenType

MERGES = ["Ġ t", "Ġ a", "h e", "i n", "Ġt he", "r e", "o n", "e r", "Ġ s", "a t", "in g", "Ġa n"]
SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>"]
PIECES = ["▁", "▁t", "he", "▁the", "in", "▁a", "er", "on", "re", "at", "e", "t", "a", "o", "i", "n", "s", "h", "r", "d", "l", "u", "c",
          "m", ".", ",", "\n", "▁▁"]
TEMPLATE = ("{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '\\n' + m['content'] + '<|eot_id|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant\\n' }}{% endif %}")


def byte_letters():
    """GPT-2's letter for each byte: printable ones stand for themselves, the others follow from U+0100."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(b if b in plain else next(others)) for b in range(256)]


def add(w, kind):
    {"none": add_none, "llama3": add_llama3, "gemma": add_gemma}[kind](w)


def add_none(w):
    w.add_tokenizer_model("none")


def add_llama3(w):
    tokens = byte_letters() + [m.replace(" ", "") for m in MERGES]
    n = len(tokens)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(tokens + SPECIAL)
    w.add_token_types([TokenType.NORMAL] * n + [TokenType.CONTROL] * len(SPECIAL))
    w.add_token_merges(MERGES)
    w.add_bos_token_id(n)
    w.add_eos_token_id(n + 1)
    w.add_eot_token_id(n + 2)
    w.add_add_bos_token(True)
    w.add_chat_template(TEMPLATE)


def add_gemma(w):
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    tokens = special + [f"<0x{b:02X}>" for b in range(256)] + PIECES
    kinds = [TokenType.CONTROL] * 3 + [TokenType.UNKNOWN] + [TokenType.BYTE] * 256 + [TokenType.NORMAL] * len(PIECES)
    w.add_tokenizer_model("llama")
    w.add_tokenizer_pre("default")
    w.add_token_list(tokens)
    w.add_token_scores([-1000.0] * 4 + [0.0] * 256 + [float(-i) for i in range(len(PIECES))])
    w.add_token_types(kinds)
    w.add_pad_token_id(0)
    w.add_eos_token_id(1)
    w.add_bos_token_id(2)
    w.add_unk_token_id(3)
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_add_space_prefix(False)
