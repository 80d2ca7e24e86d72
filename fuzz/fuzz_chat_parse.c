/* fuzz_chat_parse.c: any text as an answer in any format: no error, the same whole and in pieces, and arguments of calls that were left behind are JSON.
 *
 * Input: row of the format, flags, size of the pieces, then the answer. */
#include "text/chat_format.h"
#include "text/unicode.h"
#include <stdio.h>
#include <stdlib.h>

static const char tools[] =
    "[{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\"},"
    "\"n\":{\"type\":\"integer\"},\"a\":{\"type\":\"array\",\"items\":{\"type\":\"object\"}},\"o\":{\"type\":"
    "\"object\"},"
    "\"u\":{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"string\"}]}}}},{\"name\":\"g\"}]";

typedef struct heard {
  myna__buf all, args; /* everything with signs between; arguments of the call that is told now */
  bool check;
} heard;

static void check_args(heard *h) {
  json_error_t e;
  json_t *v = json_loadb(h->args.data, h->args.len, JSON_ALLOW_NUL, &e);
  if (!v && h->check && json_error_code(&e) != json_error_numeric_overflow) abort();
  json_decref(v);
  h->args.len = 0;
}

static void hear(heard *h, const myna_delta *d, int n) {
  static int kind;
  for (int i = 0; i < n; i++) {
    if (d[i].len != strlen(d[i].text) && h->check) abort();
    if (d[i].kind == MYNA_DELTA_TOOL_CALL && h->args.len) check_args(h);
    if (d[i].kind == MYNA_DELTA_ARGUMENTS) myna__buf_add(&h->args, d[i].text, d[i].len);
    if (!h->all.len || kind != (int)d[i].kind || d[i].kind == MYNA_DELTA_TOOL_CALL)
      myna__buf_printf(&h->all, "\x01%d:", (int)d[i].kind);
    if (d[i].id) myna__buf_printf(&h->all, "%s:", d[i].id);
    myna__buf_add(&h->all, d[i].text, d[i].len);
    kind = (int)d[i].kind;
  }
}

static void parse(const uint8_t *head, const char *text, size_t n, size_t piece, heard *h) {
  int rows = 0;
  while (myna__chat_format_row(rows)) rows++;
  const struct myna__chat_format *f = myna__chat_format_row(head[0] % rows);
  char prompt_text[64];
  snprintf(prompt_text, sizeof prompt_text, "%s\n", f->think_start);
  myna_chat_prompt prompt = {.text = prompt_text, .text_len = strlen(prompt_text), .thinking_open = head[1] & 1};
  prompt.tools = head[1] & 2 ? NULL : (char *)(uintptr_t)tools;
  myna_chat_parser_options o = {.tools = !(head[1] & 4), .keep_reasoning = head[1] & 8, .one_tool_call = head[1] & 16};
  myna_chat_parser *p;
  if (myna__chat_parser_new(&p, f, &prompt, &o, NULL) < 0) abort();
  size_t at = 0;
  do {
    size_t part = MYNA__MIN(piece, n - at);
    const myna_delta *d;
    int count = myna_chat_parser_push(p, text + at, part, at + part == n, &d, NULL);
    if (count < 0) abort();
    hear(h, d, count);
    at += part;
  } while (at < n);
  myna_chat_parser_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
  if (n < 3) return 0;
  const char *text = (const char *)data + 3;
  heard whole = {0}, parts = {0};
  whole.check = parts.check = !memchr(text, 0, n - 3) && myna__utf8_valid(text, n - 3);
  parse(data, text, n - 3, n, &whole);
  parse(data, text, n - 3, 1 + data[2] % 16, &parts);
  if (whole.all.len != parts.all.len || (whole.all.len && memcmp(whole.all.data, parts.all.data, whole.all.len) != 0))
    abort();
  myna__buf_free(&whole.all);
  myna__buf_free(&whole.args);
  myna__buf_free(&parts.all);
  myna__buf_free(&parts.args);
  return 0;
}
