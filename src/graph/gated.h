/* gated.h: parameters of gated and rms_norm that the fusion pass reads. */
#ifndef MYNA__GRAPH_GATED_H
#define MYNA__GRAPH_GATED_H

#include "graph/graph.h"

typedef struct myna__gated_params {
  myna_act act;
} myna__gated_params;

typedef struct myna__norm_params {
  float eps;
} myna__norm_params;

#endif
