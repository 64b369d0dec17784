// Softmax attention of one item and head, forward and backward, with the scores in tiles.
//
// Tiling and the backward pass: Dao 2023 (FlashAttention-2), https://arxiv.org/abs/2307.08691. The
// scores of a tile are computed in units of log2, so that 2^x replaces e^x.
#pragma once

#include "draws.h"
#include "memory.h"
#include "rows.h"
#include "scores.h"

namespace headway {

// Queries of a tile, and keys of one in the forward and in the backward pass.
constexpr long kQueries = 64, kKeys = 256, kKeysBack = 128;

template <class T>
struct Item {
  Rows<const T> query, key, value;
  Rows<T> out;
  float* lse;  // one number per query
  long queries, keys, width, value_width;
  float scale;
  Dropout dropout = {};
  // The number of the first pair of the item among all, and by how much it grows with the query.
  uint64_t number = 0, row = 0;
};

// Where the gradient of the bias of one item goes: sums over what the bias is broadcast along.
struct BiasGrad {
  float* to = nullptr;
  long row = 0;        // distance of two rows; 0 if the bias has one for all queries
  bool column = true;  // false if it has one column for all keys
  float* slope = nullptr;  // where that of the penalty of distance goes
  float* table = nullptr;  // and that of the entries of the head
};

inline long block(long count, long size) {
  const long blocks = (count + size - 1) / size;
  return blocks ? (count + blocks - 1) / blocks : 0;
}

// Keys and values of an item, packed for the forward pass.
struct Packed {
  float *key, *value;

  void plan(Scratch& memory, long keys, long width, long value_width) {
    key = memory.take(panels(keys) * N * width);
    value = memory.take(panels(value_width) * N * keys);
  }
};

struct ForwardTiles {
  float *query, *scores, *added, *out, *top, *total, *ratio;
  Scores filled;  // what `added` holds, if it is one tile for all items
  bool full = false;

  void plan(Scratch& memory, long width, long value_width) {
    query = memory.take(panels(width) * N * kQueries);
    scores = memory.take(kQueries * (kKeys + N));
    added = memory.take(kQueries * (kKeys + N));
    out = memory.take(panels(value_width) * N * kQueries);
    top = memory.take(kQueries + W);
    total = memory.take(kQueries + W);
    ratio = memory.take(kQueries + W);
    full = false;
  }
};

namespace detail {

// Columns of the last vector beyond `columns` of each row to minus infinity.
inline void hide_rest(float* x, long rows, long columns) {
  const long rest = columns % W;
  if (!rest) return;
  float* last = x + (columns / N) * rows * N + columns % N - rest;
  for (long r = 0; r < rows; r++)
    for (long k = rest; k < W; k++) last[r * N + k] = -INFINITY;
}

// Vector number v of the first row of a tile, from its begin.
template <class Begin>
inline Begin vector_of(Begin x, long rows, long v) {
  return x + (v / 2) * rows * N + (v % 2) * W;
}

// What the weights of a tile are multiplied by: zero where they are dropped.
template <class T, class Each>
inline void each_factor(const Item<T>& item, long i, long m, long j, long n, Each each) {
  for (long v = 0; v < vectors(n); v++)
    for (long r = 0; r < m; r++)
      each(vector_of(0L, m, v) + r * N, item.dropout.factors(item.number + (i + r) * item.row + j + v * W));
}

inline void scale(float* x, const float* by, long rows, long columns) {
  for (long v = 0; v < vectors(columns); v++) {
    float* at = vector_of(x, rows, v);
    const float* other = vector_of(by, rows, v);
    for (long r = 0; r < rows; r++) store(at + r * N, load(at + r * N) * load(other + r * N));
  }
}

// Scores of R rows to weights, and by what ratio earlier sums of each row shrink.
template <int R>
inline void soften_rows(float* x, long panel, long vecs, float* tops, float* totals, float* ratios, bool first) {
  Vec rows[W];
#pragma GCC unroll 8
  for (int i = 0; i < W; i++) rows[i] = splat(-INFINITY);
  for (long v = 0; v < vecs; v++) {
    const float* at = x + (v / 2) * panel + (v % 2) * W;
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) rows[i] = largest(load(at + i * N), rows[i]);
  }
  Vec top = maxima(rows);
  const Vec before = first ? splat(-INFINITY) : load(tops);
  top = largest(before, top);
  const Vec base = top == splat(-INFINITY) ? Vec{} : top;
  float bases[W];
  store(bases, base);
  store(tops, top);
#pragma GCC unroll 8
  for (int i = 0; i < W; i++) rows[i] = Vec{};
  for (long v = 0; v < vecs; v++) {
    float* at = x + (v / 2) * panel + (v % 2) * W;
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
      const Vec weight = exp2(load(at + i * N) - splat(bases[i]));
      store(at + i * N, weight);
      rows[i] += weight;
    }
  }
  const Vec ratio = exp2(before - base), total = sums(rows);
  store(ratios, ratio);
  store(totals, first ? total : load(totals) * ratio + total);
}

inline void soften(float* x, long rows, long columns, ForwardTiles& tiles, bool first) {
  const long vecs = vectors(columns), panel = rows * N;
  const auto run = [&](auto size, long r) {
    constexpr int R = decltype(size)::value;
    for (; r + R <= rows; r += R)
      soften_rows<R>(x + r * N, panel, vecs, tiles.top + r, tiles.total + r, tiles.ratio + r, first);
    return r;
  };
  long r = run(std::integral_constant<int, W < 8 ? W : 8>{}, 0);
  r = run(std::integral_constant<int, 4>{}, r);
  run(std::integral_constant<int, 1>{}, r);
}

inline void shrink(float* x, const float* ratio, long rows, long columns) {
  for (long v = 0; v < vectors(columns); v++) {
    float* at = vector_of(x, rows, v);
    for (long r = 0; r < rows; r++) store(at + r * N, load(at + r * N) * splat(ratio[r]));
  }
}

}  // namespace detail

template <class T>
void forward(const Item<T>& item, const Scores& scores, const Packed& packed, ForwardTiles& tiles, long begin, long end) {
  const long step = block(item.queries, kQueries);
  const bool single = item.queries <= kQueries && item.keys <= kKeys;
  for (long i = begin; i < end; i += step) {
    const long m = end - i < step ? end - i : step;
    pack(item.query.from(i), m, item.width, item.scale * kLog2e, tiles.query, m);
    bool first = true;
    const long keys_end = scores.end(i, m, item.keys);
    for (long j = scores.first(i) / N * N; j < keys_end; j += kKeys) {
      const long n = keys_end - j < kKeys ? keys_end - j : kKeys;
      const float* added = nullptr;
      if (scores.needed(i, m, j, n)) {
        if (!(single && tiles.full && tiles.filled == scores)) scores.fill(tiles.added, i, m, j, n);
        tiles.full = single;
        tiles.filled = scores;
        added = tiles.added;
      }
      multiply(m, n, item.width, tiles.query, m * N, packed.key + j * item.width, N * item.width, added, tiles.scores, m * N);
      if (!added) detail::hide_rest(tiles.scores, m, n);
      detail::soften(tiles.scores, m, n, tiles, first);
      if (item.dropout.gain)
        detail::each_factor(item, i, m, j, n, [&](long at, Vec by) { store(tiles.scores + at, load(tiles.scores + at) * by); });
      if (!first) detail::shrink(tiles.out, tiles.ratio, m, item.value_width);
      multiply(m, item.value_width, n, tiles.scores, m * N, packed.value + j * N, item.keys * N, first ? nullptr : tiles.out, tiles.out, m * N);
      first = false;
    }
    for (long r = 0; r < m; r += W) {
      const Vec total = first ? Vec{} : load(tiles.total + r), none{};
      const Vec lse = (load(tiles.top + r) + log2(total)) * splat(kLn2);
      float ends[W];
      store(ends, total == none ? splat(-INFINITY) : lse);
      for (long k = 0; k < W && r + k < m; k++) item.lse[i + r + k] = ends[k];
      store(tiles.ratio + r, total == none ? none : splat(1.0f) / total);
    }
    if (first) std::memset(tiles.out, 0, panels(item.value_width) * N * m * sizeof(float));
    unpack(tiles.out, m, m, item.value_width, tiles.ratio, 1.0f, item.out.from(i));
  }
}

template <class T>
struct ItemGrad {
  Rows<const T> grad, out;
  const float* grad_lse;  // or null
  Rows<T> query, key, value;
};

struct BackwardTiles {
  float *query, *grad, *query_grad, *key_grad, *value_grad;           // of the whole item
  float *key, *key_flipped, *value_flipped, *scores, *slopes, *added, *kept;  // of a tile
  float *lse, *delta;
  Scores filled;
  bool full = false;

  void plan(Scratch& memory, long queries, long keys, long width, long value_width) {
    query = memory.take(panels(width) * N * queries);
    grad = memory.take(panels(value_width) * N * queries);
    query_grad = memory.take(panels(width) * N * queries);
    key_grad = memory.take(panels(width) * N * (keys + N));
    value_grad = memory.take(panels(value_width) * N * (keys + N));
    key = memory.take(panels(width) * N * kKeysBack);
    key_flipped = memory.take(kKeysBack * width);
    value_flipped = memory.take(kKeysBack * value_width);
    scores = memory.take(kQueries * kKeysBack);
    slopes = memory.take(kQueries * kKeysBack);
    added = memory.take(kQueries * kKeysBack);
    kept = memory.take(kQueries * kKeysBack);
    lse = memory.take(queries + W);
    delta = memory.take(queries + W);
    full = false;
  }
};

namespace detail {

// Weights of R rows again, and the gradient of the scores in the place of that of the weights. Where
// the columns are all there are (WHOLE), what the weights' gradients sum up to is found here; it
// then fits the weights to the last digit.
template <int R, bool WHOLE>
inline void slope_rows(float* x, float* grad, long panel, long vecs, const float* lse, float* delta) {
  Vec sum[W];
#pragma GCC unroll 8
  for (int i = 0; i < W; i++) sum[i] = Vec{};
  for (long v = 0; v < vecs; v++) {
    const long at = (v / 2) * panel + (v % 2) * W;
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
      const Vec weight = exp2(load(x + at + i * N) - splat(lse[i]));
      store(x + at + i * N, weight);
      float* slope = grad + at + i * N;
      if (WHOLE) sum[i] += weight * load(slope);
      else store(slope, weight * (load(slope) - splat(delta[i])));
    }
  }
  if (!WHOLE) return;
  // `delta` comes with what is to be taken off, and one row may follow another.
  float sums_of_rows[W];
  store(sums_of_rows, sums(sum));
  for (int i = 0; i < R; i++) delta[i] += sums_of_rows[i];
  for (long v = 0; v < vecs; v++) {
    const long at = (v / 2) * panel + (v % 2) * W;
#pragma GCC unroll 8
    for (int i = 0; i < R; i++) {
      float* slope = grad + at + i * N;
      store(slope, load(x + at + i * N) * (load(slope) - splat(delta[i])));
    }
  }
}

template <bool WHOLE>
inline void slope(float* x, float* grad, const float* lse, float* delta, long rows, long columns) {
  const long vecs = vectors(columns), panel = rows * N;
  const auto run = [&](auto size, long r) {
    constexpr int R = decltype(size)::value;
    for (; r + R <= rows; r += R)
      slope_rows<R, WHOLE>(x + r * N, grad + r * N, panel, vecs, lse + r, delta + r);
    return r;
  };
  long r = run(std::integral_constant<int, W < 8 ? W : 8>{}, 0);
  r = run(std::integral_constant<int, 4>{}, r);
  run(std::integral_constant<int, 1>{}, r);
}

inline void collect(const float* slopes, long rows, long columns, const BiasGrad& to, long i, long j) {
  const long vecs = vectors(columns);
  for (long r = 0; r < rows; r++) {
    float* row = to.to + (i + r) * to.row + (to.column ? j : 0);
    Vec total{};
    for (long v = 0; v < vecs; v++) {
      const Vec s = load(vector_of(slopes, rows, v) + r * N);
      if (to.column) store(row + v * W, load(row + v * W) + s);
      else total += s;
    }
    if (!to.column) *row += sum(total);
  }
}

// Adds each slope to the entry of the table that its pair takes.
inline void scatter(const float* slopes, long rows, long columns, const Scores& scores, float* to, long i, long j) {
  for (long r = 0; r < rows; r++) {
    const int64_t* entry = scores.index + (i + r) * scores.index_t + j * scores.index_s;
    for (long v = 0; v < vectors(columns); v++) {
      const float* at = vector_of(slopes, rows, v) + r * N;
      const long left = columns - v * W, count = left < W ? left : W;
      for (long k = 0; k < count; k++) to[entry[(v * W + k) * scores.index_s]] += at[k];
    }
  }
}

// The gradient of the slope: minus the distances, weighted.
inline float along(const float* slopes, long rows, long columns, const Scores& scores, long i, long j) {
  Vec total{}, positions;
  for (int k = 0; k < W; k++) positions[k] = (float)k;
  for (long v = 0; v < vectors(columns); v++) {
    const float* at = vector_of(slopes, rows, v);
    for (long r = 0; r < rows; r++) {
      const Vec distance = positions + splat((float)(j + v * W - (i + r + scores.shift)));
      total -= load(at + r * N) * (distance < Vec{} ? -distance : distance);
    }
  }
  return sum(total);
}

// For each query the log-sum-exp, and what is taken off the gradients of its weights: their sum over
// the weights, which the outputs give where no tile holds all of them.
template <class T>
void prepare(const Item<T>& item, const ItemGrad<T>& grads, BackwardTiles& tiles, bool whole) {
  const long width = item.value_width, inner = width / W * W;
  for (long t = 0; t < item.queries; t += W) {
    Vec rows[W];
    const long some = item.queries - t < W ? item.queries - t : W;
    for (long i = 0; i < W; i++) {
      rows[i] = Vec{};
      if (whole || i >= some) continue;
      const T *g = grads.grad.row(t + i), *o = grads.out.row(t + i);
      for (long c = 0; c < inner; c += W) rows[i] += load_wide(g + c) * load_wide(o + c);
      for (long c = inner; c < width; c++) rows[i][0] += widened(g[c]) * widened(o[c]);
    }
    store(tiles.delta + t, whole ? Vec{} : sums(rows));
  }
  for (long t = 0; t < item.queries; t++) {
    if (grads.grad_lse) tiles.delta[t] -= grads.grad_lse[t];
    // A row without keys has weights of zero, whatever is subtracted.
    tiles.lse[t] = item.lse[t] == -INFINITY ? 0.0f : item.lse[t] * kLog2e;
  }
}

}  // namespace detail

// `fresh`: whether the gradients of keys and values begin here (the first query head of a group).
template <class T>
void backward(const Item<T>& item, const ItemGrad<T>& grads, const Scores& scores, const BiasGrad& bias, BackwardTiles& tiles, bool fresh, bool last) {
  const long queries = item.queries, keys = item.keys, width = item.width, value_width = item.value_width;
  pack(item.query, queries, width, item.scale * kLog2e, tiles.query, queries);
  pack(grads.grad, queries, value_width, 1.0f, tiles.grad, queries);
  const bool whole = keys <= kKeysBack;
  detail::prepare(item, grads, tiles, whole);
  const auto zero = [](float* x, long count) { std::memset(x, 0, count * sizeof(float)); };
  zero(tiles.query_grad, panels(width) * N * queries);
  if (fresh) {
    zero(tiles.key_grad, panels(width) * N * keys);
    zero(tiles.value_grad, panels(value_width) * N * keys);
  }
  const long step = block(queries, kQueries);
  const bool single = queries <= kQueries && keys <= kKeysBack;
  for (long j = 0; j < keys; j += kKeysBack) {
    const long columns = keys - j < kKeysBack ? keys - j : kKeysBack;
    pack(item.key.from(j), columns, width, 1.0f, tiles.key, columns);
    pack_transposed(item.key.from(j), columns, width, tiles.key_flipped);
    pack_transposed(item.value.from(j), columns, value_width, tiles.value_flipped);
    for (long i = 0; i < queries; i += step) {
      const long m = queries - i < step ? queries - i : step;
      if (scores.first(i) >= j + columns || scores.end(i, m, keys) <= j) continue;
      // Keys behind the last that is seen are left out of every product.
      const long seen = scores.end(i, m, keys) - j;
      const long n = seen < columns ? seen : columns;
      const float* added = nullptr;
      if (scores.needed(i, m, j, n)) {
        if (!(single && tiles.full && tiles.filled == scores)) scores.fill(tiles.added, i, m, j, n);
        tiles.full = single;
        tiles.filled = scores;
        added = tiles.added;
      }
      const float *query = tiles.query + i * N, *grad = tiles.grad + i * N;
      multiply(m, n, width, query, queries * N, tiles.key_flipped, N * width, added, tiles.scores, m * N);
      if (!added) detail::hide_rest(tiles.scores, m, n);
      multiply(m, n, value_width, grad, queries * N, tiles.value_flipped, N * value_width, nullptr, tiles.slopes, m * N);
      if (item.dropout.gain) {
        detail::each_factor(item, i, m, j, n, [&](long at, Vec by) { store(tiles.kept + at, by); });
        detail::scale(tiles.slopes, tiles.kept, m, n);
      }
      (whole ? detail::slope<true> : detail::slope<false>)(
          tiles.scores, tiles.slopes, tiles.lse + i, tiles.delta + i, m, n);
      if (bias.to) detail::collect(tiles.slopes, m, n, bias, i, j);
      if (bias.table) detail::scatter(tiles.slopes, m, n, scores, bias.table, i, j);
      if (bias.slope) *bias.slope += detail::along(tiles.slopes, m, n, scores, i, j);
      if (item.dropout.gain) detail::scale(tiles.scores, tiles.kept, m, n);
      add_flipped(n, value_width, m, tiles.scores, m * N, grad, queries * N, tiles.value_grad + j * N, keys * N);
      add_flipped(n, width, m, tiles.slopes, m * N, query, queries * N, tiles.key_grad + j * N, keys * N);
      multiply(m, width, n, tiles.slopes, m * N, tiles.key, columns * N, tiles.query_grad + i * N, tiles.query_grad + i * N, queries * N);
    }
  }
  unpack(tiles.query_grad, queries, queries, width, nullptr, item.scale, grads.query);
  if (last) {
    // The queries were multiplied by scale * log2(e).
    unpack(tiles.key_grad, keys, keys, width, nullptr, kLn2, grads.key);
    unpack(tiles.value_grad, keys, keys, value_width, nullptr, 1.0f, grads.value);
  }
}

}  // namespace headway
