/* attn_bench.h: speed of attention over pages and of the row operations (bench_attn.c). */
#ifndef MYNA__ATTN_BENCH_H
#define MYNA__ATTN_BENCH_H

int bench_attn(int argc, char **argv);
int bench_rows(int argc, char **argv);

#endif
