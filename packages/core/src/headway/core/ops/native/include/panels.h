// Matrices in panels, and their products in register tiles.
//
// A matrix of R rows and C columns lies in panels of N = 2 W columns, each (R, N) and contiguous:
// whatever role it plays in a product, its rows are a constant N apart and nothing is strided.
#pragma once

#include "vectors.h"

namespace headway {

constexpr int N = 2 * W;
constexpr int M = HEADWAY_ROWS;

inline long panels(long columns) { return (columns + N - 1) / N; }
inline long vectors(long columns) { return (columns + W - 1) / W; }

namespace detail {

// c (R, V W) = from + a b over `depth`. FLIPPED reads a column of `a` where a row would be.
template <int R, int V, bool FLIPPED>
inline __attribute__((always_inline)) void tile(
    long depth, const float* a, long a_panel, const float* b, const float* from, float* c) {
  Vec sum[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) sum[r][v] = from ? load(from + r * N + v * W) : Vec{};
  auto step = [&](const float* at) __attribute__((always_inline)) {
    Vec right[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) right[v] = load(b + v * W);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      Vec left = splat(at[FLIPPED ? r : r * N]);
#pragma GCC unroll 2
      for (int v = 0; v < V; v++) sum[r][v] += left * right[v];
    }
    b += N;
  };
  if (FLIPPED) {
#pragma GCC unroll 2
    for (long k = 0; k < depth; k++) step(a + k * N);
  } else {
    for (; depth >= N; depth -= N, a += a_panel) {
#pragma GCC unroll 4
      for (int k = 0; k < N; k++) step(a + k);
    }
    for (long k = 0; k < depth; k++) step(a + k);
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 2
    for (int v = 0; v < V; v++) store(c + r * N + v * W, sum[r][v]);
}

template <int R, int V, bool FLIPPED>
__attribute__((noinline)) void tile_of(
    long depth, const float* a, long a_panel, const float* b, const float* from, float* c) {
  tile<R, V, FLIPPED>(depth, a, a_panel, b, from, c);
}

using Tile = void (*)(long, const float*, long, const float*, const float*, float*);

template <int V, bool FLIPPED, int... R>
inline Tile tile_for(long rows, std::integer_sequence<int, R...>) {
  static const Tile all[] = {tile_of<R + 1, V, FLIPPED>...};
  return all[rows - 1];
}

template <bool FLIPPED>
inline void rows_of(
    long rows, long vecs, long depth, const float* a, long a_panel, const float* b, const float* from, float* c) {
  using Sizes = std::make_integer_sequence<int, M>;
  const long groups = (rows + M - 1) / M;
  for (long g = 0, r = 0; g < groups; g++) {
    // Groups of about equal size keep all registers busy.
    const long next = rows * (g + 1) / groups;
    const Tile run =
        vecs > 1 ? tile_for<2, FLIPPED>(next - r, Sizes{}) : tile_for<1, FLIPPED>(next - r, Sizes{});
    run(depth, a + (FLIPPED ? r : r * N), a_panel, b, from ? from + r * N : nullptr, c + r * N);
    r = next;
  }
}

}  // namespace detail

// c (rows, columns) = from + a (rows, depth) b (depth, columns); `from` lies as c does, or is null.
inline void multiply(
    long rows, long columns, long depth, const float* a, long a_panel, const float* b, long b_panel,
    const float* from, float* c, long c_panel) {
  for (long left = vectors(columns); left > 0; left -= 2, b += b_panel, c += c_panel) {
    detail::rows_of<false>(rows, left, depth, a, a_panel, b, from, c);
    if (from) from += c_panel;
  }
}

// c (rows, columns) += a^T b with a (depth, rows), b (depth, columns).
inline void add_flipped(
    long rows, long columns, long depth, const float* a, long a_panel, const float* b, long b_panel,
    float* c, long c_panel) {
  for (long r = 0; r < rows; r += N, a += a_panel) {
    const long some = rows - r < N ? rows - r : N;
    const float* right = b;
    float* to = c + r * N;
    for (long left = vectors(columns); left > 0; left -= 2, right += b_panel, to += c_panel)
      detail::rows_of<true>(some, left, depth, a, 0, right, to, to);
  }
}

}  // namespace headway
