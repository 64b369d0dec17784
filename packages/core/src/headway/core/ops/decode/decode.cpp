// Attention of a few queries per row to keys that lie in a cache, split over the keys.
#include <cmath>
#include <cstdlib>

#include "vectors.h"

using namespace headway;

namespace {

constexpr float LOG2E = 1.4426950408889634f;
// Keys per split: their scores fit on the stack, and a row of many keys feeds several threads. A
// constant, so that sums do not depend on the number of threads.
constexpr int64_t SPLIT = 512;
// Channels of a head, at most: its vectors fit on the stack.
constexpr int64_t WIDEST = 256;
// Keys of a head that are asked for ahead; numbers of a cache line.
constexpr int64_t AHEAD = 64, LINE = 16;

struct Call {
  const float *query, *keys, *values;
  float *out, *partial;
  const int64_t* lengths;
  int64_t batch, kv_heads, groups, tokens, size, splits, window;
  int64_t query_b, query_h, query_t, keys_b, keys_h, keys_s, values_b, values_h, values_s;
  int64_t out_b, out_h, out_t;
  float scale;
  int64_t channels, width;
};

// Vector n of a row of `width` numbers; WHOLE says that the row fills its vectors, so that heads of a
// width that no vector divides cost the others nothing.
template <bool WHOLE>
inline Vec load_part(const float* row, int n, int64_t width) {
  return WHOLE ? load(row + n * W) : load_some(row + n * W, width - n * W);
}
template <bool WHOLE>
inline void store_part(float* row, int n, int64_t width, Vec v) {
  WHOLE ? store(row + n * W, v) : store_some(row + n * W, v, width - n * W);
}

// Asks for what one query of a head reads first, so that waiting for memory overlaps with computing.
inline void prefetch(const float* rows, int64_t stride, int64_t first, int64_t last, int64_t width) {
  last = last < first + AHEAD ? last : first + AHEAD;
  for (int64_t s = first; s < last; s++)
    for (int64_t n = 0; n < width; n += LINE) __builtin_prefetch(rows + s * stride + n, 0, 2);
}

void prefetch_head(const Call& c, int64_t task) {
  if (task >= c.batch * c.kv_heads) return;
  const int64_t head = task % c.kv_heads, b = task / c.kv_heads;
  const int64_t last = c.lengths[b] < c.size ? c.lengths[b] : c.size;
  const int64_t first = c.window < 0 || last - 1 < c.window ? 0 : last - 1 - c.window;
  prefetch(c.keys + b * c.keys_b + head * c.keys_h, c.keys_s, first, last, c.channels);
  prefetch(c.values + b * c.values_b + head * c.values_h, c.values_s, first, last, c.width);
}

// Sums the values of keys [first, last) by their weights, after the scores; returns the largest score.
template <int N, bool WHOLE>
float part(const Call& c, const float* q, const float* keys, const float* values, int64_t first,
           int64_t last, Vec* acc, float* total) {
  alignas(64) float scores[SPLIT + W];
  Vec parts[N];
  for (int n = 0; n < N; n++) parts[n] = load_part<WHOLE>(q, n, c.channels) * splat(c.scale * LOG2E);
  const int64_t count = last - first;
  Vec tops = splat(-INFINITY);
  for (int64_t s = 0; s < count; s += W) {
    Vec dots[W];
    for (int i = 0; i < W; i++) {
      // Behind the last key the last key again; its score is hidden below.
      const float* row = keys + (first + (s + i < count ? s + i : count - 1)) * c.keys_s;
      dots[i] = parts[0] * load_part<WHOLE>(row, 0, c.channels);
      for (int n = 1; n < N; n++) dots[i] += parts[n] * load_part<WHOLE>(row, n, c.channels);
    }
    Vec found = sums(dots);
    if (s + W > count)
      for (int i = 0; i < W; i++)
        if (s + i >= count) found[i] = -INFINITY;
    store(scores + s, found);
    tops = largest(tops, found);
  }
  float top = tops[0];
  for (int i = 1; i < W; i++) top = tops[i] > top ? tops[i] : top;
  Vec weighted = Vec{};
  for (int64_t s = 0; s < count; s += W) {
    Vec weights = headway::exp2(load(scores + s) - splat(top));
    weighted += weights;
    store(scores + s, weights);
  }
  *total = sum(weighted);
  Vec a[N];
  for (int n = 0; n < N; n++) a[n] = Vec{};
  for (int64_t s = 0; s < count; s++) {
    const float* row = values + (first + s) * c.values_s;
    const Vec weight = splat(scores[s]);
    for (int n = 0; n < N; n++) a[n] += weight * load_part<WHOLE>(row, n, c.width);
  }
  for (int n = 0; n < N; n++) acc[n] = a[n];
  return top;
}

template <int N, bool WHOLE>
void run(const Call& c) {
  const int64_t rows = c.groups * c.tokens, E = c.width, stride = E + 2;
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < c.batch * c.kv_heads * c.splits; task++) {
    const int64_t split = task % c.splits, head = task / c.splits % c.kv_heads;
    const int64_t b = task / c.splits / c.kv_heads;
    const float* keys = c.keys + b * c.keys_b + head * c.keys_h;
    const float* values = c.values + b * c.values_b + head * c.values_h;
    if (c.splits == 1) prefetch_head(c, task + 2);
    for (int64_t r = 0; r < rows; r++) {
      const int64_t t = r % c.tokens, h = head * c.groups + r / c.tokens;
      int64_t last = c.lengths[b] + t;
      int64_t first = c.window < 0 || last - 1 < c.window ? 0 : last - 1 - c.window;
      last = last < c.size ? last : c.size;
      const int64_t begin = split * SPLIT, end = begin + SPLIT;
      first = first > begin ? first : begin;
      last = last < end ? last : end;
      Vec acc[N] = {};
      float total = 0, top = -INFINITY;
      if (first < last) {
        const float* q = c.query + b * c.query_b + h * c.query_h + t * c.query_t;
        top = part<N, WHOLE>(c, q, keys, values, first, last, acc, &total);
      }
      float* to = c.out + b * c.out_b + h * c.out_h + t * c.out_t;
      if (c.splits > 1) {
        to = c.partial + (task * rows + r) * stride;
        to[E] = top;
        to[E + 1] = total;
      }
      const float share = c.splits > 1 || total == 0 ? 1.0f : 1.0f / total;
      for (int n = 0; n < N; n++) store_part<WHOLE>(to, n, E, acc[n] * splat(share));
    }
  }
  if (c.splits == 1) return;
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < c.batch * c.kv_heads * rows; row++) {
    const int64_t r = row % rows, head = row / rows % c.kv_heads, b = row / rows / c.kv_heads;
    const float* from = c.partial + ((b * c.kv_heads + head) * c.splits * rows + r) * stride;
    float top = -INFINITY, total = 0;
    for (int64_t s = 0; s < c.splits; s++) {
      const float other = from[s * rows * stride + E];
      top = other > top ? other : top;
    }
    Vec a[N] = {};
    for (int64_t s = 0; s < c.splits; s++) {
      const float* one = from + s * rows * stride;
      if (one[E + 1] == 0) continue;
      const float weight = std::exp2(one[E] - top);
      total += weight * one[E + 1];
      for (int n = 0; n < N; n++) a[n] += splat(weight) * load_part<WHOLE>(one, n, E);
    }
    const float share = total == 0 ? 0 : 1.0f / total;
    const int64_t t = r % c.tokens, h = head * c.groups + r / c.tokens;
    float* to = c.out + b * c.out_b + h * c.out_h + t * c.out_t;
    for (int n = 0; n < N; n++) store_part<WHOLE>(to, n, E, a[n] * splat(share));
  }
}

// The least power of two of vectors that holds both rows.
template <int N>
void choose(const Call& c) {
  const bool whole = c.channels == N * W && c.width == N * W;
  if (whole) return run<N, true>(c);
  if (c.channels <= N * W && c.width <= N * W) return run<N, false>(c);
  if constexpr (2 * N * W <= WIDEST) choose<2 * N>(c);
}

}  // namespace

HEADWAY_EXPORT int64_t headway_decode_split() { return SPLIT; }

// `n`: the fields of Call in their order. False: a head is wider than the widest.
HEADWAY_EXPORT bool headway_decode(const float* query, const float* keys, const float* values,
                                   const int64_t* lengths, float* out, float* partial,
                                   const int64_t* n, float scale) {
  const Call c{query, keys,  values, out,   partial, lengths, n[0],  n[1],  n[2],  n[3],
               n[4],  n[5],  n[6],   n[7],  n[8],    n[9],    n[10], n[11], n[12], n[13],
               n[14], n[15], n[16],  n[17], n[18],   scale,   n[19], n[20]};
  if (c.channels > WIDEST || c.width > WIDEST) return false;
  choose<1>(c);
  return true;
}
