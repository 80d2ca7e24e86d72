#!/usr/bin/env python3
"""Writes the texts that repeat themselves, for `myna bench --replay FILE --spec-type ngram`:

  server.log      lines of a log: a few forms with changing numbers, names and times
  records.json    an array of records with the same keys
  edited.c        a piece of program and then the same with a name changed throughout, an argument added and lines put in:
                  what a model writes that was asked to edit a file (the prompt is the first half)

  bench/repetitive.py FOLDER      the same bytes each time
"""
import pathlib
import sys


class Numbers:
    """splitmix64: the same everywhere, whatever Python's own generator becomes."""

    def __init__(self, seed):
        self.s = seed

    def below(self, n):
        m = (1 << 64) - 1
        self.s = (self.s + 0x9E3779B97F4A7C15) & m
        z = self.s
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & m
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & m
        return (z ^ (z >> 31)) % n

    def of(self, items):
        return items[self.below(len(items))]


def server_log(r, lines):
    hosts = ["10.0.%d.%d" % (r.below(4), r.below(250)) for _ in range(6)]
    paths = ["/api/v1/users", "/api/v1/orders", "/api/v1/orders/export", "/static/app.js", "/health"]
    t, out = 8 * 3600 * 1000, []
    for _ in range(lines):
        t += r.below(900)
        stamp = "2026-03-14 %02d:%02d:%02d.%03d" % (t // 3600000, t // 60000 % 60, t // 1000 % 60, t % 1000)
        kind = r.below(10)
        if kind < 6:
            out.append("%s INFO  [http] %s \"%s %s HTTP/1.1\" status=%d bytes=%d time_ms=%d" % (
                stamp, r.of(hosts), r.of(["GET", "GET", "POST"]), r.of(paths), r.of([200, 200, 200, 304, 404]), r.below(20000), r.below(200)))
        elif kind < 8:
            out.append("%s INFO  [db] query finished: table=%s rows=%d time_ms=%d" % (stamp, r.of(["users", "orders", "items"]), r.below(500), r.below(60)))
        elif kind < 9:
            out.append("%s WARN  [pool] connection %d was idle for more than 30 seconds and is closed" % (stamp, r.below(16)))
        else:
            out.append("%s ERROR [worker-%d] job %d failed: upstream did not answer within 5000 ms, it is tried again" % (stamp, r.below(4), 4000 + r.below(900)))
    return "\n".join(out) + "\n"


def records_json(r, n):
    first, last = ["Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farah"], ["Novak", "Okafor", "Pereira", "Quist", "Rossi", "Sato"]
    out = []
    for i in range(n):
        a, b = r.of(first), r.of(last)
        out.append("""  {
    "id": %d,
    "name": "%s %s",
    "email": "%s.%s@example.com",
    "active": %s,
    "address": {
      "street": "%d Harbour Road",
      "city": "%s",
      "country": "%s"
    },
    "tags": ["%s", "%s"],
    "balance": %d.%02d
  }""" % (1000 + i, a, b, a.lower(), b.lower(), r.of(["true", "true", "false"]), 1 + r.below(300), r.of(["Porto", "Gdansk", "Lagos", "Osaka"]),
            r.of(["PT", "PL", "NG", "JP"]), r.of(["new", "regular"]), r.of(["email", "phone", "none"]), r.below(9000), r.below(100)))
    return "[\n" + ",\n".join(out) + "\n]\n"


PROGRAM = """/* A ring of samples with running sum, mean and extremes. */
typedef struct ring {
  double *data;
  size_t size, used, next;
  double sum;
} ring;

int ring_init(ring *r, size_t size) {
  r->data = malloc(size * sizeof *r->data);
  if (!r->data) return -1;
  r->size = size;
  r->used = r->next = 0;
  r->sum = 0;
  return 0;
}

void ring_free(ring *r) {
  free(r->data);
  r->data = NULL;
}

void ring_push(ring *r, double x) {
  if (r->used == r->size) r->sum -= r->data[r->next];
  else r->used++;
  r->data[r->next] = x;
  r->sum += x;
  r->next = (r->next + 1) % r->size;
}

double ring_mean(const ring *r) {
  return r->used > 0 ? r->sum / (double)r->used : 0;
}

double ring_max(const ring *r) {
  double best = -INFINITY;
  for (size_t i = 0; i < r->used; i++)
    if (r->data[i] > best) best = r->data[i];
  return best;
}
"""


def edited():
    """The program, and the program after an editor was through with it."""
    new = PROGRAM.replace("ring_max", "ring_highest").replace("double best", "double top").replace("> best) best", "> top) top").replace("return best", "return top")
    new = new.replace("int ring_init(ring *r, size_t size) {\n", "int ring_init(ring *r, size_t size) {\n  if (size == 0) return -1;\n")
    new = new.replace("  r->data = NULL;\n", "  r->data = NULL;\n  r->used = 0;\n").replace("running sum, mean", "running sum, average").replace("ring_mean", "ring_average")
    return PROGRAM + "\n" + new


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("server.log", server_log(Numbers(1), 60)), ("records.json", records_json(Numbers(2), 24)), ("edited.c", edited())):
        (folder / name).write_text(text)
        print(folder / name)


if __name__ == "__main__":
    main()
