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

// Row number i begins at base + i * stride, or at base + places[i].
template <class T>
struct Rows {
  T* base;
  long stride;
  const long* places = nullptr;

  T* row(long i) const { return base + (places ? places[i] : i * stride); }
  Rows from(long i) const {
    return places ? Rows{base, stride, places + i} : Rows{base + i * stride, stride};
  }
};

// (count, width) times `factor` in panels of `height` rows; columns up to a whole panel are zero.
template <class T>
void pack(Rows<const T> rows, long count, long width, float factor, float* to, long height) {
  const Vec by = splat(factor);
  for (long i = 0; i < count; i++) {
    const T* from = rows.row(i);
    for (long p = 0, c = 0; c < width; p++) {
      float* at = to + (p * height + i) * N;
      for (int v = 0; v < 2; v++, c += W, at += W) {
        if (c + W <= width) {
          store(at, load_wide(from + c) * by);
        } else {
          for (int k = 0; k < W; k++) at[k] = c + k < width ? widened(from[c + k]) * factor : 0.0f;
        }
      }
    }
  }
}

// The transpose, (width, count), in panels of `width` rows; columns beyond `count` are zero.
template <class T>
void pack_transposed(Rows<const T> rows, long count, long width, float* to) {
  const long whole = width / W * W;
  for (long first = 0; first < panels(count) * N; first += W) {
    float* panel = to + (first / N) * width * N + first % N;
    for (long c = 0; c < whole; c += W) {
      Vec square[W];
#pragma GCC unroll 16
      for (int i = 0; i < W; i++)
        square[i] = first + i < count ? load_wide(rows.row(first + i) + c) : Vec{};
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < W; i++) store(panel + (c + i) * N, square[i]);
    }
    for (long c = whole; c < width; c++)
      for (int i = 0; i < W; i++)
        panel[c * N + i] = first + i < count ? widened(rows.row(first + i)[c]) : 0.0f;
  }
}

// Row i of the panels times factors[i] (or `factor` where there are none) to the caller's memory.
template <class T>
void unpack(
    const float* from, long height, long count, long width, const float* factors, float factor,
    Rows<T> rows) {
  for (long i = 0; i < count; i++) {
    const float by = factors ? factors[i] * factor : factor;
    T* to = rows.row(i);
    for (long c = 0; c < width; c += W) {
      const float* at = from + ((c / N) * height + i) * N + c % N;
      if (c + W <= width) {
        store_narrow(to + c, load(at) * splat(by));
      } else {
        for (long k = 0; k + c < width; k++) narrow(at[k] * by, to + c + k);
      }
    }
  }
}

}  // namespace headway
