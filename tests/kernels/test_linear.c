/* myna__linear at every CPU level, for every storage type, batch size and thread count, against the reference dot.
 *
 * Every form but BF16 with VDPBF16PS or BFMMLA must give the reference's bits; that one is compared with double. All batch sizes
 * and thread counts of one level must give the same bits. --bench measures instead (see bench.c). */
#include "kernels/ref/math.h"
#include "kernels/table.h"
#include "linear_cases.h"
#include <math.h>

enum { MAX_TOK = 65, CANARY = 16 };
static const int64_t batches[] = {65, 33, 31, 8, 7, 6, 5, 4, 3, 2, 1};
static test_rng rng;
static myna__pool *pools[4]; /* [threads]; pools[1] is NULL */

static uint32_t bits(float f) {
  uint32_t u;
  memcpy(&u, &f, 4);
  return u;
}

/* ---- inputs and outputs ---- */

/* Activations as models have them: normal, a few channels 50 to 1000 times larger, some rows tiny or zero; and some even
 * rows, whose codes are large in all places. */
static float *random_x(int64_t n_tok, int64_t n_in) {
  float *x = myna__alloc((size_t)(n_tok * n_in) * sizeof *x);
  for (int64_t t = 0; t < n_tok; t++) {
    float scale = t % 11 == 5 ? 1e-6f : t % 13 == 7 ? 0.0f : 1.0f;
    for (int64_t k = 0; k < n_in && t % 6 == 3; k++) x[t * n_in + k] = test_float(&rng);
    for (int64_t k = 0; k < n_in && t % 6 != 3; k++)
      x[t * n_in + k] = scale * test_normal(&rng) * (k % 97 == 13 ? 50.0f + (float)(k * 7 % 950) : 1.0f);
  }
  return x;
}
static void free_x(float *x, int64_t n_tok, int64_t n_in) { myna__free(x, (size_t)(n_tok * n_in) * sizeof *x); }

/* An output [rows][ld] between canaries; ld > n_out. */
typedef struct output {
  float *mem, *y;
  int64_t rows, n, ld;
} output;
static const float canary = -12345.678f;
static output output_new(int64_t rows, int64_t n) {
  output o = {.rows = rows, .n = n, .ld = n + 3};
  int64_t total = rows * o.ld + 2 * CANARY;
  o.mem = myna__alloc((size_t)total * sizeof(float));
  for (int64_t i = 0; i < total; i++) o.mem[i] = canary;
  o.y = o.mem + CANARY;
  return o;
}
static void output_check_canaries(const output *o) {
  for (int64_t i = 0; i < o->rows * o->ld + 2 * CANARY; i++) {
    int64_t j = i - CANARY;
    bool inside = j >= 0 && j < o->rows * o->ld && j % o->ld < o->n;
    if (!inside && bits(o->mem[i]) != bits(canary)) fail_msg("a write outside the output at %lld", (long long)j);
  }
}
static void output_free(output *o) { myna__free(o->mem, (size_t)(o->rows * o->ld + 2 * CANARY) * sizeof(float)); }

/* Runs linear in scratch of exactly the promised size, ending in a canary. */
static void run(const myna__linear_args *a, int threads) {
  size_t n = myna__linear_scratch(a, a->n_tok, threads);
  uint8_t *scratch = myna__alloc(n + 64);
  memset(scratch, 0xFF, n); /* NaN wherever something is read before it is written */
  memset(scratch + n, 0xA5, 64);
  int64_t before = myna__pool_regions(pools[threads]);
  myna__linear(a, scratch, pools[threads]);
  assert_true(myna__pool_regions(pools[threads]) - before <= (a->n_tok <= 2 ? 1 : 2));
  for (int i = 0; i < 64; i++) assert_int_equal(scratch[n + (size_t)i], 0xA5);
  myna__free(scratch, n + 64);
}

/* y of one plain matrix. */
static output linear_plain(const myna__weight *w, const float *x, int64_t n_tok, bool exact, int threads) {
  output o = output_new(n_tok, w->n_out);
  myna__linear_args a = {
      .n_w = 1, .w = {w}, .y = {o.y}, .ldy = {o.ld}, .x = x, .ldx = w->n_in, .n_tok = n_tok, .exact = exact};
  run(&a, threads);
  output_check_canaries(&o);
  return o;
}

static void assert_same_rows(const output *got, const output *want, const char *what, myna_dtype t) {
  for (int64_t r = 0; r < got->rows; r++)
    for (int64_t i = 0; i < got->n; i++)
      if (bits(got->y[r * got->ld + i]) != bits(want->y[r * want->ld + i]))
        fail_msg("%s, %s, %s: [%lld of %lld][%lld] is %.9g, not %.9g", myna__cpu_name(myna__cpu()), myna_dtype_name(t),
                 what, (long long)r, (long long)got->rows, (long long)i, (double)got->y[r * got->ld + i],
                 (double)want->y[r * want->ld + i]);
}

/* ---- the reference ---- */

typedef struct reference {
  const myna__weight *w;
  const float *x;
  bool exact;
  output *o;
} reference;
/* One token; runs inside a pool run, so with subnormals flushed as the kernels do. */
static void reference_row(void *arg, int64_t t, int worker) {
  reference *r = arg;
  const myna__quant *q = myna__quant_get(r->w->type);
  myna__act act = r->exact ? MYNA__ACT_F32 : q->act;
  size_t n = myna__act_bytes(act, r->w->n_in);
  void *row = myna__alloc(n);
  myna__act_from_f32(act, row, r->x + t * r->w->n_in, r->w->n_in);
  for (int64_t i = 0; i < r->w->n_out; i++) {
    myna__wrow w = myna__weight_row(r->w, 0, i);
    r->o->y[t * r->o->ld + i] =
        act == q->act ? q->dot(&w, row, r->w->n_in) : myna__quant_dot_f32(q, &w, row, r->w->n_in);
  }
  myna__free(row, n);
}
static output reference_output(const myna__weight *w, const float *x, int64_t n_tok, bool exact) {
  output o = output_new(n_tok, w->n_out);
  reference r = {w, x, exact, &o};
  myna__pool_run(NULL, n_tok, reference_row, &r);
  return o;
}

/* BF16 at the BF16 level: |error| against double <= 2^-18 of sum |a b| (K products, each rounded at most twice). */
static void assert_near_double(const output *got, const myna__weight *w, const float *x) {
  float *row = myna__alloc((size_t)w->n_in * 4);
  for (int64_t i = 0; i < w->n_out; i++) {
    myna__wrow r = myna__weight_row(w, 0, i);
    myna__quant_get(w->type)->to_f32(row, &r, w->n_in);
    for (int64_t t = 0; t < got->rows; t++) {
      double sum = 0, mass = 0;
      for (int64_t k = 0; k < w->n_in; k++) {
        double p = (double)row[k] * (double)myna__bf16_to_f32(myna__f32_to_bf16(x[t * w->n_in + k]));
        sum += p;
        mass += fabs(p);
      }
      double error = fabs((double)got->y[t * got->ld + i] - sum);
      if (!(error <= mass * 0x1p-18 + 0x1p-120))
        fail_msg("BF16 [%lld][%lld]: error %g of %g", (long long)t, (long long)i, error, mass);
    }
  }
  myna__free(row, (size_t)w->n_in * 4);
}

/* ---- tests ---- */

static void each_level(void (*test)(void)) {
  myna__cpu_level before = myna__cpu();
  for (int l = 0; l < MYNA__CPU_COUNT; l++) {
    if (!myna__cpu_supported((myna__cpu_level)l)) continue;
    myna__cpu_force((myna__cpu_level)l);
    test();
  }
  myna__cpu_force(before);
}

static void check_levels(myna_dtype t, int64_t n_in, int64_t n_out, bool exact) {
  myna__weight w;
  case_weight(&w, t, n_in, n_out, 0, &rng);
  float *x = random_x(MAX_TOK, n_in);
  output want = reference_output(&w, x, MAX_TOK, exact);
  myna__cpu_level before = myna__cpu();
  for (int l = 0; l < MYNA__CPU_COUNT; l++) {
    if (!myna__cpu_supported((myna__cpu_level)l)) continue;
    myna__cpu_force((myna__cpu_level)l);
    output all = linear_plain(&w, x, MAX_TOK, exact, 1);
    const bool pairs = (l == MYNA__CPU_AVX512BF16 && myna__bf16_dot()) || l == MYNA__CPU_ARMBF16;
    if (t == MYNA_BF16 && !exact && pairs)
      assert_near_double(&all, &w, x);
    else
      assert_same_rows(&all, &want, exact ? "exact, reference" : "reference", t);
    for (size_t b = 0; b < MYNA__COUNT(batches); b++)
      for (int threads = 1; threads <= 3; threads++) {
        output o = linear_plain(&w, x, batches[b], exact, threads);
        assert_same_rows(&o, &all, "batch or threads", t);
        output_free(&o);
      }
    output_free(&all);
  }
  myna__cpu_force(before);
  output_free(&want);
  free_x(x, MAX_TOK, n_in);
  case_weight_free(&w);
}

/* BF16 with and without VDPBF16PS, whatever this machine would choose. */
static void check_shape(myna_dtype t, int64_t n_in, int64_t n_out, bool exact) {
  if (t == MYNA_BF16 && myna__cpu_supported(MYNA__CPU_AVX512BF16)) {
    myna__cpu_level before = myna__cpu();
    myna__cpu_force(MYNA__CPU_AVX512BF16);
    bool chosen = myna__bf16_dot();
    myna__force_bf16_dot(!chosen);
    check_levels(t, n_in, n_out, exact);
    myna__force_bf16_dot(chosen);
    myna__cpu_force(before);
  }
  check_levels(t, n_in, n_out, exact);
}

static void test_types(void **state) {
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) {
    myna_dtype t = (myna_dtype)i;
    if (!case_type_ok(t)) continue;
    int64_t step = case_step(t);
    if (step == 1) {
      check_shape(t, 1, 1, false);
      check_shape(t, 33, 17, false);
      check_shape(t, 172, 50, false);
      check_shape(t, 512, 97, false);
      check_shape(t, 795, 49, false);
    } else {
      check_shape(t, step, 1, false);
      check_shape(t, step < 256 ? 512 + step : 512, 97, false);
      check_shape(t, step < 256 ? 256 + 3 * step : 1280, 48, false);
    }
  }
}

/* Sums of products at the edge of 16 bits (myna__ptype.narrow): rows of the largest and of the smallest codes, activations
 * whose sums of 16 are just within MYNA__NARROW_MASS, just above it and the largest there are, of one sign or both. */
static void test_narrow(void **state) {
  static const struct {
    myna_dtype type;
    int d, d2; /* offsets of 16-bit scales in a block */
  } all[] = {{MYNA_Q3_K, 108, 108}, {MYNA_Q4_K, 0, 2},  {MYNA_Q5_K, 0, 2},
             {MYNA_Q6_K, 208, 208}, {MYNA_IQ1_S, 0, 0}, {MYNA_IQ3_S, 0, 0}};
  enum { N_IN = 512, N_OUT = 48, N_TOK = 18 };
  static const float value[] = {63, 64, 127};
  const myna__cpu_level before = myna__cpu();
  for (size_t i = 0; i < MYNA__COUNT(all); i++) {
    assert_true(myna__ptype_of(all[i].type, false)->narrow > 0);
    myna__weight w;
    case_weight(&w, all[i].type, N_IN, N_OUT, 0, &rng);
    const int64_t bytes = myna_dtype_bytes(all[i].type);
    for (int64_t r = 0; r < N_OUT; r += 3)
      for (int64_t b = 0; b < N_IN / 256; b++) {
        uint8_t *block = (uint8_t *)(uintptr_t)w.plane[0] + r * w.row_stride[0] + b * bytes;
        const uint16_t one = 0x3c00;
        memset(block, r % 2 ? 0xff : 0, (size_t)bytes);
        memcpy(block + all[i].d, &one, 2);
        memcpy(block + all[i].d2, &one, 2);
      }
    float *x = myna__alloc(sizeof(float) * N_TOK * N_IN);
    for (int t = 0; t < N_TOK; t++)
      for (int k = 0; k < N_IN; k++) {
        float v = k % 256 == 5 ? 127.0f : value[t % 3];
        x[t * N_IN + k] = t % 2 && (t % 4 == 1 || k % 5 == 0) ? -v : v;
      }
    output want = reference_output(&w, x, N_TOK, false);
    for (int l = 0; l < MYNA__CPU_COUNT; l++) {
      if (!myna__cpu_supported((myna__cpu_level)l)) continue;
      myna__cpu_force((myna__cpu_level)l);
      output many = linear_plain(&w, x, N_TOK, false, 1);
      assert_same_rows(&many, &want, "many columns", all[i].type);
      output_free(&many);
      for (int t = 0; t < N_TOK; t++) { /* alone: whether it is narrow does not depend on the others */
        output one = linear_plain(&w, x + t * N_IN, 1, false, 1), row = want;
        row.y = want.y + t * want.ld;
        assert_same_rows(&one, &row, "one column", all[i].type);
        output_free(&one);
      }
    }
    myna__cpu_force(before);
    output_free(&want);
    myna__free(x, sizeof(float) * N_TOK * N_IN);
    case_weight_free(&w);
  }
}

#if defined(__x86_64__) || defined(__aarch64__)
/* Every packed type has kernels of its own at every level above plain C: nothing goes through rows of floats or the
 * reference's panels. Arrays of floats likewise; F64, which no model file uses, goes through rows of floats. */
static void check_coverage(const myna__ktable *ref) {
  const myna__ktable *t = myna__kernels();
  if (myna__cpu() == MYNA__CPU_REF) return;
  for (int i = 0; i < MYNA_DTYPE_COUNT; i++) {
    if (!case_type_ok((myna_dtype)i) || i == MYNA_F64) continue;
    const myna__ptype *p = myna__ptype_of((myna_dtype)i, false);
    if (!p) fail_msg("%s has no panel form", myna_dtype_name((myna_dtype)i));
    bool f32 = p->form == MYNA__FORM_F32;
    if (f32 != (i == MYNA_F32 || i == MYNA_F16)) fail_msg("%s: wrong form", myna_dtype_name((myna_dtype)i));
    bool ok = f32 ? t->unpack_f32[i] != ref->unpack_f32[i] && t->unpack_f32[i] != t->unpack_f32[MYNA_F64] &&
                        t->mul_f32[i] != ref->mul_f32[i] && t->direct_f32[i]
                  : t->unpack[i] != ref->unpack[i] && t->mul[i] != ref->mul[i] && t->direct[i];
    if (!ok)
      fail_msg("%s has no kernels of its own at %s", myna_dtype_name((myna_dtype)i), myna__cpu_name(myna__cpu()));
  }
}
static void test_coverage(void **state) {
  myna__cpu_level before = myna__cpu();
  myna__cpu_force(MYNA__CPU_REF);
  const myna__ktable *ref = myna__kernels();
  for (int l = 0; l < MYNA__CPU_COUNT; l++) {
    if (!myna__cpu_supported((myna__cpu_level)l)) continue;
    myna__cpu_force((myna__cpu_level)l);
    check_coverage(ref);
  }
  myna__cpu_force(before);
}
#else
static void test_coverage(void **state) { skip(); }
#endif

/* MLX's group sizes and scale types. */
static void test_mlx(void **state) {
  const case_mlx_options before = case_mlx;
  const myna_dtype scales[] = {MYNA_F16, MYNA_BF16, MYNA_F32};
  for (size_t i = 0; i < MYNA__COUNT(scales); i++)
    for (int group = 32; group <= 128; group *= 2) {
      case_mlx = (case_mlx_options){group, scales[i]};
      check_shape(MYNA_MLX4, 512, 49, false);
      check_shape(MYNA_MLX4, 256 + group, 17, false);
    }
  case_mlx = before;
}

static void test_exact(void **state) {
  const myna_dtype types[] = {MYNA_F32, MYNA_BF16, MYNA_Q4_0, MYNA_Q8_0, MYNA_Q4_K, MYNA_Q6_K, MYNA_MLX4, MYNA_IQ4_XS};
  for (size_t i = 0; i < MYNA__COUNT(types); i++) check_shape(types[i], 768, 50, true);
}

/* Lists, bias, residual, norm and gate against the same steps one by one. */
static void check_fused(void) {
  enum { N_IN = 512, N_OUT = 70, N_TOK = 9 };
  const myna_dtype types[] = {MYNA_Q4_K, MYNA_Q6_K, MYNA_Q8_0, MYNA_F32, MYNA_BF16, MYNA_Q8_K};
  enum { N_W = MYNA__COUNT(types) };
  const myna__ktable *kt = myna__kernels();
  float norm_w[N_IN], bias[2][N_OUT];
  for (int k = 0; k < N_IN; k++) norm_w[k] = test_float(&rng);
  for (int k = 0; k < N_OUT; k++) bias[0][k] = test_float(&rng), bias[1][k] = test_float(&rng);
  float *x = random_x(N_TOK, N_IN), *xn = random_x(N_TOK, N_IN), *res = random_x(N_TOK, N_OUT);
  for (int t = 0; t < N_TOK; t++) kt->rms_row(xn + t * N_IN, x + t * N_IN, norm_w, 1e-5f, N_IN);
  myna__weight w[N_W];
  output plain[N_W], listed[N_W];
  myna__linear_args a = {.n_w = N_W, .x = x, .ldx = N_IN, .n_tok = N_TOK, .norm_w = norm_w, .norm_eps = 1e-5f};
  for (size_t i = 0; i < N_W; i++) {
    case_weight(&w[i], types[i], N_IN, N_OUT, 0, &rng);
    plain[i] = linear_plain(&w[i], xn, N_TOK, false, 2);
    listed[i] = output_new(N_TOK, N_OUT);
    a.w[i] = &w[i], a.y[i] = listed[i].y, a.ldy[i] = listed[i].ld;
  }
  run(&a, 3);
  for (size_t i = 0; i < N_W; i++) assert_same_rows(&listed[i], &plain[i], "list with norm", types[i]);

  /* y aliases the residual; bias */
  output sum = output_new(N_TOK, N_OUT), want = output_new(N_TOK, N_OUT);
  for (int t = 0; t < N_TOK; t++)
    for (int i = 0; i < N_OUT; i++) {
      sum.y[t * sum.ld + i] = res[t * N_OUT + i];
      want.y[t * want.ld + i] = (plain[1].y[t * plain[1].ld + i] + bias[0][i]) + res[t * N_OUT + i];
    }
  myna__linear_args b = {.n_w = 1,
                         .w = {&w[1]},
                         .bias = {bias[0]},
                         .y = {sum.y},
                         .ldy = {sum.ld},
                         .x = xn,
                         .ldx = N_IN,
                         .n_tok = N_TOK,
                         .residual = sum.y,
                         .ldr = sum.ld};
  run(&b, 2);
  assert_same_rows(&sum, &want, "residual", types[1]);
  output_check_canaries(&sum);

  for (int g = MYNA__GATE_SILU; g <= MYNA__GATE_RELU; g++) {
    output y = output_new(N_TOK, N_OUT);
    for (int t = 0; t < N_TOK; t++) {
      float up[N_OUT], *to = want.y + t * want.ld;
      kt->epilogue(to, plain[0].y + t * plain[0].ld, bias[0], NULL, N_OUT);
      kt->epilogue(up, plain[2].y + t * plain[2].ld, bias[1], NULL, N_OUT);
      kt->gate(to, up, (myna__gate)g, N_OUT);
    }
    myna__linear_args c = {.n_w = 2,
                           .w = {&w[0], &w[2]},
                           .bias = {bias[0], bias[1]},
                           .y = {y.y},
                           .ldy = {y.ld},
                           .x = xn,
                           .ldx = N_IN,
                           .n_tok = N_TOK,
                           .gate = (myna__gate)g};
    run(&c, 3);
    assert_same_rows(&y, &want, "gate", types[0]);
    output_check_canaries(&y);
    output_free(&y);
  }
  output_free(&sum);
  output_free(&want);
  for (size_t i = 0; i < N_W; i++) {
    output_check_canaries(&listed[i]);
    output_free(&plain[i]);
    output_free(&listed[i]);
    case_weight_free(&w[i]);
  }
  free_x(x, N_TOK, N_IN);
  free_x(xn, N_TOK, N_IN);
  free_x(res, N_TOK, N_OUT);
}
static void test_fused(void **state) { each_level(check_fused); }

/* Gathered experts against each expert alone. */
static void check_expert_case(myna_dtype t, int64_t n_tok, bool per_slot, bool separate, myna__gate gate, int threads) {
  enum { N_IN = 256, N_OUT = 50, N_EXPERT = 5, N_USED = 3 };
  myna__weight w[2];
  for (int i = 0; i < 2; i++) case_weight(&w[i], t, N_IN, N_OUT, N_EXPERT, &rng);
  const uint8_t *planes[2][N_EXPERT];
  for (int i = 0; i < 2 && separate; i++) {
    for (int e = 0; e < N_EXPERT; e++) planes[i][e] = w[i].plane[0] + e * w[i].expert_stride[0];
    w[i].expert_plane0 = planes[i];
  }
  int64_t rows = n_tok * N_USED, n_x = per_slot ? rows : n_tok;
  int n_w = 2;
  float *x = random_x(n_x, N_IN), bias[N_EXPERT * N_OUT];
  for (int i = 0; i < N_EXPERT * N_OUT; i++) bias[i] = test_float(&rng);
  int32_t *ids = myna__alloc((size_t)rows * 4);
  for (int64_t i = 0; i < rows; i++) ids[i] = (int32_t)test_int(&rng, N_EXPERT + 2) - 1; /* -1 and 5 are invalid */
  output o[2] = {output_new(rows, N_OUT), output_new(rows, N_OUT)};
  myna__linear_args a = {.n_w = n_w,
                         .w = {&w[0], &w[1]},
                         .bias = {bias},
                         .y = {o[0].y, o[1].y},
                         .ldy = {o[0].ld, o[1].ld},
                         .x = x,
                         .ldx = N_IN,
                         .n_tok = n_tok,
                         .expert_ids = ids,
                         .n_used = N_USED,
                         .x_per_slot = per_slot,
                         .gate = gate};
  run(&a, threads);
  for (int i = 0; i < (gate ? 1 : 2); i++)
    for (int64_t s = 0; s < rows; s++) {
      output want = output_new(1, N_OUT);
      memset(want.y, 0, N_OUT * sizeof(float));
      if (ids[s] >= 0 && ids[s] < N_EXPERT) {
        myna__weight one[2] = {w[0], w[1]};
        for (int j = 0; j < 2; j++) {
          one[j].n_expert = 0;
          one[j].expert_plane0 = NULL;
          for (int p = 0; p < 3; p++)
            if (one[j].plane[p]) one[j].plane[p] += ids[s] * one[j].expert_stride[p];
        }
        myna__linear_args b = {.n_w = gate ? 2 : 1,
                               .w = {&one[i], &one[1]},
                               .bias = {i == 0 ? bias + ids[s] * N_OUT : NULL},
                               .y = {want.y},
                               .ldy = {want.ld},
                               .x = x + (per_slot ? s : s / N_USED) * N_IN,
                               .ldx = N_IN,
                               .n_tok = 1,
                               .gate = gate};
        run(&b, 1);
      }
      output got = {.y = o[i].y + s * o[i].ld, .rows = 1, .n = N_OUT, .ld = o[i].ld};
      assert_same_rows(&got, &want, "experts", t);
      output_free(&want);
    }
  for (int i = 0; i < 2; i++) {
    if (i == 0 || !gate) output_check_canaries(&o[i]);
    output_free(&o[i]);
    case_weight_free(&w[i]);
  }
  free_x(x, n_x, N_IN);
  myna__free(ids, (size_t)rows * 4);
}
static void check_experts(void) {
  const int64_t toks[] = {1, 5, 70};
  for (size_t i = 0; i < MYNA__COUNT(toks); i++)
    for (int threads = 1; threads <= 2; threads++) {
      check_expert_case(MYNA_Q4_K, toks[i], false, false, MYNA__GATE_SILU, threads);
      check_expert_case(MYNA_Q8_0, toks[i], true, true, MYNA__GATE_NONE, threads);
      check_expert_case(MYNA_F32, toks[i], false, true, MYNA__GATE_NONE, threads);
      check_expert_case(MYNA_MLX4, toks[i], true, false, MYNA__GATE_GELU_TANH, threads);
    }
}
static void test_experts(void **state) { each_level(check_experts); }

/* Activation rows of every level equal the reference's, whatever the input. */
static void check_acts(void) {
  const int64_t sizes[] = {1, 31, 32, 172, 256, 800};
  const float special[] = {INFINITY, -INFINITY, NAN, 0x1p-140f, 0x1p-126f, 0x1p-119f, 0x1p-118f, 3e38f, -0.0f};
  const myna__ktable *kt = myna__kernels();
  for (size_t i = 0; i < MYNA__COUNT(sizes); i++)
    for (int s = -1; s < (int)MYNA__COUNT(special); s++) {
      int64_t n = sizes[i];
      float *x = random_x(1, n);
      if (s >= 0) x[test_int(&rng, n)] = special[s];
      if (s >= 3 && s < 7)
        for (int64_t k = 0; k < n; k++) x[k] = test_float(&rng) * special[s];
      const struct {
        myna__form form;
        myna__act act;
        void (*quant)(uint8_t *, const float *, int64_t);
      } all[] = {{MYNA__FORM_BF16, MYNA__ACT_BF16, kt->quant_bf16},
                 {MYNA__FORM_Q32, MYNA__ACT_Q8_32, kt->quant_q32},
                 {MYNA__FORM_Q256, MYNA__ACT_Q8_256, kt->quant_q256}};
      for (size_t f = 0; f < MYNA__COUNT(all); f++) {
        myna__arows lay = myna__arows_layout(all[f].form, n);
        size_t official = myna__act_bytes(all[f].act, n);
        uint8_t *got = myna__alloc(lay.stride + 64), *want = myna__alloc(official);
        memset(got, 0x77, lay.stride + 64);
        memset(want, 0x77, official);
        all[f].quant(got, x, n);
        myna__act_from_f32(all[f].act, want, x, n);
        size_t used = all[f].act == MYNA__ACT_BF16
                          ? (size_t)myna__act_pad(n) * 2
                          : myna__act_sum_offset(all[f].act, n) +
                                (size_t)myna__act_pad(n) / (all[f].act == MYNA__ACT_Q8_32 ? 16 : 8);
        if (memcmp(got, want, used) != 0)
          fail_msg("%s: activation form %d, n %lld, special %d", myna__cpu_name(myna__cpu()), (int)f, (long long)n, s);
        for (int j = 0; j < 64; j++) assert_int_equal(got[lay.stride + (size_t)j], 0x77);
        myna__free(got, lay.stride + 64);
        myna__free(want, official);
      }
      free_x(x, 1, n);
    }
}
static void test_acts(void **state) { each_level(check_acts); }

/* ---- accuracy with outliers: no worse than llama.cpp's activation format for the same type ---- */

/* Blocks of n with one scale, as Q8_0 (n 32, f16 scale, ties away) and Q8_K (n 256, f32 scale of the signed extreme). */
static void q8_like(float *y, const float *x, int64_t n_in, int n, bool half) {
  for (int64_t k = 0; k < n_in; k += n) {
    float extreme = 0;
    for (int j = 0; j < n; j++)
      if (fabsf(x[k + j]) > fabsf(extreme)) extreme = x[k + j];
    float inv = extreme == 0 ? 0 : half ? 127.0f / fabsf(extreme) : -127.0f / extreme;
    float d = extreme == 0 ? 0 : half ? myna__f16_to_f32(myna__f32_to_f16(fabsf(extreme) / 127.0f)) : 1.0f / inv;
    for (int j = 0; j < n; j++) {
      float v = x[k + j] * inv;
      y[k + j] = d * (half ? roundf(v) : fminf(127.0f, rintf(v)));
    }
  }
}
static void llamacpp_activations(float *y, const float *x, int64_t n, myna_dtype t) {
  if (t == MYNA_BF16)
    for (int64_t k = 0; k < n; k++) y[k] = myna__bf16_to_f32(myna__f32_to_bf16(x[k]));
  else if (t == MYNA_F16)
    for (int64_t k = 0; k < n; k++) y[k] = myna__f16_to_f32(myna__f32_to_f16(x[k]));
  else if (t == MYNA_F32)
    memcpy(y, x, (size_t)n * sizeof *y);
  else if (myna_dtype_block(t) < 256)
    q8_like(y, x, n, 32, true);
  else
    q8_like(y, x, n, 256, false);
}

/* Root mean square over outputs of (y - exact) with y in double from given activations, or ours. */
static void check_accuracy(myna_dtype t) {
  enum { N_IN = 2048, N_OUT = 64, N_TOK = 33 };
  myna__weight w;
  case_weight(&w, t, N_IN, N_OUT, 0, &rng);
  float *x = random_x(N_TOK, N_IN), *theirs = random_x(N_TOK, N_IN), *row = random_x(1, N_IN);
  for (int64_t i = 0; i < N_TOK; i++) llamacpp_activations(theirs + i * N_IN, x + i * N_IN, N_IN, t);
  output o = linear_plain(&w, x, N_TOK, false, 2);
  double ours_sq = 0, theirs_sq = 0, mass_sq = 0;
  for (int64_t i = 0; i < N_OUT; i++) {
    myna__wrow r = myna__weight_row(&w, 0, i);
    myna__quant_get(t)->to_f32(row, &r, N_IN);
    for (int64_t s = 0; s < N_TOK; s++) {
      double exact = 0, approx = 0, mass = 0;
      for (int64_t k = 0; k < N_IN; k++) {
        exact += (double)row[k] * (double)x[s * N_IN + k];
        approx += (double)row[k] * (double)theirs[s * N_IN + k];
        mass += fabs((double)row[k] * (double)x[s * N_IN + k]);
      }
      ours_sq += ((double)o.y[s * o.ld + i] - exact) * ((double)o.y[s * o.ld + i] - exact);
      theirs_sq += (approx - exact) * (approx - exact);
      mass_sq += mass * mass;
    }
  }
  print_message("%-8s error ours %.3e, llama.cpp's activations %.3e (relative to sum |ab|)\n", myna_dtype_name(t),
                sqrt(ours_sq / mass_sq), sqrt(theirs_sq / mass_sq));
  /* 2 % for the luck of the draw; fp32 summation noise where theirs is exact */
  if (!(sqrt(ours_sq) <= 1.02 * sqrt(theirs_sq) + 1e-6 * sqrt(mass_sq)))
    fail_msg("%s is less accurate than llama.cpp", myna_dtype_name(t));
  output_free(&o);
  free_x(x, N_TOK, N_IN);
  free_x(theirs, N_TOK, N_IN);
  free_x(row, 1, N_IN);
  case_weight_free(&w);
}
static void test_accuracy(void **state) {
  const myna_dtype types[] = {MYNA_F32,     MYNA_F16,   MYNA_BF16,  MYNA_Q4_0,  MYNA_Q4_1,    MYNA_Q5_0,   MYNA_Q5_1,
                              MYNA_Q8_0,    MYNA_MLX4,  MYNA_Q2_K,  MYNA_Q3_K,  MYNA_Q4_K,    MYNA_Q5_K,   MYNA_Q6_K,
                              MYNA_IQ4_NL,  MYNA_MXFP4, MYNA_NVFP4, MYNA_Q1_0,  MYNA_Q2_0,    MYNA_Q8_1,   MYNA_Q8_K,
                              MYNA_TQ1_0,   MYNA_TQ2_0, MYNA_IQ1_S, MYNA_IQ1_M, MYNA_IQ2_XXS, MYNA_IQ2_XS, MYNA_IQ2_S,
                              MYNA_IQ3_XXS, MYNA_IQ3_S, MYNA_IQ4_XS};
  for (size_t i = 0; i < MYNA__COUNT(types); i++) check_accuracy(types[i]);
}

/* ---- elementary functions ---- */

static float through_gate(myna__gate g, float x) {
  float one = 1.0f;
  myna__kernels()->gate(&x, &one, g, 1);
  return x;
}
/* Relative error, absolute below the smallest normal. */
static double rel(float got, double want) { return fabs((double)got - want) / fmax(fabs(want), 1e-37); }

static void test_math(void **state) {
  double worst[6] = {0};
  for (int i = -2000000; i <= 2000000; i++) {
    float x = (float)i * 44e-6f;
    double d = (double)x;
    if (x > -87.3f) worst[0] = fmax(worst[0], rel(myna__exp(x), exp(d)));
    worst[1] = fmax(worst[1], fabs((double)myna__erf(x) - erf(d)));
    worst[2] = fmax(worst[2], rel(myna__tanh(x), tanh(d)));
    if (x > -80.0f) worst[3] = fmax(worst[3], rel(myna__silu(x), d / (1 + exp(-d))));
    double u = 0.7978845608028654 * (d + 0.044715 * d * d * d);
    worst[4] = fmax(worst[4], fabs((double)myna__gelu_tanh(x) - 0.5 * d * (1 + tanh(u))) / fmax(1.0, fabs(d)));
    worst[5] = fmax(worst[5],
                    fabs((double)myna__gelu_erf(x) - 0.5 * d * (1 + erf(d * 0.7071067811865476))) / fmax(1.0, fabs(d)));
  }
  print_message("errors: exp %.2e erf %.2e tanh %.2e silu %.2e gelu_tanh %.2e gelu_erf %.2e\n", worst[0], worst[1],
                worst[2], worst[3], worst[4], worst[5]);
  for (int i = 0; i < 6; i++) assert_true(worst[i] < 4e-7);
  assert_true(myna__exp(-INFINITY) == 0 && myna__exp(-100.0f) == 0 && myna__exp(INFINITY) == INFINITY &&
              myna__exp(89.0f) == INFINITY);
  assert_true(isnan(myna__exp(NAN)) && isnan(myna__erf(NAN)) && isnan(myna__tanh(NAN)));
  assert_true(myna__erf(INFINITY) == 1 && myna__tanh(-INFINITY) == -1 && myna__silu(-INFINITY) != 0 /* inf * 0 */);
}

static void test_math_levels(void **state) {
  enum { N = 1000 };
  static float want[5][N], x[N], one[N];
  for (int i = 0; i < N; i++) x[i] = test_normal(&rng) * (i % 7 == 0 ? 40.0f : 2.0f), one[i] = 1.0f;
  x[0] = 0.0f, x[1] = -0.0f, x[2] = 88.8f, x[3] = -88.8f, x[4] = 1e-30f, x[5] = -1e30f;
  for (int g = 1; g < 5; g++)
    for (int i = 0; i < N; i++) want[g][i] = x[i];
  myna__cpu_level before = myna__cpu();
  myna__cpu_force(MYNA__CPU_REF);
  for (int g = 1; g < 5; g++)
    for (int i = 0; i < N; i++) want[g][i] = through_gate((myna__gate)g, x[i]);
  for (int l = 0; l < MYNA__CPU_COUNT; l++) {
    if (!myna__cpu_supported((myna__cpu_level)l)) continue;
    myna__cpu_force((myna__cpu_level)l);
    for (int g = 1; g < 5; g++) {
      float got[N];
      memcpy(got, x, sizeof x);
      myna__kernels()->gate(got, one, (myna__gate)g, N);
      for (int i = 0; i < N; i++)
        if (bits(got[i]) != bits(want[g][i]))
          fail_msg("%s: gate %d of %.9g: %.9g, not %.9g", myna__cpu_name((myna__cpu_level)l), g, (double)x[i],
                   (double)got[i], (double)want[g][i]);
    }
    float sums[2];
    for (int s = 0; s < 2; s++) {
      float y[N];
      myna__cpu_force(s ? (myna__cpu_level)l : MYNA__CPU_REF);
      memcpy(y, want[1], sizeof y);
      myna__kernels()->rms_row(y, y, x, 1e-5f, N - 5);
      sums[s] = y[17];
    }
    assert_true(bits(sums[0]) == bits(sums[1]));
  }
  myna__cpu_force(before);
}

/* ---- embedding ---- */

static void test_embed(void **state) {
  enum { N_IN = 256, ROWS = 9, N = 20 };
  const myna_dtype types[] = {MYNA_F32, MYNA_F16, MYNA_Q4_K, MYNA_MLX4};
  for (size_t i = 0; i < MYNA__COUNT(types); i++) {
    myna__weight w;
    case_weight(&w, types[i], N_IN, ROWS, 0, &rng);
    int32_t ids[N];
    for (int j = 0; j < N; j++) ids[j] = (int32_t)test_int(&rng, ROWS + 2) - 1;
    output o = output_new(N, N_IN);
    myna__embed(o.y, o.ld, &w, ids, N, 2.5f, pools[2]);
    for (int j = 0; j < N; j++) {
      float row[N_IN] = {0};
      if (ids[j] >= 0 && ids[j] < ROWS) {
        myna__wrow r = myna__weight_row(&w, 0, ids[j]);
        myna__quant_get(types[i])->to_f32(row, &r, N_IN);
      }
      for (int k = 0; k < N_IN; k++) assert_true(bits(o.y[j * o.ld + k]) == bits(row[k] * 2.5f));
    }
    output_check_canaries(&o);
    output_free(&o);
    case_weight_free(&w);
  }
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--bench") == 0) return bench_linear(argc - 2, argv + 2);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_coverage), cmocka_unit_test(test_types),       cmocka_unit_test(test_narrow),
      cmocka_unit_test(test_mlx),      cmocka_unit_test(test_exact),       cmocka_unit_test(test_fused),
      cmocka_unit_test(test_experts),  cmocka_unit_test(test_acts),        cmocka_unit_test(test_accuracy),
      cmocka_unit_test(test_math),     cmocka_unit_test(test_math_levels), cmocka_unit_test(test_embed),
  };
  rng = test_rng_new(20241121);
  for (int t = 2; t <= 3; t++)
    if (myna__pool_new(&pools[t], t, false, NULL) < 0) return 1;
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  for (int t = 2; t <= 3; t++) myna__pool_free(pools[t]);
  return rc;
}
