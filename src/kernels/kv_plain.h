/* kv_plain.h: cache pages in the plain form of files. */
#ifndef MYNA__KV_PLAIN_H
#define MYNA__KV_PLAIN_H

#include "kernels/kernels.h"

/* Bytes of a row of K or V of that type in plain form (kv_plain.c draws it); 0 where the cache has no such type. */
size_t myna__kv_plain_row(myna_dtype type, int64_t dim);
/* The first n_pos positions of one layer's page, K [n_pos][head][row], then V likewise. kv: types and shapes only. from: false when a number is not
 * finite, whatever was stored then. */
void myna__kv_to_plain(const myna__kv_view *kv, const uint8_t *page, int64_t n_pos, uint8_t *to);
bool myna__kv_from_plain(const myna__kv_view *kv, uint8_t *page, int64_t n_pos, const uint8_t *from);

#endif
