/* main.c: picks the subcommand. Results go to stdout, everything else to stderr; status 0 success, 1 failure, 2 wrong usage. */
#include "cli.h"
#include <string.h>

const command commands[] = {
    {"run", "[-m MODEL] [-p TEXT | -f FILE]", "generate text; without a model, the small one that ships", cmd_run},
    {"bench", "[-m MODEL] [-p 512 -n 128 -d 0 -B 1]", "measure speed: prompt, generation, at depth, several sequences", cmd_bench},
    {"perplexity", "[-m MODEL] -f FILE", "how well the model predicts a text (windows as llama.cpp's)", cmd_perplexity},
    {"tokenize", "[-m MODEL] -p TEXT | -f FILE", "text to token ids", cmd_tokenize},
    {"inspect", "[MODEL]", "metadata, tensors, memory plan, compiled plan of a file", cmd_inspect},
    {"logits", "[-m MODEL] --tokens 1,2,3 -o OUT.npy", "raw logits of given tokens as float32 .npy", cmd_logits},
    {NULL, NULL, NULL, NULL},
};

const command *find_command(const char *name) {
  for (const command *c = commands; c->name; c++)
    if (strcmp(c->name, name) == 0) return c;
  return NULL;
}

static int unknown(const char *name) {
  const char *names[32];
  int n = 0;
  for (const command *c = commands; c->name; c++) names[n++] = c->name;
  const char *near = closest(name, names, n);
  return near ? usage("there is no command %s; did you mean %s?", name, near) : usage("there is no command %s; see myna --help", name);
}

static bool wants_help(int argc, char **argv) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
  return false;
}

int main(int argc, char **argv) {
  static options o;
  if (argc < 2 || strcmp(argv[1], "help") == 0 || argv[1][0] == '-') {
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) return printf("myna %s\n", MYNA_VERSION) < 0;
    bool asked = argc >= 2 && (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    if (argc >= 2 && !asked) return usage("%s is no command; see myna --help", argv[1]);
    print_help(asked ? stdout : stderr, NULL);
    return asked ? 0 : EXIT_USAGE;
  }
  const command *c = find_command(argv[1]);
  if (!c) return unknown(argv[1]);
  if (wants_help(argc, argv)) {
    print_help(stdout, c->name);
    return 0;
  }
  int rc = parse_flags(&o, c->name, argc, argv, 2);
  if (rc) return rc;
  install_signals();
  rc = c->run(&o);
  if (fflush(stdout) != 0 && rc == 0) rc = EXIT_FAIL;
  return rc;
}
