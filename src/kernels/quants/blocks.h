/* blocks.h: the block structs of every packed storage type, as they lie in files.
 *
 * Owns: sizes and byte order of fields; the bits inside a field are drawn in the type's own NAME.c. Stands
 * apart from those files because SIMD kernels read the same blocks.
 * Invariants: alignment 1 (planes of mapped files are not aligned), little endian, no padding; the size of
 * each struct equals its row in myna_dtypes.inc.
 * Source: the GGUF block formats of ggml (layout facts only). */
#ifndef MYNA__QUANTS_BLOCKS_H
#define MYNA__QUANTS_BLOCKS_H

#include <assert.h>
#include <stdint.h>

/* An IEEE binary16 as it lies in a file: widen with myna__f16_to_f32. */
typedef uint16_t myna__half;

#define MYNA__PACKED __attribute__((packed, aligned(1)))

/* clang-format off */

/* ---- 32 per block, one float scale ---- */

typedef struct MYNA__PACKED { myna__half d; uint8_t qs[16]; } myna__block_q4_0;               /* d * (q - 8) */
typedef struct MYNA__PACKED { myna__half d, m; uint8_t qs[16]; } myna__block_q4_1;            /* d * q + m */
typedef struct MYNA__PACKED { myna__half d; uint8_t qh[4]; uint8_t qs[16]; } myna__block_q5_0; /* d * (q - 16) */
typedef struct MYNA__PACKED { myna__half d, m; uint8_t qh[4]; uint8_t qs[16]; } myna__block_q5_1; /* d * q + m */
typedef struct MYNA__PACKED { myna__half d; int8_t qs[32]; } myna__block_q8_0;                /* d * q */
typedef struct MYNA__PACKED { myna__half d, s; int8_t qs[32]; } myna__block_q8_1;             /* d * q; s = d * sum q */
typedef struct MYNA__PACKED { myna__half d; uint8_t qs[16]; } myna__block_iq4_nl;             /* d * table[q] */
typedef struct MYNA__PACKED { uint8_t e; uint8_t qs[16]; } myna__block_mxfp4;                 /* 2^(e-127) * e2m1(q) */

/* ---- 64 and 128 per block ---- */

typedef struct MYNA__PACKED { uint8_t d[4]; uint8_t qs[32]; } myna__block_nvfp4;              /* ue4m3(d[j/16]) * e2m1(q) */
typedef struct MYNA__PACKED { myna__half d; uint8_t qs[16]; } myna__block_q2_0;               /* d * (q - 1) */
typedef struct MYNA__PACKED { myna__half d; uint8_t qs[16]; } myna__block_q1_0;               /* q ? d : -d */

/* ---- k-quants: 256 per block, integer sub-scales ---- */

typedef struct MYNA__PACKED { uint8_t scales[16]; uint8_t qs[64]; myna__half d, dmin; } myna__block_q2_k;
typedef struct MYNA__PACKED { uint8_t hmask[32]; uint8_t qs[64]; uint8_t scales[12]; myna__half d; } myna__block_q3_k;
typedef struct MYNA__PACKED { myna__half d, dmin; uint8_t scales[12]; uint8_t qs[128]; } myna__block_q4_k;
typedef struct MYNA__PACKED { myna__half d, dmin; uint8_t scales[12]; uint8_t qh[32]; uint8_t qs[128]; } myna__block_q5_k;
typedef struct MYNA__PACKED { uint8_t ql[128]; uint8_t qh[64]; int8_t scales[16]; myna__half d; } myna__block_q6_k;
typedef struct MYNA__PACKED { float d; int8_t qs[256]; int16_t bsums[16]; } myna__block_q8_k;

/* ---- codebook types: 256 per block ---- */

typedef struct MYNA__PACKED { myna__half d; uint16_t qs[32]; } myna__block_iq2_xxs;
typedef struct MYNA__PACKED { myna__half d; uint16_t qs[32]; uint8_t scales[8]; } myna__block_iq2_xs;
typedef struct MYNA__PACKED { myna__half d; uint8_t qs[32]; uint8_t signs[32]; uint8_t qh[8]; uint8_t scales[8]; } myna__block_iq2_s;
typedef struct MYNA__PACKED { myna__half d; uint8_t qs[64]; uint8_t aux[32]; } myna__block_iq3_xxs;
typedef struct MYNA__PACKED { myna__half d; uint8_t qs[64]; uint8_t qh[8]; uint8_t signs[32]; uint8_t scales[4]; } myna__block_iq3_s;
typedef struct MYNA__PACKED { myna__half d; uint8_t qs[32]; uint16_t qh[8]; } myna__block_iq1_s;
typedef struct MYNA__PACKED { uint8_t qs[32]; uint8_t qh[16]; uint16_t scales[4]; } myna__block_iq1_m;
typedef struct MYNA__PACKED { myna__half d; uint16_t scales_h; uint8_t scales_l[4]; uint8_t qs[128]; } myna__block_iq4_xs;

/* ---- ternary: 256 per block ---- */

typedef struct MYNA__PACKED { uint8_t qs[52]; myna__half d; } myna__block_tq1_0;              /* 48 bytes of 5 digits, 4 bytes of 4 */
typedef struct MYNA__PACKED { uint8_t qs[64]; myna__half d; } myna__block_tq2_0;

/* clang-format on */

/* Sizes, checked against the one list of types. */
#define DTYPE(name, str, ggml_id, block, bytes, kind) enum { MYNA__BYTES_##name = bytes };
#include "myna_dtypes.inc"
#undef DTYPE
static_assert(sizeof(myna__block_q4_0) == MYNA__BYTES_Q4_0, "Q4_0");
static_assert(sizeof(myna__block_q4_1) == MYNA__BYTES_Q4_1, "Q4_1");
static_assert(sizeof(myna__block_q5_0) == MYNA__BYTES_Q5_0, "Q5_0");
static_assert(sizeof(myna__block_q5_1) == MYNA__BYTES_Q5_1, "Q5_1");
static_assert(sizeof(myna__block_q8_0) == MYNA__BYTES_Q8_0, "Q8_0");
static_assert(sizeof(myna__block_q8_1) == MYNA__BYTES_Q8_1, "Q8_1");
static_assert(sizeof(myna__block_q2_k) == MYNA__BYTES_Q2_K, "Q2_K");
static_assert(sizeof(myna__block_q3_k) == MYNA__BYTES_Q3_K, "Q3_K");
static_assert(sizeof(myna__block_q4_k) == MYNA__BYTES_Q4_K, "Q4_K");
static_assert(sizeof(myna__block_q5_k) == MYNA__BYTES_Q5_K, "Q5_K");
static_assert(sizeof(myna__block_q6_k) == MYNA__BYTES_Q6_K, "Q6_K");
static_assert(sizeof(myna__block_q8_k) == MYNA__BYTES_Q8_K, "Q8_K");
static_assert(sizeof(myna__block_iq2_xxs) == MYNA__BYTES_IQ2_XXS, "IQ2_XXS");
static_assert(sizeof(myna__block_iq2_xs) == MYNA__BYTES_IQ2_XS, "IQ2_XS");
static_assert(sizeof(myna__block_iq2_s) == MYNA__BYTES_IQ2_S, "IQ2_S");
static_assert(sizeof(myna__block_iq3_xxs) == MYNA__BYTES_IQ3_XXS, "IQ3_XXS");
static_assert(sizeof(myna__block_iq3_s) == MYNA__BYTES_IQ3_S, "IQ3_S");
static_assert(sizeof(myna__block_iq1_s) == MYNA__BYTES_IQ1_S, "IQ1_S");
static_assert(sizeof(myna__block_iq1_m) == MYNA__BYTES_IQ1_M, "IQ1_M");
static_assert(sizeof(myna__block_iq4_nl) == MYNA__BYTES_IQ4_NL, "IQ4_NL");
static_assert(sizeof(myna__block_iq4_xs) == MYNA__BYTES_IQ4_XS, "IQ4_XS");
static_assert(sizeof(myna__block_tq1_0) == MYNA__BYTES_TQ1_0, "TQ1_0");
static_assert(sizeof(myna__block_tq2_0) == MYNA__BYTES_TQ2_0, "TQ2_0");
static_assert(sizeof(myna__block_mxfp4) == MYNA__BYTES_MXFP4, "MXFP4");
static_assert(sizeof(myna__block_nvfp4) == MYNA__BYTES_NVFP4, "NVFP4");
static_assert(sizeof(myna__block_q1_0) == MYNA__BYTES_Q1_0, "Q1_0");
static_assert(sizeof(myna__block_q2_0) == MYNA__BYTES_Q2_0, "Q2_0");

#endif
