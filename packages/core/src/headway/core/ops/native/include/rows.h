// Rows in the caller's memory, float or bfloat16, to panels and back.
#pragma once

#include "panels.h"

namespace headway {

struct bfloat16 {
  uint16_t bits;
};

inline float widened(float x) { return x; }
inline float widened(bfloat16 x) {
  uint32_t bits = (uint32_t)x.bits << 16;
  float y;
  std::memcpy(&y, &bits, 4);
  return y;
}
inline void narrow(float x, float* to) { *to = x; }
inline void narrow(float x, bfloat16* to) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  // To nearest, ties to even; a NaN stays one.
  to->bits = x != x ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

inline Vec load_wide(const float* p) { return load(p); }
inline Vec load_wide(const bfloat16* p) {
  typedef uint16_t Half __attribute__((vector_size(W * 2)));
  Half half;
  std::memcpy(&half, p, sizeof half);
  return (Vec)(__builtin_convertvector(half, Ints) << 16);
}
inline void store_narrow(float* p, Vec v) { store(p, v); }
inline void store_narrow(bfloat16* p, Vec v) {
  typedef uint16_t Half __attribute__((vector_size(W * 2)));
  const Ints bits = (Ints)v;
  const Ints rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const Half half = __builtin_convertvector((v == v) ? rounded : rounded * 0 + 0x7fc0, Half);
  std::memcpy(p, &half, sizeof half);
}

// Row number i begins at base + i * stride, or at base + positions[i] * stride; a position below zero is
// that of `spare`, which is nowhere for rows that are only written.
template <class T>
struct Rows {
  T* base;
  long stride;
  const int64_t* positions = nullptr;
  T* spare = nullptr;

  T* row(long i) const {
    if (!positions) return base + i * stride;
    return positions[i] < 0 ? spare : base + positions[i] * stride;
  }
  Rows from(long i) const {
    return positions ? Rows{base, stride, positions + i, spare} : Rows{base + i * stride, stride};
  }
};

namespace detail {

// Runs `one(row, number)` for all rows, with the question of how they lie asked once.
template <class T, class One>
inline __attribute__((always_inline)) void each_row(Rows<T> rows, long count, One one) {
  if (rows.positions) {
    for (long i = 0; i < count; i++)
      if (T* row = rows.row(i)) one(row, i);
  } else {
    T* row = rows.base;
    for (long i = 0; i < count; i++, row += rows.stride) one(row, i);
  }
}

}  // namespace detail

// (count, width) times `factor` in panels of `height` rows; columns up to a whole panel are zero.
template <class T>
void pack(Rows<const T> rows, long count, long width, float factor, float* to, long height) {
  const Vec by = splat(factor);
  for (long c = 0; c < width; c += N, to += height * N) {
    if (c + N <= width) {
      detail::each_row(rows, count, [&](const T* row, long i) __attribute__((always_inline)) {
        store(to + i * N, load_wide(row + c) * by);
        store(to + i * N + W, load_wide(row + c + W) * by);
      });
    } else {
      detail::each_row(rows, count, [&](const T* row, long i) __attribute__((always_inline)) {
        const bool half = c + W <= width;
        if (half) store(to + i * N, load_wide(row + c) * by);
        for (int k = half ? W : 0; k < N; k++)
          to[i * N + k] = c + k < width ? widened(row[c + k]) * factor : 0.0f;
      });
    }
  }
}

// The transpose, (width, count), in panels of `width` rows; columns beyond `count` are zero.
template <class T>
void pack_transposed(Rows<const T> rows, long count, long width, float* to) {
  const long whole = width / W * W;
  for (long first = 0; first < panels(count) * N; first += W) {
    float* panel = to + (first / N) * width * N + first % N;
    const T* row[W];
    for (int i = 0; i < W; i++) row[i] = first + i < count ? rows.row(first + i) : nullptr;
    const bool full = first + W <= count;
    for (long c = 0; c < whole; c += W) {
      Vec square[W];
      if (full) {
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) square[i] = load_wide(row[i] + c);
      } else {
        for (int i = 0; i < W; i++) square[i] = row[i] ? load_wide(row[i] + c) : Vec{};
      }
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < W; i++) store(panel + (c + i) * N, square[i]);
    }
    for (long c = whole; c < width; c++)
      for (int i = 0; i < W; i++) panel[c * N + i] = row[i] ? widened(row[i][c]) : 0.0f;
  }
}

// Row i of the panels times factors[i] (or `factor` where there are none) to the caller's memory.
template <class T>
void unpack(
    const float* from, long height, long count, long width, const float* factors, float factor,
    Rows<T> rows) {
  for (long c = 0; c < width; c += N, from += height * N) {
    const long some = width - c < N ? width - c : N;
    detail::each_row(rows, count, [&](T* row, long i) __attribute__((always_inline)) {
      const float by = factors ? factors[i] * factor : factor;
      const float* at = from + i * N;
      if (some == N) {
        store_narrow(row + c, load(at) * splat(by));
        store_narrow(row + c + W, load(at + W) * splat(by));
      } else {
        const bool half = some >= W;
        if (half) store_narrow(row + c, load(at) * splat(by));
        for (long k = half ? W : 0; k < some; k++) narrow(at[k] * by, row + c + k);
      }
    });
  }
}

}  // namespace headway
