/* api_run.h: requests run on the model that ships, without HTTP: what the tests of the APIs share. */
#ifndef TESTS_SERVER_API_RUN_H
#define TESTS_SERVER_API_RUN_H

#include "server/api.h"
#include "test.h"

/* What is set up by api_run_setup; a test that changes env puts it back. */
extern api_env env;
extern int64_t api_run_ctx;    /* positions, set before the setup */
extern bool api_run_backwards; /* the last sequence of a request runs first */
int api_run_setup(void **state);
int api_run_teardown(void **state);

typedef struct collect {
  char text[1 << 20];
  size_t n;
} collect;

/* Runs a request to its end; what streams goes to c, which may be NULL. The caller frees it. */
api_reply *answer(api_dialect d, const char *json, collect *c);
/* The whole answer. */
json_t *body_of(api_dialect d, const char *json);
/* The request is refused, and the field named. */
void refused(api_dialect d, const char *json, const char *param);
const char *str(const json_t *o, const char *name);
json_int_t num(const json_t *o, const char *name);

#endif
