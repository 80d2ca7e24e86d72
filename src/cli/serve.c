/* serve.c: the subcommand that answers over HTTP: from flags to the server's options. */
#include "server/server.h"
#include "chat.h"
#include <stdlib.h>
#include <string.h>

static int server_options_of(const options *o, const myna_model *m, server_options *s) {
  *s = (server_options){.model = m,
                        .model_name = o->alias,
                        .tags = o->tags,
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
                        .slot_save_path = o->slot_save_path,
                        .no_slots = o->no_slots,
                        .no_metrics = o->no_metrics,
                        .no_prefill = o->no_prefill,
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
                        .budget_message = o->budget_message,
                        .chat_kwargs = o->chat_kwargs};
  static const char *const reasoning[] = {"auto", "on", "off"}; /* the order of myna_reasoning */
  for (int i = 0; o->reasoning && i < 3; i++)
    if (strcmp(o->reasoning, reasoning[i]) == 0) s->reasoning = (myna_reasoning)i;
  if (o->reasoning && strcmp(o->reasoning, reasoning[s->reasoning]) != 0)
    return usage("--reasoning %s: on, off or auto", o->reasoning);
  if (o->reasoning_budget == 0) s->reasoning = MYNA_REASONING_OFF;
  if (o->port < 0 || o->port > 65535) return usage("--port %lld: 0 to 65535", (long long)o->port);
  if (o->n_seq < 0 || o->n_seq > 4096) return usage("--parallel %lld: 1 to 4096", (long long)o->n_seq);
  int rc = sampling_options(o, m, &s->sampling);
  return rc ? rc : speculation_options(o, &s->speculation);
}

/* Without a template the server still completes texts. */
static int open_chat(const options *o, const myna_model *m, myna_chat **out) {
  myna_err err = {0};
  const char *source;
  char *own;
  int rc = template_option(o, &source, &own);
  if (rc) return rc;
  const myna_chat_options co = {.template_source = source};
  rc = myna_chat_new(out, m, &co, &err);
  free(own);
  if (rc >= 0) return 0;
  *out = NULL;
  if (co.template_source) return fail(&err);
  note(o, "the model's chat template cannot be used, messages are refused: %s", err.msg);
  return 0;
}

/* As llama-server has it: requests share the context equally, or have it together. Where nobody asked for either, each may have all of it and the cache
 * is as large as that may take. */
static int share_context(const options *o, myna_engine_options *eo) {
  eo->n_seq = o->n_seq;
  eo->disk_dir = o->cache_disk;
  eo->disk_max = o->cache_disk_max;
  if (o->kv_unified) {
    eo->kv_tokens = o->ctx;
  } else if (o->ctx > 0 && o->n_seq > 1) {
    eo->n_ctx = o->ctx / o->n_seq;
    if (eo->n_ctx < 1)
      return usage("--ctx-size %lld is shared by %lld requests", (long long)o->ctx, (long long)o->n_seq);
  }
  return 0;
}

static int serve(const options *o, myna_model *m, const myna_engine_options *eo, server_options *so) {
  char why[512] = "";
  myna_err err = {0};
  /* The same schemas come with every request. */
  myna_grammar_cache(eo->mem_limit > 0 ? eo->grammar_bytes : (int64_t)64 << 20);
  if (myna_engine_new(&so->engine, m, eo, &err) < 0) return engine_failed(m, eo, &err);
  signal(SIGPIPE, SIG_IGN); /* clients go when they like */
  int rc = server_run(so, &interrupted, why, sizeof why) < 0 ? failed("%s", why) : 0;
  if (rc == 0) interrupted = 0; /* being asked to stop is how a server ends well */
  myna_engine_free(so->engine);
  return rc;
}

int cmd_serve(options *o) {
  myna_model *m = NULL;
  myna_chat *conversing = NULL;
  myna_engine_options eo = {0};
  server_options so;
  int rc = engine_options(o, &eo);
  if (rc == 0) rc = open_model(o, false, &m);
  if (rc == 0) rc = server_options_of(o, m, &so);
  if (rc == 0) rc = open_draft(o, &so.speculation, &eo);
  if (rc == 0) rc = open_chat(o, m, &conversing);
  if (rc == 0) rc = share_context(o, &eo);
  if (rc == 0 && eo.mem_limit > 0) { /* the engine plans what runs; what waits gets a small part */
    grammar_memory(&eo);
    so.waiting_bytes = eo.mem_limit / 32;
    eo.mem_limit -= so.waiting_bytes;
  }
  if (rc == 0) {
    so.chat = conversing;
    rc = serve(o, m, &eo, &so);
  }
  myna_chat_free(conversing);
  myna_model_close(eo.draft_model);
  myna_model_close(m);
  return rc;
}
