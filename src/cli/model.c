/* model.c: opens the model that the flags name; when that fails, says what is there instead. */
#define _GNU_SOURCE
#include "cli.h"
#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MYNA_DATA_DIR
#define MYNA_DATA_DIR "/usr/local/share/myna"
#endif
static const char shipped[] = "myna-stories.gguf";

/* The model that ships: beside the sources, or installed. NULL when it is nowhere. */
static const char *default_model(void) {
  static char path[PATH_MAX + 64];
  char exe[PATH_MAX];
  ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
  exe[n > 0 ? n : 0] = 0;
  const char *dir = n > 0 ? dirname(exe) : ".";
  static const char *const folders[] = {"/../models", "/../share/myna", "/models"};
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    snprintf(path, sizeof path, "%s%s/%s", dir, folders[i], shipped);
    if (access(path, R_OK) == 0) return path;
  }
  snprintf(path, sizeof path, "%s/%s", MYNA_DATA_DIR, shipped);
  return access(path, R_OK) == 0 ? path : NULL;
}

/* ---- a path that leads nowhere ---- */

/* Names in a folder, at most `max`; -1 when it cannot be read. They are never freed: the process ends soon. */
static int names_in(const char *dir, const char **names, int max) {
  DIR *d = opendir(dir);
  int n = 0;
  if (!d) return -1;
  for (struct dirent *e; n < max && (e = readdir(d));)
    if (e->d_name[0] != '.' && (names[n] = strdup(e->d_name))) n++;
  closedir(d);
  return n;
}

static bool is_gguf(const char *name) {
  size_t n = strlen(name);
  return n > 5 && strcasecmp(name + n - 5, ".gguf") == 0;
}

static void list_ggufs(const char *dir, const char *const *names, int n) {
  char text[1024] = "";
  int found = 0;
  for (int i = 0; i < n; i++) {
    if (!is_gguf(names[i])) continue;
    size_t at = strlen(text);
    if (++found <= 5) snprintf(text + at, sizeof text - at, "%s%s", found > 1 ? ", " : "", names[i]);
  }
  if (found) failed(".gguf files in %s: %s%s", dir, text, found > 5 ? ", ..." : "");
}

/* Corrects the first part of the path that does not exist, and says so. */
static void suggest(const char *path) {
  char dir[PATH_MAX], rest[PATH_MAX], copy[PATH_MAX];
  const char *names[1024];
  snprintf(dir, sizeof dir, "%s", path);
  rest[0] = 0;
  for (;;) { /* up until the folder exists; `rest` is what hangs below the wrong name */
    snprintf(copy, sizeof copy, "%s", dir);
    const char *up = dirname(copy);
    if (access(up, F_OK) == 0) break;
    const char *slash = strrchr(dir, '/');
    if (!slash) return;
    char below[PATH_MAX];
    if (snprintf(below, sizeof below, "%s%s", slash, rest) >= (int)sizeof below) return;
    memcpy(rest, below, sizeof rest);
    snprintf(dir, sizeof dir, "%s", up);
  }
  const char *slash = strrchr(dir, '/'), *word = slash ? slash + 1 : dir;
  int n = names_in(slash == dir ? "/" : slash ? copy : ".", names, 1024);
  if (n < 0) return;
  const char *near = closest(word, names, n);
  if (near)
    failed("did you mean %.*s%s%s?", (int)(word - dir), dir, near, rest);
  else
    list_ggufs(slash ? copy : "this folder", names, n);
}

/* The file was there and could not be opened as a model: more than the library can say. */
static void explain(const char *path) {
  const char *names[1024];
  struct stat st;
  myna_model *m;
  myna_model_info info;
  if (stat(path, &st) != 0) return;
  if (S_ISDIR(st.st_mode)) {
    int n = names_in(path, names, 1024);
    for (int i = 0; i < n; i++)
      if (strcmp(names[i], "config.json") == 0) failed("MLX and Hugging Face folders are not supported yet");
    list_ggufs(path, names, n);
    return;
  }
  if (myna_model_open(&m, path, &(myna_model_options){.header_only = true}, NULL) < 0) return;
  myna_model_get_info(m, &info);
  if (info.n_tensors == 0)
    failed("the file has no weights, only a vocabulary: tokenize and inspect work with it");
  else
    failed("myna inspect shows what is in the file");
  myna_model_close(m);
}

int open_model(const options *o, bool header_only, myna_model **out) {
  myna_err err = {0};
  const char *path = o->model ? o->model : default_model();
  if (!path) return usage("which model? name a file: --model FILE (the one that ships, %s, is not there)", shipped);
  const myna_model_options mo = {.no_mmap = o->no_mmap,
                                 .header_only = header_only,
                                 .mlock = o->mlock,
                                 .huge_pages = o->huge_pages,
                                 .no_populate = o->numa != NULL}; /* pages belong to the thread that first reads them */
  if (myna_model_open(out, path, &mo, &err) == 0) return 0;
  fail(&err);
  if (access(path, F_OK) == 0)
    explain(path);
  else if (o->bare_model && strchr(path, ' '))
    failed("the first word without a flag is the model; a prompt is given with -p");
  else
    suggest(path);
  return EXIT_FAIL;
}
