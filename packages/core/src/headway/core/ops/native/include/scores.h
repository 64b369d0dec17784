// What is added to the scores of one item and head, and which of its pairs may meet.
#pragma once

#include <cmath>

#include "panels.h"

namespace headway {

constexpr float kLog2e = 1.44269504088896341f;
constexpr float kLn2 = 0.693147180559945309f;
constexpr long kFar = 1L << 40;

struct Scores {
  const float* bias = nullptr;  // element (t, s) at t * bias_t + s * bias_s
  long bias_t = 0, bias_s = 0;
  const float* table = nullptr;  // of the head; pair (t, s) takes entry index[t * index_t + s * index_s]
  const int64_t* index = nullptr;
  long index_t = 0, index_s = 0;
  const uint8_t* mask = nullptr;
  long mask_t = 0, mask_s = 0;
  const int32_t* regions = nullptr;  // pairs meet only within a region
  float slope = 0.0f;                // penalty of each step of distance
  long shift = 0;                    // query t stands at position t + shift of the keys
  long left = kFar, right = kFar;    // how far it sees
  long keys = 0;                     // how many there are

  bool everywhere() const { return bias || table || mask || regions || slope != 0.0f; }

  bool operator==(const Scores& o) const {
    return bias == o.bias && table == o.table && index == o.index && mask == o.mask && regions == o.regions && slope == o.slope &&
           shift == o.shift && keys == o.keys;
  }

  // First key and end of the keys that any of the queries i .. i + m may see.
  long first(long i) const {
    const long at = i + shift - left;
    return at > 0 ? at : 0;
  }
  long end(long i, long m, long keys) const {
    const long at = i + m + shift + right;
    return at < keys ? (at > 0 ? at : 0) : keys;
  }

  // Whether a tile needs more than the products of queries and keys.
  bool needed(long i, long m, long j, long n) const {
    return everywhere() || j - (i + m - 1 + shift) < -left || j + n - 1 - (i + shift) > right;
  }

  // The tile of rows i .. i + m and columns j .. j + n in panels of m rows, in units of log2;
  // minus infinity where a pair may not meet and beyond the last column.
  void fill(float* to, long i, long m, long j, long n) const {
    for (long r = 0; r < m; r++) {
      const long position = i + r + shift;
      long from = position - left - j, until = position + right + 1 - j;
      from = from < 0 ? 0 : from;
      until = until > n ? n : until;
      for (long p = 0, c = 0; c < n; p++, c += N) {
        float* x = to + (p * m + r) * N;
        if (c + N <= n) {
          row(x, i + r, j + c, N, position);
          if (c < from || c + N > until) hide(x, from - c, until - c);
        } else {
          row(x, i + r, j + c, n - c, position);
          hide(x, from - c, until - c);
        }
      }
    }
  }

 private:
  void row(float* x, long t, long s, long count, long position) const {
    if (bias && bias_s == 1) {
      const float* b = bias + t * bias_t + s;
      if (count == N) {
        for (int k = 0; k < N; k++) x[k] = b[k] * kLog2e;
      } else {
        for (long k = 0; k < count; k++) x[k] = b[k] * kLog2e;
      }
    } else if (bias) {
      const float* b = bias + t * bias_t + s * bias_s;
      for (long k = 0; k < count; k++) x[k] = b[k * bias_s] * kLog2e;
    } else {
      for (int k = 0; k < N; k++) x[k] = 0.0f;
    }
    if (table) {
      const int64_t* entry = index + t * index_t + s * index_s;
      for (long k = 0; k < count; k++) x[k] += table[entry[k * index_s]] * kLog2e;
    }
    if (slope != 0.0f)
      for (long k = 0; k < count; k++) x[k] -= slope * kLog2e * (float)std::labs(s + k - position);
    if (mask) {
      const uint8_t* seen = mask + t * mask_t + s * mask_s;
      for (long k = 0; k < count; k++) x[k] = seen[k * mask_s] ? x[k] : -INFINITY;
    }
    if (regions) {
      const int32_t own = regions[t];
      for (long k = 0; k < count; k++) x[k] = regions[s + k] == own ? x[k] : -INFINITY;
    }
  }

  static void hide(float* x, long from, long until) {
    for (int k = 0; k < N; k++)
      if (k < from || k >= until) x[k] = -INFINITY;
  }
};

}  // namespace headway
