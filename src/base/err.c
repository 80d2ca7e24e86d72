/* err.c: filling myna_err, and the log hook. Both keep to snprintf into fixed buffers: reporting a failure
 * must not need memory. */
#include "base/base.h"
#include <stdio.h>

const char *myna_error_text(int code) {
  switch (code) {
  case MYNA_OK: return "no error";
#define X(name, number, text) \
  case MYNA_E_##name: return text;
    MYNA_ERROR_LIST(X)
#undef X
  default: return "unknown error";
  }
}

const char *myna_error_format(const myna_err *err, char *buf, size_t n) {
  if (n == 0) return "";
  buf[0] = 0;
  if (!err || err->code == MYNA_OK) return buf;
  char offset[40] = "";
  char line[40] = "";
  if (err->offset >= 0) snprintf(offset, sizeof offset, "offset %lld: ", (long long)err->offset);
  if (err->line >= 0) snprintf(line, sizeof line, "line %lld: ", (long long)err->line);
  snprintf(buf, n, "%s%s%s%s%s", err->file, err->file[0] ? ": " : "", offset, line,
           err->msg[0] ? err->msg : myna_error_text(err->code));
  return buf;
}

/* vsnprintf may cut a UTF-8 sequence at the end of msg: step back to its start. */
static void trim_partial_utf8(char *s, size_t cap, int wanted) {
  if (wanted < 0 || (size_t)wanted < cap) return;
  size_t start = cap - 1;
  while (start > 0 && ((unsigned char)s[start - 1] & 0xC0) == 0x80) start--;
  if (start == 0) return;
  unsigned char lead = (unsigned char)s[start - 1];
  size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
  if (cap - 1 - (start - 1) < need) s[start - 1] = 0;
}

static int fill(myna_err *err, int code, const char *file, int64_t offset, const char *fmt, va_list ap) {
  assert(offset >= -1);
  if (!err || err->code != MYNA_OK) return code;
  err->code = code;
  err->offset = offset;
  err->line = -1;
  /* Keep the tail of a long path: the file's name says more than the root directory. */
  size_t n = file ? strlen(file) : 0, cap = sizeof err->file - 1, skip = n > cap ? n - cap : 0;
  if (file) memcpy(err->file, file + skip, n - skip);
  err->file[n - skip] = 0;
  int wanted = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
  if (wanted < 0) err->msg[0] = 0;
  trim_partial_utf8(err->msg, sizeof err->msg, wanted);
  return code;
}

int myna__err(myna_err *err, int code, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fill(err, code, NULL, -1, fmt, ap);
  va_end(ap);
  return code;
}

int myna__err_at(myna_err *err, int code, const char *file, int64_t offset, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fill(err, code, file, offset, fmt, ap);
  va_end(ap);
  return code;
}

/* Set before other calls, like the allocator; relaxed atomics only keep a late set from being a data race. */
static _Atomic(myna_log_fn) log_fn;
static _Atomic(void *) log_user;

void myna_set_log(myna_log_fn fn, void *user) {
  atomic_store(&log_user, user);
  atomic_store(&log_fn, fn);
}

void myna__log(int level, const char *fmt, ...) {
  myna_log_fn fn = atomic_load(&log_fn);
  if (!fn) return;
  char line[1024];
  va_list ap;
  va_start(ap, fmt);
  int wanted = vsnprintf(line, sizeof line, fmt, ap);
  va_end(ap);
  if (wanted < 0) return;
  trim_partial_utf8(line, sizeof line, wanted);
  fn(atomic_load(&log_user), level, line);
}
