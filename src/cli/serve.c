    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
/* serve.c: the subcommand that answers over HTTP: from flags to the server's options. */
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
#include "server/server.h"
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
#include "cli.h"
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
#include <stdlib.h>
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
#include <string.h>
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;

    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
static int server_options_of(const options *o, const myna_model *m, server_options *s) {
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  *s = (server_options){.model = m,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .model_name = o->alias,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .tags = o->tags,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .host = o->host,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .port = (int)o->port,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .keys = o->api_keys.items,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .n_keys = o->api_keys.n,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .key_file = o->api_key_file,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .origins = o->origins.items,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .n_origins = o->origins.n,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .tls_key = o->tls_key,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .tls_cert = o->tls_cert,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .prefix = o->api_prefix,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .max_body = o->max_body,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .queue = o->queue,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .timeout_s = o->http_timeout,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .shutdown_s = o->shutdown_timeout,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .max_connections = o->max_connections,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .ping_s = o->sse_ping,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .slot_save_path = o->slot_save_path,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .no_slots = o->no_slots,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .no_metrics = o->no_metrics,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .no_prefill = o->no_prefill,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .log_prompts = o->log_prompts,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .quiet = o->quiet,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .random_seed = o->seed < 0,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .context_shift = o->context_shift,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .strict = o->strict,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .verbose = o->verbose,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .n_predict = o->n_predict,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .n_keep = o->keep,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .reasoning_budget = o->reasoning_budget,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .reasoning_format = o->reasoning_format,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .budget_message = o->budget_message,
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
                        .chat_kwargs = o->chat_kwargs};
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  static const char *const reasoning[] = {"auto", "on", "off"}; /* the order of myna_reasoning */
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  for (int i = 0; o->reasoning && i < 3; i++)
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
    if (strcmp(o->reasoning, reasoning[i]) == 0) s->reasoning = (myna_reasoning)i;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (o->reasoning && strcmp(o->reasoning, reasoning[s->reasoning]) != 0)
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
    return usage("--reasoning %s: on, off or auto", o->reasoning);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (o->reasoning_budget == 0) s->reasoning = MYNA_REASONING_OFF;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (o->port < 0 || o->port > 65535) return usage("--port %lld: 0 to 65535", (long long)o->port);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (o->n_seq < 0 || o->n_seq > 4096) return usage("--parallel %lld: 1 to 4096", (long long)o->n_seq);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  int rc = sampling_options(o, m, &s->sampling);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  return rc ? rc : speculation_options(o, &s->speculation);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
}
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;

    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
/* Without a template the server still completes texts. */
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
static int open_chat(const options *o, const myna_model *m, myna_chat **out) {
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_err err = {0};
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  size_t n;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  char *file = o->chat_template_file ? read_text(o->chat_template_file, &n) : NULL;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (o->chat_template_file && !file) return EXIT_FAIL;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  const myna_chat_options co = {.template_source = file ? file : o->chat_template};
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  int rc = myna_chat_new(out, m, &co, &err);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  free(file);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (rc >= 0) return 0;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  *out = NULL;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (co.template_source) return fail(&err);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  note(o, "the model's chat template cannot be used, messages are refused: %s", err.msg);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  return 0;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
}
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;

    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
/* As llama-server has it: requests share the context equally, or have it together. Where nobody asked for either, each may have all of it and the cache
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
 * is as large as that may take. */
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
static int share_context(const options *o, myna_engine_options *eo) {
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  eo->n_seq = o->n_seq;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (o->kv_unified) {
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
    eo->kv_tokens = o->ctx;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  } else if (o->ctx > 0 && o->n_seq > 1) {
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
    eo->n_ctx = o->ctx / o->n_seq;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
    if (eo->n_ctx < 1)
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
      return usage("--ctx-size %lld is shared by %lld requests", (long long)o->ctx, (long long)o->n_seq);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  }
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  return 0;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
}
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;

    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
static int serve(const options *o, myna_model *m, const myna_engine_options *eo, server_options *so) {
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  char why[512] = "";
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_err err = {0};
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (myna_engine_new(&so->engine, m, eo, &err) < 0) return engine_failed(m, eo, &err);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  signal(SIGPIPE, SIG_IGN); /* clients go when they like */
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  int rc = server_run(so, &interrupted, why, sizeof why) < 0 ? failed("%s", why) : 0;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (rc == 0) interrupted = 0; /* being asked to stop is how a server ends well */
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_engine_free(so->engine);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  return rc;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
}
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;

    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
int cmd_serve(options *o) {
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_model *m = NULL;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_chat *chat = NULL;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_engine_options eo = {0};
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  server_options so;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  int rc = engine_options(o, &eo);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (rc == 0) rc = open_model(o, false, &m);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (rc == 0) rc = server_options_of(o, m, &so);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (rc == 0) rc = open_draft(o, &so.speculation, &eo);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (rc == 0) rc = open_chat(o, m, &chat);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (rc == 0) rc = share_context(o, &eo);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  if (rc == 0) {
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
    so.chat = chat;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
    rc = serve(o, m, &eo, &so);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  }
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_chat_free(chat);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_model_close(eo.draft_model);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  myna_model_close(m);
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
  return rc;
    eo.disk_dir = o->cache_disk;
    eo.disk_max = o->cache_disk_max;
}
