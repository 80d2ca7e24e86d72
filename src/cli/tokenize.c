/* tokenize.c: ids of a text on one line, or with --json each id with its piece. */
#include "cli.h"
#include <stdlib.h>

/* {"id":270,"piece":" h"}; a piece that is no UTF-8 by itself has its "bytes" too. */
static void print_piece(const myna_model *m, int32_t id) {
  char piece[1024];
  int64_t len = myna_token_text(m, id, piece, sizeof piece);
  size_t n = len < 0 ? 0 : len < (int64_t)sizeof piece ? (size_t)len : sizeof piece;
  printf("{\"id\":%d,\"piece\":", id);
  write_json_string(stdout, piece, n);
  if (!is_utf8(piece, n)) {
    printf(",\"bytes\":[");
    for (size_t i = 0; i < n; i++) printf("%s%d", i ? "," : "", (unsigned char)piece[i]);
    printf("]");
  }
  printf("}");
}

static void print_ids(const options *o, const myna_model *m, const int32_t *ids, int64_t n) {
  if (o->json) printf("[");
  for (int64_t i = 0; i < n; i++) {
    if (i) printf(o->json ? "," : " ");
    if (o->json)
      print_piece(m, ids[i]);
    else
      printf("%d", ids[i]);
  }
  printf(o->json ? "]\n" : "\n");
}

int cmd_tokenize(options *o) {
  myna_model *m = NULL;
  size_t n;
  int64_t count;
  if (!o->prompt && !o->file && !o->from_stdin) return usage("tokenize wants a text: -p TEXT, -f FILE or --stdin");
  int rc = open_model(o, true, &m);
  if (rc) return rc;
  char *text = input_text(o, &n);
  int32_t *ids =
      text ? tokenize_all(m, text, n,
                          &(myna_tokenize_options){.no_special = o->no_bos, .parse_special = o->parse_special}, &count)
           : NULL;
  if (ids) print_ids(o, m, ids, count);
  free(ids);
  free(text);
  myna_model_close(m);
  return ids ? 0 : EXIT_FAIL;
}
