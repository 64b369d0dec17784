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

struct Call {
  const float *query, *keys, *values;
  float *out, *partial;
  const int64_t* lengths;
  int64_t batch, kv_heads, groups, tokens, size, splits, window;
  int64_t query_b, query_h, query_t, keys_b, keys_h, keys_s, values_b, values_h, values_s;
  int64_t out_b, out_h, out_t;
  float scale;
};

// Sums the values of keys [first, last) by their weights, after the scores; returns the largest score.
template <int N, int M>
float part(const float* q, const float* keys, int64_t keys_s, const float* values, int64_t values_s,
           int64_t first, int64_t last, float scale, float* acc, float* total) {
  alignas(64) float scores[SPLIT + W];
  Vec parts[N];
  for (int n = 0; n < N; n++) parts[n] = load(q + n * W) * splat(scale);
  const int64_t count = last - first;
  Vec tops = splat(-INFINITY);
  for (int64_t s = 0; s < count; s += W) {
    Vec dots[W];
    for (int i = 0; i < W; i++) {
      // Behind the last key the last key again; its score is hidden below.
      const float* row = keys + (first + (s + i < count ? s + i : count - 1)) * keys_s;
      dots[i] = parts[0] * load(row);
      for (int n = 1; n < N; n++) dots[i] += parts[n] * load(row + n * W);
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
  Vec a[M];
  for (int m = 0; m < M; m++) a[m] = Vec{};
  for (int64_t s = 0; s < count; s++) {
    const float* row = values + (first + s) * values_s;
    const Vec weight = splat(scores[s]);
    for (int m = 0; m < M; m++) a[m] += weight * load(row + m * W);
  }
  for (int m = 0; m < M; m++) store(acc + m * W, a[m]);
  return top;
}

template <int N, int M>
void run(const Call& c) {
  constexpr int E = M * W;
  const int64_t rows = c.groups * c.tokens, stride = E + 2;
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < c.batch * c.kv_heads * c.splits; task++) {
    const int64_t split = task % c.splits, head = task / c.splits % c.kv_heads;
    const int64_t b = task / c.splits / c.kv_heads;
    const float* keys = c.keys + b * c.keys_b + head * c.keys_h;
    const float* values = c.values + b * c.values_b + head * c.values_h;
    for (int64_t r = 0; r < rows; r++) {
      const int64_t t = r % c.tokens, h = head * c.groups + r / c.tokens;
      int64_t last = c.lengths[b] + t;
      int64_t first = c.window < 0 || last - 1 < c.window ? 0 : last - 1 - c.window;
      last = last < c.size ? last : c.size;
      const int64_t begin = split * SPLIT, end = begin + SPLIT;
      first = first > begin ? first : begin;
      last = last < end ? last : end;
      alignas(64) float acc[E];
      float total = 0, top = -INFINITY;
      if (first < last) {
        const float* q = c.query + b * c.query_b + h * c.query_h + t * c.query_t;
        top = part<N, M>(q, keys, c.keys_s, values, c.values_s, first, last, c.scale * LOG2E, acc,
                         &total);
      } else {
        for (int e = 0; e < E; e++) acc[e] = 0;
      }
      float* to = c.out + b * c.out_b + h * c.out_h + t * c.out_t;
      if (c.splits > 1) {
        to = c.partial + (task * rows + r) * stride;
        to[E] = top;
        to[E + 1] = total;
      }
      const float share = c.splits > 1 || total == 0 ? 1.0f : 1.0f / total;
      for (int m = 0; m < M; m++) store(to + m * W, load(acc + m * W) * splat(share));
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
    Vec a[M];
    for (int m = 0; m < M; m++) a[m] = Vec{};
    for (int64_t s = 0; s < c.splits; s++) {
      const float* one = from + s * rows * stride;
      if (one[E + 1] == 0) continue;
      const float weight = std::exp2(one[E] - top);
      total += weight * one[E + 1];
      for (int m = 0; m < M; m++) a[m] += splat(weight) * load(one + m * W);
    }
    const float share = total == 0 ? 0 : 1.0f / total;
    const int64_t t = r % c.tokens, h = head * c.groups + r / c.tokens;
    float* to = c.out + b * c.out_b + h * c.out_h + t * c.out_t;
    for (int m = 0; m < M; m++) store(to + m * W, a[m] * splat(share));
  }
}

template <int N>
bool choose(const Call& c, int64_t width) {
  switch (width / W) {
    case 1: run<N, 1>(c); return true;
    case 2: run<N, 2>(c); return true;
    case 4: run<N, 4>(c); return true;
    case 8: run<N, 8>(c); return true;
    case 16: run<N, 16>(c); return true;
  }
  return false;
}

}  // namespace

HEADWAY_EXPORT int64_t headway_decode_width() { return W; }
HEADWAY_EXPORT int64_t headway_decode_split() { return SPLIT; }

// `sizes` and `strides` in the order of the fields of Call. False: no kernel for these widths.
HEADWAY_EXPORT bool headway_decode(const float* query, const float* keys, const float* values,
                                   const int64_t* lengths, float* out, float* partial,
                                   const int64_t* n, float scale) {
  Call c{query, keys,  values, out,   partial, lengths, n[0],  n[1],  n[2],  n[3],  n[4],  n[5], n[6],
         n[7],  n[8],  n[9],   n[10], n[11],   n[12],   n[13], n[14], n[15], n[16], n[17], n[18], scale};
  const int64_t channels = n[19], width = n[20];
  if (channels % W || width % W) return false;
  switch (channels / W) {
    case 1: return choose<1>(c, width);
    case 2: return choose<2>(c, width);
    case 4: return choose<4>(c, width);
    case 8: return choose<8>(c, width);
    case 16: return choose<16>(c, width);
  }
  return false;
}
