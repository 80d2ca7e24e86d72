/* schema_match.h: does a GBNF text (as schemas are written: one rule a line) have this text? Naive, for tests. */
#ifndef TEST_SCHEMA_MATCH_H
#define TEST_SCHEMA_MATCH_H
#include <stdbool.h>
#include <stddef.h>
bool schema_match(const char *gbnf, const char *text, size_t n);
#endif
