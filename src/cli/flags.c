/* flags.c: the flags of all commands from one table: parsing, environment, help, suggestions. */
#include "cli.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { STR, I64, F64, BOOL, LIST, MANY } kind;

typedef struct flag {
  const char *commands;
  kind kind;
  size_t offset;
  const char *names, *arg, *help;
} flag;

static const flag flags[] = {
#define FLAG(commands, kind, field, names, arg, help) {commands, kind, offsetof(options, field), names, arg, help},
#include "flags.inc"
#undef FLAG
};
enum { N_FLAGS = sizeof flags / sizeof *flags };
_Static_assert(N_FLAGS <= 256, "options.seen holds 256 bits");

/* True when word stands in a list with separators. */
static bool has_word(const char *words, const char *word, size_t n, char sep) {
  for (const char *p = words; *p;) {
    const char *end = strchr(p, sep);
    size_t len = end ? (size_t)(end - p) : strlen(p);
    if (len == n && memcmp(p, word, n) == 0) return true;
    p += len + (end != NULL);
  }
  return false;
}

static bool of_command(const flag *f, const char *cmd) { return has_word(f->commands, cmd, strlen(cmd), ' '); }

static int find(const char *cmd, const char *name, size_t n) {
  for (int i = 0; i < N_FLAGS; i++)
    if (of_command(&flags[i], cmd) && has_word(flags[i].names, name, n, ',')) return i;
  return -1;
}

/* The first long name without dashes: "ctx-size". */
static void own_name(const flag *f, char out[48]) {
  const char *p = strstr(f->names, "--");
  size_t n = p ? strcspn(p += 2, ",") : 0;
  snprintf(out, 48, "%.*s", (int)n, p ? p : "");
}

bool given(const options *o, const char *long_name) {
  char name[48];
  for (int i = 0; i < N_FLAGS; i++) {
    own_name(&flags[i], name);
    if (strcmp(name, long_name) == 0 && o->seen[i / 64] >> (i % 64) & 1) return true;
  }
  return false;
}

/* Whole numbers with an optional K, M or G (powers of 1024). */
static bool parse_int(const char *s, int64_t *out) {
  char *end;
  errno = 0;
  long long v = strtoll(s, &end, 10);
  if (end == s || errno) return false;
  const char *units = "KMG", *u = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
  if (u) {
    end++;
    if (*end == 'i') end++;
    if (*end == 'B' || *end == 'b') end++;
    int shift = 10 * (int)(u - units + 1);
    if (v > INT64_MAX >> shift || v < 0) return false;
    v <<= shift;
  }
  *out = v;
  return *end == 0;
}

static bool parse_float(const char *s, double *out) {
  char *end;
  *out = strtod(s, &end);
  return end != s && *end == 0 && !isnan(*out);
}

static int add_item(list *l, const char *item, const char *name) {
  if (l->n == (int)(sizeof l->items / sizeof *l->items)) return usage("too many values for %s", name);
  l->items[l->n++] = item;
  return 0;
}

/* Values of a LIST live in one copy that is never freed: they are needed until exit. */
static int add_list(list *l, const char *value, const char *name) {
  char *copy = strdup(value), *save = NULL;
  for (char *p = strtok_r(copy, ",", &save); p; p = strtok_r(NULL, ",", &save))
    if (add_item(l, p, name)) return EXIT_USAGE;
  return 0;
}

static int set(options *o, int i, const char *name, const char *value) {
  const flag *f = &flags[i];
  void *at = (char *)o + f->offset;
  bool first = !(o->seen[i / 64] >> (i % 64) & 1);
  o->seen[i / 64] |= 1ull << (i % 64);
  switch (f->kind) {
    case BOOL: *(bool *)at = !value || (strcmp(value, "0") != 0 && strcmp(value, "false") != 0); return 0;
    case STR: *(const char **)at = value; return 0;
    case I64: return parse_int(value, at) ? 0 : usage("%s wants a whole number, not \"%s\"", name, value);
    case F64: return parse_float(value, at) ? 0 : usage("%s wants a number, not \"%s\"", name, value);
    case LIST:
      if (first) ((list *)at)->n = 0;
      return add_list(at, value, name);
    case MANY: return add_item(at, value, name);
  }
  return 0;
}

static int unknown(const char *cmd, const char *arg, size_t n) {
  const char *names[4 * N_FLAGS];
  int count = 0;
  char word[64], *save = NULL;
  snprintf(word, sizeof word, "%.*s", (int)n, arg);
  for (int i = 0; i < N_FLAGS; i++) {
    if (!of_command(&flags[i], cmd)) continue;
    char *copy = strdup(flags[i].names); /* the process ends soon */
    for (char *p = strtok_r(copy, ",", &save); p && count < 4 * N_FLAGS; p = strtok_r(NULL, ",", &save)) names[count++] = p;
  }
  const char *near = closest(word, names, count);
  return near ? usage("unknown flag %s for %s; did you mean %s?", word, cmd, near) : usage("unknown flag %s for %s; see myna %s --help", word, cmd, cmd);
}

static int from_environment(options *o, const char *cmd) {
  for (int i = 0; i < N_FLAGS; i++) {
    char name[48], env[64] = "MYNA_";
    own_name(&flags[i], name);
    if (!name[0] || !of_command(&flags[i], cmd)) continue;
    for (size_t k = 0; name[k]; k++) env[5 + k] = name[k] == '-' ? '_' : (char)toupper((unsigned char)name[k]), env[6 + k] = 0;
    const char *value = getenv(env);
    if (value && *value && set(o, i, env, value)) return EXIT_USAGE;
  }
  memset(o->seen, 0, sizeof o->seen); /* a list on the command line replaces one of the environment */
  return 0;
}

static void defaults(options *o) {
  *o = (options){.n_predict = -1, .seed = -1, .temp = 0.8, .top_k = 40, .top_p = 0.95, .min_p = 0.05, .typical = 1, .top_n_sigma = -1, .xtc_threshold = 0.1,
                 .dynatemp_exp = 1, .repeat_last_n = 64, .repeat_penalty = 1, .dry_base = 1.75, .dry_allowed_length = 2, .dry_penalty_last_n = -1,
                 .mirostat_lr = 0.1, .mirostat_ent = 5, .repeats = 5, .chunks = -1};
}

int parse_flags(options *o, const char *cmd, int argc, char **argv, int from) {
  defaults(o);
  if (from_environment(o, cmd)) return EXIT_USAGE;
  bool only_args = false;
  for (int i = from; i < argc; i++) {
    const char *a = argv[i], *eq = strncmp(a, "--", 2) == 0 ? strchr(a, '=') : NULL;
    if (only_args || a[0] != '-' || !a[1]) {
      if (o->n_args == (int)(sizeof o->args / sizeof *o->args)) return usage("too many arguments: %s", a);
      o->args[o->n_args++] = a;
      continue;
    }
    if (strcmp(a, "--") == 0) {
      only_args = true;
      continue;
    }
    size_t n = eq ? (size_t)(eq - a) : strlen(a);
    int f = find(cmd, a, n);
    if (f < 0) return unknown(cmd, a, n);
    const char *value = eq ? eq + 1 : NULL;
    if (flags[f].kind == BOOL && eq) return usage("%.*s takes no value", (int)n, a);
    if (flags[f].kind != BOOL && !eq) {
      if (i + 1 == argc) return usage("%s wants a value (%s)", a, flags[f].arg);
      value = argv[++i];
    }
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)n, a);
    if (set(o, f, name, value)) return EXIT_USAGE;
  }
  return 0;
}

void print_help(FILE *f, const char *cmd) {
  if (!cmd) {
    fprintf(f, "myna %s: one engine for local language models\n\nusage: myna COMMAND [flags]\n\n", MYNA_VERSION);
    for (const command *c = commands; c->name; c++) fprintf(f, "  %-11s %s\n", c->name, c->help);
    fprintf(f, "\nmyna COMMAND --help lists the flags of a command. Each flag has an environment variable: --ctx-size is MYNA_CTX_SIZE.\n"
               "MYNA_CPU forces a level: ref, avx2, avx512, avx512bf16 ...\n");
    return;
  }
  const command *c = find_command(cmd);
  fprintf(f, "usage: myna %s %s\n\n%s\n\n", c->name, c->args, c->help);
  for (int i = 0; i < N_FLAGS; i++) {
    if (!of_command(&flags[i], cmd)) continue;
    char left[160];
    snprintf(left, sizeof left, "%s %s", flags[i].names, flags[i].arg ? flags[i].arg : "");
    if (strlen(left) > 34) fprintf(f, "  %s\n  %-34s  %s\n", left, "", flags[i].help);
    else fprintf(f, "  %-34s  %s\n", left, flags[i].help);
  }
}
