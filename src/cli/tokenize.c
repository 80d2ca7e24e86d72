/* tokenize.c: ids of a text on one line, or with --json each id with its piece. */
#include "cli.h"
#include <stdlib.h>
#include <string.h>

static void print_json(const myna_model *m, const int32_t *ids, int64_t n) {
  printf("[");
  for (int64_t i = 0; i < n; i++) {
    char piece[1024];
    int64_t len = myna_token_text(m, ids[i], piece, sizeof piece);
    printf("%s{\"id\":%d,\"piece\":", i ? "," : "", ids[i]);
    json_string(stdout, piece, (size_t)(len > 0 ? len < (int64_t)sizeof piece ? len : (int64_t)sizeof piece : 0));
    printf("}");
  }
  printf("]\n");
}

int cmd_tokenize(options *o) {
  myna_model *m = NULL;
  size_t n;
  int64_t count;
  if (!o->prompt && !o->file) return usage("tokenize wants a text: -p TEXT or -f FILE");
  int rc = open_model(o, true, &m);
  if (rc) return rc;
  char *text = o->file ? read_text(o->file, &n) : strdup(o->prompt);
  if (text && !o->file) n = strlen(text);
  int32_t *ids = text ? tokenize_all(m, text, n, &(myna_tokenize_options){.no_special = o->no_bos, .parse_special = o->parse_special}, &count) : NULL;
  if (ids && o->json) print_json(m, ids, count);
  if (ids && !o->json) {
    for (int64_t i = 0; i < count; i++) printf("%s%d", i ? " " : "", ids[i]);
    printf("\n");
  }
  rc = ids ? 0 : EXIT_FAIL;
  free(ids);
  free(text);
  myna_model_close(m);
  return rc;
}
