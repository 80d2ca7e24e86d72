/* model.h: an opened model file: parsed header, family, config, weights bound to roles, tokenizer on first use.
 * Immutable after open but for the tokenizer, which is built once under a lock. */
#ifndef MYNA__MODEL_H
#define MYNA__MODEL_H

#include "formats/gguf.h"
#include "formats/tokdata.h"
#include "kernels/kernels.h"
#include "models/models.h"
#include "myna.h"
#include "text/tokenizer.h"
#include <pthread.h>

/* A bound weight: a matrix as it lies in the file, or a vector made F32. */
typedef struct myna__bound {
  bool present;
  int n_dims;       /* 1: vector */
  myna__weight w;   /* n_dims >= 2 */
  const float *vec; /* n_dims 1: [n] */
  int64_t n;
  char name[64];
} myna__bound;

struct myna_model {
  char *path;
  myna__gguf gguf;
  char arch[64], name[128];
  const myna__family *family; /* NULL with header_only and an unknown architecture */
  myna__config cfg;
  myna__bound *bound; /* [(n_layer + 1) * MYNA__ROLE_COUNT]; row 0: global */
  int64_t n_bound;
  myna__arena arena; /* vectors converted to F32 */
  int64_t n_params, weight_bytes, file_bytes;
  myna_dtype main_type; /* holds most bytes among matrices */
  pthread_mutex_t lock;
  bool tok_tried;
  int tok_rc;
  myna_err tok_err;
  myna__tokdata tokdata;
  myna__tokenizer *tok;
  char *chat_template;
  bool mlock;               /* engines lock their caches too */
  myna__populate *populate; /* NULL: none */
};

/* The tokenizer, built on first use. Thread-safe. MYNA_E_NOTFOUND when the file has none. */
int myna__model_tokenizer(myna_model *m, const myna__tokenizer **out, myna_err *err);
/* Locks n bytes at p when the model was opened with mlock; a failure is logged. Unlock with myna__mem_unlock what is not unmapped. */
void myna__model_lock(const myna_model *m, const void *p, size_t n, const char *what);
/* Bytes of a packed [n_dims] shape letters expression evaluated with cfg ("H*D,E"): dims, count. For tests. */
int myna__model_shape(const myna__config *g, const char *expr, int64_t *dims, int *n_dims, myna_err *err);

#endif
