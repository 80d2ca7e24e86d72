/* flags.c: the flags of all commands from one table (flags.inc): parsing, environment, help, suggestions. */
#include "cli.h"
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { STR, I64, F64, BOOL, LIST, MANY, NOTHING, REFUSAL, HEADING } kind;

typedef struct flag {
  const char *commands; /* space separated; NULL for a heading */
  kind kind;
  size_t offset;                  /* of the field in options */
  const char *names, *arg, *help; /* names: comma separated */
} flag;

static const flag flags[] = {
#define SECTION(title) {NULL, HEADING, 0, "", NULL, title},
#define FLAG(commands, kind, field, names, arg, help) {commands, kind, offsetof(options, field), names, arg, help},
#define IGNORED(commands, names, arg, why) {commands, NOTHING, 0, names, arg, why},
#define REFUSED(commands, names, why) {commands, REFUSAL, 0, names, NULL, why},
#include "flags.inc"
#undef SECTION
#undef FLAG
#undef IGNORED
#undef REFUSED
};
enum { N_FLAGS = sizeof flags / sizeof *flags, MAX_NAMES = 8 * N_FLAGS };
_Static_assert(N_FLAGS <= 64 * sizeof((options *)0)->seen / sizeof *((options *)0)->seen,
               "options.seen holds a bit per row");

/* True when word[0..n) stands in a list with separators. */
static bool has_word(const char *words, const char *word, size_t n, char sep) {
  for (const char *p = words; *p;) {
    const char *end = strchr(p, sep);
    size_t len = end ? (size_t)(end - p) : strlen(p);
    if (len == n && memcmp(p, word, n) == 0) return true;
    p += len + (end != NULL);
  }
  return false;
}

static bool of_command(const flag *f, const char *cmd) {
  return f->commands && has_word(f->commands, cmd, strlen(cmd), ' ');
}

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

static bool seen(const options *o, int i) { return o->seen[i / 64] >> (i % 64) & 1; }

bool given(const options *o, const char *long_name) {
  char name[48];
  for (int i = 0; i < N_FLAGS; i++) {
    own_name(&flags[i], name);
    if (strcmp(name, long_name) == 0 && seen(o, i)) return true;
  }
  return false;
}

/* ---- values ---- */

/* Whole numbers, or any with K, M or G behind: 4096, -1, 4K, 1.5G, 8GiB. K is 1024, of bytes 1000: that is how they are printed. */
static bool parse_int(const char *s, bool bytes, int64_t *out) {
  char *end;
  errno = 0;
  long long v = strtoll(s, &end, 10);
  double x = (double)v;
  bool whole = end != s && *end != '.';
  if (!whole) x = strtod(s, &end);
  if (end == s || errno) return false;
  const char *units = "KMG", *u = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
  if (!u) return *out = v, whole && *end == 0;
  end++;
  if (*end == 'i') bytes = false, end++;
  if (*end == 'B' || *end == 'b') end++;
  x *= pow(bytes ? 1000 : 1024, (double)(u - units + 1));
  if (*end || !(x >= 0 && x < 9e18)) return false;
  *out = (int64_t)x;
  return true;
}

static bool parse_float(const char *s, double *out) {
  char *end;
  *out = strtod(s, &end);
  return end != s && *end == 0 && isfinite(*out);
}

static int add_item(list *l, const char *item, const char *name) {
  if (l->n == (int)(sizeof l->items / sizeof *l->items)) return usage("too many values for %s", name);
  l->items[l->n++] = item;
  return 0;
}

/* Values of a LIST live in one copy that is never freed: they are needed until exit. */
static int add_list(list *l, const char *value, const char *name) {
  char *copy = strdup(value), *save = NULL;
  for (char *p = copy ? strtok_r(copy, ",", &save) : NULL; p; p = strtok_r(NULL, ",", &save))
    if (add_item(l, p, name)) return EXIT_USAGE;
  return l->n ? 0 : usage("%s wants numbers, not \"%s\"", name, value);
}

static bool parse_bool(const char *s, bool *out) {
  static const char no[] = "0 false off no", yes[] = "1 true on yes";
  *out = has_word(yes, s, strlen(s), ' ');
  return *out || has_word(no, s, strlen(s), ' ');
}

static int set(options *o, int i, const char *name, const char *value) {
  const flag *f = &flags[i];
  void *at = (char *)o + f->offset;
  bool first = !seen(o, i);
  o->seen[i / 64] |= 1ull << (i % 64);
  if (first && (f->kind == LIST || f->kind == MANY))
    ((list *)at)->n = 0; /* the command line replaces the environment */
  switch (f->kind) {
  case BOOL:
    if (!value) return *(bool *)at = true, 0;
    return parse_bool(value, at) ? 0 : usage("%s wants 1 or 0, not \"%s\"", name, value);
  case STR: *(const char **)at = value; return 0;
  case I64:
    return parse_int(value, strcmp(f->arg, "BYTES") == 0, at)
               ? 0
               : usage("%s wants a whole number, not \"%s\"", name, value);
  case F64: return parse_float(value, at) ? 0 : usage("%s wants a number, not \"%s\"", name, value);
  case LIST: return add_list(at, value, name);
  case MANY: return add_item(at, value, name);
  case REFUSAL: return usage("%s: %s", name, f->help);
  case NOTHING:
  case HEADING: return 0;
  }
  return 0;
}

/* ---- command line ---- */

/* "-n3": a short flag with its value attached. */
static bool a_digit_after(const char *arg) { return arg[1] != '-' && isdigit((unsigned char)arg[2]); }

static int unknown(const char *cmd, const char *arg, size_t n) {
  const char *names[MAX_NAMES];
  int count = 0;
  char word[64], *save = NULL;
  snprintf(word, sizeof word, "%.*s", (int)n, arg);
  for (int i = 0; i < N_FLAGS; i++) {
    if (!of_command(&flags[i], cmd)) continue;
    char *copy = strdup(flags[i].names); /* the process ends soon */
    for (char *p = copy ? strtok_r(copy, ",", &save) : NULL; p && count < MAX_NAMES; p = strtok_r(NULL, ",", &save))
      names[count++] = p;
  }
  for (int i = 0; i < N_FLAGS; i++)
    if (flags[i].commands && has_word(flags[i].names, word, strlen(word), ','))
      return usage("%s is no flag of %s but of: %s", word, cmd, flags[i].commands);
  if (n > 2 && a_digit_after(arg) && find(cmd, arg, 2) >= 0)
    return usage("unknown flag %s; did you mean %.2s %s?", word, word, word + 2);
  const char *near = closest(word, names, count);
  if (near) return usage("unknown flag %s; did you mean %s?", word, near);
  return usage("unknown flag %s; myna %s --help lists them", word, cmd);
}

static int from_environment(options *o, const char *cmd) {
  for (int i = 0; i < N_FLAGS; i++) {
    char name[48], env[64] = "MYNA_";
    own_name(&flags[i], name);
    if (!name[0] || !of_command(&flags[i], cmd) || flags[i].kind >= NOTHING || strcmp(name, "help") == 0) continue;
    for (size_t k = 0; name[k]; k++)
      env[5 + k] = name[k] == '-' ? '_' : (char)toupper((unsigned char)name[k]), env[6 + k] = 0;
    const char *value = getenv(env);
    if (value && *value && set(o, i, env, value)) return EXIT_USAGE;
  }
  memset(o->seen, 0, sizeof o->seen); /* from here on it means: on the command line */
  return 0;
}

static void defaults(options *o) {
  *o = (options){.n_predict = -1,
                 .seed = -1,
                 .temp = NAN, /* NAN and INT64_MIN: as the model file or myna_sampling_default says */
                 .top_k = INT64_MIN,
                 .top_p = NAN,
                 .min_p = NAN,
                 .typical = 1,
                 .top_n_sigma = -1,
                 .xtc_probability = NAN,
                 .xtc_threshold = NAN,
                 .dynatemp_exp = 1,
                 .repeat_last_n = INT64_MIN,
                 .repeat_penalty = NAN,
                 .dry_base = 1.75,
                 .dry_allowed_length = 2,
                 .dry_penalty_last_n = -1,
                 .mirostat = INT64_MIN,
                 .mirostat_lr = NAN,
                 .mirostat_ent = NAN,
                 .poll = 50,
                 .repeats = 5,
                 .port = 8080,
                 .reasoning_budget = -1,
                 .chunks = -1};
}

/* Flags with an optional value take the next word only when it is one of these. */
static bool is_switch(const char *s) { return s && has_word("on off auto 0 1 true false", s, strlen(s), ' '); }

/* argv[*i] is a flag; takes its value too and leaves *i at the last word used. */
static int take_flag(options *o, const char *cmd, int argc, char **argv, int *i) {
  char name[64];
  const char *a = argv[*i], *eq = strncmp(a, "--", 2) == 0 ? strchr(a, '=') : NULL;
  size_t n = eq ? (size_t)(eq - a) : strlen(a);
  int f = find(cmd, a, n);
  if (f < 0) return unknown(cmd, a, n);
  const char *value = eq ? eq + 1 : NULL, *arg = flags[f].arg, *next = *i + 1 < argc ? argv[*i + 1] : NULL;
  snprintf(name, sizeof name, "%.*s", (int)n, a);
  if (arg && !eq && arg[0] == '[') {
    if (is_switch(next)) value = argv[++*i];
  } else if (arg && !eq) {
    if (!next) return usage("%s wants a value: %s", name, arg);
    value = argv[++*i];
  } else if (!arg && eq && flags[f].kind != BOOL) {
    if (flags[f].kind == NOTHING) return usage("%s takes no value", name);
  }
  return set(o, f, name, value);
}

/* Words without a flag: the model unless --model was given, then the prompt where the command takes one. */
static int place_args(options *o, const char *cmd, const char **args, int n) {
  int at = 0;
  if (at < n && !given(o, "model")) {
    o->model = args[at++];
    o->bare_model = true;
  }
  if (at < n && find(cmd, "--prompt", 8) >= 0 && !given(o, "prompt") && !given(o, "file")) {
    o->prompt = args[at++];
    o->file = NULL;
  }
  if (at < n) return usage("unexpected argument: %s", args[at]);
  if (given(o, "prompt") && given(o, "file")) return usage("give --prompt or --file, not both");
  if (given(o, "prompt"))
    o->file = NULL; /* one of the environment yields */
  else if (given(o, "file"))
    o->prompt = NULL;
  return 0;
}

int parse_flags(options *o, const char *cmd, int argc, char **argv, int from) {
  const char *args[3];
  int n = 0;
  bool only_args = false;
  defaults(o);
  if (from_environment(o, cmd)) return EXIT_USAGE;
  for (int i = from; i < argc; i++) {
    if (!only_args && strcmp(argv[i], "--") == 0) {
      only_args = true;
    } else if (only_args || argv[i][0] != '-' || !argv[i][1]) {
      int servers = find(cmd, "--server", 8);
      if (servers >= 0) { /* every word is one */
        if (set(o, servers, "--server", argv[i])) return EXIT_USAGE;
        continue;
      }
      if (n == 3) return usage("unexpected argument: %s", argv[i]);
      args[n++] = argv[i];
    } else if (take_flag(o, cmd, argc, argv, &i)) {
      return EXIT_USAGE;
    }
    if (o->help) return 0;
  }
  return place_args(o, cmd, args, n);
}

/* ---- settings while a command runs ---- */

/* Row i concerns the next answer: it stands in one of two sections. */
static bool adjustable(int i, const char *cmd) {
  const char *title = "";
  if (!of_command(&flags[i], cmd) || flags[i].kind >= NOTHING) return false;
  for (int k = 0; k <= i; k++)
    if (flags[k].kind == HEADING) title = flags[k].help;
  return strncmp(title, "Generation", 10) == 0 || strncmp(title, "Sampling", 8) == 0;
}

static size_t field_size(kind k) {
  static const size_t sizes[] = {[STR] = sizeof(char *), [I64] = sizeof(int64_t), [F64] = sizeof(double),
                                 [BOOL] = sizeof(bool),  [LIST] = sizeof(list),   [MANY] = sizeof(list)};
  return sizes[k];
}

static int unknown_setting(const char *cmd, const char *name) {
  static char names[N_FLAGS][48];
  const char *list_of[N_FLAGS];
  int n = 0;
  for (int i = 0; i < N_FLAGS; i++)
    if (adjustable(i, cmd)) own_name(&flags[i], names[n]), list_of[n] = names[n], n++;
  const char *near = closest(name, list_of, n);
  if (near) return usage("nothing to set is called %s; did you mean %s?", name, near);
  return usage("nothing to set is called %s; what can be set are the flags under Generation and Sampling of myna %s "
               "--help",
               name, cmd);
}

int set_later(options *o, const char *cmd, const char *name, const char *value) {
  static options fresh;
  char flag_name[64] = "--";
  size_t n = 2;
  for (name += strspn(name, "-"); *name && n < sizeof flag_name - 1; name++)
    flag_name[n++] = *name == '_' ? '-' : *name;
  int i = find(cmd, flag_name, n);
  if (i < 0) i = find(cmd, flag_name + 1, n - 1);
  if (i < 0 || !adjustable(i, cmd)) return unknown_setting(cmd, flag_name + 2);
  if (value && flags[i].kind != I64 && flags[i].kind != F64 && !(value = strdup(value))) /* needed until exit */
    return failed("no memory for the value");
  if (value) return set(o, i, flag_name + 2, value);
  defaults(&fresh);
  memcpy((char *)o + flags[i].offset, (char *)&fresh + flags[i].offset, field_size(flags[i].kind));
  return 0;
}

static void print_value(FILE *f, const flag *g, const void *at) {
  switch (g->kind) {
  case BOOL: fputs(*(const bool *)at ? "1" : "0", f); break;
  case STR: fputs(*(const char *const *)at, f); break;
  case I64: fprintf(f, "%lld", (long long)*(const int64_t *)at); break;
  case F64: fprintf(f, "%g", *(const double *)at); break;
  case LIST:
  case MANY:
    for (int i = 0; i < ((const list *)at)->n; i++) {
      if (i) fputs(", ", f);
      write_json_string(f, ((const list *)at)->items[i], strlen(((const list *)at)->items[i]));
    }
    break;
  default: break;
  }
}

void print_settings(FILE *f, const options *o, const char *cmd) {
  static options fresh;
  char name[48];
  defaults(&fresh);
  for (int i = 0; i < N_FLAGS; i++) {
    const char *at = (const char *)o + flags[i].offset;
    if (!adjustable(i, cmd) || memcmp(at, (char *)&fresh + flags[i].offset, field_size(flags[i].kind)) == 0) continue;
    if ((flags[i].kind == LIST || flags[i].kind == MANY) && ((const list *)(const void *)at)->n == 0) continue;
    own_name(&flags[i], name);
    for (char *p = name; *p; p++)
      if (*p == '-') *p = '_';
    fprintf(f, "  %-20s ", name);
    print_value(f, &flags[i], at);
    fputc('\n', f);
  }
}

/* ---- help ---- */

/* Words of text from column `at` on, wrapped at `width` and indented by `indent`. */
static void print_wrapped(FILE *f, const char *text, int at, int indent, int width) {
  if (at < indent) at += fprintf(f, "%*s", indent - at, "");
  for (const char *p = text; *p;) {
    int len = (int)strcspn(p, " ,"); /* lists of names may break behind a comma */
    len += p[len] == ',';
    bool space = p > text && p[-1] == ' ';
    if (at + space + len > width && at > indent) {
      fprintf(f, "\n%*s", indent, "");
      at = indent;
    } else if (space) {
      at += fprintf(f, " ");
    }
    at += fprintf(f, "%.*s", len, p);
    p += len + (p[len] == ' ');
  }
  fprintf(f, "\n");
}

static void print_flag(FILE *f, const flag *g, int width) {
  enum { INDENT = 30 };
  char left[512];
  size_t at = 0;
  for (const char *p = g->names; *p; p++)
    at += (size_t)snprintf(left + at, sizeof left - at, *p == ',' ? ", " : "%c", *p);
  if (g->arg) snprintf(left + at, sizeof left - at, " %s", g->arg);
  fprintf(f, "  ");
  if ((int)strlen(left) + 4 <= INDENT) {
    fprintf(f, "%s", left);
    print_wrapped(f, g->help, (int)strlen(left) + 2, INDENT, width);
  } else {
    print_wrapped(f, left, 2, 2, width);
    print_wrapped(f, g->help, 0, INDENT, width);
  }
}

void print_help(FILE *f, const char *cmd) {
  int width = columns(f);
  const char *title = NULL;
  if (!cmd) {
    fprintf(f, "myna %s: one engine for local language models\n\nusage: myna COMMAND [MODEL] [flags]\n\n",
            MYNA_VERSION);
    for (const command *c = commands; c->name; c++) fprintf(f, "  %-11s %s\n", c->name, c->help);
    fprintf(f, "\n  myna run -p \"Once upon a time\"\n  myna chat model.gguf\n  myna inspect model.gguf\n\n"
               "myna COMMAND --help lists the flags of a command. Each has an environment variable: --ctx-size is "
               "MYNA_CTX_SIZE.\n"
               "Results go to standard output, all else to standard error. Status: 0 success, 1 failure, 2 wrong "
               "usage, 130 Ctrl-C.\n");
    return;
  }
  const command *c = find_command(cmd);
  fprintf(f, "usage: myna %s %s\n\n", c->name, c->args);
  print_wrapped(f, c->help, 0, 0, width);
  for (int i = 0; i < N_FLAGS; i++) {
    if (flags[i].kind == HEADING) title = flags[i].help;
    if (!of_command(&flags[i], cmd)) continue;
    if (title) fprintf(f, "\n%s\n", title);
    title = NULL;
    print_flag(f, &flags[i], width);
  }
  fprintf(f,
          "\nEach flag above \"Accepted without effect\" has an environment variable: --ctx-size is MYNA_CTX_SIZE.\n");
}
