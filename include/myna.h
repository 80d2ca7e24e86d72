/* myna.h: the engine: open a model file, submit requests, take events.
 *
 * A model is immutable and may be shared by engines and threads. An engine owns one thread that runs every step:
 * callers submit whole prompts and take events; the engine finds what is already computed. A session is a thin
 * wrapper over a batch of one. Option structs: zero means default. Nothing here exits, aborts or prints. */
#ifndef MYNA_H
#define MYNA_H

#include "myna_base.h"
#include "myna_grammar.h"
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct myna_model myna_model;
typedef struct myna_engine myna_engine;
typedef struct myna_session myna_session;

/* ---- model ---- */

typedef struct myna_model_options {
  bool no_mmap;     /* read the file into memory */
  bool header_only; /* metadata, tensors and tokenizer only; no family needed (inspect, tokenize) */
  /* Keep the weights in memory, and the caches of engines over this model. Where the system does not allow it (ulimit -l), a warning is logged and
   * nothing is locked. Waits until the file is read. */
  bool mlock;
  /* Weights on huge pages: as they are mapped where the page cache holds the file so (which waits until it is read), else as no_mmap, a
   * private copy on huge pages where the system has them. */
  bool huge_pages;
  bool no_populate; /* do not bring the mapped file in behind the caller's back, in the order of the layers */
} myna_model_options;

/* Opens a .gguf file (or any split of a set). Takes milliseconds: nothing is read but the header; a thread brings in the rest
 * unless it is larger than 7/8 of the machine's memory. Safe on untrusted files.
 * The caller closes it with myna_model_close after the last engine using it is freed. */
MYNA_API int myna_model_open(myna_model **out, const char *path, const myna_model_options *o, myna_err *err);
MYNA_API void myna_model_close(myna_model *m);

typedef struct myna_model_info {
  const char *arch, *name, *file; /* borrowed until close; "" when unknown */
  int64_t n_layer, n_embd, n_vocab, n_ctx_train, n_head, n_head_kv;
  int64_t n_params, weight_bytes, file_bytes;
  int64_t n_tensors, n_meta;
  bool has_tokenizer, has_template;
  const char *weight_type; /* type holding most bytes, "Q4_K" */
} myna_model_info;
MYNA_API void myna_model_get_info(const myna_model *m, myna_model_info *out);

typedef struct myna_tensor_info {
  const char *name; /* borrowed until close */
  myna_dtype type;
  int n_dims;
  int64_t dims[4]; /* C order: the last is contiguous */
  int64_t bytes, offset;
  int file;
} myna_tensor_info;
MYNA_API int myna_model_get_tensor(const myna_model *m, int64_t i, myna_tensor_info *out);
/* Key and value (as text, long arrays shortened to max_items) of metadata entry i; returns the length of the value's text or a
 * negative code. key is borrowed; value gets at most n bytes with NUL. type: "u32", "str", "arr[f32,10]". */
MYNA_API int64_t myna_model_get_meta(const myna_model *m, int64_t i, const char **key, char type[24], char *value,
                                     size_t n, int max_items);
/* Chat template of the file, NULL when there is none. */
MYNA_API const char *myna_model_get_template(const myna_model *m);

/* The plan of a step as text (see myna_plan_print); returns the length. */
MYNA_API int64_t myna_model_print_plan(myna_model *m, char *buf, int64_t n, myna_err *err);

/* ---- text ---- */

typedef struct myna_tokenize_options {
  bool no_special;    /* do not add BOS/EOS even when the file asks for it */
  bool parse_special; /* control tokens written in the text become their ids */
} myna_tokenize_options;
/* Ids of text[0..n); returns how many there are (the first cap are written), negative on failure. Any bytes. Thread-safe. */
MYNA_API int64_t myna_tokenize(const myna_model *m, const char *text, size_t n, const myna_tokenize_options *o,
                               int32_t *ids, int64_t cap, myna_err *err);
/* Text of ids[0..n) as whole characters; returns the length (at most cap bytes are written, no NUL). special: control tokens are shown. */
MYNA_API int64_t myna_detokenize(const myna_model *m, const int32_t *ids, int64_t n, bool special, char *buf,
                                 int64_t cap, myna_err *err);
/* Raw bytes of one token; returns the length. */
MYNA_API int64_t myna_token_text(const myna_model *m, int32_t id, char *buf, int64_t cap);
/* -1 when the model has none. */
MYNA_API int32_t myna_token_bos(const myna_model *m);
MYNA_API int32_t myna_token_eos(const myna_model *m);
MYNA_API bool myna_token_is_eog(const myna_model *m, int32_t id);

/* ---- sampling ---- */

typedef struct myna_logit_bias {
  int32_t id; /* in the vocabulary */
  float bias; /* added to the logit before everything else; -INFINITY bans; entries of one id add up */
} myna_logit_bias;

/* How the next token is chosen: llama.cpp's samplers under their names. A zero struct is right for most callers: without
 * `set` everything else is ignored, and what myna_model_sampling fills holds. With `set` every field means what its
 * comment says for the value it has, zero included: start from myna_sampling_default or myna_model_sampling and change
 * what you want. Defaults stand in brackets. */
typedef struct myna_sampling {
  bool set;
  /* [0] Counter-based: token i of the answer depends on the logits and (seed, i) only; 0 is a seed like any other. */
  uint64_t seed;
  /* [0.8] <= 0: greedy, the best of the candidates that the order leaves, the lower id among equals. */
  float temperature;
  /* [0] > 0: the temperature goes from temperature - range (at least 0) to temperature + range with the entropy of the
   * candidates, to the power of the exponent; 0: off. */
  float dynatemp_range;
  float dynatemp_exponent; /* [1] */
  int32_t top_k;           /* [40] <= 0: off */
  float top_p;             /* [0.95] 0 to 1; 1: off; 0: only the best (or min_keep) */
  float min_p;             /* [0.05] >= 0; 0: off */
  float typical_p;         /* [1] 0 to 1; 1: off */
  float top_n_sigma;       /* [-1] <= 0: off */
  float xtc_probability;   /* [0] 0 to 1; 0: off */
  float xtc_threshold;     /* [0.1] >= 0; above 0.5: off */
  int32_t min_keep;        /* [0] top_p, min_p, typical_p and xtc leave at least so many candidates */
  /* [64] Tokens that the three penalties look back, prompt included; -1: the whole context; 0: off. */
  int32_t repeat_last_n;
  float repeat_penalty;                      /* [1] > 0 (0 is an error); 1: off */
  float frequency_penalty, presence_penalty; /* [0] any finite number; 0: off */
  float dry_multiplier;                      /* [0] >= 0; 0: off */
  float dry_base;                            /* [1.75] below 1: off */
  int32_t dry_allowed_length;                /* [2] repetitions shorter than this are free */
  int32_t dry_penalty_last_n;                /* [-1] -1: the whole context; 0: off */
  /* [NULL] Strings that end repetitions, [n_dry_breakers], the first 40 bytes of each count. NULL: "\n", ":", "\"", "*";
   * none where n_dry_breakers is 0 and this is not NULL, and for a file without tokenizer. */
  const char *const *dry_breakers;
  int n_dry_breakers;
  /* [0] 1 or 2: mirostat of that version, after bias and temperature and instead of everything in `order`. */
  int32_t mirostat;
  float mirostat_tau, mirostat_eta; /* [5, 0.1] target surprise in bits, learning rate; >= 0 */
  const myna_logit_bias *bias;      /* [n_bias] or NULL */
  int n_bias;
  bool ignore_eos; /* every end token is banned */
  /* [NULL: "edskypmxt"] What is applied, in this order: e penalties, d DRY, s top_n_sigma, k top_k, y typical_p, p top_p,
   * m min_p, x xtc, t temperature; letters may be left out or repeat; at most 31. */
  const char *order;
} myna_sampling;
/* Fills every field with its default and `set` with true. */
MYNA_API void myna_sampling_default(myna_sampling *s);
/* The same, with what the model file recommends (GGUF keys general.sampling.*: temp, top_k, top_p, min_p,
 * xtc_probability, xtc_threshold, penalty_last_n, penalty_repeat, mirostat, mirostat_tau, mirostat_eta) in place of the
 * defaults; m may be NULL: only defaults. Values out of range are refused when a request uses them. */
MYNA_API void myna_model_sampling(const myna_model *m, myna_sampling *s);

/* ---- engine ---- */

typedef struct myna_engine_options {
  int n_threads; /* 0: physical cores within affinity and quota */
  bool pin;      /* bind each thread to a processor */
  bool no_spin;  /* threads that wait for work sleep at once: slower, for shared machines */
  myna_numa numa;
  int64_t n_ctx;     /* positions per sequence; 0: what the model was trained for (at most 4096 unless asked) */
  int64_t n_seq;     /* sequences at once; 0: 8 */
  int64_t n_batch;   /* tokens per step; 0: 512 */
  int64_t kv_tokens; /* positions in the page pool over all sequences; 0: n_ctx * min(n_seq, what fits) */
  /* Types of keys and of values in the cache, any pair of F32, F16, BF16, Q8_0, Q4_0, each with its _set. Without kv_type_v_set values have
   * the type of keys, without kv_type_set keys have the type by the weights (decision 11). */
  myna_dtype kv_type, kv_type_v;
  bool kv_type_set, kv_type_v_set;
  bool exact;              /* float activations and F32 KV for any file */
  int64_t mem_limit;       /* bytes of private memory + mapped file; 0: none */
  int64_t grammar_bytes;   /* planned for grammars, as told to myna_grammar_limit; 0: nothing is */
  bool mem_weights_cached; /* leave the mapped file out of the limit */
  /* NULL, or a directory: pages that leave the pool go to a file there, of at most disk_max bytes (0: 1 GB), and come back when a prompt wants them. The
   * file has no name and goes with the engine. */
  const char *disk_dir;
  int64_t disk_max;
  /* NULL, or a smaller model with the same vocabulary that guesses for requests which ask for MYNA_SPECULATION_DRAFT. Borrowed: it must stay open as
   * long as the engine. It has a page pool of its own, counted in the plan. Different vocabularies: MYNA_E_ARG naming the first difference. */
  myna_model *draft_model;
  /* Attention of sequences that share a prefix reads its pages once for all of them where that is faster; this reads them for each, to the same bits (measurements, tests). */
  bool no_cascade;
  int speculation; /* kinds (MYNA_SPECULATION_) that requests will ask for. The indexes of lookup are planned only when it is among them;
                    * under a mem_limit a request gets none otherwise, and is computed without */
} myna_engine_options;
MYNA_API int myna_engine_new(myna_engine **out, myna_model *m, const myna_engine_options *o, myna_err *err);
/* Cancels what runs, joins the thread, frees everything. */
MYNA_API void myna_engine_free(myna_engine *e);

typedef struct myna_memory {
  int64_t weights, kv, compute, tokenizer, other, total, limit;
  int64_t draft; /* file and compute of a draft model; its pages are in kv */
} myna_memory;
/* Where every byte goes, or would go: also without an engine (before loading). o may be NULL. */
MYNA_API int myna_memory_plan(myna_model *m, const myna_engine_options *o, myna_memory *out, myna_err *err);

typedef enum myna_finish {
  MYNA_FINISH_NONE,
  MYNA_FINISH_STOP,   /* end token */
  MYNA_FINISH_STRING, /* stop string */
  MYNA_FINISH_LENGTH,
  MYNA_FINISH_CONTEXT,
  MYNA_FINISH_CANCELLED,
  MYNA_FINISH_ERROR
} myna_finish;

/* Tokens are guessed and computed together with the last one; those that are what would have been sampled are kept. The answer is the same as
 * without, token for token; only its speed changes. A zero struct is off. */
typedef enum myna_speculation_kind { /* may be added: lookup first, the draft model where lookup finds nothing */
                                     MYNA_SPECULATION_NONE = 0,
                                     MYNA_SPECULATION_NGRAM =
                                         1, /* prompt lookup: what followed the longest earlier occurrence of the last tokens */
                                     MYNA_SPECULATION_DRAFT =
                                         2 /* what the engine's draft model would choose with this request's sampling and random numbers */
} myna_speculation_kind;
typedef struct myna_speculation {
  int kind; /* sum of myna_speculation_kind */
  int32_t
      n_max; /* tokens drafted per step, up to 31; 0: 31, of a draft model 16. Fewer are when more would not pay, as far as was measured */
  int32_t n_min; /* shorter drafts are not worth a try; 0: all are */
  int32_t
      ngram_min; /* how many of the last tokens must have occurred before; 0: 2, up to 8; of several places the longest match counts */
  float p_min; /* a draft model's guess ends before a token that it thinks less likely, 0 to 1; 0: never */
  bool always; /* draft n_max tokens whenever possible, whether it pays or not (measurements, tests) */
  /* Measurements, with `forced`: a drafted token of the draft model is made right with this probability and wrong else, by counter-based random
   * numbers; 0: left as it is. */
  float force_accept;
} myna_speculation;

/* Reasoning of the answer, bounded: when `budget` tokens were generated inside of it, `message` and `end` are forced. A grammar without triggers begins
 * to hold after the reasoning. A zero struct: no reasoning. */
typedef struct myna_thinking {
  const char *start, *end; /* tags; NULL: none; copied */
  bool open;               /* the prompt ends inside the reasoning already */
  bool limited;            /* budget counts (0: end at once) */
  int64_t budget;
  const char *message; /* NULL, or text said before the forced end; copied */
} myna_thinking;

typedef struct myna_request {
  const int32_t *tokens; /* the whole prompt, [n_tokens] >= 1; copied */
  int64_t n_tokens;
  int64_t max_tokens; /* generated; 0: until the end or the context is full; -1 the same */
  myna_sampling sampling;
  const char *const *stop; /* stop strings, matched on text across token borders, never emitted; copied */
  int n_stop;
  /* When the context is full: drop the oldest half after the first n_keep tokens and compute the rest again; without it
   * the request ends with FINISH_CONTEXT. */
  bool context_shift;
  int64_t n_keep;
  bool want_logits;      /* prompt evaluation only: every prompt row's logits come as events of kind LOGITS */
  bool no_text;          /* do not detokenize: events carry ids only (files without tokenizer) */
  const int32_t *forced; /* NULL, or [n_forced]: token i of the answer is forced[i] instead of sampled (bench, tests) */
  int64_t n_forced;
  int n_probs; /* top log-probabilities per token in the event; of more than the vocabulary has all are told */
  bool
      post_probs; /* they are of the distribution that the token was drawn from, after all samplers and constraints; fewer where fewer were left */
  myna_speculation speculation;
  /* NULL, or what the answer's text must be; the request holds its own reference. With triggers it holds only from the first occurrence of one of them
   * on, whose text is its beginning (tool calls); before that the answer is free. */
  myna_grammar *grammar;
  const char *const *triggers; /* [n_triggers], copied */
  int n_triggers;
  /* NULL, or a text: control tokens that occur in it are told as they are written, and stand for these texts in the grammar; others show none.
   * Copied. */
  const char *shown;
  bool leave_open; /* do not close a constrained answer that ends early (length, context) by the shortest legal text */
  bool branches;   /* events tell the probabilities of the legal alternatives wherever the grammar left a choice */
  bool no_prefix;  /* compute the whole prompt, find nothing computed (cache_prompt false) */
  const char *client; /* who asks, for fairness among clients; NULL: nobody in particular; copied */
  int64_t max_ms;     /* of generation, from its first token; 0: no limit. Ends with FINISH_LENGTH */
  myna_thinking thinking;
  void *user; /* comes back in events */
} myna_request;

typedef enum myna_event_kind {
  MYNA_EVENT_TOKEN,
  MYNA_EVENT_LOGITS,
  MYNA_EVENT_PROGRESS,
  MYNA_EVENT_DONE
} myna_event_kind;

typedef struct myna_timings {
  double queue_s, prompt_s, gen_s, first_token_s; /* seconds; first_token_s since submit */
  int64_t n_prompt, n_cached, n_gen;              /* tokens: prompt, of them found computed, generated */
  int64_t n_drafted, n_accepted; /* speculation: tokens guessed; of them right: they took no step of their own */
} myna_timings;

typedef struct myna_event {
  int64_t id; /* request */
  myna_event_kind kind;
  void *user;
  int32_t token;
  /* Whole characters that became certain with this token (may be empty): [text_len], borrowed until the next call. */
  const char *text;
  int64_t text_len;
  const float *logits; /* LOGITS: [n_rows, n_vocab] of prompt rows first_row..; borrowed until the next call */
  int64_t first_row, n_rows, n_vocab;
  float logprob; /* of the token, when n_probs > 0; under the unmodified distribution unless post_probs */
  int n_top;
  const int32_t *top_ids; /* [n_top] */
  const float *top_logprobs;
  /* With `branches`, where the grammar left a choice: the most likely legal tokens and their probabilities among all that are legal. */
  int n_branch;
  const int32_t *branch_ids; /* [n_branch] */
  const float *branch_logprobs;
  int64_t n_done, n_total; /* PROGRESS: prompt tokens */
  int64_t n_cached;        /* PROGRESS, TOKEN: prompt tokens that were found computed */
  myna_finish finish;      /* DONE */
  myna_err err;            /* DONE with FINISH_ERROR */
  myna_timings timings;    /* DONE */
} myna_event;

/* Queues a request; *id is > 0. Refuses (MYNA_E_ARG, MYNA_E_LIMIT) what can never run. Thread-safe. */
MYNA_API int myna_submit(myna_engine *e, const myna_request *r, int64_t *id, myna_err *err);
/* Ends a request at the next step: its DONE event has FINISH_CANCELLED. Unknown ids: MYNA_E_NOTFOUND. Thread-safe, and safe in a
 * signal handler only through a flag of the caller. */
MYNA_API int myna_cancel(myna_engine *e, int64_t id);
/* Waits at most timeout_ms (-1: for ever) for the next event of any request. 1: *out is filled; 0: timeout. What out borrows lives until
 * the next call from the same engine. One consumer at a time. */
MYNA_API int myna_next_event(myna_engine *e, int timeout_ms, myna_event *out);

/* What rows of MYNA_EVENT_LOGITS say, as n_probs tells it of answers: the n most likely tokens of logits [n_vocab], best first (of equals the lower id), in
 * ids [n] and logprobs [n] (natural logarithms of the softmax), and token id's (0 <= id < n_vocab) in *logprob. Returns how many there are, at most n_vocab;
 * MYNA_E_ARG, MYNA_E_NOMEM. Keeps nothing. Thread-safe. */
MYNA_API int myna_logprobs(const float *logits, int64_t n_vocab, int32_t id, float *logprob, int n, int32_t *ids,
                           float *logprobs, myna_err *err);

/* Pages that left memory and are, or were, on disk (disk_dir). */
typedef struct myna_disk_stats {
  int64_t bytes, max_bytes; /* held now, what is being written included; 0 of 0: there is no disk */
  int64_t pages_written, pages_read;
  int64_t pages_skipped;       /* not written: the disk was busy, or every slot in use */
  int64_t n_failed, n_damaged; /* pages that could not be read or written; whose checksum was wrong: misses both */
  int64_t tokens;              /* of prompts, found there */
} myna_disk_stats;

typedef struct myna_engine_stats {
  int64_t n_steps, n_prompt_tokens, n_gen_tokens, n_running, n_queued, pages_total, pages_used, pages_shared,
      tokens_reused;
  int64_t n_drafted, n_accepted; /* by speculation */
  int64_t n_threads, n_ctx, n_batch, n_seq;
  const char *kv_type, *kv_type_v, *cpu_level; /* kv_type: of keys */
  myna_memory memory;
  myna_disk_stats disk;
} myna_engine_stats;
/* Counters since the engine started, and what it runs with. Thread-safe. */
MYNA_API void myna_engine_get_stats(const myna_engine *e, myna_engine_stats *out);

/* ---- the cache in files ---- */

/* Writes what is computed of tokens[0..n_tokens) to a file, which replaces what was there when all of it is written. Returns the positions saved, at least
 * 1; *n_bytes (may be NULL): of the file. MYNA_E_NOTFOUND: nothing of the text is in the cache. MYNA_E_IO: the file cannot be written. The engine goes on
 * meanwhile. Thread-safe. */
MYNA_API int64_t myna_engine_prefix_save(myna_engine *e, const int32_t *tokens, int64_t n_tokens, const char *path,
                                         int64_t *n_bytes, myna_err *err);
/* Brings it back: requests whose prompt begins so find it, and answers are the same as without having saved it. Returns the positions; tokens[0..cap) (may be
 * NULL) get the first of their ids. The file must be of the same model, cache types and precision (MYNA_E_ARG else); what is damaged in any way is refused
 * (MYNA_E_FORMAT) and changes nothing. MYNA_E_LIMIT: longer than the context, or the cache is full of what runs; MYNA_E_IO: it cannot be read. Thread-safe; safe on untrusted files so
 * far as they cannot do more than make answers to their own tokens wrong. */
MYNA_API int64_t myna_engine_prefix_load(myna_engine *e, const char *path, int32_t *tokens, int64_t cap,
                                         int64_t *n_bytes, myna_err *err);
/* Drops what is computed of a text from its end on, but for what runs or is the beginning of other texts. Returns the positions dropped. Thread-safe. */
MYNA_API int64_t myna_engine_prefix_erase(myna_engine *e, const int32_t *tokens, int64_t n_tokens);

/* ---- session: a batch of one ---- */

/* A conversation over an engine of its own. */
MYNA_API int myna_session_new(myna_session **out, myna_model *m, const myna_engine_options *o, myna_err *err);
MYNA_API void myna_session_free(myna_session *s);
/* Runs one request to its end; on_event (may be NULL) sees every event and returns false to cancel. */
MYNA_API int myna_session_run(myna_session *s, const myna_request *r,
                              bool (*on_event)(void *user, const myna_event *ev), void *user, myna_timings *out,
                              myna_finish *finish, myna_err *err);

/* Process-wide facts for a crash handler: fills path and offset when addr lies in a mapped model file. Async-signal-safe. */
MYNA_API bool myna_mapped_file_at(const void *addr, const char **path, size_t *offset);
/* Name of the CPU level in force ("avx512bf16"); err when MYNA_CPU asks for what this machine has not. */
MYNA_API const char *myna_cpu_level(myna_err *err);

#ifdef __cplusplus
}
#endif
#endif
