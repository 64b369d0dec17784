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
inline Vec splat(float x) { return x - Vec{}; }

inline Vec select(Ints mask, Vec yes, Vec no) {
  return (Vec)((mask & (Ints)yes) | (~mask & (Ints)no));
}
inline Vec largest(Vec a, Vec b) { return select(a > b, a, b); }

inline float sum(Vec v) {
  float x[W], total = 0;
  store(x, v);
  for (int step = W / 2; step; step /= 2)
    for (int i = 0; i < step; i++) x[i] += x[i + step];
  total = x[0];
  return total;
}

inline float largest(Vec v) {
  float x[W];
  store(x, v);
  for (int step = W / 2; step; step /= 2)
    for (int i = 0; i < step; i++) x[i] = x[i] > x[i + step] ? x[i] : x[i + step];
  return x[0];
}

// 2 to the power of x, relative error below 2e-7; exactly 0 from -127 down, minus infinity too.
inline Vec exp2(Vec x) {
  x = largest(x, splat(-127.0f));
  x = select(x > splat(127.0f), splat(127.0f), x);
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  const Vec magic = splat(12582912.0f);
  Vec shifted = x + magic;
  Vec f = x - (shifted - magic);
  Ints n = (Ints)shifted - (Ints)magic;
  // Terms ln(2)^k / k! of 2^f; what is left out is below 1.2e-7 on [-0.5, 0.5].
  Vec p = splat(1.5403530e-4f);
  p = p * f + splat(1.3333558e-3f);
  p = p * f + splat(9.6181291e-3f);
  p = p * f + splat(5.5504109e-2f);
  p = p * f + splat(2.4022651e-1f);
  p = p * f + splat(6.9314718e-1f);
  p = p * f + splat(1.0f);
  return p * (Vec)((n + 127) << 23);
}

}  // namespace headway
