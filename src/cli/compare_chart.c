/* compare_chart.c: results of `myna compare` as an SVG: bars of the median latency by size with a line to p90, and of throughput by clients. */
#include "compare.h"
#include <errno.h>
#include <math.h>
#include <string.h>

enum { WIDTH = 900, HEIGHT = 360, PANEL = 400, TOP = 70, BOTTOM = 310, LEFT = 50, GAP = 450 };

static const char *const colors[MAX_SERVERS] = {"#1b6ca8", "#d1622b", "#3a8f4d", "#8a4fa3",
                                                "#b59b1d", "#4aa3a3", "#b03a5b", "#6b6b6b"};

static void xml_text(FILE *f, const char *s) {
  for (; *s; s++) {
    unsigned char ch = (unsigned char)*s;
    if (ch == '<' || ch == '>' || ch == '&' || ch == '"' || ch == '\'')
      fprintf(f, "&#%d;", ch);
    else
      fputc(ch < ' ' ? ' ' : ch, f);
  }
}

/* A round number of at least x: 1, 2 or 5 times a power of ten. */
static double round_up(double x) {
  if (!(x > 0)) return 1;
  double ten = pow(10, floor(log10(x)));
  for (int i = 0; i < 3; i++)
    if (x <= ten * (double[]){1, 2, 5}[i]) return ten * (double[]){1, 2, 5}[i];
  return 10 * ten;
}

static double height_of(const comparison *c, int i, int k, bool rate, double q) {
  const server *s = &c->servers[i];
  return rate ? quantile(&s->clients[k].rate, q) : quantile(&s->size[k].latency, q);
}

static void panel(FILE *f, const comparison *c, bool rate) {
  int n = rate ? c->n_clients : c->n_sizes, left = LEFT + (rate ? GAP : 0);
  double top = 0;
  for (int k = 0; k < n; k++)
    for (int i = 0; i < c->n_servers; i++) {
      double x = height_of(c, i, k, rate, rate ? 0.5 : 0.9);
      if (x > top) top = x;
    }
  top = round_up(top);
  fprintf(f, "<text x=\"%d\" y=\"%d\" font-weight=\"bold\">%s</text>\n", left, TOP - 14,
          rate ? "Tokens per second by clients (higher is better)"
               : "Seconds by characters, line to p90 (lower is better)");
  for (int i = 0; i <= 4; i++) {
    double y = BOTTOM - (BOTTOM - TOP) * i / 4.0;
    fprintf(f, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>", left, y, left + PANEL - 10, y);
    fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n", left - 4, y + 4, top * i / 4);
  }
  double group = (PANEL - 20.0) / n, bar = group * 0.8 / c->n_servers;
  for (int k = 0; k < n; k++) {
    double x0 = left + 5 + group * k;
    for (int i = 0; i < c->n_servers; i++) {
      double v = height_of(c, i, k, rate, 0.5), p90 = height_of(c, i, k, rate, 0.9), scale = (BOTTOM - TOP) / top;
      double x = x0 + group * 0.1 + bar * i;
      if (isnan(v)) continue;
      fprintf(f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"><title>", x,
              BOTTOM - v * scale, bar * 0.92, v * scale, colors[i]);
      xml_text(f, c->servers[i].name);
      fprintf(f, ": %.4g</title></rect>\n", v);
      if (!rate)
        fprintf(f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#333\"/>\n", x + bar * 0.46,
                BOTTOM - v * scale, x + bar * 0.46, BOTTOM - p90 * scale);
    }
    fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%lld</text>\n", x0 + group / 2, BOTTOM + 16,
            (long long)(rate ? c->clients[k] : c->sizes[k]));
  }
}

static void legend(FILE *f, const comparison *c) {
  double step = (WIDTH - 2.0 * LEFT) / c->n_servers;
  for (int i = 0; i < c->n_servers; i++) {
    const server *s = &c->servers[i];
    fprintf(f, "<rect x=\"%.1f\" y=\"16\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%.1f\" y=\"27\">",
            LEFT + step * i, colors[i], LEFT + step * i + 18);
    xml_text(f, s->name);
    if (s->json_total) fprintf(f, " (valid JSON %.0f %%)", 100.0 * s->json_valid / s->json_total);
    fprintf(f, "</text>\n");
  }
}

int write_chart(const char *path, const comparison *c) {
  FILE *f = fopen(path, "w");
  if (!f) return failed("%s: %s", path, strerror(errno));
  fprintf(f,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
          "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
          WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
  legend(f, c);
  panel(f, c, false);
  panel(f, c, true);
  fprintf(f, "</svg>\n");
  bool bad = ferror(f) != 0;
  if (fclose(f) != 0 || bad) return failed("%s: cannot be written", path);
  return 0;
}
