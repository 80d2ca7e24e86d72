/* train_small.c: a small network learns two interleaved spirals, with lazy arrays alone: forward, myna_grad, Adam written
 * with ops, scopes to drop what a step made and myna_keep for what stays. Succeeds when the loss has fallen far enough. */
#include "myna_array.h"
#include <math.h>
#include <stdio.h>

enum { POINTS = 256, HIDDEN = 48, N_PARAM = 6, STEPS = 400 };

/* Two spirals, POINTS / 2 each: x [POINTS, 2], target [POINTS]. */
static void make_spirals(float x[POINTS][2], int32_t target[POINTS]) {
  for (int i = 0; i < POINTS; i++) {
    double r = (double)(i / 2) / (POINTS / 2), angle = 9 * r + (i % 2) * 3.14159265;
    x[i][0] = (float)(r * cos(angle));
    x[i][1] = (float)(r * sin(angle));
    target[i] = i % 2;
  }
}

/* p: weights and biases in turn. */
static myna_array *loss_of(myna_ctx *c, myna_array *x, myna_array *target, myna_array *const *p) {
  for (int i = 0; i + 2 < N_PARAM; i += 2) x = myna_gelu(c, myna_linear(c, x, p[i], p[i + 1]));
  return myna_cross_entropy(c, myna_linear(c, x, p[N_PARAM - 2], p[N_PARAM - 1]), target);
}

/* One step of Adam (Kingma and Ba 2015) for one parameter: new parameter and moments as lazy arrays. */
static void adam(myna_ctx *c, int step, myna_array *g, myna_array **p, myna_array **m, myna_array **v) {
  const double rate = 0.01, b1 = 0.9, b2 = 0.99;
  *m = myna_add(c, myna_scale(c, *m, b1), myna_scale(c, g, 1 - b1));
  *v = myna_add(c, myna_scale(c, *v, b2), myna_scale(c, myna_square(c, g), 1 - b2));
  myna_array *size = myna_offset(c, myna_sqrt(c, myna_scale(c, *v, 1 / (1 - pow(b2, step)))), 1e-8);
  *p = myna_sub(c, *p, myna_div(c, myna_scale(c, *m, rate / (1 - pow(b1, step))), size));
}

int main(void) {
  static const int64_t shapes[N_PARAM][2] = {{HIDDEN, 2}, {HIDDEN}, {HIDDEN, HIDDEN}, {HIDDEN}, {2, HIDDEN}, {2}};
  static float points[POINTS][2];
  static int32_t targets[POINTS];
  myna_array *state[3 * N_PARAM]; /* parameters, first moments, second moments */
  myna_ctx *c;
  myna_err err = {0};
  double loss = 0;
  if (myna_ctx_new(&c, NULL, &err) < 0) return fprintf(stderr, "%s\n", err.msg), 1;
  make_spirals(points, targets);
  myna_array *x = myna_view(c, MYNA_F32, (int64_t[]){POINTS, 2}, 2, points);
  myna_array *target = myna_view(c, MYNA_I32, (int64_t[]){POINTS}, 1, targets);
  for (int i = 0; i < N_PARAM; i++) {
    int n = i % 2 ? 1 : 2; /* weights have two dimensions and start random, biases start at zero */
    double spread = n == 2 ? 1.5 / sqrt((double)shapes[i][1]) : 0;
    state[i] = myna_keep(myna_random_normal(c, (uint64_t)i + 1, shapes[i], n, 0, spread));
    for (int k = 1; k < 3; k++) state[k * N_PARAM + i] = myna_keep(myna_zeros(c, MYNA_F32, shapes[i], n));
  }
  for (int step = 1; step <= STEPS; step++) {
    myna_array *grads[N_PARAM], *next[3 * N_PARAM + 1];
    myna_scope_begin(c); /* what a step makes ends with it */
    myna_array *value = next[3 * N_PARAM] = loss_of(c, x, target, state);
    myna_grad(c, value, state, N_PARAM, grads);
    for (int i = 0; i < 3 * N_PARAM; i++) next[i] = state[i];
    for (int i = 0; i < N_PARAM; i++) adam(c, step, grads[i], &next[i], &next[N_PARAM + i], &next[2 * N_PARAM + i]);
    if (myna_eval(c, next, 3 * N_PARAM + 1, &err) < 0) return fprintf(stderr, "%s\n", err.msg), 1;
    loss = myna_item(value, &err);
    for (int i = 0; i < 3 * N_PARAM; i++) { /* the new state stays, the old one goes */
      myna_release(state[i]);
      state[i] = myna_keep(next[i]);
    }
    myna_scope_end(c);
    if (step == 1 || step % 50 == 0) printf("step %3d  loss %.4f\n", step, loss);
  }
  myna_ctx_free(c);
  return loss < 0.05 ? 0 : 1;
}
