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
  const char *model, *cache_k, *cache_v, *mem_weights, *numa;
  int64_t ctx, threads, batch, ubatch, parallel, seed, mem_limit;
  bool no_mmap, mlock, pin, exact, fast;
  /* text in and out */
  const char *prompt, *file, *system;
  bool raw, echo, json, quiet, verbose, no_bos, parse_special, ids_only, no_color;
  /* generation */
  int64_t n_predict, keep;
  bool context_shift, no_context_shift, ignore_eos;
  list stop;
  double temp, dynatemp_range, dynatemp_exp, top_p, min_p, typical, top_n_sigma, xtc_probability, xtc_threshold;
  int64_t top_k, min_keep, repeat_last_n, mirostat, n_probs;
  double repeat_penalty, frequency_penalty, presence_penalty, dry_multiplier, dry_base, mirostat_lr, mirostat_ent;
  int64_t dry_allowed_length, dry_penalty_last_n;
  list dry_breakers, logit_bias;
  const char *samplers, *sampling_seq;
  /* bench */
  list bench_prompt, bench_gen, bench_depth, bench_batch;
  int64_t repeats;
  const char *output;
  bool no_warmup;
  /* perplexity, logits, inspect */
  int64_t chunks, stride;
  const char *tokens, *out;
  bool plan, tensors, meta, memory;
  /* what was given */
  uint64_t seen[4]; /* bit per row of flags.inc */
  const char *args[8]; /* positional */
  int n_args;
} options;

typedef struct command {
  const char *name, *args, *help;
  int (*run)(options *o);
} command;
extern const command commands[]; /* ends with name NULL */
const command *find_command(const char *name);

/* flags.c: fills o with defaults, environment, then argv[from..]. Returns 0, or an exit status after telling what is wrong. */
int parse_flags(options *o, const char *cmd, int argc, char **argv, int from);
bool given(const options *o, const char *long_name);
void print_help(FILE *f, const char *cmd);

/* util.c */
extern volatile sig_atomic_t interrupted; /* set by Ctrl-C */
void install_signals(void);
int fail(const myna_err *err); /* prints "myna: ..." and returns EXIT_FAIL */
int usage(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* prints and returns EXIT_USAGE */
void note(const options *o, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* to stderr unless quiet */
/* A whole file or standard input ("-"); the caller frees it. NULL after telling why. */
char *read_text(const char *path, size_t *n);
void json_string(FILE *f, const char *s, size_t n);
/* Progress on a terminal: "label  42 % [####....]  12.3 s". done == total ends the line. Quiet in a pipe. */
typedef struct progress {
  const char *label;
  double start, shown;
  bool on, open;
} progress;
progress progress_start(const options *o, const char *label);
void progress_show(progress *p, double done, double total, const char *extra);
void progress_end(progress *p);
double now(void);
/* Closest of `names` to `word` within a small edit distance, or NULL. */
const char *closest(const char *word, const char *const *names, int n);

/* model.c: opens --model, or the model that ships; on a wrong path suggests near names. */
int open_model(const options *o, bool header_only, myna_model **out);
int engine_options(const options *o, myna_engine_options *e);
int sampling_options(const options *o, myna_sampling *s);
/* Ids of --prompt or --file; the caller frees. */
int32_t *tokenize_all(const myna_model *m, const char *text, size_t n, const myna_tokenize_options *to, int64_t *count);
const char *human_bytes(int64_t n, char buf[32]);

int cmd_run(options *o);
int cmd_bench(options *o);
int cmd_perplexity(options *o);
int cmd_tokenize(options *o);
int cmd_inspect(options *o);
int cmd_logits(options *o);

#endif
