/* fuzz_prefix.c: any bytes as a saved prefix. A file is refused with code, reason and place, or is in the cache afterwards; no page is lost and no
 * memory kept either way, and the engine goes on answering: after a refused file exactly as before.
 *
 * Input: how (1 byte), then a file as it is (how & 1), or changes to one that was saved, 4 bytes each: where (2), what, with which value. With how & 2
 * its checksums are made right again, as somebody would who knows them. Run from the root of the tree. */
#include "engine/job.h"
#include "fuzz.h"
#include "kernels/kv_plain.h"
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N = 140, CTX = 192, MOST = 1 << 20, HEADER = 96, AT_N = 48, AT_HASH = 88 };

static myna_model *model;
static myna_engine *engine;
static int32_t prompt[N], answer = -1;
static uint8_t saved[MOST], file[MOST];
static size_t n_saved;
static int fd;
static char path[32];

int LLVMFuzzerInitialize(int *argc, char ***argv);

static void need(bool ok, const myna_err *err) {
  if (ok) return;
  fprintf(stderr, "run it from the root of the tree: %s\n", err->msg);
  exit(1);
}

/* The first token of the answer to the prompt. */
static int32_t ask(int64_t *n_cached) {
  int64_t id;
  int32_t token = -1;
  myna_event ev;
  const myna_request r = {.tokens = prompt, .n_tokens = N, .max_tokens = 1, .n_probs = 1, .no_text = true};
  CHECK(myna_submit(engine, &r, &id, NULL) == 0);
  do {
    CHECK(myna_next_event(engine, -1, &ev) == 1);
    if (ev.kind != MYNA_EVENT_TOKEN) continue;
    token = ev.token;
    CHECK(!isnan(ev.logprob));
  } while (ev.kind != MYNA_EVENT_DONE);
  CHECK(ev.finish != MYNA_FINISH_ERROR);
  *n_cached = ev.timings.n_cached;
  return token;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  myna_err err = {0};
  int64_t n_bytes = 0, n_cached;
  const myna_engine_options options = {.n_threads = 1,
                                       .n_ctx = CTX,
                                       .n_seq = 2,
                                       .n_batch = CTX,
                                       .kv_tokens = 2 * CTX,
                                       .kv_type = MYNA_Q8_0,
                                       .kv_type_set = true,
                                       .kv_type_v = MYNA_F16,
                                       .kv_type_v_set = true};
  need(myna_model_open(&model, "tests/fixtures/models/gemma3.gguf", NULL, &err) == 0, &err);
  need(myna_engine_new(&engine, model, &options, &err) == 0, &err);
  fd = memfd_create("prefix", MFD_CLOEXEC);
  snprintf(path, sizeof path, "/tmp/myna-fuzz-XXXXXX");
  int temp = mkstemp(path);
  need(fd >= 0 && temp >= 0, &err);
  for (int i = 0; i < N; i++) prompt[i] = (int32_t)((3 + i * 7) % model->cfg.n_vocab);
  answer = ask(&n_cached);
  need(myna_engine_prefix_save(engine, prompt, N, path, &n_bytes, &err) == N, &err);
  close(temp);
  temp = open(path, O_RDONLY | O_CLOEXEC); /* it replaced the one before */
  CHECK(temp >= 0 && n_bytes <= MOST && pread(temp, saved, MOST, 0) == n_bytes);
  n_saved = (size_t)n_bytes;
  close(temp);
  unlink(path);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return 0;
}

/* ---- a file ---- */

static size_t change(const uint8_t *data, size_t size) {
  size_t n = n_saved;
  memcpy(file, saved, n);
  for (; size >= 4; data += 4, size -= 4) {
    size_t at = (size_t)data[0] << 8 | data[1];
    if (!(data[2] & 8)) at %= HEADER + 4 * N + 8; /* where most of the form is */
    if (at >= n) at %= n ? n : 1;
    switch (data[2] & 7) {
    case 0: file[at] = data[3]; break;
    case 1: file[at] ^= data[3]; break;
    case 2: n = MYNA__MIN(n, at + data[3]); break;
    case 3: n = MYNA__MIN(n + data[3], MOST); break;
    case 4: memset(file + at, 0xff, MYNA__MIN((size_t)data[3], n - at)); break;
    case 5: memset(file + at, 0, MYNA__MIN((size_t)data[3], n - at)); break;
    case 6: memmove(file + at, file + n / 2, MYNA__MIN((size_t)data[3], n - MYNA__MAX(at, n / 2))); break;
    default: file[n > 8 ? n - 8 + at % 8 : 0] = data[3];
    }
  }
  return n;
}

/* The hash of n bytes goes behind them. */
static uint64_t seal(size_t at, size_t n, size_t size, uint64_t before) {
  if (at + n + 8 > size) return before;
  uint64_t h = myna__hash(file + at, n, before);
  memcpy(file + at + n, &h, sizeof h);
  return h;
}

/* Pages of every group have the size that they have for this model. */
static void seal_all(size_t size) {
  int64_t n;
  if (size < HEADER) return;
  const myna__lm *lm = engine->lm;
  size_t row = (size_t)lm->cfg.n_head_kv * (myna__kv_plain_row(lm->opt.kv_type, lm->cfg.dim_k) +
                                            myna__kv_plain_row(lm->opt.kv_type_v, lm->cfg.dim_v));
  uint64_t h = seal(0, AT_HASH, size, 0);
  memcpy(&n, file + AT_N, sizeof n);
  if (n < 1 || n > CTX) return;
  h = seal(HEADER, (size_t)n * 4, size, h);
  size_t at = HEADER + (size_t)n * 4 + 8;
  for (int g = 0; g < lm->n_groups; g++) {
    int64_t window = lm->group[g].window;
    for (int64_t p = window > 0 && n > window ? (n - window + 1) / 64 * 64 : 0; p < n && at < size; p += 64) {
      size_t bytes = row * (size_t)lm->group[g].n_layers * (size_t)MYNA__MIN(n - p, 64);
      h = seal(at, bytes, size, h);
      at += bytes + 8;
    }
  }
}

static void look(myna_engine *e, void *arg) {
  myna__kv_stats *s = arg;
  for (int g = 0; g < e->lm->n_groups; g++) myna__kv_get_stats(e->kv[g], &s[g]);
}

static void check_refused(const myna_err *err, int64_t rc, size_t size) {
  CHECK(err->code == rc && err->msg[0]);
  CHECK(err->offset >= -1 && err->offset <= (int64_t)size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  uint8_t how = data[0];
  size_t n = how & 1 ? MYNA__MIN(size - 1, MOST) : change(data + 1, size - 1);
  if (how & 1 && n) memcpy(file, data + 1, n);
  if (how & 2) seal_all(n);
  CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, file, n, 0) == (ssize_t)n);

  int32_t tokens[CTX];
  int64_t n_read = -1, n_cached = -1;
  myna_err err = {0};
  myna__kv_stats s[MYNA__MAX_GROUPS];
  myna_engine_prefix_erase(engine, prompt, N);
  int64_t before = myna__mem_in_use();
  int64_t rc = myna_engine_prefix_load(engine, path, tokens, CTX, &n_read, &err);
  CHECK(myna__mem_in_use() == before);
  myna__engine_call(engine, look, s);
  for (int g = 0; g < engine->lm->n_groups; g++) CHECK(s[g].used == 0 && s[g].cached + s[g].free == s[g].total);
  CHECK(n_read >= 0 && n_read <= (int64_t)n);
  if (rc < 0) {
    check_refused(&err, rc, n);
  } else {
    CHECK(rc >= 1 && rc <= CTX && n_read == (int64_t)n);
    for (int64_t i = 0; i < rc; i++) CHECK(tokens[i] >= 0 && tokens[i] < model->cfg.n_vocab);
    CHECK(myna_engine_prefix_erase(engine, tokens, rc) >= 0);
  }
  if (rc < 0 ? how >= 0xf8 : (how & 4) != 0) {
    if (rc >= 0) CHECK(myna_engine_prefix_load(engine, path, tokens, CTX, NULL, NULL) == rc);
    int32_t token = ask(&n_cached);
    CHECK(n_cached < N && token >= 0 && token < model->cfg.n_vocab);
    if (rc < 0) CHECK(token == answer);
    if (rc >= 0) myna_engine_prefix_erase(engine, tokens, rc);
  }
  return 0;
}
