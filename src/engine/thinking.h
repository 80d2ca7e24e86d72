/* thinking.h: what constrains a request's answer: reasoning first, bounded by a budget; then a grammar, at once or from a trigger on. */
#ifndef MYNA__THINKING_H
#define MYNA__THINKING_H

#include "engine/grammar_run.h"
#include "engine/sampler.h"

typedef struct myna__constraint myna__constraint;
/* NULL where the request asks for nothing of the kind. */
int myna__constraint_new(myna__constraint **out, const myna_request *r, const myna_model *m, const myna__tokenizer *tk,
                         myna_err *err);
void myna__constraint_free(myna__constraint *c);
/* The next token, as myna__sampler_sample. */
int32_t myna__constraint_sample(myna__constraint *c, myna__sampler *s, const float *logits, myna_err *err);
/* A token that was taken, forced ones too. */
int myna__constraint_accept(myna__constraint *c, int32_t id, myna_err *err);
/* The legal alternatives of the last sampled token, at most 20, when there were several; borrowed until the next sample. */
int myna__constraint_branches(const myna__constraint *c, const int32_t **ids, const float **logprobs);
/* Appends what closes an answer that ends here. */
void myna__constraint_close(const myna__constraint *c, myna__buf *out);

#endif
