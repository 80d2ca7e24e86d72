/* matmul.c: [..., m, k] x [..., k, n], batches broadcast. F32 and F64; F16 and BF16 go through F32.
 *
 * F32 runs the linear kernel: b transposed to rows of k where it does not lie so already, then per batch (or once, when
 * b has no batch) y = a rows times b rows. So the result has the bits of `linear`. F64 is a plain loop. */
#include "graph/build.h"

static int batch_dims(const myna__spec *a, const myna__spec *b, myna__spec *out, myna_err *err) {
  myna__spec x = *a, y = *b;
  x.n_dims -= 2;
  y.n_dims -= 2;
  return myna__spec_broadcast(&x, &y, out, err);
}

static int shape(const myna__node *n, myna__spec *out, myna_err *err) {
  const myna__spec *a = &n->in[0]->spec, *b = &n->in[1]->spec;
  char ta[128], tb[128];
  if (a->type != b->type || (a->type != MYNA_F32 && a->type != MYNA_F64))
    return myna__err(err, MYNA_E_DTYPE, "operands are %s and %s, float arrays are needed", myna_dtype_name(a->type),
                     myna_dtype_name(b->type));
  if (a->n_dims < 2 || b->n_dims < 2) return myna__err(err, MYNA_E_SHAPE, "operands need two dimensions");
  int64_t k = a->dims[a->n_dims - 1];
  if (k != b->dims[b->n_dims - 2])
    return myna__err(err, MYNA_E_SHAPE, "%s times %s: inner dimensions differ", myna__spec_text(a, ta, sizeof ta),
                     myna__spec_text(b, tb, sizeof tb));
  if (k < 0 || b->dims[b->n_dims - 1] < 0)
    return myna__err(err, MYNA_E_SHAPE, "%s times %s: only rows of the first may be symbolic",
                     myna__spec_text(a, ta, sizeof ta), myna__spec_text(b, tb, sizeof tb));
  TRY(batch_dims(a, b, out, err));
  out->type = a->type;
  out->dims[out->n_dims++] = a->dims[a->n_dims - 2];
  out->dims[out->n_dims++] = b->dims[b->n_dims - 1];
  return 0;
}

/* ---- one matrix at a time ---- */

typedef struct matrices {
  int64_t m, n, k, batch;
  int64_t a_row, a_col, b_row, b_col; /* bytes */
  bool shared;                        /* b has no batch and a's rows lie evenly: one product of all of them */
  bool a_rows, b_rows;                /* adjacent along k */
} matrices;

static bool has_batch(const myna__tensor *t) {
  for (int d = 0; d < t->n_dims - 2; d++)
    if (t->shape[d] != 1) return true;
  return false;
}

/* a's batch axes continue its rows. */
static bool rows_continue(const myna__tensor *a) {
  int64_t expect = a->stride[a->n_dims - 2] * a->shape[a->n_dims - 2];
  for (int d = a->n_dims - 3; d >= 0; d--) {
    if (a->shape[d] == 1) continue;
    if (a->stride[d] != expect) return false;
    expect *= a->shape[d];
  }
  return true;
}

static matrices measure(const myna__run *r) {
  const myna__tensor *a = &r->in[0], *b = &r->in[1], *y = &r->out[0];
  int i = a->n_dims, j = b->n_dims;
  int64_t bytes = myna_dtype_bytes(a->type);
  matrices s = {.m = a->shape[i - 2], .n = b->shape[j - 1], .k = a->shape[i - 1]};
  s.a_row = a->stride[i - 2];
  s.a_col = a->stride[i - 1];
  s.b_row = b->stride[j - 2];
  s.b_col = b->stride[j - 1];
  s.batch = myna__shape_size(y->shape, y->n_dims - 2);
  s.a_rows = s.a_col == bytes || s.k == 1;
  s.b_rows = s.b_row == bytes || s.k == 1;
  s.shared = !has_batch(b) && s.a_rows && rows_continue(a);
  if (s.shared) {
    s.m *= s.batch;
    s.batch = 1;
  }
  return s;
}

/* Start of the matrix of t that batch `u` of the result uses. */
static uint8_t *matrix_of(const myna__tensor *t, const myna__tensor *y, int64_t u) {
  uint8_t *p = t->data;
  for (int d = y->n_dims - 3; d >= 0; d--) {
    int i = d - (y->n_dims - t->n_dims);
    if (i >= 0 && t->shape[i] != 1) p += u % y->shape[d] * t->stride[i];
    u /= y->shape[d];
  }
  return p;
}

static void product_f64(const matrices *s, double *y, const uint8_t *a, const uint8_t *b) {
  for (int64_t i = 0; i < s->m; i++)
    for (int64_t j = 0; j < s->n; j++) {
      double sum = 0;
      for (int64_t l = 0; l < s->k; l++)
        sum += *(const double *)(const void *)(a + i * s->a_row + l * s->a_col) *
               *(const double *)(const void *)(b + l * s->b_row + j * s->b_col);
      y[i * s->n + j] = sum;
    }
}

/* ---- F32 through the linear kernel ---- */

/* Per worker: packed rows of a, packed rows of b, the kernel's scratch. */
typedef struct layout {
  size_t a, b, kernel, total;
} layout;

static size_t up64(size_t n) { return (n + 63) & ~(size_t)63; }

static layout lay_out(const matrices *s, int n_threads) {
  myna__weight w = {.type = MYNA_F32, .n_in = s->k, .n_out = s->n};
  myna__linear_args args = {.n_w = 1, .w = {&w}, .exact = true};
  layout l;
  l.a = s->a_rows ? 0 : up64((size_t)(s->m * s->k) * sizeof(float));
  l.b = s->b_rows ? 0 : up64((size_t)(s->n * s->k) * sizeof(float));
  l.kernel = s->m > 0 && s->k > 0 ? up64(myna__linear_scratch(&args, s->m, n_threads)) : 0;
  l.total = l.a + l.b + l.kernel;
  return l;
}

/* [rows, cols] with any strides to adjacent rows, in tiles that stay in L1. */
static void pack(float *y, const uint8_t *x, int64_t rows, int64_t cols, int64_t row_step, int64_t col_step) {
  enum { TILE = 16 };
  for (int64_t i0 = 0; i0 < rows; i0 += TILE)
    for (int64_t j0 = 0; j0 < cols; j0 += TILE)
      for (int64_t i = i0; i < MYNA__MIN(i0 + TILE, rows); i++)
        for (int64_t j = j0; j < MYNA__MIN(j0 + TILE, cols); j++)
          y[i * cols + j] = *(const float *)(const void *)(x + i * row_step + j * col_step);
}

static void product_f32(const matrices *s, float *y, const uint8_t *a, const uint8_t *b, uint8_t *scratch,
                        const layout *l, myna__pool *pool) {
  if (s->k == 0) {
    memset(y, 0, (size_t)(s->m * s->n) * sizeof *y);
    return;
  }
  int64_t a_row = s->a_row, b_row = s->b_col;
  if (!s->a_rows) {
    pack((float *)(void *)scratch, a, s->m, s->k, s->a_row, s->a_col);
    a = scratch;
    a_row = s->k * 4;
  }
  if (!s->b_rows) {
    pack((float *)(void *)(scratch + l->a), b, s->n, s->k, s->b_col, s->b_row);
    b = scratch + l->a;
    b_row = s->k * 4;
  }
  myna__weight w = {.type = MYNA_F32, .n_in = s->k, .n_out = s->n, .plane = {b}, .row_stride = {b_row}};
  myna__linear_args args = {.n_w = 1, .w = {&w}, .exact = true, .y = {y}, .ldy = {s->n}, .n_tok = s->m};
  args.x = (const float *)(const void *)a;
  args.ldx = a_row / 4;
  myna__linear(&args, scratch + l->a + l->b, pool);
}

/* ---- batches ---- */

typedef struct job {
  const myna__run *r;
  matrices s;
  layout l;
} job;

static void unit(void *arg, int64_t u, int worker) {
  const job *j = arg;
  const myna__run *r = j->r;
  const uint8_t *a = matrix_of(&r->in[0], &r->out[0], u), *b = matrix_of(&r->in[1], &r->out[0], u);
  uint8_t *y = r->out[0].data + u * j->s.m * j->s.n * myna_dtype_bytes(r->out[0].type);
  if (r->out[0].type == MYNA_F64)
    product_f64(&j->s, (double *)(void *)y, a, b);
  else
    product_f32(&j->s, (float *)(void *)y, a, b, (uint8_t *)r->scratch + (size_t)worker * j->l.total, &j->l, NULL);
}

static void run(const myna__run *r) {
  enum { FEW = 32 * 1024 }; /* multiplications */
  job j = {.r = r, .s = measure(r)};
  bool f64 = r->out[0].type == MYNA_F64;
  if (j.s.batch == 1 && !f64) { /* the kernel splits it */
    j.l = lay_out(&j.s, myna__pool_size(r->pool));
    product_f32(&j.s, (float *)(void *)r->out[0].data, r->in[0].data, r->in[1].data, r->scratch, &j.l, r->pool);
    return;
  }
  if (!f64) j.l = lay_out(&j.s, 1);
  bool few = j.s.batch * j.s.m * j.s.n * j.s.k <= FEW;
  myna__pool_run(few ? NULL : r->pool, j.s.batch, unit, &j);
}

/* Which way a run goes may depend on symbols (a batch of one is shared), so this is the most of all ways. */
static size_t scratch(const myna__run *r, int n_threads) {
  if (r->out[0].type == MYNA_F64) return 0;
  matrices s = measure(r), merged = s;
  if (s.a_rows) merged.m *= merged.batch;
  size_t one = lay_out(&s, n_threads).total, each = lay_out(&s, 1).total * (size_t)n_threads;
  return MYNA__MAX(MYNA__MAX(one, each), lay_out(&merged, n_threads).total);
}

/* ---- gradient, public ---- */

static int vjp(myna_ctx *c, const myna__node *n, myna_array *const *cot, const bool *want, myna_array **grads) {
  myna_array *a = n->in[0], *b = n->in[1];
  if (want[0]) grads[0] = myna__unbroadcast(c, myna_matmul(c, cot[0], myna_swapaxes(c, b, -1, -2)), &a->spec);
  if (want[1]) grads[1] = myna__unbroadcast(c, myna_matmul(c, myna_swapaxes(c, a, -1, -2), cot[0]), &b->spec);
  return c->err.code;
}

const myna__op myna__op_matmul = {
    .name = "matmul", .flags = MYNA__OP_STRIDED, .shape = shape, .run = run, .scratch = scratch, .vjp = vjp};

myna_array *myna_matmul(myna_ctx *c, myna_array *a, myna_array *b) {
  if (!a || !b || c->err.code) return myna__apply1(c, &myna__op_matmul, (myna_array *[]){a, b}, 2, NULL, 0);
  bool a_vector = a->spec.n_dims == 1, b_vector = b->spec.n_dims == 1;
  if (a->spec.n_dims == 0 || b->spec.n_dims == 0)
    return myna__fail(c, MYNA_E_SHAPE, "matmul", "operand %d has no dimensions", a->spec.n_dims != 0);
  myna_dtype t = myna__dtype_promote(a->spec.type, b->spec.type), computing = t == MYNA_F64 ? MYNA_F64 : MYNA_F32;
  for (int i = 0; i < 2; i++) {
    myna_dtype given = (i ? b : a)->spec.type;
    if (!myna__dtype_is_float(given))
      return myna__fail(c, MYNA_E_DTYPE, "matmul", "operand %d is %s, a float array is needed", i,
                        myna_dtype_name(given));
  }
  a = myna_astype(c, a, computing);
  b = myna_astype(c, b, computing);
  if (a_vector) a = myna_expand_dims(c, a, 0);
  if (b_vector) b = myna_expand_dims(c, b, 1);
  myna_array *y = myna__apply1(c, &myna__op_matmul, (myna_array *[]){a, b}, 2, NULL, 0);
  if (a_vector) y = myna_squeeze(c, y, -2);
  if (b_vector) y = myna_squeeze(c, y, -1);
  return myna_astype(c, y, t);
}
