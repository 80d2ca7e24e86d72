/* main.c: picks the subcommand. Results go to stdout, everything else to stderr; status 0 success, 1 failure, 2 wrong usage, 130 Ctrl-C. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

const command commands[] = {
    {"run", "[MODEL] [-p TEXT | -f FILE] [flags]",
     "answer or complete a text; without a model, the small one that ships", cmd_run},
    {"chat", "[MODEL] [-p TEXT] [flags]", "conversation in the terminal; /help lists what can be typed", cmd_chat},
    {"serve", "[MODEL] [--port 8080] [flags]", "answer over HTTP: OpenAI's and llama-server's APIs", cmd_serve},
    {"bench", "[MODEL] [-p 512] [-n 128] [-d 0] [-B 1] [flags]",
     "measure speed: prompt, generation, at depth, several sequences", cmd_bench},
    {"perplexity", "[MODEL] -f FILE [flags]", "how well a model predicts a text (windows as llama.cpp's)",
     cmd_perplexity},
    {"tokenize", "[MODEL] -p TEXT | -f FILE [flags]", "text to token ids", cmd_tokenize},
    {"inspect", "[MODEL] [flags]", "metadata, tensors, memory plan, compiled plan of a file", cmd_inspect},
    {"logits", "[MODEL] --tokens 1,2,3 -o OUT.npy [flags]", "raw logits of given tokens as float32 .npy", cmd_logits},
    {"compare", "NAME=URL ... [flags]", "head-to-head of running OpenAI-compatible servers", cmd_compare},
    {NULL, NULL, NULL, NULL},
};

const command *find_command(const char *name) {
  for (const command *c = commands; c->name; c++)
    if (strcmp(c->name, name) == 0) return c;
  return NULL;
}

/* The one command that begins with the word's first letter and has the others in their order: "rn" is run. NULL when there are several. */
static const char *abbreviated(const char *word) {
  const char *only = NULL;
  for (const command *c = commands; c->name; c++) {
    const char *at = c->name, *w = word;
    for (; *at && *w; at++) w += *at == *w;
    if (!*word || *w || c->name[0] != word[0]) continue;
    if (only) return NULL;
    only = c->name;
  }
  return only;
}

static int unknown(const char *name) {
  const char *names[32];
  int n = 0;
  for (const command *c = commands; c->name; c++) names[n++] = c->name;
  const char *near = closest(name, names, n);
  if (!near) near = abbreviated(name);
  if (near) return usage("there is no command %s; did you mean %s?", name, near);
  if (name[0] == '-') return usage("a command comes before the flags: myna run %s ...; see myna --help", name);
  return usage("there is no command %s; see myna --help", name);
}

#if defined __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif
#if defined __x86_64__
#define MACHINE "x86-64"
#elif defined __aarch64__
#define MACHINE "arm64"
#else
#define MACHINE "other machine"
#endif

static int print_version(void) {
  myna_err err = {0};
  const char *level = myna_cpu_level(&err);
  printf("myna %s\n%s, built with %s\n", MYNA_VERSION, MACHINE, COMPILER);
  if (!level) return fail(&err);
  printf("CPU level in use: %s\n", level);
  return finish_output();
}

/* The level counts when the library first looks at the processor, so it is set before anything else. */
static int set_cpu(const options *o) {
  myna_err err = {0};
  if (!o->cpu) return 0;
  if (setenv("MYNA_CPU", o->cpu, 1) == 0 && myna_cpu_level(&err)) return 0;
  static const char variable[] = "MYNA_CPU=";
  if (given(o, "cpu") && strncmp(err.msg, variable, sizeof variable - 1) == 0)
    return usage("--cpu %s", err.msg + sizeof variable - 1);
  fail(&err);
  return EXIT_USAGE;
}

/* Warnings of the library are shown unless --quiet, the rest with --verbose. */
static void log_line(void *user, int level, const char *line) {
  const options *o = user;
  if (level <= 1 || o->verbose) note(o, "%s", line);
}

static int run_command(const command *c, int argc, char **argv) {
  static options o;
  int rc = parse_flags(&o, c->name, argc, argv, 2);
  if (rc) return rc;
  if (o.help) {
    print_help(stdout, c->name);
    return finish_output();
  }
  rc = set_cpu(&o);
  if (rc == 0) rc = place_process(&o);
  if (rc) return rc;
  myna_set_log(log_line, &o);
  install_signals();
  rc = c->run(&o);
  int out = finish_output();
  return interrupted ? 128 + interrupted : rc ? rc : out;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c) {
  return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    print_help(stderr, NULL);
    return EXIT_USAGE;
  }
  if (is_one_of(argv[1], "--version", "-V", "version")) return print_version();
  if (is_one_of(argv[1], "--help", "-h", "help")) {
    const command *about = argc > 2 ? find_command(argv[2]) : NULL;
    if (argc > 2 && !about) return unknown(argv[2]);
    print_help(stdout, about ? about->name : NULL);
    return finish_output();
  }
  const command *c = find_command(argv[1]);
  return c ? run_command(c, argc, argv) : unknown(argv[1]);
}
