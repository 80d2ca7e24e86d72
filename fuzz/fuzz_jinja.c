/* fuzz_jinja.c: any bytes as a template, with a fixed conversation as its context (and, behind a NUL, any JSON object): lexer, parser, rendering. Beyond
 * what the sanitizers see it checks that a failure has a code and a reason, that a text is terminated, that two renders are the same, and that
 * everything is given back. */
#include "text/jinja.h"
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>

static const char conversation[] = "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"add_generation_prompt\": true, "
                                   "\"n\": 3, \"x\": 1.5, \"tools\": [{\"type\": "
                                   "\"function\", \"function\": {\"name\": \"f\", \"parameters\": {\"a\": [1, null, "
                                   "true]}}}], \"messages\": [{\"role\": \"system\", "
                                   "\"content\": \"S\"}, {\"role\": \"user\", \"content\": \"Gr\\u00fc\\u00dfe\\n \"}, "
                                   "{\"role\": \"assistant\", \"content\": null}]}";

static void check_err(int rc, const myna_err *err) { CHECK(rc < 0 && err->code == rc && err->msg[0]); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  int64_t before = myna__mem_in_use();
  const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
  size_t n = zero ? (size_t)(zero - data) : size;
  json_t *context = zero ? json_loadb((const char *)zero + 1, size - n - 1, 0, NULL) : NULL;
  if (!json_is_object(context)) {
    json_decref(context);
    context = json_loads(conversation, 0, NULL);
  }
  const myna_template_limits limits = {.max_ms = 500, .max_bytes = 8 << 20, .max_depth = 60};
  myna__jinja *t = NULL;
  myna_err err = {0};
  int rc = myna__jinja_compile(&t, (const char *)data, n, &limits, &err);
  if (rc < 0) check_err(rc, &err);
  char *first = NULL;
  size_t first_len = 0;
  for (int i = 0; i < 2 && rc == 0; i++) {
    char *text = NULL;
    size_t len = 0;
    rc = myna__jinja_render(t, context, 1721995200, &limits, &text, &len, &err);
    if (rc < 0) {
      check_err(rc, &err);
      break;
    }
    CHECK(text && text[len] == 0);
    if (first) CHECK(len == first_len && memcmp(text, first, len) == 0);
    if (first) myna_chat_free_text(text);
    if (!first) first = text, first_len = len;
  }
  myna_chat_free_text(first);
  myna__jinja_free(t);
  json_decref(context);
  CHECK(myna__mem_in_use() == before);
  return 0;
}
