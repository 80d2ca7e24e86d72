/* chat.c: conversations as prompts: the template of a model, its variables, prefilled answers; and the parser of what comes back. A chat is immutable
 * after it was made. */
#include "engine/chat.h"
#include "engine/model.h"
#include "engine/chat_tools.h"
#include "text/chat_builtin.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int no_memory(myna_err *err) { return myna__err(err, MYNA_E_NOMEM, "no memory for a conversation"); }

/* ---- the chat ---- */

static char *token_text(const myna_model *m, int32_t id) {
  char buf[256];
  int64_t n = m && id >= 0 ? myna_token_text(m, id, buf, sizeof buf) : 0;
  size_t len = n > 0 && n <= (int64_t)sizeof buf ? (size_t)n : 0;
  json_t *text = json_stringn(buf, len); /* variables of templates are UTF-8 */
  char *copy = myna__strndup(buf, text ? len : 0);
  json_decref(text);
  return copy;
}

static int find_source(const myna_model *m, const myna_chat_options *o, const char **source, myna_err *err) {
  *source = o ? o->template_source : NULL;
  if (!*source) {
    *source = m ? myna_model_get_template(m) : NULL;
    return 0;
  }
  const char *known = myna__chat_builtin_source(*source);
  if (known)
    *source = known;
  else if (**source && !strpbrk(*source, " \n") && !strstr(*source, "{{") && !strstr(*source, "{%"))
    return myna__err(err, MYNA_E_ARG, "%.60s is neither the name of a built-in chat template nor Jinja", *source);
  return 0;
}

/* Some files have a second template, for tools. */
static int open_with_tools(myna_chat *c, const myna_model *m, myna_err *err) {
  myna__str s;
  if (myna__gguf_str(&m->gguf, "tokenizer.chat_template.tool_use", &s, NULL) <= 0 || s.n == 0) return 0;
  char *source = myna__strndup(s.p, s.n);
  if (!source) return no_memory(err);
  const myna_chat_options o = {.template_source = source, .bos = c->bos, .eos = c->eos};
  int rc = myna_chat_new(&c->with_tools, NULL, &o, err);
  myna__strfree(source);
  return rc;
}

int myna_chat_new(myna_chat **out, const myna_model *m, const myna_chat_options *o, myna_err *err) {
  *out = NULL;
  const char *source;
  TRY(find_source(m, o, &source, err));
  myna_chat *c = myna__calloc(sizeof *c);
  if (!c) return no_memory(err);
  size_t n = source ? strlen(source) : 0;
  c->source = myna__strndup(n ? source : "", n);
  c->bos = o && o->bos ? myna__strndup(o->bos, strlen(o->bos)) : token_text(m, m ? myna_token_bos(m) : -1);
  c->eos = o && o->eos ? myna__strndup(o->eos, strlen(o->eos)) : token_text(m, m ? myna_token_eos(m) : -1);
  c->format = myna__chat_format_find(n ? source : NULL);
  c->plain_calls = myna__chat_plain_calls(c->format);
  int rc = c->source && c->bos && c->eos ? 0 : no_memory(err);
  if (rc == 0 && n) rc = myna__jinja_compile(&c->jinja, source, n, NULL, err);
  if (rc < 0) {
    myna_chat_free(c);
    return rc;
  }
  if (c->jinja) myna__chat_probe(c);
  rc = m && !(o && o->template_source) ? open_with_tools(c, m, err) : 0;
  if (rc < 0)
    myna_chat_free(c);
  else
    *out = c;
  return rc;
}

void myna_chat_free(myna_chat *c) {
  if (!c) return;
  myna_chat_free(c->with_tools);
  myna__jinja_free(c->jinja);
  myna__strfree(c->source);
  myna__strfree(c->bos);
  myna__strfree(c->eos);
  myna__free(c, sizeof *c);
}

bool myna_chat_has_template(const myna_chat *c) { return c->jinja != NULL; }
const char *myna_chat_source(const myna_chat *c) { return c->source; }
const char *myna_chat_format(const myna_chat *c) { return c->format->name; }
const char *myna_chat_builtin(int i) { return myna__chat_builtin_name(i); }

/* ---- rendering ---- */

/* What Firefunction's template has instead of tools. */
static int set_functions(json_t *context, const json_t *tools, double now) {
  time_t t = now > 0 ? (time_t)now : time(NULL);
  struct tm tm;
  char text[64];
  size_t n = gmtime_r(&t, &tm) ? strftime(text, sizeof text, "%b %d %Y %H:%M:%S GMT", &tm) : 0;
  char *list = tools ? json_dumps(tools, JSON_INDENT(2)) : NULL;
  int bad = json_object_set_new(context, "datetime", json_stringn(text, n)) != 0 ||
            json_object_set_new(context, "functions", json_string(list ? list : "[]")) != 0;
  free(list);
  return bad;
}

int myna__chat_render(const myna_chat *c, const json_t *messages, const json_t *tools, const json_t *more, bool ask,
                      double now, char **text, size_t *text_len, myna_err *err) {
  json_t *context = json_pack("{s:O, s:b, s:s, s:s}", "messages", messages, "add_generation_prompt", (int)ask,
                              "bos_token", c->bos, "eos_token", c->eos);
  /* As transformers has them: there, and none. */
  int bad = !context || json_object_set_new(context, "documents", json_null()) != 0;
  json_t *shown = tools ? json_incref((json_t *)(uintptr_t)tools) : json_null();
  if (tools || !c->caps.absent_tools) bad = bad || json_object_set_new(context, "tools", shown) != 0;
  if (strstr(c->source, "+ functions -")) bad = bad || set_functions(context, tools, now) != 0;
  bad = bad || (more && json_object_update(context, (json_t *)(uintptr_t)more) != 0);
  /* A long conversation may pass through several filters of the template: room for it beyond the default. */
  const myna_template_limits limits = {.max_ms = 4000, .max_bytes = (int64_t)256 << 20};
  int rc = bad ? no_memory(err) : myna__jinja_render(c->jinja, context, now, &limits, text, text_len, err);
  json_decref(context);
  return rc;
}

/* The variables by which templates switch reasoning. */
static int set_reasoning(const myna_chat_input *in, json_t *vars) {
  static const struct {
    const char *name, *on, *off; /* texts; NULL: a boolean */
  } rows[] = {{"enable_thinking", NULL, NULL}, {"thinking", NULL, NULL}, {"thinking_mode", "enabled", "disabled"}};
  bool on = in->reasoning == MYNA_REASONING_ON;
  for (size_t i = 0; in->reasoning != MYNA_REASONING_AUTO && i < MYNA__COUNT(rows); i++) {
    json_t *v = rows[i].on ? json_string(on ? rows[i].on : rows[i].off) : json_boolean(on);
    if (json_object_set_new(vars, rows[i].name, v) != 0) return -1;
  }
  return in->reasoning_effort && json_object_set_new(vars, "reasoning_effort", json_string(in->reasoning_effort)) != 0
             ? -1
             : 0;
}

/* All variables beside messages and tools; what the client named itself wins. */
static json_t *variables(const myna_chat_input *in, const myna__chat_turn *t) {
  json_t *vars = json_object();
  if (!vars || set_reasoning(in, vars) != 0 || (t->kwargs && json_object_update(vars, t->kwargs) != 0)) {
    json_decref(vars);
    return NULL;
  }
  json_object_del(vars, "messages");
  return vars;
}

static int replace_text(myna_chat_prompt *out, char *text, size_t n, myna_err *err) {
  myna_chat_free_text(out->text);
  out->text = text;
  out->text_len = n;
  return text ? 0 : no_memory(err);
}

/* Appends s[n] to the prompt. */
static int append(myna_chat_prompt *out, const char *s, size_t n, myna_err *err) {
  myna__buf b = {0};
  myna__buf_add(&b, out->text, out->text_len);
  myna__buf_add(&b, s, n);
  char *text = b.failed ? NULL : myna__jinja_text(b.data, b.len);
  size_t len = b.len;
  myna__buf_free(&b);
  return replace_text(out, text, len, err);
}

/* ---- answers that were begun ---- */

static size_t trimmed(const char *s, size_t n) {
  while (n && strchr("\n ", s[n - 1])) n--;
  return n;
}

/* s behind a reasoning tag at its start, or NULL. */
static const char *behind_tag(const char *s, const char *tag) {
  size_t n = trimmed(tag, strlen(tag));
  s += strspn(s, "\n ");
  return n && strncmp(s, tag, n) == 0 ? s + n : NULL;
}

/* The template shows the answer with a mark behind it, and the prompt ends there: whatever it puts before an answer is there too, and blanks at the
 * beginning's end are kept. 0 when the mark got lost. */
static int render_marked(const myna_chat *c, const myna_chat_input *in, const myna__chat_turn *t, const json_t *vars,
                         const char *begun, myna_chat_prompt *out, myna_err *err) {
  char mark[32];
  snprintf(mark, sizeof mark, "MynaEnd%016llx",
           (unsigned long long)myna__hash(begun, strlen(begun), myna__hash_seed()));
  json_t *both = json_sprintf("%s%s", begun, mark);
  if (!both) return no_memory(err);
  json_t *content = json_object_get(t->final, "content");
  int bad = json_is_array(content)
                ? json_array_clear(content) != 0 ||
                      json_array_append_new(content, json_pack("{s:s, s:o}", "type", "text", "text", both)) != 0
                : json_object_set_new(t->final, "content", both) != 0;
  if (bad) return no_memory(err);
  myna_err own = {0};
  int rc = myna__chat_render(c, t->messages, t->tools, vars, false, in->now, &out->text, &out->text_len, &own);
  if (rc == MYNA_E_ARG) return 0; /* a template that wants the user's message last */
  if (rc < 0) return myna__err(err, rc, "%s", own.msg);
  char *at = NULL;
  for (char *p = out->text; (p = memmem(p, out->text_len - (size_t)(p - out->text), mark, strlen(mark))); p++) at = p;
  if (at)
    return replace_text(out, myna__jinja_text(out->text, (size_t)(at - out->text)), (size_t)(at - out->text), err) < 0
               ? MYNA_E_NOMEM
               : 1;
  myna_chat_free_text(out->text);
  out->text = NULL;
  return 0;
}

/* The prompt for a new answer, then what there is of it. */
static int render_appended(const myna_chat *c, const myna_chat_input *in, const myna__chat_turn *t, const json_t *vars,
                           const char *begun, myna_chat_prompt *out, myna_err *err) {
  json_t *before = json_copy(t->messages);
  if (!before || json_array_remove(before, json_array_size(before) - 1) != 0) {
    json_decref(before);
    return no_memory(err);
  }
  int rc = myna__chat_render(c, before, t->tools, vars, true, in->now, &out->text, &out->text_len, err);
  json_decref(before);
  TRY(rc);
  const char *tag = c->format->think_start, *behind = behind_tag(begun, tag);
  size_t n = trimmed(tag, strlen(tag)), end = trimmed(out->text, out->text_len);
  /* Both open the reasoning: once is enough. */
  if (behind && end >= n && memcmp(out->text + end - n, tag, n) == 0) {
    begun = behind;
    if (end < out->text_len && *begun == '\n') begun++;
  }
  TRY(append(out, begun, strlen(begun), err));
  out->answer_prefix = myna__jinja_text(begun, strlen(begun));
  return out->answer_prefix ? 0 : no_memory(err);
}

/* What was begun: the content, or reasoning that has no content yet, in its tag. */
static char *begun_text(const myna_chat *c, const json_t *final) {
  const char *reasoning = json_string_value(json_object_get(final, "reasoning_content")), *tag = c->format->think_start;
  json_t *content = myna__chat_content(final, "");
  if (!content) return NULL;
  myna__buf b = {0};
  if (json_string_length(content) == 0 && reasoning && *reasoning && *tag)
    myna__buf_printf(&b, "%s%s%s", tag, strcmp(tag, "<think>") == 0 ? "\n" : "", reasoning);
  else
    myna__buf_str(&b, json_string_value(content));
  json_decref(content);
  char *text = b.failed ? NULL : myna__jinja_text(b.data, b.len);
  myna__buf_free(&b);
  return text;
}

static int render_continued(const myna_chat *c, const myna_chat_input *in, const myna__chat_turn *t, const json_t *vars,
                            myna_chat_prompt *out, myna_err *err) {
  char *begun = begun_text(c, t->final);
  if (!begun) return no_memory(err);
  const char *inside = behind_tag(begun, c->format->think_start);
  bool reasoning = inside && !strstr(inside, c->format->think_end);
  /* Templates take reasoning out of answers: one that is unfinished can only be appended. */
  int rc = reasoning ? 0 : render_marked(c, in, t, vars, begun, out, err);
  if (rc == 1) {
    out->answer_prefix = begun;
    return 0;
  }
  if (rc == 0) rc = render_appended(c, in, t, vars, begun, out, err);
  out->thinking_open = reasoning;
  myna_chat_free_text(begun);
  return rc;
}

/* ---- prompts ---- */

static int join(const myna_chat_input *in, const myna__chat_turn *t, myna_chat_prompt *out, myna_err *err) {
  if (t->tools) return myna__err(err, MYNA_E_ARG, "tools: the model has no chat template that could show them");
  myna__buf b = {0};
  for (size_t i = 0; i < json_array_size(t->messages); i++) {
    const json_t *text = json_object_get(json_array_get(t->messages, i), "content");
    if (json_string_length(text) && b.len) myna__buf_str(&b, "\n");
    if (json_is_string(text)) myna__buf_add(&b, json_string_value(text), json_string_length(text));
  }
  int rc = b.failed ? no_memory(err) : replace_text(out, myna__jinja_text(b.data, b.len), b.len, err);
  myna__buf_free(&b);
  const char *begun = t->final ? json_string_value(json_object_get(t->final, "content")) : NULL;
  if (rc == 0 && begun && !(out->answer_prefix = myna__jinja_text(begun, strlen(begun)))) rc = no_memory(err);
  return rc;
}

static int render_turn(const myna_chat *c, const myna_chat_input *in, const myna__chat_turn *t, const json_t *vars,
                       myna_chat_prompt *out, myna_err *err) {
  if (t->final) return render_continued(c, in, t, vars, out, err);
  return myna__chat_render(c, t->messages, t->tools, vars, !in->no_generation_prompt, in->now, &out->text,
                           &out->text_len, err);
}

static int render(const myna_chat *c, const myna_chat_input *in, const myna__chat_turn *t, myna_chat_prompt *out,
                  myna_err *err) {
  if (!c->jinja) return join(in, t, out, err);
  json_t *vars = variables(in, t);
  if (!vars) return no_memory(err);
  myna_err own = {0}, again = {0};
  int rc = render_turn(c, in, t, vars, out, &own);
  /* Some templates fail on tools without a description and the like, which OpenAI lets clients leave out. */
  json_t *filled = rc == MYNA_E_ARG && t->tools ? myna__chat_tools_filled(t->tools) : NULL;
  if (filled) {
    myna__chat_turn more = *t;
    more.tools = filled;
    if (render_turn(c, in, &more, vars, out, &again) >= 0) rc = 0;
  }
  json_decref(filled);
  json_decref(vars);
  if (rc < 0 && err && err->code == 0) *err = own;
  return rc;
}

/* How calls are written in answers to a request with tools. */
static const struct myna__chat_format *format_of(const myna_chat *c, bool tools) {
  return tools && myna__chat_is_plain(c) ? c->plain_calls : c->format;
}

int myna_chat_apply(const myna_chat *c, const myna_chat_input *in, myna_chat_prompt *out, myna_err *err) {
  *out = (myna_chat_prompt){0};
  myna__chat_turn t;
  bool tools = in->tools && in->tool_choice != MYNA_TOOLS_NONE;
  if (tools && c->with_tools) c = c->with_tools;
  int rc = myna__chat_turn_read(c, in, &t, err);
  if (rc == 0) rc = render(c, in, &t, out, err);
  if (rc == 0 && !out->answer_prefix && !(out->answer_prefix = myna__jinja_text("", 0))) rc = no_memory(err);
  bool open = out->thinking_open;
  if (rc == 0) rc = myna__chat_format_prompt(format_of(c, tools), in, out, err);
  if (rc == 0) rc = myna__chat_turn_allow(in, &t, err);
  if (rc == 0 && t.tools)
    rc = myna__chat_tools_grammar(format_of(c, true), t.tools, in->tool_choice, in->tool_name, in->one_tool_call, out,
                                  err);
  myna__chat_turn_free(&t);
  if (rc < 0) {
    myna_chat_prompt_free(out);
    return rc;
  }
  size_t bos = strlen(c->bos);
  out->starts_with_bos = bos && out->text_len >= bos && memcmp(out->text, c->bos, bos) == 0;
  out->thinking_open = out->thinking_open || open;
  return 0;
}

void myna_chat_prompt_free(myna_chat_prompt *p) {
  if (!p) return;
  myna__chat_prompt_lists_free(p);
  myna_chat_free_text(p->text);
  myna_chat_free_text(p->answer_prefix);
  *p = (myna_chat_prompt){0};
}

/* ---- answers ---- */

/* What the prompt already holds of the answer is read too, and not told. Blanks at its end are none that the parser should keep for later. */
static int read_prefix(const myna_chat *c, myna_chat_parser *p, const myna_chat_prompt *prompt, myna_err *err) {
  static const char header[] = "<|channel|>final<|message|>"; /* where a template of harmony begins an answer */
  const char *prefix = prompt->answer_prefix;
  const myna_delta *deltas;
  size_t n = prefix ? trimmed(prefix, strlen(prefix)) : 0;
  if (!n) return 0;
  if (c->format->scheme == MYNA__CALLS_HARMONY)
    TRY_N(myna_chat_parser_push(p, header, sizeof header - 1, false, &deltas, err));
  TRY_N(myna_chat_parser_push(p, prefix, n, false, &deltas, err));
  return 0;
}

int myna_chat_parser_new(myna_chat_parser **out, const myna_chat *c, const myna_chat_prompt *p,
                         const myna_chat_parser_options *o, myna_err *err) {
  if (p && p->tools && c->with_tools) c = c->with_tools;
  myna_chat_prompt start = p ? *p : (myna_chat_prompt){0};
  /* The beginning is read here; with its own tag it opens the reasoning itself. */
  start.thinking_open =
      start.thinking_open && !(p->answer_prefix && behind_tag(p->answer_prefix, c->format->think_start));
  start.answer_prefix = NULL;
  TRY(myna__chat_parser_new(out, format_of(c, p && p->tools), p ? &start : NULL, o, err));
  int rc = p ? read_prefix(c, *out, p, err) : 0;
  if (rc < 0) {
    myna_chat_parser_free(*out);
    *out = NULL;
  }
  return rc;
}
