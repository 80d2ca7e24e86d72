/* myna_base.h: what both public headers share: errors, allocator, storage types, log.
 *
 * Every function that can fail returns 0 or a negative MYNA_E_ code and, when its last parameter is a
 * myna_err, fills it with the first failure: code, message, and where in which file. The library never
 * exits, aborts or prints. */
#ifndef MYNA_BASE_H
#define MYNA_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MYNA_VERSION "0.1.0"
#define MYNA_API __attribute__((visibility("default")))

/* The one list of errors: name, code, short text. */
#define MYNA_ERROR_LIST(X)                \
  X(NOMEM, -1, "out of memory")           \
  X(ARG, -2, "invalid argument")          \
  X(IO, -3, "input/output error")         \
  X(FORMAT, -4, "malformed file")         \
  X(UNSUPPORTED, -5, "not supported")     \
  X(NOTFOUND, -6, "not found")            \
  X(SHAPE, -7, "shape mismatch")          \
  X(DTYPE, -8, "type mismatch")           \
  X(STATE, -9, "state used out of order") \
  X(LIMIT, -10, "limit exceeded")         \
  X(CANCELLED, -11, "cancelled")          \
  X(INTERNAL, -12, "internal error")

enum {
  MYNA_OK = 0,
#define X(name, code, text) MYNA_E_##name = code,
  MYNA_ERROR_LIST(X)
#undef X
};

/* One failure. Owned by the caller; start it as {0}. The first failure wins: a function never overwrites
 * an err whose code is not 0. `offset` is a byte offset in `file`, `line` a line number; -1 where they do
 * not apply (0-initialised and unset while code is 0). `msg` is a full sentence part without newline. */
typedef struct myna_err {
  int code;
  int64_t offset;
  int64_t line;
  char file[256];
  char msg[512];
} myna_err;

/* Short text of an error code, "unknown error" for others. Static string. Thread-safe. */
MYNA_API const char *myna_error_text(int code);

/* Writes "file: offset N: msg" (parts that apply) into buf of n bytes, always terminated. Returns buf.
 * NULL err gives "". Thread-safe. */
MYNA_API const char *myna_error_format(const myna_err *err, char *buf, size_t n);

/* Machines of several nodes of memory; on others none has an effect, which is logged. Distribute: threads are spread over the nodes, and each node
 * computes the same rows of every matrix, so that a file that is not in the page cache yet comes to lie where it is read (give no_populate
 * when opening the model). Isolate: threads stay on the node of the caller. Numactl: as the process was started, which is the default. */
typedef enum myna_numa { MYNA_NUMA_OFF, MYNA_NUMA_DISTRIBUTE, MYNA_NUMA_ISOLATE, MYNA_NUMA_NUMACTL } myna_numa;

/* All memory of the library goes through one allocator. `resize` allocates (ptr NULL), resizes, or frees
 * (new_size 0); it gets the old size back; alignment >= 64 bytes for sizes >= 64; returns NULL on failure
 * or after freeing. Must be thread-safe. Set it before any other call; NULL restores the default. */
typedef struct myna_allocator {
  void *(*resize)(void *user, void *ptr, size_t old_size, size_t new_size);
  void *user;
} myna_allocator;
MYNA_API void myna_set_allocator(const myna_allocator *a);

/* Receives one line without newline; level 0 error, 1 warning, 2 info, 3 debug. The default is silence. */
typedef void (*myna_log_fn)(void *user, int level, const char *line);
MYNA_API void myna_set_log(myna_log_fn fn, void *user);

/* Storage types: one row each in include/myna_dtypes.inc. */
typedef enum myna_dtype {
#define DTYPE(name, str, ggml_id, block, bytes, kind) MYNA_##name,
#include "myna_dtypes.inc"
#undef DTYPE
  MYNA_DTYPE_COUNT
} myna_dtype;

/* Name as in GGUF tools ("Q4_K"), elements per block, bytes per block; NULL or 0 for an unknown type. */
MYNA_API const char *myna_dtype_name(myna_dtype t);
MYNA_API int myna_dtype_block(myna_dtype t);
MYNA_API int myna_dtype_bytes(myna_dtype t);
/* Case-insensitive; -1 when there is none. */
MYNA_API int myna_dtype_from_name(const char *name);

#ifdef __cplusplus
}
#endif
#endif
