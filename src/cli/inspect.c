/* inspect.c: what is in a file and what running it would take, before anything is loaded. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_dims(const myna_tensor_info *t, char *buf, size_t n) {
  size_t at = 0;
  buf[0] = 0;
  for (int i = 0; i < t->n_dims && at < n; i++) at += (size_t)snprintf(buf + at, n - at, "%s%lld", i ? ", " : "", (long long)t->dims[i]);
}

static void print_meta(const options *o, const myna_model *m, const myna_model_info *info) {
  char value[4096], type[24];
  const char *key;
  if (o->json) printf("\"metadata\":{");
  for (int64_t i = 0; i < info->n_meta; i++) {
    int64_t len = myna_model_get_meta(m, i, &key, type, value, sizeof value, o->verbose ? 64 : 4);
    size_t shown = (size_t)(len < (int64_t)sizeof value - 1 ? len : (int64_t)sizeof value - 1);
    if (o->json) {
      printf("%s", i ? "," : "");
      json_string(stdout, key, strlen(key));
      printf(":");
      json_string(stdout, value, shown);
      continue;
    }
    if (shown > 90 && !o->verbose) snprintf(value + 87, 4, "...");
    for (char *p = value; *p; p++)
      if (*p == '\n') *p = ' ';
    printf("  %-44s %-14s %s\n", key, type, value);
  }
  if (o->json) printf("}");
}

static void print_tensors(const options *o, const myna_model *m, const myna_model_info *info) {
  char dims[96], b[32];
  myna_tensor_info t;
  if (o->json) printf(",\"tensors\":[");
  for (int64_t i = 0; i < info->n_tensors; i++) {
    myna_model_get_tensor(m, i, &t);
    print_dims(&t, dims, sizeof dims);
    if (o->json) printf("%s{\"name\":\"%s\",\"type\":\"%s\",\"shape\":[%s],\"bytes\":%lld,\"offset\":%lld}", i ? "," : "", t.name, myna_dtype_name(t.type), dims, (long long)t.bytes, (long long)t.offset);
    else printf("  %-40s %-8s [%s]  %s\n", t.name, myna_dtype_name(t.type), dims, human_bytes(t.bytes, b));
  }
  if (o->json) printf("]");
}

static int64_t physical_memory(void) { return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE); }

static int print_memory(const options *o, myna_model *m) {
  myna_err err = {0};
  myna_engine_options eo;
  myna_memory mem;
  char b[6][32];
  if (engine_options(o, &eo)) return EXIT_USAGE;
  eo.n_seq = 1;
  if (myna_memory_plan(m, &eo, &mem, &err) < 0) {
    if (o->json) return 0; /* the header was shown; running is another matter */
    printf("memory: cannot run: ");
    fflush(stdout);
    fail(&err);
    return 0;
  }
  if (o->json) {
    printf(",\"memory\":{\"weights\":%lld,\"kv\":%lld,\"compute\":%lld,\"tokenizer\":%lld,\"other\":%lld,\"total\":%lld}", (long long)mem.weights, (long long)mem.kv, (long long)mem.compute,
           (long long)mem.tokenizer, (long long)mem.other, (long long)mem.total);
    return 0;
  }
  printf("memory: %s = weights %s (mapped) + cache %s + compute %s + tokenizer %s + other %s; %s in this machine\n", human_bytes(mem.total, b[0]), human_bytes(mem.weights, b[1]), human_bytes(mem.kv, b[2]),
         human_bytes(mem.compute, b[3]), human_bytes(mem.tokenizer, b[4]), human_bytes(mem.other, b[5]), mem.total < physical_memory() ? "fits" : "does NOT fit");
  return 0;
}

static int print_plan(myna_model *m) {
  myna_err err = {0};
  int64_t n = myna_model_print_plan(m, NULL, 0, &err);
  if (n < 0) return fail(&err);
  char *text = malloc((size_t)n + 1);
  if (!text) return EXIT_FAIL;
  myna_model_print_plan(m, text, n, &err);
  fwrite(text, 1, (size_t)n, stdout);
  free(text);
  return 0;
}

static void print_summary(const myna_model_info *i) {
  char b[32];
  printf("file: %s (%s)\n", i->file, human_bytes(i->file_bytes, b));
  printf("model: %s%s%s | architecture %s | %.2f M parameters, mostly %s | %lld tensors\n", i->name, i->name[0] ? "" : "(unnamed)", "", i->arch, (double)i->n_params / 1e6, i->weight_type, (long long)i->n_tensors);
  printf("shape: %lld layers, %lld wide, %lld heads (%lld kv), vocabulary %lld, trained context %lld | tokenizer %s, template %s\n", (long long)i->n_layer, (long long)i->n_embd, (long long)i->n_head,
         (long long)i->n_head_kv, (long long)i->n_vocab, (long long)i->n_ctx_train, i->has_tokenizer ? "yes" : "no", i->has_template ? "yes" : "no");
}

int cmd_inspect(options *o) {
  myna_model *m = NULL, *full = NULL;
  myna_model_info info;
  int rc = open_model(o, true, &m);
  if (rc) return rc;
  myna_model_get_info(m, &info);
  myna_err err = {0};
  bool runs = info.n_tensors > 0 && myna_model_open(&full, info.file, &(myna_model_options){.no_mmap = o->no_mmap}, &err) == 0;
  if (o->plan) {
    rc = runs ? print_plan(full) : fail(&err);
  } else if (o->json) {
    printf("{");
    print_meta(o, m, &info);
    print_tensors(o, m, &info);
    if (runs) rc = print_memory(o, full);
    printf("}\n");
  } else {
    bool all = !o->tensors && !o->meta && !o->memory;
    if (all) print_summary(&info);
    if ((all || o->memory) && runs) rc = print_memory(o, full);
    if ((all || o->memory) && !runs && info.n_tensors > 0) fail(&err);
    if (all) printf("metadata:\n");
    if (all || o->meta) print_meta(o, m, &info);
    if (o->tensors) print_tensors(o, m, &info);
    if (all && info.n_tensors) printf("(--tensors lists the tensors, --plan the compiled steps)\n");
  }
  myna_model_close(full);
  myna_model_close(m);
  return rc;
}
