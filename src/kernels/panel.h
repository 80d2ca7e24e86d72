/* panel.h: the common panel forms: what every storage type is unpacked into and every multiply reads.
 *
 * A strip is 16 output rows, one per lane; a block is 256 k (the last of a row may be shorter). A panel holds
 * one strip x one block. One unpack per (storage type, CPU level) writes it; one multiply per (form, CPU level)
 * reads it, whatever the number of columns (activation rows):
 *
 *   form   codes                      per group                                        activation row
 *   F32    float w[k][16]                                                              float x[n]
 *   BF16   u16 w[k/2][16][2]                                                           u16 x[n], padded with zeros
 *   Q32    u8 code[k/4][16][4]        float d[16] (and min m[16]) per 32               Q8_32
 *   Q256   u8 code[k/4][16][4]        int scale[16] per 16 or 32, int16 mins; d, dmin  Q8_256
 *
 * Codes are unsigned: a type's signed code is code - 2^shift, and the offset comes off in int32 through the sums
 * of the activation codes (exact). Invariants: panels are 64-byte aligned; a panel of n < 256 holds only its
 * first n k; the driver copies the rows of a last strip of fewer than 16, so an unpack always has 16 to read. */
#ifndef MYNA__PANEL_H
#define MYNA__PANEL_H

#include "kernels/quants.h"

enum { MYNA__STRIP = 16, MYNA__KBLOCK = 256, MYNA__GRAIN = 3 /* strips multiplied together */ };

typedef enum myna__form {
  MYNA__FORM_F32,
  MYNA__FORM_BF16,
  MYNA__FORM_Q32,
  MYNA__FORM_Q256,
  MYNA__FORM_COUNT
} myna__form;

typedef struct myna__panel_f32 {
  _Alignas(64) float w[256][16];
} myna__panel_f32;
typedef struct myna__panel_bf16 {
  _Alignas(64) uint16_t w[128][16][2]; /* odd n: the last pair's second element is 0 */
} myna__panel_bf16;
typedef struct myna__panel_q32 {
  _Alignas(64) uint8_t code[64][16][4];
  float d[8][16], m[8][16]; /* m: read of types with min or with 16 groups */
} myna__panel_q32;
typedef struct myna__panel_q256 {
  _Alignas(64) uint8_t code[64][16][4];
  int32_t scale[16][16]; /* [group], see myna__ptype.narrow */
  int16_t min[8][16][2]; /* [pair of groups]; where codes have an offset a level may keep the scales here */
  float d[16], dmin[16];
} myna__panel_q256;

static inline size_t myna__panel_bytes(myna__form f) {
  static const size_t bytes[] = {sizeof(myna__panel_f32), sizeof(myna__panel_bf16), sizeof(myna__panel_q32),
                                 sizeof(myna__panel_q256)};
  return bytes[f];
}

/* How a type lies in its form: rows in panels.inc. */
typedef struct myna__ptype {
  myna_dtype type;
  myna__form form;
  int shift; /* Q32, Q256: codes are offset by 2^shift; -1: not at all */
  int groups; /* scales per 256. Q32: 8; 16: d of the first 16 of each 32, m of the others. Q256: 8 or 16; 1: the codes hold
               * them (code times scale where that fits a byte) */
  bool min; /* Q32: m per group is added; Q256: dmin * mins is subtracted (one min per scale; groups 1: 16) */
  int narrow; /* Q256: k whose sum of products fits 16 bits where no 16 activation codes have a larger sum of magnitudes than
               * MYNA__NARROW_MASS; 0: never. Such scales lie in the low half of their dword, the high one is 0 */
} myna__ptype;

/* The same as constants, for kernels that are made for one type. */
#define PANEL(type, form, shift, groups, min, narrow) \
  enum {                                              \
    MYNA__FORM_OF_##type = MYNA__FORM_##form,         \
    MYNA__SHIFT_##type = shift,                       \
    MYNA__GROUPS_##type = groups,                     \
    MYNA__MIN_##type = min,                           \
    MYNA__NARROW_##type = narrow                      \
  };
#include "kernels/panels.inc"
#undef PANEL

/* The panel row for the inference plan or, when exact, the F32 form of the same type. NULL: no panel form, the
 * reference dot is used (types whose activation format is integer but that have no row). */
const myna__ptype *myna__ptype_of(myna_dtype t, bool exact);

/* The row from element k on; k a multiple of the block and of the group. */
myna__wrow myna__wrow_at(const myna__wrow *w, myna_dtype t, int64_t k);

/* The 16 rows of a strip: plane i of row r at p[i] + r * stride[i]. */
typedef struct myna__rows {
  const uint8_t *p[4];
  int64_t stride[4];
  int group;
  myna_dtype scale_type;
} myna__rows;

static inline myna__wrow myna__rows_get(const myna__rows *s, int r) {
  myna__wrow w = {.group = s->group, .scale_type = s->scale_type};
  for (int i = 0; i < 4; i++) w.p[i] = s->p[i] ? s->p[i] + r * s->stride[i] : NULL;
  return w;
}

/* Unpacks the strip at k in [k0, k0 + n), n <= 256, k0 a multiple of 256, into one panel. What it reads the multiply before it
 * has fetched. */
typedef void myna__unpack_fn(void *panel, const myna__ptype *t, const myna__rows *rows, int64_t k0, int n);

/* Activation rows in kernel layout: the row of quants.h, then the planes that multiplies want ready-made:
 *   Q32   int32 nsum16[pad/16]: minus the sum of 16 codes | int32 nsum[pad/32]: of 32
 *   Q256  int32 nsum[pad/16]: minus the sum of 16 codes | int16 sum32[pad/32] | int32 mass[pad/256]: at least the largest sum
 *         of magnitudes of 16 codes in the block and at most MYNA__NARROW_MASS if that is */
enum { MYNA__NARROW_MASS = 1023 }; /* all ones: a bitwise or of masses is not above it if none is */
typedef struct myna__arows {
  const uint8_t *row; /* [n_col] */
  size_t stride;
  size_t d, sum, nsum, nsum16, sum32, mass; /* offsets of planes within a row */
} myna__arows;

/* Sets stride and plane offsets for rows of n. */
static inline myna__arows myna__arows_layout(myna__form f, int64_t n) {
  static const myna__act act[] = {MYNA__ACT_F32, MYNA__ACT_BF16, MYNA__ACT_Q8_32, MYNA__ACT_Q8_256};
  size_t pad = (size_t)myna__act_pad(n);
  myna__arows a = {.stride = myna__act_bytes(act[f], n), .d = myna__act_d_offset(n)};
  if (f >= MYNA__FORM_Q32) a.sum = myna__act_sum_offset(act[f], n);
  a.nsum = a.nsum16 = a.stride;
  if (f == MYNA__FORM_Q32) {
    a.nsum += pad / 16 * 4;
    a.stride = a.nsum + pad / 32 * 4;
  }
  if (f == MYNA__FORM_Q256) {
    a.sum32 = a.nsum + pad / 16 * 4;
    a.mass = a.sum32 + pad / 32 * 2;
    a.stride = a.mass + pad / 256 * 4;
  }
  a.stride = (a.stride + 63) & ~(size_t)63;
  return a;
}

enum { MYNA__FETCH_RUN = 128 }; /* bytes, see myna__mul.next */

/* acc[c][16 s + lane] += strips x columns over k in [k0, k0 + n). */
typedef struct myna__mul {
  const myna__ptype *type;
  const uint8_t *panel; /* [blocks of n][n_strip] */
  int n_strip;          /* 1..MYNA__GRAIN */
  int64_t k0, n;
  myna__arows act;
  int64_t n_col;
  float *acc; /* [n_col][ld_acc], 64-byte aligned */
  int64_t ld_acc;
  /* What a later unpack reads: `next_rows` runs of `next_bytes`, next_stride apart. Fetched while this works: the unpack
   * alone is too short to wait for memory. Where it is one run it is given in runs of MYNA__FETCH_RUN. */
  const uint8_t *next;
  int64_t next_stride;
  int next_rows, next_bytes;
} myna__mul;
typedef void myna__mul_fn(const myna__mul *m);

/* Few columns times strips that follow each other, without a panel. acc[c][16 s + lane] = the sum over the first k of n;
 * returns k: a multiple of what the kernel reads at once; the rest goes through a panel. 0: too many columns for it. */
enum { MYNA__DIRECT_COLS = 8 };
typedef struct myna__direct {
  myna__rows rows; /* of the first strip */
  int n_strip;
  int n_col; /* 1..MYNA__DIRECT_COLS */
  myna__arows act;
  int64_t n;
  float *acc;
  int64_t ld_acc;
} myna__direct;
typedef int64_t myna__direct_fn(const myna__direct *d);

/* The n-th strip from here. */
static inline myna__rows myna__rows_skip(const myna__rows *s, int n) {
  myna__rows r = *s;
  for (int i = 0; i < 4; i++)
    if (r.p[i]) r.p[i] += n * MYNA__STRIP * r.stride[i];
  return r;
}

#endif
