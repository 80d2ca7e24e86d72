/* server.h: what the command line starts: an engine behind HTTP. The only header of this layer that others see. */
#ifndef MYNA_SERVER_SERVER_H
#define MYNA_SERVER_SERVER_H

#include "myna.h"
#include "myna_chat.h"
#include <signal.h>

/* Borrowed while the server runs. Zero numbers mean what is in brackets. */
typedef struct server_options {
  const myna_model *model;
  myna_engine *engine;    /* the server is its one consumer of events */
  const myna_chat *chat;  /* NULL: messages cannot be answered */
  const char *model_name; /* names joined by commas; NULL: the file's */
  const char *tags;       /* NULL, or words joined by commas */
  const char *host;       /* [127.0.0.1] a name, an address, or the path of a unix socket that ends with .sock */
  int port;               /* 0: any that is free; the log tells */
  const char *const *keys;
  int n_keys;
  const char *key_file; /* lines: key, then perhaps tokens=N requests=N (per minute) parallel=N; # starts a comment */
  const char *const *origins; /* of pages elsewhere, and names of hosts, that may ask; "*": all */
  int n_origins;
  const char *tls_key, *tls_cert; /* PEM files, both or none */
  const char *prefix;             /* before every path: "", "/x" or "/x/" */
  int64_t max_body;               /* bytes [16 MB] */
  int64_t queue;                  /* requests that wait beyond those which run [256]; < 0: none */
  int64_t waiting_bytes;          /* what requests beyond those which run may take in memory; 0: no limit */
  int64_t timeout_s;              /* of a silent connection [600] */
  int64_t shutdown_s;             /* what runs may finish for so long; < 0: ends at once [10] */
  int64_t max_connections;        /* [1024] */
  int64_t ping_s;                 /* comment lines in silent streams [30]; < 0: none */
  const char *slot_save_path;     /* NULL, or the directory in which slots are saved */
  bool no_slots, no_metrics, log_prompts, quiet;
  /* defaults of requests */
  myna_sampling sampling;
  bool random_seed, context_shift, strict, verbose, no_prefill;
  int64_t n_predict, n_keep;
  myna_reasoning reasoning;
  int64_t reasoning_budget; /* < 0: none */
  const char *reasoning_format, *chat_kwargs, *budget_message;
  myna_speculation speculation;
} server_options;

/* Serves until *stop is not 0, then ends what runs. 0, or -1 with the reason in why[0..n). */
int server_run(const server_options *o, const volatile sig_atomic_t *stop, char *why, size_t n);

#endif
