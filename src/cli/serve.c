/* serve.c: the subcommand that answers over HTTP: from flags to the server's options. */
#include "server/server.h"
#include "cli.h"
#include <stdlib.h>
#include <string.h>

static int server_options_of(const options *o, const myna_model *m, server_options *s) {
  *s = (server_options){.model = m,
                        .model_name = o->alias   ? o->alias
                                      : o->model ? o->model
                                                 : "myna",
                        .host = o->host,
                        .port = (int)o->port,
                        .keys = o->api_keys.items,
                        .n_keys = o->api_keys.n,
                        .key_file = o->api_key_file,
                        .origins = o->origins.items,
                        .n_origins = o->origins.n,
                        .tls_key = o->tls_key,
                        .tls_cert = o->tls_cert,
                        .prefix = o->api_prefix,
                        .max_body = o->max_body,
                        .queue = o->queue,
                        .timeout_s = o->http_timeout,
                        .shutdown_s = o->shutdown_timeout,
                        .max_connections = o->max_connections,
                        .ping_s = o->sse_ping,
                        .no_slots = o->no_slots,
                        .log_prompts = o->log_prompts,
                        .quiet = o->quiet,
                        .random_seed = o->seed < 0,
                        .context_shift = o->context_shift,
                        .strict = o->strict,
                        .verbose = o->verbose,
                        .n_predict = o->n_predict,
                        .n_keep = o->keep,
                        .reasoning_budget = o->reasoning_budget,
                        .reasoning_format = o->reasoning_format,
                        .chat_kwargs = o->chat_kwargs};
  if (o->reasoning_budget == 0) s->reasoning = MYNA_REASONING_OFF;
  if (o->port < 0 || o->port > 65535) return usage("--port %lld: 0 to 65535", (long long)o->port);
  if (o->n_seq < 0 || o->n_seq > 4096) return usage("--parallel %lld: 1 to 4096", (long long)o->n_seq);
  int rc = sampling_options(o, m, &s->sampling);
  return rc ? rc : speculation_options(o, &s->speculation);
}

/* Without a template the server still completes texts. */
static int open_chat(const options *o, const myna_model *m, myna_chat **out) {
  myna_err err = {0};
  size_t n;
  char *file = o->chat_template_file ? read_text(o->chat_template_file, &n) : NULL;
  if (o->chat_template_file && !file) return EXIT_FAIL;
  const myna_chat_options co = {.template_source = file ? file : o->chat_template};
  int rc = myna_chat_new(out, m, &co, &err);
  free(file);
  if (rc >= 0) return 0;
  *out = NULL;
  if (co.template_source) return fail(&err);
  note(o, "the model's chat template cannot be used, messages are refused: %s", err.msg);
  return 0;
}

static int serve(const options *o, myna_model *m, const myna_engine_options *eo, server_options *so) {
  char why[512] = "";
  myna_err err = {0};
  if (myna_engine_new(&so->engine, m, eo, &err) < 0) return engine_failed(m, eo, &err);
  signal(SIGPIPE, SIG_IGN); /* clients go when they like */
  int rc = server_run(so, &interrupted, why, sizeof why) < 0 ? failed("%s", why) : 0;
  if (rc == 0) interrupted = 0; /* being asked to stop is how a server ends well */
  myna_engine_free(so->engine);
  return rc;
}

int cmd_serve(options *o) {
  myna_model *m = NULL;
  myna_chat *chat = NULL;
  myna_engine_options eo = {0};
  server_options so;
  int rc = engine_options(o, &eo);
  if (rc == 0) rc = open_model(o, false, &m);
  if (rc == 0) rc = server_options_of(o, m, &so);
  if (rc == 0) rc = open_draft(o, &so.speculation, &eo);
  if (rc == 0) rc = open_chat(o, m, &chat);
  if (rc == 0) {
    so.chat = chat;
    eo.n_seq = o->n_seq;
    rc = serve(o, m, &eo, &so);
  }
  myna_chat_free(chat);
  myna_model_close(eo.draft_model);
  myna_model_close(m);
  return rc;
}
