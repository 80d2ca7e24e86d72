/* npy.c: "\x93NUMPY" | u8 major, minor | u16 header bytes | Python dict literal, spaces, newline | data
 *
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *
 * The dict is read as what NumPy writes: these three keys in any order, no other Python. */
#include "formats/npy.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PREAMBLE = 10, ALIGN = 64 };

static bool valid(myna_dtype type) { return type == MYNA_F32 || type == MYNA_I32; }

/* Elements of a shape; false on overflow of the size in bytes or a negative dimension. */
static bool count(const int64_t *shape, int n_dims, int64_t *n) {
  *n = 1;
  for (int i = 0; i < n_dims; i++)
    if (shape[i] < 0 || !myna__mul_ok(*n, shape[i], n)) return false;
  return *n <= INT64_MAX / 4;
}

/* ---- reading ---- */

typedef struct cursor {
  const char *p, *end;
} cursor;

static void skip_space(cursor *c) {
  while (c->p < c->end && (*c->p == ' ' || *c->p == '\n')) c->p++;
}

static bool take(cursor *c, const char *text) {
  skip_space(c);
  size_t n = strlen(text);
  if ((size_t)(c->end - c->p) < n || memcmp(c->p, text, n) != 0) return false;
  c->p += n;
  return true;
}

static const char *read_dim(cursor *c, int64_t *v) {
  const char *start = c->p;
  for (*v = 0; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
    if (!myna__mul_ok(*v, 10, v) || !myna__add_ok(*v, *c->p - '0', v)) return "a dimension is too large";
  return c->p > start ? NULL : "a dimension is not a number";
}

/* "()", "(3,)", "(3, 4)" */
static const char *read_shape(cursor *c, myna__npy *a) {
  if (!take(c, "(")) return "the shape is not a tuple";
  while (!take(c, ")")) {
    if (a->n_dims == MYNA__NPY_DIMS) return "more than 4 dimensions are not supported";
    const char *why = read_dim(c, &a->shape[a->n_dims++]);
    if (why) return why;
    if (!take(c, ",") && (a->n_dims < 2 || c->p >= c->end || *c->p != ')')) return "the shape is not a tuple";
  }
  return NULL;
}

static const char *read_descr(cursor *c, myna__npy *a) {
  if (take(c, "'<f4'"))
    a->type = MYNA_F32;
  else if (take(c, "'<i4'"))
    a->type = MYNA_I32;
  else
    return "only little-endian float32 ('<f4') and int32 ('<i4') are supported";
  return NULL;
}

/* NULL, or what is wrong. */
static const char *read_dict(cursor *c, myna__npy *a) {
  bool descr = false, order = false, shape = false;
  if (!take(c, "{")) return "the header is not a dict";
  while (!take(c, "}")) {
    const char *why = NULL;
    if (!descr && take(c, "'descr':")) {
      descr = true;
      why = read_descr(c, a);
    } else if (!order && take(c, "'fortran_order':")) {
      order = true;
      why = take(c, "False") ? NULL : "only C order is supported";
    } else if (!shape && take(c, "'shape':")) {
      shape = true;
      why = read_shape(c, a);
    } else {
      why = "unknown, repeated or missing key in the header";
    }
    if (why) return why;
    skip_space(c);
    if (!take(c, ",") && (c->p >= c->end || *c->p != '}')) return "the header is not a dict";
  }
  skip_space(c);
  if (c->p != c->end) return "bytes after the header's dict";
  return descr && order && shape ? NULL : "unknown, repeated or missing key in the header";
}

static int fail(const myna__npy *a, size_t at, const char *why, myna_err *err) {
  return myna__err_at(err, MYNA_E_FORMAT, a->file.path, (int64_t)at, "npy: %s", why);
}

static int read_file(myna__npy *a, myna_err *err) {
  const uint8_t *p = a->file.data;
  size_t size = a->file.size;
  if (size < PREAMBLE || memcmp(p, "\x93NUMPY", 6) != 0) return fail(a, 0, "not a .npy file", err);
  if (p[6] != 1) return fail(a, 6, "only format version 1.0 is supported", err);
  size_t header = (size_t)p[8] | (size_t)p[9] << 8;
  if (header > size - PREAMBLE) return fail(a, 8, "the file ends inside the header", err);
  cursor c = {(const char *)p + PREAMBLE, (const char *)p + PREAMBLE + header};
  const char *why = read_dict(&c, a);
  if (why) return fail(a, (size_t)(c.p - (const char *)p), why, err);
  if (!count(a->shape, a->n_dims, &a->n)) return fail(a, PREAMBLE, "the shape's size overflows", err);
  a->data = p + PREAMBLE + header;
  if ((uint64_t)a->n * 4 != size - PREAMBLE - header)
    return fail(a, PREAMBLE + header, "the data does not have the size of the shape", err);
  return 0;
}

int myna__npy_open(myna__npy *a, const char *path, myna_err *err) {
  *a = (myna__npy){0};
  TRY(myna__file_open(&a->file, path, false, err));
  int rc = read_file(a, err);
  if (rc < 0) myna__npy_close(a);
  return rc;
}

int myna__npy_parse(myna__npy *a, const uint8_t *bytes, size_t n, const char *name, myna_err *err) {
  *a = (myna__npy){.borrowed = true};
  a->file = (myna__file){.data = bytes, .size = n, .path = myna__strndup(name, strlen(name))};
  int rc = a->file.path ? read_file(a, err) : myna__err(err, MYNA_E_NOMEM, "no memory for a name");
  if (rc < 0) myna__npy_close(a);
  return rc;
}

void myna__npy_close(myna__npy *a) {
  if (a->borrowed)
    myna__strfree(a->file.path);
  else
    myna__file_close(&a->file);
  *a = (myna__npy){0};
}

/* ---- writing ---- */

/* A partial file is removed, unless it is none of ours to remove: a link (/dev/stdout), a device, a pipe. */
static void remove_partial(const char *path) {
  struct stat st;
  if (lstat(path, &st) == 0 && S_ISREG(st.st_mode)) unlink(path);
}

static int write_failed(myna__npy_writer *w, myna_err *err) {
  int why = errno;
  int rc = myna__err_at(err, MYNA_E_IO, w->path, -1, "cannot write: %s", strerror(why));
  myna__npy_abort(w);
  return rc;
}

/* The preamble and the dict, padded so that the data is aligned. Returns its length. */
static size_t make_header(char *out, size_t cap, myna_dtype type, int n_dims, const int64_t *shape) {
  memcpy(out, "\x93NUMPY\x01\x00", 8);
  size_t n =
      PREAMBLE + (size_t)snprintf(out + PREAMBLE, cap - PREAMBLE, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                                  type == MYNA_F32 ? "<f4" : "<i4");
  for (int i = 0; i < n_dims; i++)
    n += (size_t)snprintf(out + n, cap - n, "%lld%s", (long long)shape[i],
                          n_dims == 1      ? ","
                          : i + 1 < n_dims ? ", "
                                           : "");
  n += (size_t)snprintf(out + n, cap - n, "), }");
  while ((n + 1) % ALIGN) out[n++] = ' ';
  out[n++] = '\n';
  out[8] = (char)((n - PREAMBLE) & 0xFF);
  out[9] = (char)((n - PREAMBLE) >> 8);
  return n;
}

int myna__npy_begin(myna__npy_writer *w, const char *path, myna_dtype type, int n_dims, const int64_t *shape,
                    myna_err *err) {
  char header[384]; /* 60 of text and 4 dimensions of at most 21, rounded up to 64 */
  int64_t n;
  *w = (myna__npy_writer){0};
  if (!valid(type) || n_dims < 0 || n_dims > MYNA__NPY_DIMS || !count(shape, n_dims, &n))
    return myna__err_at(err, MYNA_E_ARG, path, -1, "npy: only float32 and int32 of up to 4 dimensions can be written");
  w->left = n * 4;
  w->path = myna__strndup(path, strlen(path));
  if (!w->path) return myna__err(err, MYNA_E_NOMEM, "no memory for a path");
  w->f = fopen(path, "wb");
  if (!w->f) return write_failed(w, err);
  size_t len = make_header(header, sizeof header, type, n_dims, shape);
  return fwrite(header, 1, len, w->f) == len ? 0 : write_failed(w, err);
}

int myna__npy_append(myna__npy_writer *w, const void *data, int64_t bytes, myna_err *err) {
  if (!w->f || bytes < 0 || bytes > w->left) {
    int rc = myna__err_at(err, MYNA_E_ARG, w->path, -1, "npy: %lld bytes where %lld are left", (long long)bytes,
                          (long long)w->left);
    myna__npy_abort(w);
    return rc;
  }
  if (bytes && fwrite(data, 1, (size_t)bytes, w->f) != (size_t)bytes) return write_failed(w, err);
  w->left -= bytes;
  return 0;
}

int myna__npy_end(myna__npy_writer *w, myna_err *err) {
  if (!w->f || w->left) {
    int rc = myna__err_at(err, MYNA_E_ARG, w->path, -1, "npy: %lld bytes are missing", (long long)w->left);
    myna__npy_abort(w);
    return rc;
  }
  FILE *f = w->f;
  w->f = NULL;
  if (fclose(f) != 0) {
    int rc = myna__err_at(err, MYNA_E_IO, w->path, -1, "cannot write: %s", strerror(errno));
    remove_partial(w->path);
    myna__npy_abort(w);
    return rc;
  }
  myna__strfree(w->path);
  *w = (myna__npy_writer){0};
  return 0;
}

void myna__npy_abort(myna__npy_writer *w) {
  if (w->f) {
    fclose(w->f);
    remove_partial(w->path);
  }
  myna__strfree(w->path);
  *w = (myna__npy_writer){0};
}

int myna__npy_write(const char *path, myna_dtype type, int n_dims, const int64_t *shape, const void *data,
                    myna_err *err) {
  myna__npy_writer w;
  TRY(myna__npy_begin(&w, path, type, n_dims, shape, err));
  TRY(myna__npy_append(&w, data, w.left, err));
  return myna__npy_end(&w, err);
}
