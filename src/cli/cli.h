/* cli.h: what the subcommands share: options, flags, output. Public headers only. */
#ifndef MYNA_CLI_H
#define MYNA_CLI_H

#include "myna.h"
#include <signal.h>
#include <stdio.h>

enum { EXIT_FAIL = 1, EXIT_USAGE = 2 };

/* A comma-separated or repeated option. */
typedef struct list {
  const char *items[64];
  int n;
} list;

/* Every option of every command; flags.inc says which command takes which. */
typedef struct options {
  /* model and engine */
  const char *model, *cache_k, *cache_v, *mem_weights, *cpu, *cpu_mask, *cpu_range, *numa;
  int64_t ctx, threads, batch, ubatch, mem_limit, cache_disk_max, prio, poll;
  bool no_mmap, huge_pages, mlock, pin, exact;
  bool bare_model; /* the model stood without --model */
  /* text in and out */
  const char *prompt, *file;
  bool from_stdin, escape, no_escape, raw, echo, verbose_prompt, no_bos, parse_special;
  bool json, quiet, verbose, no_perf, help;
  /* generation */
  int64_t n_predict, keep, seed;
  bool context_shift, ignore_eos;
  list stop;
  bool show_reasoning;
  double temp, dynatemp_range, dynatemp_exp, top_p, min_p, typical, top_n_sigma, xtc_probability, xtc_threshold;
  int64_t top_k, min_keep, repeat_last_n, mirostat;
  double repeat_penalty, frequency_penalty, presence_penalty, dry_multiplier, dry_base, mirostat_lr, mirostat_ent;
  int64_t dry_allowed_length, dry_penalty_last_n;
  list dry_breakers, logit_bias;
  const char *samplers, *sampling_seq;
  /* conversation */
  const char *system, *system_file, *prefill, *grammar, *grammar_file, *json_schema, *json_schema_file, *regex;
  bool single_turn, no_history;
  /* speculation */
  const char *spec_type;
  const char *draft_model;
  int64_t draft_max, draft_min, spec_ngram_min; /* 0: default */
  double draft_p_min, draft_accept;
  bool spec_always;
  /* bench */
  list bench_prompt, bench_gen, bench_depth, bench_batch, bench_both;
  int64_t repeats;
  const char *output, *replay;
  int64_t shared_prefix;
  bool no_cascade;
  bool no_warmup;
  /* perplexity, logits, inspect */
  int64_t chunks;
  const char *tokens, *out;
  bool plan, tensors, meta, memory;
  /* serve */
  const char *host, *api_key_file, *tls_key, *tls_cert, *api_prefix, *alias, *chat_template, *chat_template_file;
  const char *chat_kwargs, *reasoning_format, *reasoning, *budget_message, *tags, *slot_save_path, *cache_disk;
  list api_keys, origins;
  int64_t port, n_seq, queue, max_body, http_timeout, shutdown_timeout, max_connections, sse_ping, reasoning_budget;
  bool no_slots, no_metrics, no_prefill, kv_unified, log_prompts, strict;
  /* compare */
  list servers, clients, sizes;
  int64_t rounds, warmup, timeout, long_prompt, prefix;
  bool no_json_check;
  const char *api_key, *chart;
  uint64_t seen[8]; /* bit per row of flags.inc: it stood on the command line */
} options;

typedef struct command {
  const char *name, *args, *help;
  int (*run)(options *o);
} command;
extern const command commands[]; /* ends with name NULL */
const command *find_command(const char *name);

/* ---- flags.c ---- */

/* Fills o with defaults, environment, then argv[from..]. Returns 0, or an exit status after telling what is wrong. Stops at --help. */
int parse_flags(options *o, const char *cmd, int argc, char **argv, int from);
/* The flag stood on the command line (not: came from the environment). */
bool given(const options *o, const char *long_name);
/* While a command runs: gives the flag `name` of cmd ("top_p" is --top-p) a value, which is copied, or with NULL its default. Only what concerns the next
 * answer can be set: the sections Generation and Sampling. Returns 0, or an exit status after telling what is wrong. */
int set_later(options *o, const char *cmd, const char *name, const char *value);
/* Those of them that differ from their defaults, a line each. */
void print_settings(FILE *f, const options *o, const char *cmd);
/* Of a command, or of all with NULL. */
void print_help(FILE *f, const char *cmd);

/* ---- util.c: messages, signals, progress ---- */

extern volatile sig_atomic_t interrupted; /* the signal that asked to stop, 0 so far */
void install_signals(void);
int fail(const myna_err *err);                                          /* prints "myna: ..." and returns EXIT_FAIL */
int failed(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* the same with a text of our own */
int usage(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* prints and returns EXIT_USAGE */
void note(const options *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3))); /* "myna: ..." to stderr unless quiet */
/* Keeps the first reason why standard output cannot be written; false always. */
bool output_failed(void);
/* fflush, then 0, or EXIT_FAIL after telling why; a closed pipe needs no words. */
int finish_output(void);
/* Progress on a terminal: "label [####....]  42 %  12.3 s, 17.0 s left". Quiet in a pipe. */
typedef struct progress {
  const char *label;
  double start, shown;
  bool on, open;
} progress;
progress progress_start(const options *o, const char *label);
void progress_show(progress *p, double done, double total, const char *extra);
void progress_end(progress *p); /* clears the line */
double now(void);               /* seconds of a steady clock */
int columns(FILE *f);           /* width of the terminal, 100 elsewhere */

/* ---- text.c: text in and out ---- */

/* A whole file or standard input ("-") with a NUL behind it; the caller frees it. NULL after telling why. */
char *read_text(const char *path, size_t *n);
/* --prompt, --file or standard input as the flags say; "" when none was given. The caller frees it. NULL after telling why. */
char *input_text(const options *o, size_t *n);
/* \n \r \t \' \" \\ \xHH in place; returns the new length. Others stay as they are. */
size_t unescape(char *s);
void unescape_list(list *l); /* of copies */
/* A JSON string; bytes that are not UTF-8 become U+FFFD. */
void write_json_string(FILE *f, const char *s, size_t n);
bool is_utf8(const char *s, size_t n);
/* Replaces control characters in place: text of strangers' files must not drive the terminal. Returns s. */
char *printable(char *s);
const char *human_bytes(int64_t n, char buf[32]);
/* Closest of `names` to `word`: few edits, or one begins with the other; NULL when nothing is near. */
const char *closest(const char *word, const char *const *names, int n);
/* Ids of a text; the caller frees. NULL after telling why. */
int32_t *tokenize_all(const myna_model *m, const char *text, size_t n, const myna_tokenize_options *to, int64_t *count);

/* ---- model.c, engine.c, sampling.c ---- */

/* Processors and priority that the flags ask for, for this thread and those it starts. Returns 0, or an exit status after telling. */
int place_process(const options *o);
/* Opens --model, or the model that ships; on a wrong path suggests near names. */
int open_model(const options *o, bool header_only, myna_model **out);
int engine_options(const options *o, myna_engine_options *e);
/* Under --mem-limit a part of it is for grammars, planned and kept to. */
void grammar_memory(myna_engine_options *e);
/* For commands that measure the weights: an F32 cache unless a flag chooses its type. */
int measuring_options(const options *o, myna_engine_options *e);
/* After myna_engine_new or myna_session_new failed: tells err and what would fit. Returns EXIT_FAIL. */
int engine_failed(myna_model *m, const myna_engine_options *e, const myna_err *err);
int64_t physical_memory(void);
/* Largest context that `memory` bytes hold, given the plan `mem` of a context of n_ctx; at most n_max. */
int64_t context_that_fits(const myna_memory *mem, int64_t n_ctx, int64_t memory, int64_t n_max);
/* Tokens per second. The first token of an answer belongs to the prompt's time. */
double prompt_rate(const myna_timings *t);
double gen_rate(const myna_timings *t);
/* The one line at the end of long work. */
void print_timings(const options *o, double load_s, const myna_timings *t, const char *end);
/* "load_s":...,"memory_bytes":... without braces. */
void json_timings(double load_s, const myna_timings *t);
int sampling_options(const options *o, const myna_model *m, myna_sampling *s);
int speculation_options(const options *o, myna_speculation *s);
/* What s needs of the engine: opens --model-draft when it is used, to be closed after the engine. */
int open_draft(const options *o, const myna_speculation *s, myna_engine_options *e);

int cmd_run(options *o);
int cmd_chat(options *o);
int cmd_serve(options *o);
int cmd_bench(options *o);
int cmd_perplexity(options *o);
int cmd_tokenize(options *o);
int cmd_inspect(options *o);
int cmd_logits(options *o);
int cmd_compare(options *o);

#endif
