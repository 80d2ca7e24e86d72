/* kv_save.c: prefixes in files. Owns the file's form; pages are pinned or taken on the engine's thread and read or filled on the caller's.
 *
 *   header   88 bytes and their hash (struct header below)
 *   tokens   i32 [n], hash
 *   pages    of every group from the first that its window needs, positions ascending: per layer of the group K [pos][head][row], V likewise, as
 *            kv_plain.c has them; the last page has n % 64 positions; hash of the page
 *   end      8 bytes
 *
 * All little-endian. Every hash is seeded with the one before, so that nothing can change its place. The size of the file follows from the header,
 * and is checked first. */
#include "engine/job.h"
#include "kernels/kv_plain.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = MYNA__PAGE, VERSION = 1, MAX_PATH = 4096 };
static const char MAGIC[8] = {'M', 'Y', 'N', 'A', 'K', 'V', '\r', '\n'},
                  END[8] = {'M', 'Y', 'N', 'A', 'E', 'N', 'D', '\n'};

typedef struct header {
  char magic[8];
  uint32_t version, n_groups;
  uint64_t fingerprint; /* of the model and of everything else that shapes pages */
  uint32_t type_k, type_v, n_kv_head, dim_k, dim_v, reserved;
  int64_t n;
  struct {
    uint32_t n_layers, window;
  } group[MYNA__MAX_GROUPS];
  uint64_t hash;
} header;
static_assert(sizeof(header) == 96, "the header has no padding");

/* ---- which model ---- */

/* Shapes, settings and samples of every matrix: enough to tell fine-tunes of one model apart. */
static uint64_t fingerprint(const myna_engine *e) {
  const myna_model *m = e->model;
  myna__config cfg;
  memcpy(&cfg, &m->cfg, sizeof cfg); /* with its padding, which is zero */
  cfg.n_ctx = strcmp(cfg.rope_type, "longrope") == 0 ? e->opt.n_ctx : 0;
  uint64_t h = myna__hash(m->arch, strlen(m->arch), VERSION);
  h = myna__hash(&cfg, sizeof cfg, h);
  const uint64_t facts[] = {e->lm->opt.exact, (uint64_t)m->n_params, (uint64_t)m->weight_bytes};
  h = myna__hash(facts, sizeof facts, h);
  for (int64_t i = 0; i < m->n_bound; i++) {
    const myna__bound *b = &m->bound[i];
    if (!b->present) continue;
    h = myna__hash(b->name, strlen(b->name), h ^ (uint64_t)b->w.type);
    if (b->n_dims == 1) {
      h = myna__hash(b->vec, (size_t)b->n * sizeof *b->vec, h);
    } else if (b->w.plane[0] && b->w.n_out >= 2 && b->w.row_stride[0] > 0) {
      size_t n = (size_t)MYNA__MIN(b->w.row_stride[0], 512);
      h = myna__hash(b->w.plane[0], n, h);
      h = myna__hash(b->w.plane[0] + (b->w.n_out - 1) / 2 * b->w.row_stride[0], n, h);
    }
  }
  return h ? h : 1;
}

static uint64_t fingerprint_of(myna_engine *e) {
  pthread_mutex_lock(&e->lock);
  uint64_t h = e->fingerprint;
  pthread_mutex_unlock(&e->lock);
  if (h) return h;
  h = fingerprint(e);
  pthread_mutex_lock(&e->lock);
  e->fingerprint = h;
  pthread_mutex_unlock(&e->lock);
  return h;
}

/* ---- shape of a file ---- */

static int64_t pages_of(int64_t n) { return (n + PAGE - 1) / PAGE; }

static int64_t first_page(const myna__lm_group *g, int64_t n) {
  return g->window > 0 && n > g->window ? (n - g->window + 1) / PAGE : 0;
}

/* Bytes per position of one layer. */
static int64_t row_bytes(const myna_engine *e) {
  const myna__config *c = &e->lm->cfg;
  return c->n_head_kv * (int64_t)(myna__kv_plain_row(e->lm->opt.kv_type, c->dim_k) +
                                  myna__kv_plain_row(e->lm->opt.kv_type_v, c->dim_v));
}

static header header_of(myna_engine *e, int64_t n) {
  const myna__config *c = &e->lm->cfg;
  header h = {.version = VERSION,
              .n_groups = (uint32_t)e->lm->n_groups,
              .fingerprint = fingerprint_of(e),
              .type_k = e->lm->opt.kv_type,
              .type_v = e->lm->opt.kv_type_v,
              .n_kv_head = (uint32_t)c->n_head_kv,
              .dim_k = (uint32_t)c->dim_k,
              .dim_v = (uint32_t)c->dim_v,
              .n = n};
  memcpy(h.magic, MAGIC, sizeof MAGIC);
  for (int g = 0; g < e->lm->n_groups; g++) {
    h.group[g].n_layers = (uint32_t)e->lm->group[g].n_layers;
    h.group[g].window = (uint32_t)e->lm->group[g].window;
  }
  h.hash = myna__hash(&h, offsetof(header, hash), 0);
  return h;
}

static int64_t file_size(const myna_engine *e, int64_t n) {
  int64_t size = (int64_t)sizeof(header) + n * 4 + 8 + (int64_t)sizeof END;
  for (int g = 0; g < e->lm->n_groups; g++) {
    const myna__lm_group *p = &e->lm->group[g];
    int64_t first = first_page(p, n);
    size += (n - first * PAGE) * row_bytes(e) * p->n_layers + (pages_of(n) - first) * 8;
  }
  return size;
}

static myna__kv_view view_of(const myna_engine *e) {
  return (myna__kv_view){.type_k = e->lm->opt.kv_type,
                         .type_v = e->lm->opt.kv_type_v,
                         .n_kv_head = e->lm->cfg.n_head_kv,
                         .dim_k = e->lm->cfg.dim_k,
                         .dim_v = e->lm->cfg.dim_v};
}

/* ---- pages of a prefix ---- */

typedef struct prefix {
  const int32_t *tokens;
  int64_t n, n_ids;
  int32_t *ids; /* [n_groups][n_ids] */
  bool keep;    /* on return: insert instead of giving back */
  int rc;
  myna_err *err;
} prefix;

static int32_t *ids_of(const prefix *p, int g) { return p->ids + g * p->n_ids; }

static int64_t found(const myna_engine *e, const int32_t *tokens, int64_t n_tokens) {
  int64_t n = n_tokens, before;
  do {
    before = n;
    for (int g = 0; g < e->lm->n_groups; g++)
      n = MYNA__MIN(n, myna__kv_probe(e->kv[g], tokens, MYNA__MIN(n_tokens, n), n));
  } while (n < before);
  return n;
}

static void pin(myna_engine *e, void *arg) {
  prefix *p = arg;
  p->n = found(e, p->tokens, p->n);
  for (int g = 0; g < e->lm->n_groups && p->n > 0; g++) myna__kv_pin(e->kv[g], p->tokens, p->n, ids_of(p, g));
}

static void take(myna_engine *e, void *arg) {
  prefix *p = arg;
  for (int g = 0; g < e->lm->n_groups && p->rc == 0; g++) {
    int64_t first = first_page(&e->lm->group[g], p->n), n = pages_of(p->n) - first;
    p->rc = myna__kv_take(e->kv[g], n, ids_of(p, g) + first, p->err);
  }
}

static void give_back(myna_engine *e, void *arg) {
  const prefix *p = arg;
  for (int g = 0; g < e->lm->n_groups && p->n > 0; g++) {
    if (p->keep)
      myna__kv_insert(e->kv[g], ids_of(p, g), p->tokens, p->n);
    else
      myna__kv_unpin(e->kv[g], ids_of(p, g), pages_of(p->n));
  }
}

static int prefix_new(prefix *p, const myna_engine *e, int64_t n, myna_err *err) {
  *p = (prefix){.n = n, .n_ids = pages_of(n), .err = err};
  p->ids = myna__alloc((size_t)(e->lm->n_groups * p->n_ids) * sizeof *p->ids);
  if (!p->ids) return myna__err(err, MYNA_E_NOMEM, "no memory for a prefix of %lld tokens", (long long)n);
  for (int64_t i = 0; i < e->lm->n_groups * p->n_ids; i++) p->ids[i] = -1;
  return 0;
}

static void prefix_free(prefix *p, const myna_engine *e) {
  myna__free(p->ids, (size_t)(e->lm->n_groups * p->n_ids) * sizeof *p->ids);
}

/* ---- bytes ---- */

typedef struct stream {
  int fd;
  const char *path;
  int64_t at;
  uint64_t hash; /* of the last section */
  myna_err *err;
} stream;

static int failed(const stream *s, const char *what) {
  return myna__err_at(s->err, MYNA_E_IO, s->path, s->at, "%s: %s", what, strerror(errno));
}

static int put(stream *s, const void *data, size_t n) {
  for (const char *p = data; n > 0;) {
    ssize_t w = write(s->fd, p, n);
    if (w < 0 && errno == EINTR) continue;
    if (w <= 0) return failed(s, "cannot write");
    p += w;
    n -= (size_t)w;
    s->at += w;
  }
  return 0;
}

static int get(stream *s, void *data, size_t n) {
  for (char *p = data; n > 0;) {
    ssize_t r = read(s->fd, p, n);
    if (r < 0 && errno == EINTR) continue;
    if (r < 0) return failed(s, "cannot read");
    if (r == 0) return myna__err_at(s->err, MYNA_E_FORMAT, s->path, s->at, "the file ends too early");
    p += r;
    n -= (size_t)r;
    s->at += r;
  }
  return 0;
}

static int put_section(stream *s, const void *data, size_t n) {
  s->hash = myna__hash(data, n, s->hash);
  TRY(put(s, data, n));
  return put(s, &s->hash, sizeof s->hash);
}

static int get_section(stream *s, void *data, size_t n, const char *what) {
  uint64_t want;
  int64_t at = s->at;
  TRY(get(s, data, n));
  TRY(get(s, &want, sizeof want));
  s->hash = myna__hash(data, n, s->hash);
  if (s->hash == want) return 0;
  return myna__err_at(s->err, MYNA_E_FORMAT, s->path, at, "%s are damaged: the checksum differs", what);
}

/* Every page of the prefix, out or in. buf: [a page in plain form] */
static int move_pages(myna_engine *e, stream *s, const prefix *p, uint8_t *buf, bool out) {
  const myna__kv_view view = view_of(e);
  for (int g = 0; g < e->lm->n_groups; g++) {
    const myna__lm_group *lg = &e->lm->group[g];
    int64_t layer = lg->page_stride / lg->n_layers;
    for (int64_t i = first_page(lg, p->n); i < pages_of(p->n); i++) {
      int64_t n_pos = MYNA__MIN(PAGE, p->n - i * PAGE), plain = n_pos * row_bytes(e), at = s->at;
      uint8_t *page = lg->pool + ids_of(p, g)[i] * lg->page_stride;
      size_t bytes = (size_t)(plain * lg->n_layers);
      bool ok = true;
      for (int k = 0; out && k < lg->n_layers; k++) myna__kv_to_plain(&view, page + k * layer, n_pos, buf + k * plain);
      TRY(out ? put_section(s, buf, bytes) : get_section(s, buf, bytes, "pages"));
      for (int k = 0; !out && k < lg->n_layers; k++)
        ok &= myna__kv_from_plain(&view, page + k * layer, n_pos, buf + k * plain);
      if (!ok) return myna__err_at(s->err, MYNA_E_FORMAT, s->path, at, "a page holds what is no number");
    }
  }
  return 0;
}

static size_t page_bytes(const myna_engine *e) {
  int most = 0;
  for (int g = 0; g < e->lm->n_groups; g++) most = MYNA__MAX(most, e->lm->group[g].n_layers);
  return (size_t)(PAGE * row_bytes(e) * most);
}

/* ---- save ---- */

static int write_all(myna_engine *e, stream *s, const prefix *p, myna_err *err) {
  uint8_t *buf = myna__alloc(page_bytes(e));
  if (!buf) return myna__err(err, MYNA_E_NOMEM, "no memory for a page");
  header h = header_of(e, p->n);
  s->hash = h.hash;
  int rc = put(s, &h, sizeof h);
  if (rc == 0) rc = put_section(s, p->tokens, (size_t)p->n * sizeof *p->tokens);
  if (rc == 0) rc = move_pages(e, s, p, buf, true);
  if (rc == 0) rc = put(s, END, sizeof END);
  if (rc == 0 && fsync(s->fd) < 0) rc = failed(s, "cannot write");
  myna__free(buf, page_bytes(e));
  return rc;
}

/* Into a file beside it, which takes its name when it is whole. */
static int write_file(myna_engine *e, const char *path, const prefix *p, int64_t *n_bytes, myna_err *err) {
  char temp[MAX_PATH];
  if (snprintf(temp, sizeof temp, "%s.XXXXXX", path) >= (int)sizeof temp)
    return myna__err(err, MYNA_E_ARG, "the path is too long");
  stream s = {.fd = mkostemp(temp, O_CLOEXEC), .path = path, .err = err};
  if (s.fd < 0) return failed(&s, "cannot create");
  int rc = write_all(e, &s, p, err);
  if (close(s.fd) < 0 && rc == 0) rc = failed(&s, "cannot write");
  if (rc == 0 && rename(temp, path) < 0) rc = failed(&s, "cannot replace");
  if (rc < 0) unlink(temp);
  if (n_bytes) *n_bytes = s.at;
  return rc;
}

static int check_tokens(const myna_engine *e, const int32_t *tokens, int64_t n, const char *path, myna_err *err) {
  for (int64_t i = 0; i < n; i++)
    if (tokens[i] < 0 || tokens[i] >= e->model->cfg.n_vocab)
      return myna__err_at(err, path ? MYNA_E_FORMAT : MYNA_E_ARG, path, -1, "token %lld is %d, the vocabulary has %lld",
                          (long long)i, tokens[i], (long long)e->model->cfg.n_vocab);
  return 0;
}

int64_t myna_engine_prefix_save(myna_engine *e, const int32_t *tokens, int64_t n_tokens, const char *path,
                                int64_t *n_bytes, myna_err *err) {
  prefix p;
  if (!tokens || n_tokens < 1 || !path) return myna__err(err, MYNA_E_ARG, "there are no tokens, or no path");
  n_tokens = MYNA__MIN(n_tokens, e->opt.n_ctx);
  TRY(check_tokens(e, tokens, n_tokens, NULL, err));
  TRY(prefix_new(&p, e, n_tokens, err));
  p.tokens = tokens;
  myna__engine_call(e, pin, &p);
  int rc = p.n > 0
               ? write_file(e, path, &p, n_bytes, err)
               : myna__err(err, MYNA_E_NOTFOUND, "nothing of these %lld tokens is in the cache", (long long)n_tokens);
  myna__engine_call(e, give_back, &p);
  prefix_free(&p, e);
  return rc < 0 ? rc : p.n;
}

/* ---- load ---- */

static int bad(const stream *s, int code, const char *what) {
  return myna__err_at(s->err, code, s->path, 0, "%s", what);
}

static int read_header(myna_engine *e, stream *s, header *h) {
  TRY(get(s, h, sizeof *h));
  if (memcmp(h->magic, MAGIC, sizeof MAGIC) != 0) return bad(s, MYNA_E_FORMAT, "this is no saved prefix");
  if (h->version != VERSION)
    return myna__err_at(s->err, MYNA_E_FORMAT, s->path, 8, "version %u is not known, this is version %d", h->version,
                        VERSION);
  if (myna__hash(h, offsetof(header, hash), 0) != h->hash)
    return bad(s, MYNA_E_FORMAT, "the header is damaged: the checksum differs");
  if (h->n < 1) return bad(s, MYNA_E_FORMAT, "the prefix is empty");
  if (h->n > e->opt.n_ctx)
    return myna__err_at(s->err, MYNA_E_LIMIT, s->path, -1, "the prefix has %lld tokens, the context holds %lld",
                        (long long)h->n, (long long)e->opt.n_ctx);
  header want = header_of(e, h->n);
  if (h->type_k != want.type_k || h->type_v != want.type_v)
    return bad(s, MYNA_E_ARG, "the file was saved with other types of the cache");
  if (h->fingerprint != want.fingerprint || memcmp(h, &want, sizeof want) != 0)
    return bad(s, MYNA_E_ARG, "the file was saved with another model or other settings");
  s->hash = h->hash;
  return 0;
}

static int check_size(const myna_engine *e, const stream *s, int64_t n) {
  struct stat st;
  if (fstat(s->fd, &st) < 0) return failed(s, "cannot read");
  int64_t want = file_size(e, n);
  if (st.st_size == want) return 0;
  return myna__err_at(s->err, MYNA_E_FORMAT, s->path, st.st_size,
                      "the file has %lld bytes, %lld belong to its %lld tokens", (long long)st.st_size, (long long)want,
                      (long long)n);
}

static int read_pages(myna_engine *e, stream *s, prefix *p, myna_err *err) {
  char end[sizeof END];
  uint8_t *buf = myna__alloc(page_bytes(e));
  if (!buf) return myna__err(err, MYNA_E_NOMEM, "no memory for a page");
  int rc = move_pages(e, s, p, buf, false);
  myna__free(buf, page_bytes(e));
  if (rc == 0) rc = get(s, end, sizeof end);
  if (rc == 0 && memcmp(end, END, sizeof END) != 0) rc = bad(s, MYNA_E_FORMAT, "the end of the file is damaged");
  return rc;
}

static int read_file(myna_engine *e, stream *s, int32_t *out, int64_t cap, int64_t *n, myna_err *err) {
  header h;
  prefix p = {0};
  TRY(read_header(e, s, &h));
  TRY(check_size(e, s, h.n));
  size_t bytes = (size_t)h.n * sizeof(int32_t);
  int32_t *tokens = myna__alloc(bytes);
  int rc = tokens ? prefix_new(&p, e, h.n, err) : myna__err(err, MYNA_E_NOMEM, "no memory for a prefix");
  if (rc < 0 || !tokens) {
    myna__free(tokens, bytes);
    return rc;
  }
  p.tokens = tokens;
  rc = get_section(s, tokens, bytes, "tokens");
  if (rc == 0) rc = check_tokens(e, tokens, h.n, s->path, err);
  if (rc == 0) {
    myna__engine_call(e, take, &p);
    rc = p.rc;
    if (rc == 0) rc = read_pages(e, s, &p, err);
    p.keep = rc == 0;
    myna__engine_call(e, give_back, &p);
  }
  if (rc == 0 && out && cap > 0) memcpy(out, tokens, (size_t)MYNA__MIN(cap, h.n) * sizeof *out);
  *n = h.n;
  prefix_free(&p, e);
  myna__free(tokens, bytes);
  return rc;
}

int64_t myna_engine_prefix_load(myna_engine *e, const char *path, int32_t *tokens, int64_t cap, int64_t *n_bytes,
                                myna_err *err) {
  if (!path) return myna__err(err, MYNA_E_ARG, "there is no path");
  stream s = {.fd = open(path, O_RDONLY | O_CLOEXEC), .path = path, .err = err};
  int64_t n = 0;
  if (s.fd < 0) return failed(&s, "cannot open");
  int rc = read_file(e, &s, tokens, cap, &n, err);
  close(s.fd);
  if (n_bytes) *n_bytes = s.at;
  return rc < 0 ? rc : n;
}

/* ---- erase ---- */

static void forget_on_disk(myna_engine *e, const int32_t *tokens, int64_t n) {
  int64_t cap = e->disk ? n / PAGE : 0;
  myna__kv_key *keys = myna__alloc((size_t)cap * sizeof *keys);
  for (int g = 0; keys && g < e->lm->n_groups; g++) {
    int64_t count = myna__kv_missing(e->kv[g], tokens, cap * PAGE, keys, cap);
    for (int64_t i = 0; i < count; i++) myna__disk_drop(e->disk, g, &keys[i]);
  }
  myna__free(keys, (size_t)cap * sizeof *keys);
}

static void forget(myna_engine *e, void *arg) {
  prefix *p = arg;
  int64_t had = found(e, p->tokens, p->n);
  for (int g = 0; g < e->lm->n_groups && had > 0; g++) myna__kv_forget(e->kv[g], p->tokens, had);
  p->n = had - found(e, p->tokens, had);
  forget_on_disk(e, p->tokens, had);
}

int64_t myna_engine_prefix_erase(myna_engine *e, const int32_t *tokens, int64_t n_tokens) {
  prefix p = {.tokens = tokens, .n = MYNA__MIN(n_tokens, e->opt.n_ctx)};
  if (!tokens || n_tokens < 1) return 0;
  myna__engine_call(e, forget, &p);
  return p.n;
}
