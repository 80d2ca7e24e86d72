/* Requests of OpenAI's and llama-server's APIs, from JSON to the engine and back, on the model that ships. */
#include "api_run.h"
#include <math.h>

static void test_refused(void **state) {
  static const struct {
    int d;
    const char *json, *param;
  } rows[] = {
      {API_NATIVE, "{}", "prompt"},
      {API_NATIVE, "[]", ""},
      {API_NATIVE, "{\"prompt\":[]}", "prompt"},
      {API_NATIVE, "{\"prompt\":[1,99999999]}", "prompt"},
      {API_NATIVE, "{\"prompt\":[1,null]}", "prompt"},
      {API_NATIVE, "{\"prompt\":{\"prompt_string\":\"a\",\"multimodal_data\":\"x\"}}", "prompt.multimodal_data"},
      {API_NATIVE, "{\"prompt\":\"a\",\"temperature\":\"hot\"}", "temperature"},
      {API_TEXT, "{\"prompt\":\"a\",\"top_p\":1.5}", "top_p"},
      {API_NATIVE, "{\"prompt\":\"a\",\"samplers\":[7]}", "samplers"},
      {API_NATIVE, "{\"prompt\":\"a\",\"n_keep\":-2}", "n_keep"},
      {API_NATIVE, "{\"prompt\":\"a\",\"n_predict\":1.5}", "n_predict"},
      {API_NATIVE, "{\"prompt\":\"a\",\"stop\":[1]}", "stop"},
      {API_NATIVE, "{\"prompt\":\"a\",\"stop\":7}", "stop"},
      {API_NATIVE, "{\"prompt\":\"a\",\"logit_bias\":[[1]]}", "logit_bias"},
      {API_NATIVE, "{\"prompt\":\"a\",\"repeat_penalty\":0}", "repeat_penalty"},
      {API_TEXT, "{\"prompt\":\"a\",\"best_of\":1,\"n\":2}", "best_of"},
      {API_TEXT, "{\"prompt\":\"a\",\"suffix\":\"b\"}", "suffix"},
      {API_TEXT, "{\"prompt\":\"a\",\"n\":0}", "n"},
      {API_NATIVE, "{\"prompt\":\"a\",\"lora\":[{\"id\":1}]}", "lora"},
      {API_TEXT, "{\"prompt\":\"a\",\"response_format\":{\"type\":\"sound\"}}", "response_format.type"},
      {API_TEXT, "{\"prompt\":\"a\",\"guided_choice\":[]}", "guided_choice"},
      {API_TEXT, "{\"prompt\":\"a\",\"grammar\":\"root ::= \\\"a\\\"\",\"regex\":\"b\"}", "grammar"},
      {API_CHAT, "{}", "messages"},
      {API_CHAT, "{\"messages\":\"x\"}", "messages"},
      {API_CHAT, "{\"messages\":[{}]}", "messages.role"},
      {API_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":1}]}", "messages.content"},
      {API_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", "messages.content"},
      {API_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tool_choice\":\"required\"}", "tool_choice"},
      {API_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"functions\":[{}]}", "functions"},
      {API_NATIVE, "{\"prompt\":\"a\",\"json_schema\":\"[]\"}", "json_schema"},
      {API_NATIVE, "{\"prompt\":\"a\",\"json_schema\":\"{\"}", "json_schema"},
      {API_NATIVE, "{\"prompt\":\"a\",\"max_tokens\":-2}", "max_tokens"},
      {API_NATIVE, "{\"prompt\":\"a\",\"max_tokens\":1e300}", "max_tokens"},
      {API_NATIVE, "{\"prompt\":\"a\",\"n\":1000000000000}", "n"},
      {API_NATIVE, "{\"prompt\":\"a\",\"seed\":1e19}", "seed"},
      {API_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"logprobs\":true,\"top_logprobs\":21}",
       "top_logprobs"},
      {API_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"top_logprobs\":2}", "top_logprobs"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    refused((api_dialect)rows[i].d, rows[i].json, rows[i].param);
}

static void test_unknown(void **state) {
  api_error e = {0};
  api_request *r;
  json_t *body = json_loads(
      "{\"prompt\":\"a\",\"hue\":1,\"lo\\nok\":2,\"user\":\"me\",\"lora\":[],\"json_schema\":\"{}\"}", 0, NULL);
  assert_int_equal(api_request_new(&r, API_TEXT, body, &env, &e), 0);
  assert_string_equal(r->ignored, "hue, lo_ok");
  api_request_free(r);
  env.strict = true;
  refused(API_TEXT, "{\"prompt\":\"a\",\"hue\":1}", "hue");
  env.strict = false;
}

/* What llama-server brings into range or leaves out is no error; what is left out is named. */
static void test_lenient(void **state) {
  api_error e = {0};
  api_request *r;
  json_t *body = json_loads(
      "{\"prompt\":\"a\",\"top_p\":1.5,\"min_p\":-1,\"top_k\":-5,\"temperature\":-2,\"mirostat\":9,\"n_probs\":-1,"
      "\"t_max_predict_ms\":-1,\"typical_p\":1e300,\"samplers\":[\"tfs_z\",\"top_k\"],\"logit_bias\":{\"99999999\":1}}",
      0, NULL);
  assert_int_equal(api_request_new(&r, API_NATIVE, body, &env, &e), 0);
  const myna_sampling *s = &r->sampling;
  assert_true(s->top_p == 1 && s->min_p == 0 && s->temperature == 0 && s->typical_p == 1);
  assert_true(s->top_k == 0 && s->mirostat == 2 && r->n_probs == 0 && r->max_ms == 0 && s->n_bias == 0);
  assert_string_equal(s->order, "k");
  assert_non_null(strstr(r->ignored, "tfs_z"));
  assert_non_null(strstr(r->ignored, "99999999"));
  api_request_free(r);
  env.strict = true;
  refused(API_NATIVE, "{\"prompt\":\"a\",\"samplers\":\"kz\"}", "samplers: z");
  env.strict = false;
}

/* Of several names for one thing one counts, whatever their order. */
static void test_precedence(void **state) {
  static const struct {
    const char *json;
    int64_t max_tokens;
    int32_t n_probs;
  } rows[] = {{"{\"prompt\":\"a\",\"n_predict\":1,\"max_completion_tokens\":2,\"max_tokens\":3}", 1, 0},
              {"{\"prompt\":\"a\",\"max_tokens\":3,\"max_completion_tokens\":2,\"n_predict\":null}", 2, 0},
              {"{\"prompt\":\"a\",\"max_tokens\":3,\"n_probs\":4,\"logprobs\":5}", 3, 4},
              {"{\"prompt\":\"a\",\"logprobs\":5}", -1, 5}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    api_error e = {0};
    api_request *r;
    assert_int_equal(api_request_new(&r, API_NATIVE, json_loads(rows[i].json, 0, NULL), &env, &e), 0);
    assert_int_equal(r->max_tokens, rows[i].max_tokens);
    assert_int_equal(r->n_probs, rows[i].n_probs);
    api_request_free(r);
  }
}

/* The end token counts: it was generated. */
static void test_end_counts(void **state) {
  json_t *o = body_of(API_NATIVE, "{\"prompt\":\"Once\",\"n_predict\":9,\"grammar\":\"root ::= \\\"a\\\"\"}");
  assert_string_equal(str(o, "stop_type"), "eos");
  assert_string_equal(str(o, "content"), "a");
  assert_int_equal(num(o, "tokens_predicted"), 2);
  json_decref(o);
}

static void test_overflow(void **state) {
  json_t *body = json_object(), *ids = json_array();
  for (int i = 0; i < 300; i++) json_array_append_new(ids, json_integer(5));
  json_object_set_new(body, "prompt", ids);
  api_error e = {0};
  api_request *r;
  assert_int_equal(api_request_new(&r, API_NATIVE, body, &env, &e), -1);
  json_t *o = api_error_json(&e), *inner = json_object_get(o, "error");
  assert_string_equal(str(inner, "type"), "exceed_context_size_error");
  assert_int_equal(num(inner, "n_prompt_tokens"), 300);
  assert_int_equal(num(inner, "n_ctx"), 256);
  json_decref(o);
}

static void test_sampling(void **state) {
  api_error e = {0};
  api_request *r;
  json_t *body = json_loads(
      "{\"prompt\":\"a\",\"temperature\":1,\"top_k\":7,\"seed\":42,\"samplers\":[\"top_k\","
      "\"temperature\"],\"logit_bias\":[[5,false],[\"the\",1.5],{\"token\":7,\"bias\":1e300}],\"max_tokens\":null}",
      0, NULL);
  assert_int_equal(api_request_new(&r, API_NATIVE, body, &env, &e), 0);
  assert_true(r->sampling.temperature == 1 && r->sampling.top_k == 7 && r->sampling.seed == 42);
  assert_string_equal(r->sampling.order, "kt");
  assert_true(r->sampling.n_bias >= 2 && r->sampling.bias[0].id == 5 && r->sampling.bias[0].bias < -1e30f);
  assert_true(r->sampling.bias[r->sampling.n_bias - 1].bias == 1e9f); /* finite: two infinities would make NaN */
  assert_int_equal(r->max_tokens, -1);
  json_t *s = api_generation_settings(r, 42);
  assert_int_equal(json_array_size(json_object_get(s, "samplers")), 2);
  assert_true(json_is_null(json_object_get(json_array_get(json_object_get(s, "logit_bias"), 0), "bias")));
  json_decref(s);
  api_request_free(r);
}

static void test_native(void **state) {
  json_t *o =
      body_of(API_NATIVE, "{\"prompt\":\"Once upon a time\",\"n_predict\":8,\"n_probs\":3,\"return_tokens\":true}");
  assert_string_equal(str(o, "stop_type"), "limit");
  assert_int_equal(num(o, "tokens_predicted"), 8);
  assert_int_equal(json_array_size(json_object_get(o, "tokens")), 8);
  const json_t *probs = json_object_get(o, "completion_probabilities");
  assert_int_equal(json_array_size(probs), 8);
  assert_int_equal(json_array_size(json_object_get(json_array_get(probs, 0), "top_logprobs")), 3);
  assert_int_equal(num(json_object_get(o, "timings"), "predicted_n"), 8);
  /* The stream says the same text, in pieces. */
  collect c = {.n = 0};
  api_reply *p = answer(API_NATIVE, "{\"prompt\":\"Once upon a time\",\"n_predict\":8,\"stream\":true}", &c);
  char text[4096] = "";
  int stops = 0;
  for (char *at = c.text; (at = strstr(at, "data: ")); at += 6) {
    json_t *chunk = json_loads(at + 6, JSON_DISABLE_EOF_CHECK, NULL);
    assert_non_null(chunk);
    strcat(text, str(chunk, "content"));
    stops += json_is_true(json_object_get(chunk, "stop"));
    assert_true(json_is_true(json_object_get(chunk, "stop")) || json_array_size(json_object_get(chunk, "tokens")) > 0);
    json_decref(chunk);
  }
  assert_int_equal(stops, 1);
  assert_string_equal(text, str(o, "content"));
  assert_null(strstr(c.text, "[DONE]"));
  api_reply_free(p);
  json_decref(o);
}

static void test_native_lists(void **state) {
  json_t *o = body_of(API_NATIVE, "{\"prompt\":[\"Once\",[1,5,6],{\"prompt_string\":\"Tom\"}],\"n_predict\":3}");
  assert_int_equal(json_array_size(o), 3);
  for (int i = 0; i < 3; i++) assert_int_equal(num(json_array_get(o, (size_t)i), "index"), i);
  json_decref(o);
  o = body_of(API_NATIVE, "{\"prompt\":[1,5,\"Tom\",6],\"n_predict\":0}");
  assert_true(json_is_object(o));
  assert_string_equal(str(o, "content"), "");
  assert_int_equal(num(o, "tokens_predicted"), 0);
  json_decref(o);
  o = body_of(API_NATIVE, "{\"prompt\":\"Tom\",\"n_predict\":3,\"response_fields\":[\"content\",\"generation_settings/"
                          "n_predict\",\"nothing/at/all\"]}");
  assert_int_equal(json_object_size(o), 2);
  assert_int_equal(num(o, "generation_settings/n_predict"), 3);
  json_decref(o);
}

static void test_stop(void **state) {
  json_t *o = body_of(API_NATIVE, "{\"prompt\":\"Once upon a time\",\"n_predict\":60}");
  char word[32];
  const char *text = str(o, "content");
  assert_true(strlen(text) > 30);
  snprintf(word, sizeof word, "%.5s", text + 20);
  char json[256];
  snprintf(json, sizeof json, "{\"prompt\":\"Once upon a time\",\"n_predict\":60,\"stop\":[\"never here\",\"%s\"]}",
           word);
  json_t *s = body_of(API_NATIVE, json);
  assert_string_equal(str(s, "stop_type"), "word");
  assert_string_equal(str(s, "stopping_word"), word);
  assert_null(strstr(str(s, "content"), word));
  json_decref(s);
  json_decref(o);
}

static void test_text(void **state) {
  json_t *o = body_of(API_TEXT, "{\"prompt\":\"Once upon\",\"max_tokens\":4,\"n\":2,\"echo\":true,\"temperature\":1}");
  const json_t *choices = json_object_get(o, "choices");
  assert_int_equal(json_array_size(choices), 2);
  assert_memory_equal(str(json_array_get(choices, 0), "text"), "Once upon", 9);
  assert_int_equal(num(json_object_get(o, "usage"), "completion_tokens"), 8);
  assert_string_equal(str(o, "object"), "text_completion");
  json_decref(o);
  o = body_of(API_TEXT, "{\"prompt\":\"Once upon\",\"max_tokens\":4,\"logprobs\":2,\"best_of\":3,\"temperature\":1}");
  choices = json_object_get(o, "choices");
  assert_int_equal(json_array_size(choices), 1);
  const json_t *lp = json_object_get(json_array_get(choices, 0), "logprobs");
  assert_int_equal(json_array_size(json_object_get(lp, "token_logprobs")), 4);
  assert_true(json_object_size(json_array_get(json_object_get(lp, "top_logprobs"), 0)) >= 1);
  json_decref(o);
  collect c = {.n = 0};
  api_reply *p =
      answer(API_TEXT,
             "{\"prompt\":\"Once\",\"max_tokens\":3,\"stream\":true,\"stream_options\":{\"include_usage\":true}}", &c);
  assert_non_null(strstr(c.text, "\"choices\":[],"));
  assert_string_equal(c.text + c.n - 14, "data: [DONE]\n\n");
  api_reply_free(p);
}

/* Without a template the contents are joined. */
static void test_chat(void **state) {
  const char *messages = "\"messages\":[{\"role\":\"system\",\"content\":\"Once\"},{\"role\":\"user\",\"content\":"
                         "[{\"type\":\"text\",\"text\":\"upon\"},{\"type\":\"text\",\"text\":\"a\"}]}]";
  char json[1024];
  snprintf(json, sizeof json, "{%s,\"max_tokens\":5,\"logprobs\":true,\"top_logprobs\":2}", messages);
  json_t *o = body_of(API_CHAT, json);
  const json_t *choice = json_array_get(json_object_get(o, "choices"), 0), *lp = json_object_get(choice, "logprobs");
  assert_string_equal(str(o, "object"), "chat.completion");
  assert_string_equal(str(choice, "finish_reason"), "length");
  assert_string_equal(str(json_object_get(choice, "message"), "role"), "assistant");
  assert_int_equal(json_array_size(json_object_get(lp, "content")), 5);
  char joined[512] = "";
  size_t i;
  json_t *row;
  json_array_foreach(json_object_get(lp, "content"), i, row) strcat(joined, str(row, "token"));
  assert_string_equal(joined, str(json_object_get(choice, "message"), "content"));
  /* The stream: the role alone, then text with its logprobs, the reason, usage, the end. */
  snprintf(
      json, sizeof json,
      "{%s,\"max_tokens\":5,\"logprobs\":true,\"top_logprobs\":2,\"stream\":true,\"stream_options\":{\"include_usage\":"
      "true}}",
      messages);
  collect c = {.n = 0};
  api_reply *p = answer(API_CHAT, json, &c);
  char text[512] = "";
  int n = 0, ends = 0;
  for (char *at = c.text; (at = strstr(at, "data: {")); at += 6, n++) {
    json_t *chunk = json_loads(at + 6, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *one = json_array_get(json_object_get(chunk, "choices"), 0), *delta = json_object_get(one, "delta");
    if (n == 0) assert_string_equal(str(delta, "role"), "assistant");
    if (n == 0) assert_true(json_is_null(json_object_get(delta, "content")));
    if (n > 0) assert_null(json_object_get(delta, "role"));
    if (str(delta, "content")) {
      strcat(text, str(delta, "content"));
      assert_true(json_array_size(json_object_get(json_object_get(one, "logprobs"), "content")) > 0);
    }
    ends += json_is_string(json_object_get(one, "finish_reason"));
    if (!one) assert_int_equal(num(json_object_get(chunk, "usage"), "completion_tokens"), 5);
    json_decref(chunk);
  }
  assert_int_equal(ends, 1);
  assert_string_equal(text, joined);
  assert_string_equal(c.text + c.n - 14, "data: [DONE]\n\n");
  api_reply_free(p);
  json_decref(o);
  api_error e = {0};
  snprintf(json, sizeof json, "{%s}", messages);
  o = api_answer_template(&env, json_loads(json, 0, NULL), &e);
  assert_string_equal(str(o, "prompt"), "Once\nupon\na");
  json_decref(o);
  snprintf(json, sizeof json, "{%s,\"tools\":[{}]}", messages);
  refused(API_CHAT, json, "tools");
}

/* The prompt's own probabilities: as those of the same tokens when they are generated. */
static void test_echo(void **state) {
  json_t *o = body_of(API_TEXT, "{\"prompt\":\"Once upon a time\",\"max_tokens\":6,\"logprobs\":2,\"temperature\":0}");
  const json_t *lp = json_object_get(json_array_get(json_object_get(o, "choices"), 0), "logprobs");
  json_t *prompt = json_loads("{\"content\":\"Once upon a time\",\"add_special\":true}", 0, NULL);
  api_error e = {0};
  json_t *ids = api_answer_tokenize(&env, prompt, &e);
  json_t *list = json_object_get(ids, "tokens");
  size_t n = json_array_size(list);
  for (size_t i = 0; i < 6; i++)
    json_array_append(list, json_object_get(json_array_get(json_object_get(lp, "content"), i), "id"));
  json_t *again = json_pack("{s:O, s:i, s:b, s:i}", "prompt", list, "max_tokens", 0, "echo", 1, "logprobs", 2);
  char *text = json_dumps(again, 0);
  json_t *q = body_of(API_TEXT, text);
  const json_t *choice = json_array_get(json_object_get(q, "choices"), 0), *all = json_object_get(choice, "logprobs");
  assert_int_equal(json_array_size(json_object_get(all, "tokens")), n + 6);
  assert_true(json_is_null(json_array_get(json_object_get(all, "token_logprobs"), 0)));
  assert_true(json_is_null(json_array_get(json_object_get(all, "top_logprobs"), 0)));
  for (size_t i = 0; i < 6; i++) {
    double a = json_number_value(json_array_get(json_object_get(lp, "token_logprobs"), i));
    double b = json_number_value(json_array_get(json_object_get(all, "token_logprobs"), n + i));
    assert_true(fabs(a - b) < 1e-4);
    assert_int_equal(json_object_size(json_array_get(json_object_get(all, "top_logprobs"), n + i)), 2);
  }
  assert_int_equal(num(json_object_get(q, "usage"), "completion_tokens"), 0);
  assert_int_equal(num(json_object_get(q, "usage"), "prompt_tokens"), (json_int_t)n + 6);
  free(text);
  json_decref(again);
  json_decref(ids);
  json_decref(q);
  json_decref(o);
  o = body_of(API_TEXT, "{\"prompt\":[\"Tom\",\"Lily and\"],\"max_tokens\":2,\"echo\":true,\"logprobs\":1,\"n\":2,"
                        "\"temperature\":1}");
  const json_t *choices = json_object_get(o, "choices");
  assert_int_equal(json_array_size(choices), 4);
  for (size_t i = 0; i < 4; i++) {
    choice = json_array_get(choices, i);
    all = json_object_get(choice, "logprobs");
    const json_t *offsets = json_object_get(all, "text_offset");
    size_t last = json_array_size(offsets) - 1, len = strlen(str(choice, "text"));
    assert_memory_equal(str(choice, "text"), i < 2 ? "Tom" : "Lily and", i < 2 ? 3 : 8);
    assert_int_equal(json_integer_value(json_array_get(offsets, 0)), 0);
    assert_int_equal(json_integer_value(json_array_get(offsets, last)) +
                         (json_int_t)json_string_length(json_array_get(json_object_get(all, "tokens"), last)),
                     len);
  }
  json_decref(o);
}

/* What a stream told of choice k, joined as the whole answer has it. */
static void join_stream(const collect *c, int k, char *text, size_t cap, json_t *logprobs) {
  text[0] = 0;
  for (const char *at = c->text; (at = strstr(at, "data: {")); at += 6) {
    json_t *chunk = json_loads(at + 6, JSON_DISABLE_EOF_CHECK, NULL);
    const json_t *choice = json_array_get(json_object_get(chunk, "choices"), 0), *lp;
    if (num(choice, "index") == k) {
      assert_true(strlen(text) + strlen(str(choice, "text")) < cap);
      strcat(text, str(choice, "text"));
      const char *name;
      json_t *all;
      lp = json_object_get(choice, "logprobs");
      json_object_foreach(logprobs, name, all) json_array_extend(all, json_object_get(lp, name));
    }
    json_decref(chunk);
  }
}

/* A stream says what the whole answer does, whichever of its sequences is computed first. */
static void test_echo_stream(void **state) {
  const char *ask = "\"prompt\":[\"Tom\",\"Lily and\"],\"max_tokens\":%d,\"echo\":true,\"logprobs\":30,\"n\":2,"
                    "\"temperature\":1,\"seed\":7";
  for (int round = 0; round < 4; round++) {
    char half[256], json[300], text[1024];
    snprintf(half, sizeof half, ask, round < 2 ? 6 : 0);
    snprintf(json, sizeof json, "{%s}", half);
    json_t *whole = body_of(API_TEXT, json);
    snprintf(json, sizeof json, "{%s,\"stream\":true}", half);
    static collect c;
    c.n = 0;
    api_run_backwards = round % 2;
    api_reply *p = answer(API_TEXT, json, &c);
    api_run_backwards = false;
    assert_string_equal(c.text + c.n - 14, "data: [DONE]\n\n");
    for (int k = 0; k < 4; k++) {
      const json_t *choice = json_array_get(json_object_get(whole, "choices"), (size_t)k);
      json_t *got = json_pack("{s:[], s:[], s:[], s:[], s:[]}", "tokens", "token_logprobs", "top_logprobs",
                              "text_offset", "content");
      join_stream(&c, k, text, sizeof text, got);
      assert_string_equal(text, str(choice, "text"));
      assert_true(json_equal(got, json_object_get(choice, "logprobs")));
      const json_t *top = json_object_get(got, "top_logprobs");
      assert_true(json_is_null(json_array_get(top, 0)) && json_object_size(json_array_get(top, 1)) > 20);
      json_decref(got);
    }
    api_reply_free(p);
    json_decref(whole);
  }
}

/* More alternatives than other APIs tell: all of the vocabulary, which then are everything that can be; within bounds. */
static void test_many_probs(void **state) {
  myna_model_info info;
  myna_model_get_info(env.model, &info);
  static const char *const asks[] = {
      "{\"prompt\":\"Once\",\"n_predict\":2,\"n_probs\":1000000,\"temperature\":1}",
      "{\"prompt\":\"Once\",\"n_predict\":2,\"n_probs\":1000000,\"post_sampling_probs\":true,\"temperature\":1,"
      "\"top_k\":0,\"top_p\":1,\"min_p\":0}"};
  for (int post = 0; post < 2; post++) {
    json_t *o = body_of(API_NATIVE, asks[post]);
    const json_t *row = json_array_get(json_object_get(o, "completion_probabilities"), 1);
    const json_t *top = json_object_get(row, post ? "top_probs" : "top_logprobs");
    double sum = 0, before = 1;
    assert_true((int64_t)json_array_size(top) == info.n_vocab || (post && json_array_size(top) > 1000));
    for (size_t i = 0; i < json_array_size(top); i++) {
      double x = json_number_value(json_object_get(json_array_get(top, i), post ? "prob" : "logprob"));
      if (!post) x = exp(x);
      assert_true(x <= before);
      sum += before = x;
    }
    assert_true(fabs(sum - 1) < 1e-3);
    json_decref(o);
  }
  refused(API_NATIVE, "{\"prompt\":\"a\",\"n_probs\":1000000}", "n_probs");
  refused(API_TEXT, "{\"prompt\":\"a\",\"logprobs\":1000000,\"n\":128,\"max_tokens\":200}", "logprobs");
}

/* What is left by the samplers: few, and together 1. */
static void test_post_probs(void **state) {
  json_t *o = body_of(API_NATIVE, "{\"prompt\":\"Once\",\"n_predict\":5,\"n_probs\":20,\"post_sampling_probs\":true,"
                                  "\"temperature\":1,\"top_k\":3,\"top_p\":1,\"min_p\":0}");
  const json_t *rows = json_object_get(o, "completion_probabilities");
  assert_int_equal(json_array_size(rows), 5);
  for (size_t i = 0; i < 5; i++) {
    const json_t *row = json_array_get(rows, i), *top = json_object_get(row, "top_probs");
    double sum = 0, before = 1, own = json_number_value(json_object_get(row, "prob"));
    bool found = false;
    assert_int_equal(json_array_size(top), 3);
    for (size_t k = 0; k < 3; k++) {
      double x = json_number_value(json_object_get(json_array_get(top, k), "prob"));
      assert_true(x > 0 && x <= before);
      sum += before = x;
      found |= num(json_array_get(top, k), "id") == num(row, "id") && fabs(x - own) < 1e-6;
    }
    assert_true(fabs(sum - 1) < 1e-4 && found);
  }
  json_decref(o);
  o = body_of(API_NATIVE, "{\"prompt\":\"Once\",\"n_predict\":3,\"n_probs\":5,\"post_sampling_probs\":true}");
  rows = json_object_get(o, "completion_probabilities");
  for (size_t i = 0; i < 3; i++) { /* greedy: one is left */
    assert_int_equal(json_array_size(json_object_get(json_array_get(rows, i), "top_probs")), 1);
    assert_true(json_number_value(json_object_get(json_array_get(rows, i), "prob")) == 1);
  }
  json_decref(o);
}

/* Prompt and answer fill the context and no more. */
static void test_room(void **state) {
  for (int i = 0; i < 2; i++) {
    json_t *o = body_of(API_NATIVE, i ? "{\"prompt\":\"Tom\",\"ignore_eos\":true}"
                                      : "{\"prompt\":\"Tom\",\"ignore_eos\":true,\"n_predict\":1000}");
    assert_int_equal(num(o, "tokens_evaluated") + num(o, "tokens_predicted"), 256);
    assert_true(json_is_true(json_object_get(o, "truncated")));
    assert_string_equal(str(o, "stop_type"), "limit");
    json_decref(o);
  }
}

static void test_names(void **state) {
  env.aliases = "b,a,,c";
  env.tags = "x";
  json_t *o = api_answer_model(&env, 1);
  assert_int_equal(json_array_size(json_object_get(o, "aliases")), 3);
  assert_int_equal(json_array_size(json_object_get(o, "tags")), 1);
  json_decref(o);
  assert_true(api_model_is(&env, "a") && api_model_is(&env, "c") && api_model_is(&env, "stories"));
  assert_false(api_model_is(&env, "") || api_model_is(&env, "ab") || api_model_is(&env, "b,a"));
  env.aliases = env.tags = NULL;
  api_error e = {0};
  o = api_answer_count(&env, json_loads("{\"messages\":[{\"role\":\"user\",\"content\":\"Tom\"}]}", 0, NULL), &e);
  assert_true(num(o, "input_tokens") > 1);
  json_decref(o);
}

static void test_small(void **state) {
  api_error e = {0};
  json_t *body = json_loads("{\"content\":\"Tom \\u00e9\",\"with_pieces\":true,\"add_special\":true}", 0, NULL);
  json_t *o = api_answer_tokenize(&env, body, &e);
  const json_t *tokens = json_object_get(o, "tokens");
  assert_true(json_array_size(tokens) > 1);
  json_t *ids = json_array();
  for (size_t i = 0; i < json_array_size(tokens); i++)
    json_array_append(ids, json_object_get(json_array_get(tokens, i), "id"));
  json_t *back = json_pack("{s:o}", "tokens", ids), *text = api_answer_detokenize(&env, back, &e);
  assert_non_null(strstr(str(text, "content"), "Tom \xc3\xa9"));
  json_decref(text);
  json_decref(o);
  static const struct {
    const char *body;
    size_t n; /* 0: refused */
  } lists[] = {{"{\"content\":[5,\"Tom\",7],\"add_special\":false}", 3},
               {"{\"content\":[\"Tom\",\"Tom\"],\"add_special\":true}", 3}, /* one mark of the beginning */
               {"{\"content\":[5],\"with_pieces\":true}", 1},
               {"{\"content\":[-1]}", 0},
               {"{\"content\":[99999999]}", 0},
               {"{\"content\":[[5]]}", 0},
               {"{\"content\":5.5}", 0}};
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    json_t *list = api_answer_tokenize(&env, json_loads(lists[i].body, 0, NULL), &e);
    if (lists[i].n == 0) assert_string_equal(e.param, "content");
    assert_int_equal(json_array_size(json_object_get(list, "tokens")), lists[i].n);
    json_decref(list);
    e = (api_error){0};
  }
  body = json_loads("{\"tokens\":[-1]}", 0, NULL);
  assert_null(api_answer_detokenize(&env, body, &e));
  assert_string_equal(e.param, "tokens");
  o = api_answer_models(&env, 1);
  assert_string_equal(str(json_array_get(json_object_get(o, "data"), 0), "id"), "stories");
  json_decref(o);
  o = api_answer_props(&env, 2);
  assert_int_equal(num(o, "total_slots"), 2);
  json_decref(o);
  o = api_text("a\xff\xc3", 3);
  assert_string_equal(json_string_value(o), "a\xEF\xBF\xBD\xEF\xBF\xBD");
  json_decref(o);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_refused),    cmocka_unit_test(test_unknown),    cmocka_unit_test(test_lenient),
      cmocka_unit_test(test_precedence), cmocka_unit_test(test_end_counts), cmocka_unit_test(test_overflow),
      cmocka_unit_test(test_sampling),   cmocka_unit_test(test_native),     cmocka_unit_test(test_native_lists),
      cmocka_unit_test(test_stop),       cmocka_unit_test(test_text),       cmocka_unit_test(test_small),
      cmocka_unit_test(test_chat),       cmocka_unit_test(test_echo),       cmocka_unit_test(test_post_probs),
      cmocka_unit_test(test_room),       cmocka_unit_test(test_names),      cmocka_unit_test(test_echo_stream),
      cmocka_unit_test(test_many_probs),
  };
  return cmocka_run_group_tests(tests, api_run_setup, api_run_teardown);
}
