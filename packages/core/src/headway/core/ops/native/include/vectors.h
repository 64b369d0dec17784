// Vectors of the widest registers that the target has, through the extensions of GCC and Clang.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX512F__)
#define HEADWAY_WIDTH 16
#elif defined(__AVX__)
#define HEADWAY_WIDTH 8
#else
#define HEADWAY_WIDTH 4
#endif

// Rows of a register tile: with two vectors of columns it fills what registers there are.
#if defined(__AVX512F__) || defined(__aarch64__)
#define HEADWAY_ROWS 12
#else
#define HEADWAY_ROWS 6
#endif

#define HEADWAY_EXPORT extern "C" __attribute__((visibility("default")))

namespace headway {

constexpr int W = HEADWAY_WIDTH;

typedef float Vec __attribute__((vector_size(W * sizeof(float))));
typedef int32_t Ints __attribute__((vector_size(W * sizeof(int32_t))));
// The same without alignment, for memory that others own.
typedef float Loose __attribute__((vector_size(W * sizeof(float)), aligned(4)));

inline Vec load(const float* p) { return (Vec)(*(const Loose*)p); }
inline void store(float* p, Vec v) { *(Loose*)p = (Loose)v; }

// As much of a vector as `count` numbers fill: what lies behind them is neither read nor written.
inline Vec load_some(const float* p, int64_t count) {
  if (count >= W) return load(p);
  Vec v = Vec{};
  for (int64_t i = 0; i < count; i++) v[i] = p[i];
  return v;
}
inline void store_some(float* p, Vec v, int64_t count) {
  if (count >= W) return store(p, v);
  for (int64_t i = 0; i < count; i++) p[i] = v[i];
}
inline Vec splat(float x) { return x - Vec{}; }

inline Vec select(Ints mask, Vec yes, Vec no) {
  return (Vec)((mask & (Ints)yes) | (~mask & (Ints)no));
}
inline Vec largest(Vec a, Vec b) { return a > b ? a : b; }

namespace detail {

// Low or high halves of two vectors in turns: a0 b0 a1 b1 ...
template <int HIGH, int... I>
inline Vec woven(Vec a, Vec b, std::integer_sequence<int, I...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, (I / 2 + HIGH * (W / 2) + (I % 2) * W)...);
#else
  return __builtin_shuffle(a, b, Ints{(I / 2 + HIGH * (W / 2) + (I % 2) * W)...});
#endif
}

}  // namespace detail

// W vectors as the rows of a matrix become its columns: a perfect shuffle, log2(W) times.
inline void transpose(Vec* rows) {
  using Places = std::make_integer_sequence<int, W>;
  Vec other[W];
#pragma GCC unroll 4
  for (int step = 1; step < W; step *= 2) {
#pragma GCC unroll 16
    for (int i = 0; i < W / 2; i++) {
      other[2 * i] = detail::woven<0>(rows[i], rows[i + W / 2], Places{});
      other[2 * i + 1] = detail::woven<1>(rows[i], rows[i + W / 2], Places{});
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) rows[i] = other[i];
  }
}

// Sum and maximum of each of W vectors, as one vector.
inline Vec sums(Vec* rows) {
  transpose(rows);
  Vec total = rows[0];
#pragma GCC unroll 16
  for (int i = 1; i < W; i++) total += rows[i];
  return total;
}
inline Vec maxima(Vec* rows) {
  transpose(rows);
  Vec top = rows[0];
#pragma GCC unroll 16
  for (int i = 1; i < W; i++) top = largest(top, rows[i]);
  return top;
}

inline float sum(Vec v) {
  float x[W], total = 0.0f;
  store(x, v);
  for (int i = 0; i < W; i++) total += x[i];
  return total;
}

// 2 to the power of x for x up to 127, relative error below 3e-7; exactly 0 from -127 down, minus
// infinity too, and NaN for NaN.
inline Vec exp2(Vec x) {
  const Vec low = splat(-127.0f);
  x = x < low ? low : x;
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits; 127 more, the exponent of 2^x.
  const Vec magic = splat(12582912.0f + 127.0f);
  const Vec shifted = x + magic;
  const Vec f = x - (shifted - magic);
  // Minimax of 2^f on [-0.5, 0.5] with 1 at 0.
  Vec p = splat(1.326472717e-3f);
  p = p * f + splat(9.671512642e-3f);
  p = p * f + splat(5.550733743e-2f);
  p = p * f + splat(2.402224209e-1f);
  p = p * f + splat(6.931469776e-1f);
  p = p * f + splat(1.0f);
  return p * (Vec)((Ints)shifted << 23);
}

// Logarithm to base 2 of a positive normal number, relative error below 3e-7 away from 1.
inline Vec log2(Vec x) {
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)).
  const Ints bits = (Ints)x - 0x3f3504f3;
  const Ints e = bits >> 23;
  const Vec m = (Vec)((bits & 0x7fffff) + 0x3f3504f3);
  // log(m) = 2 artanh(t).
  const Vec t = (m - splat(1.0f)) / (m + splat(1.0f));
  const Vec u = t * t;
  Vec p = splat(2.0f / 9.0f);
  p = p * u + splat(2.0f / 7.0f);
  p = p * u + splat(2.0f / 5.0f);
  p = p * u + splat(2.0f / 3.0f);
  p = p * u + splat(2.0f);
  return __builtin_convertvector(e, Vec) + p * t * splat(1.44269504088896341f);
}

}  // namespace headway
