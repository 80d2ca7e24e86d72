/* inspect.c: what is in a file and what running it would take, before anything is loaded. Names and values come from a stranger's file:
 * they are cleaned for the terminal and escaped in JSON. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

typedef struct view {
  const options *o;
  myna_model *header; /* any GGUF */
  myna_model *full;   /* NULL when the model cannot run; then why_not says why */
  myna_err why_not;
  myna_model_info info;
  myna_engine_options eo;
} view;

static void print_dims(const myna_tensor_info *t, char *buf, size_t n) {
  size_t at = 0;
  buf[0] = 0;
  for (int i = 0; i < t->n_dims && at < n; i++)
    at += (size_t)snprintf(buf + at, n - at, "%s%lld", i ? ", " : "", (long long)t->dims[i]);
}

/* ---- metadata ---- */

/* Numbers and bools are values of JSON already, except inf and nan. */
static bool is_json_value(const char *type, const char *value) {
  bool text = strcmp(type, "str") == 0 || strncmp(type, "arr", 3) == 0;
  return !text && !strstr(value, "inf") && !strstr(value, "nan");
}

/* Value i as text of any length; the caller frees it. */
static char *meta_value(const view *v, int64_t i, const char **key, char type[24], size_t *n) {
  int items = v->o->verbose ? 1000 : 4;
  int64_t len = myna_model_get_meta(v->header, i, key, type, NULL, 0, items);
  char *value = len < 0 ? NULL : malloc((size_t)len + 1);
  if (value) myna_model_get_meta(v->header, i, key, type, value, (size_t)len + 1, items);
  *n = value ? (size_t)len : 0;
  return value;
}

static void print_meta(const view *v) {
  for (int64_t i = 0; i < v->info.n_meta; i++) {
    const char *key;
    char type[24];
    size_t n;
    char *value = meta_value(v, i, &key, type, &n);
    if (!value) continue;
    if (v->o->json) {
      printf("%s", i ? "," : "");
      write_json_string(stdout, key, strlen(key));
      printf(":");
      if (is_json_value(type, value))
        printf("%s", value);
      else
        write_json_string(stdout, value, n);
    } else {
      char name[256];
      snprintf(name, sizeof name, "%s", key);
      bool cut = n > 80 && !v->o->verbose;
      if (cut) value[77] = 0;
      printf("  %-44s %-16s %s%s\n", printable(name), type, printable(value), cut ? "..." : "");
    }
    free(value);
  }
}

/* ---- tensors ---- */

static void print_tensors(const view *v) {
  char dims[96], b[32], name[256];
  myna_tensor_info t;
  for (int64_t i = 0; i < v->info.n_tensors; i++) {
    if (myna_model_get_tensor(v->header, i, &t) < 0) continue;
    print_dims(&t, dims, sizeof dims);
    if (v->o->json) {
      printf("%s{\"name\":", i ? "," : "");
      write_json_string(stdout, t.name, strlen(t.name));
      printf(",\"type\":\"%s\",\"shape\":[%s],\"bytes\":%lld,\"file\":%d,\"offset\":%lld}", myna_dtype_name(t.type),
             dims, (long long)t.bytes, t.file, (long long)t.offset);
    } else {
      snprintf(name, sizeof name, "%s", t.name);
      printf("  %-40s %-8s %-22s %10s\n", printable(name), myna_dtype_name(t.type), dims, human_bytes(t.bytes, b));
    }
  }
}

/* ---- memory ---- */

static void memory_line(const char *name, int64_t bytes, const char *what) {
  char b[32];
  printf("  %-10s %10s  %s\n", name, human_bytes(bytes, b), what);
}

/* The plan of one sequence, and what the machine (or --mem-limit) holds. */
static int print_memory(const view *v) {
  const options *o = v->o;
  myna_err err = {0};
  myna_engine_options eo = v->eo;
  myna_memory mem;
  char have[32], verdict[160];
  int64_t limit = eo.mem_limit ? eo.mem_limit : physical_memory(), n_ctx = eo.n_ctx;
  if (n_ctx == 0) n_ctx = v->info.n_ctx_train < 4096 ? v->info.n_ctx_train : 4096;
  eo.n_ctx = n_ctx;
  eo.n_seq = 1;
  eo.mem_limit = 0; /* the plan is shown also when it is too large */
  if (myna_memory_plan(v->full, &eo, &mem, &err) < 0) return fail(&err);
  int64_t n_max = v->info.n_ctx_train > n_ctx ? v->info.n_ctx_train : n_ctx,
          fits = context_that_fits(&mem, n_ctx, limit, n_max);
  if (o->json) {
    printf(",\"memory\":{\"n_ctx\":%lld,\"weights\":%lld,\"kv\":%lld,\"compute\":%lld,\"tokenizer\":%lld,\"other\":%"
           "lld,\"total\":%lld,",
           (long long)n_ctx, (long long)mem.weights, (long long)mem.kv, (long long)mem.compute,
           (long long)mem.tokenizer, (long long)mem.other, (long long)mem.total);
    printf("\"available\":%lld,\"fits\":%s,\"n_ctx_that_fits\":%lld}", (long long)limit,
           mem.total <= limit ? "true" : "false", (long long)fits);
    return 0;
  }
  human_bytes(limit, have);
  bool ok = mem.total <= limit;
  snprintf(verdict, sizeof verdict, "%s %s", ok ? "fits into" : "does NOT fit into", have);
  if (fits > 0 && fits != n_ctx)
    snprintf(verdict + strlen(verdict), sizeof verdict - strlen(verdict), "; a context of %lld%s %s", (long long)fits,
             fits == n_max ? ", all it was trained for," : "", ok ? "does too" : "would");
  printf("memory for one sequence of %lld tokens:\n", (long long)n_ctx);
  memory_line("weights", mem.weights, o->no_mmap ? "read into memory" : "mapped from the file");
  memory_line("cache", mem.kv, "keys and values");
  memory_line("compute", mem.compute, "steps of --batch-size tokens");
  memory_line("tokenizer", mem.tokenizer, "tables");
  memory_line("other", mem.other, "tokens and samplers of requests");
  memory_line("total", mem.total, verdict);
  return 0;
}

/* ---- plan ---- */

static int print_plan(const view *v) {
  myna_err err = {0};
  int64_t n = myna_model_print_plan(v->full, NULL, 0, &err);
  char *text = n < 0 ? NULL : malloc((size_t)n + 1);
  if (!text) return n < 0 ? fail(&err) : failed("no memory for the plan's text");
  myna_model_print_plan(v->full, text, n + 1, &err);
  if (v->o->json) {
    printf(",\"plan\":");
    write_json_string(stdout, text, (size_t)n);
  } else {
    fwrite(text, 1, (size_t)n, stdout);
  }
  free(text);
  return 0;
}

/* ---- summary ---- */

static void print_summary(const myna_model_info *i) {
  char b[32], name[128], arch[64];
  snprintf(name, sizeof name, "%s", i->name[0] ? i->name : "(unnamed)");
  snprintf(arch, sizeof arch, "%s", i->arch[0] ? i->arch : "(none)");
  printf("file       %s (%s)\nmodel      %s, architecture %s\n", i->file, human_bytes(i->file_bytes, b),
         printable(name), printable(arch));
  if (i->n_tensors == 0) {
    printf("weights    none: only a vocabulary\n");
  } else {
    printf("weights    %.2f M parameters in %lld tensors, mostly %s\n", (double)i->n_params / 1e6,
           (long long)i->n_tensors, i->weight_type);
    if (i->n_layer)
      printf("shape      %lld layers, %lld wide, %lld heads (%lld for keys and values), vocabulary %lld\n",
             (long long)i->n_layer, (long long)i->n_embd, (long long)i->n_head, (long long)i->n_head_kv,
             (long long)i->n_vocab);
    if (i->n_ctx_train) printf("context    trained for %lld tokens\n", (long long)i->n_ctx_train);
  }
  printf("text       tokenizer: %s, chat template: %s\n", i->has_tokenizer ? "yes" : "no",
         i->has_template ? "yes" : "no");
}

static void print_summary_json(const view *v) {
  const myna_model_info *i = &v->info;
  const struct {
    const char *name, *text;
  } texts[] = {{"file", i->file}, {"name", i->name}, {"arch", i->arch}, {"weight_type", i->weight_type}};
  const struct {
    const char *name;
    int64_t x;
  } numbers[] = {{"n_params", i->n_params},      {"weight_bytes", i->weight_bytes},
                 {"file_bytes", i->file_bytes},  {"n_layer", i->n_layer},
                 {"n_embd", i->n_embd},          {"n_head", i->n_head},
                 {"n_head_kv", i->n_head_kv},    {"n_vocab", i->n_vocab},
                 {"n_ctx_train", i->n_ctx_train}};
  for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
    printf("\"%s\":", texts[k].name);
    write_json_string(stdout, texts[k].text, strlen(texts[k].text));
    printf(",");
  }
  for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
    printf("\"%s\":%lld,", numbers[k].name, (long long)numbers[k].x);
  printf("\"has_tokenizer\":%s,\"has_template\":%s,\"runs\":%s", i->has_tokenizer ? "true" : "false",
         i->has_template ? "true" : "false", v->full ? "true" : "false");
}

/* One object with everything; --plan adds the plan, --tensors, --meta and --memory choose nothing here. */
static int print_json(const view *v) {
  int rc = 0;
  printf("{");
  print_summary_json(v);
  printf(",\"metadata\":{");
  print_meta(v);
  printf("},\"tensors\":[");
  print_tensors(v);
  printf("]");
  if (v->full) rc = print_memory(v);
  if (v->full && v->o->plan && rc == 0) rc = print_plan(v);
  printf("}\n");
  return rc;
}

static int print_text(const view *v) {
  const options *o = v->o;
  bool all = !o->tensors && !o->meta && !o->memory && !o->plan, needs_full = o->memory || o->plan;
  int rc = 0;
  if (all) print_summary(&v->info);
  if (v->full && (all || o->memory)) rc = print_memory(v);
  if (!v->full && v->info.n_tensors > 0 && all) printf("memory     unknown: this version cannot run the model\n");
  if (!v->full && ((all && v->info.n_tensors > 0) || needs_full)) {
    fflush(stdout);
    fail(&v->why_not);
    if (needs_full) rc = EXIT_FAIL;
  }
  if (all) printf("metadata:\n");
  if (all || o->meta) print_meta(v);
  if (o->tensors) print_tensors(v);
  if (v->full && o->plan && rc == 0) rc = print_plan(v);
  fflush(stdout);
  if (all && v->info.n_tensors) note(o, "--tensors lists the tensors, --plan the steps");
  return rc;
}

int cmd_inspect(options *o) {
  view v = {.o = o};
  int rc = engine_options(o, &v.eo);
  if (rc == 0) rc = open_model(o, true, &v.header);
  if (rc) return rc;
  myna_model_get_info(v.header, &v.info);
  if (myna_model_open(&v.full, v.info.file, &(myna_model_options){.no_mmap = o->no_mmap}, &v.why_not) < 0)
    v.full = NULL;
  rc = o->json ? print_json(&v) : print_text(&v);
  myna_model_close(v.full);
  myna_model_close(v.header);
  return rc;
}
