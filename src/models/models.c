/* models.c: the list of families. */
#include "models/models.h"
#include <string.h>

#define FAMILY(name) extern const myna__family myna__family_##name;
#include "models/models.inc"
#undef FAMILY

static const myna__family *const families[] = {
#define FAMILY(name) &myna__family_##name,
#include "models/models.inc"
#undef FAMILY
};

int myna__family_count(void) { return (int)(sizeof families / sizeof *families); }

const myna__family *myna__family_at(int i) { return i >= 0 && i < myna__family_count() ? families[i] : NULL; }

const myna__family *myna__family_find(const char *arch) {
  for (int i = 0; i < myna__family_count(); i++)
    if (strcmp(families[i]->arch, arch) == 0) return families[i];
  return NULL;
}
