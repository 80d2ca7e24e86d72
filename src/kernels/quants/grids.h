/* grids.h: the codebooks of the IQ types, unpacked. */
#ifndef MYNA__QUANTS_GRIDS_H
#define MYNA__QUANTS_GRIDS_H

#include <stdint.h>

/* Magnitudes of 8 (IQ2) or 4 (IQ3) weights; IQ1 holds signed -1, 0, 1. */
typedef struct myna__grids {
  uint8_t iq2_xxs[256][8];
  uint8_t iq2_xs[512][8];
  uint8_t iq2_s[1024][8];
  int8_t iq1[2048][8];
  uint8_t iq3_xxs[256][4];
  uint8_t iq3_s[512][4];
  /* Those that fit into registers byte by byte, [j][entry], with the offset of panels.inc. */
  _Alignas(64) uint8_t iq2_xxs_planes[8][256];
  uint8_t iq2_xs_planes[8][512];
  uint8_t iq3_xxs_planes[4][256];
  uint8_t iq3_s_planes[4][512];
} myna__grids;

/* Unpacked on the first call; thread-safe; lives as long as the process. */
const myna__grids *myna__grids_get(void);

/* The 16 levels of IQ4_NL and IQ4_XS. */
extern const int8_t myna__levels_iq4[16];
/* Twice the 16 values of E2M1 (sign, two bits of exponent, one of mantissa): MXFP4 and NVFP4. */
extern const int8_t myna__levels_e2m1[16];

/* IQ2_XXS, IQ2_XS and IQ3_XXS store 7 of 8 signs: the eighth makes their number even. */
static inline uint8_t myna__signs7(unsigned s) {
  return (uint8_t)((s & 127) | (unsigned)__builtin_parity(s & 127) << 7);
}

#endif
