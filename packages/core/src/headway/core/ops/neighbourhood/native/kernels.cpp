// Neighbourhood attention on a CPU: each query reads its window in place, nothing is copied.
//
// A task is one head of one item and owns all that it writes, so the result does not depend on the
// number of threads. The gradient of the table is left per task, to be added up in a fixed order.
#include <algorithm>
#include <cmath>
#include <vector>

#include "vectors.h"

using namespace headway;

namespace {

constexpr float LOG2E = 1.4426950408889634f;

struct Strides {
  int64_t b, h, y, x;
};

struct Sizes {
  int64_t B, H, Y, X, D;
  // Window, and the one that the table is made for.
  int64_t wy, wx, ty, tx;
};

inline int64_t first(int64_t position, int64_t count, int64_t size) {
  return std::max<int64_t>(std::min(position - size / 2, count - size), 0);
}

// Features of a row, padded to whole vectors; N vectors, or as many as `count` if N is 0.
template <int N>
inline float dot(const float* a, const float* b, int64_t D) {
  if constexpr (N > 0) {
    Vec total = load(a) * load(b);
    for (int i = 1; i < N; i++) total += load(a + i * W) * load(b + i * W);
    return sum(total);
  } else {
    float total = 0;
    for (int64_t i = 0; i < D; i++) total += a[i] * b[i];
    return total;
  }
}

template <int N>
inline void add(float* into, float factor, const float* row, int64_t D) {
  if constexpr (N > 0) {
    for (int i = 0; i < N; i++) store(into + i * W, load(into + i * W) + splat(factor) * load(row + i * W));
  } else {
    for (int64_t i = 0; i < D; i++) into[i] += factor * row[i];
  }
}

// Scores in units of log 2 of one query against its window; how many neighbours there are.
template <int N>
inline int64_t scores_of(float* scores, const float* query, const float* key, const float* table,
                         const Sizes& n, const Strides& sk, int64_t head, int64_t y, int64_t x, int64_t y0,
                         int64_t x0, int64_t width, float scale) {
  int64_t count = 0;
  for (int64_t r = 0; r < n.wy; r++) {
    const float* row = key + (y0 + r) * sk.y + x0 * sk.x;
    for (int64_t c = 0; c < width; c++) scores[count + c] = dot<N>(query, row + c * sk.x, n.D) * scale;
    if (table) {
      const int64_t entry = (y - y0 - r + n.ty - 1) * (2 * n.tx - 1) + x - x0 + n.tx - 1;
      for (int64_t c = 0; c < width; c++) scores[count + c] += table[(entry - c) * n.H + head] * LOG2E;
    }
    count += width;
  }
  return count;
}

inline float highest(Vec v) {
  float x[W];
  store(x, v);
  return *std::max_element(x, x + W);
}

// Scores to weights of a sum that is returned beside the largest score; the rest of the last vector is 0.
inline std::pair<float, float> weights_of(float* scores, int64_t count) {
  const int64_t whole = (count + W - 1) / W * W;
  for (int64_t i = count; i < whole; i++) scores[i] = -INFINITY;
  Vec top = load(scores);
  for (int64_t i = W; i < whole; i += W) top = largest(top, load(scores + i));
  const float most = highest(top);
  Vec total{};
  for (int64_t i = 0; i < whole; i += W) {
    Vec weight = exp2(load(scores + i) - splat(most));
    store(scores + i, weight);
    total += weight;
  }
  return {most, sum(total)};
}

template <int N>
void forward(const float* query, const float* key, const float* value, const float* table,
             const int64_t* lengths, float* out, float* lse, const Sizes& n, const Strides& sq,
             const Strides& sk, const Strides& sv, const Strides& so, float scale, int threads) {
  const float scale_log2 = scale * LOG2E;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t task = 0; task < n.B * n.H; task++) {
    const int64_t b = task / n.H, h = task % n.H;
    std::vector<float> scores(n.wy * n.wx + W);
    const int64_t count_x = lengths ? lengths[b] : n.X;
    const int64_t width = std::min(n.wx, count_x);
    const float* values = value + b * sv.b + h * sv.h;
    for (int64_t y = 0; y < n.Y; y++) {
      const int64_t y0 = first(y, n.Y, n.wy);
      for (int64_t x = 0; x < n.X; x++) {
        float* o = out + b * so.b + h * so.h + y * so.y + x * so.x;
        float* l = lse + (task * n.Y + y) * n.X + x;
        std::fill(o, o + n.D, 0.0f);
        if (x >= count_x) {
          *l = -INFINITY;
          continue;
        }
        const int64_t x0 = first(x, count_x, n.wx);
        const int64_t count =
            scores_of<N>(scores.data(), query + b * sq.b + h * sq.h + y * sq.y + x * sq.x,
                         key + b * sk.b + h * sk.h, table, n, sk, h, y, x, y0, x0, width, scale_log2);
        const auto [most, total] = weights_of(scores.data(), count);
        *l = (most + std::log2(total)) / LOG2E;
        const float part = 1.0f / total;
        if constexpr (N > 0) {
          Vec sums[N]{};
          int64_t i = 0;
          for (int64_t r = 0; r < n.wy; r++) {
            const float* row = values + (y0 + r) * sv.y + x0 * sv.x;
            for (int64_t c = 0; c < width; c++, i++) {
              const Vec weight = splat(scores[i] * part);
              for (int k = 0; k < N; k++) sums[k] += weight * load(row + c * sv.x + k * W);
            }
          }
          for (int k = 0; k < N; k++) store(o + k * W, sums[k]);
        } else {
          int64_t i = 0;
          for (int64_t r = 0; r < n.wy; r++)
            for (int64_t c = 0; c < width; c++, i++)
              add<N>(o, scores[i] * part, values + (y0 + r) * sv.y + (x0 + c) * sv.x, n.D);
        }
      }
    }
  }
}

template <int N>
void backward(const float* grad_out, const float* query, const float* key, const float* value,
              const float* table, const int64_t* lengths, const float* out, const float* lse,
              const float* grad_lse, float* grad_query, float* grad_key, float* grad_value, float* grad_table,
              const Sizes& n, const Strides& sg, const Strides& sq, const Strides& sk, const Strides& sv,
              const Strides& so, float scale, int threads) {
  const float scale_log2 = scale * LOG2E;
  const int64_t entries = (2 * n.ty - 1) * (2 * n.tx - 1);
#pragma omp parallel for num_threads(threads) schedule(static)
  for (int64_t task = 0; task < n.B * n.H; task++) {
    const int64_t b = task / n.H, h = task % n.H;
    std::vector<float> scores(n.wy * n.wx + W);
    const int64_t count_x = lengths ? lengths[b] : n.X;
    const int64_t width = std::min(n.wx, count_x);
    // Gradients are dense, one head behind the other.
    float* gq = grad_query + task * n.Y * n.X * n.D;
    float* gk = grad_key + task * n.Y * n.X * n.D;
    float* gv = grad_value + task * n.Y * n.X * n.D;
    float* gt = grad_table ? grad_table + task * entries : nullptr;
    std::fill(gq, gq + n.Y * n.X * n.D, 0.0f);
    std::fill(gk, gk + n.Y * n.X * n.D, 0.0f);
    std::fill(gv, gv + n.Y * n.X * n.D, 0.0f);
    if (gt) std::fill(gt, gt + entries, 0.0f);
    for (int64_t y = 0; y < n.Y; y++) {
      const int64_t y0 = first(y, n.Y, n.wy);
      for (int64_t x = 0; x < count_x; x++) {
        const int64_t x0 = first(x, count_x, n.wx);
        const float* q = query + b * sq.b + h * sq.h + y * sq.y + x * sq.x;
        const float* g = grad_out + b * sg.b + h * sg.h + y * sg.y + x * sg.x;
        const int64_t position = (task * n.Y + y) * n.X + x;
        const int64_t count = scores_of<N>(scores.data(), q, key + b * sk.b + h * sk.h, table, n, sk, h, y, x,
                                           y0, x0, width, scale_log2);
        for (int64_t i = count; i % W; i++) scores[i] = -INFINITY;
        const Vec sums = splat(lse[position] * LOG2E);
        for (int64_t i = 0; i < count; i += W)
          store(scores.data() + i, exp2(load(scores.data() + i) - sums));
        float delta = dot<N>(g, out + b * so.b + h * so.h + y * so.y + x * so.x, n.D);
        if (grad_lse) delta -= grad_lse[position];
        int64_t i = 0;
        float* own = gq + (y * n.X + x) * n.D;
        for (int64_t r = 0; r < n.wy; r++) {
          const int64_t entry = (y - y0 - r + n.ty - 1) * (2 * n.tx - 1) + x - x0 + n.tx - 1;
          for (int64_t c = 0; c < width; c++, i++) {
            const int64_t there = ((y0 + r) * n.X + x0 + c) * n.D;
            const float* v = value + b * sv.b + h * sv.h + (y0 + r) * sv.y + (x0 + c) * sv.x;
            const float* k = key + b * sk.b + h * sk.h + (y0 + r) * sk.y + (x0 + c) * sk.x;
            const float weight = scores[i];
            const float grad = weight * (dot<N>(g, v, n.D) - delta);
            add<N>(gv + there, weight, g, n.D);
            add<N>(own, grad * scale, k, n.D);
            add<N>(gk + there, grad * scale, q, n.D);
            if (gt) gt[entry - c] += grad;
          }
        }
      }
    }
  }
}

// Calls `run` with the number of vectors of a row as a constant, or 0 where that is not whole or large.
template <class Run>
void by_width(int64_t D, Run run) {
  if (D % W == 0) switch (D / W) {
      case 1: return run(std::integral_constant<int, 1>{});
      case 2: return run(std::integral_constant<int, 2>{});
      case 4: return run(std::integral_constant<int, 4>{});
      case 8: return run(std::integral_constant<int, 8>{});
    }
  run(std::integral_constant<int, 0>{});
}

inline Sizes sizes_of(const int64_t* n) { return {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]}; }
inline Strides strides_of(const int64_t* s) { return {s[0], s[1], s[2], s[3]}; }

}  // namespace

HEADWAY_EXPORT void neighbourhood_forward(const float* query, const float* key, const float* value,
                                          const float* table, const int64_t* lengths, float* out, float* lse,
                                          const int64_t* sizes, const int64_t* strides, float scale,
                                          int threads) {
  const Sizes n = sizes_of(sizes);
  by_width(n.D, [&](auto vectors) {
    forward<decltype(vectors)::value>(query, key, value, table, lengths, out, lse, n, strides_of(strides),
                                      strides_of(strides + 4), strides_of(strides + 8),
                                      strides_of(strides + 12), scale, threads);
  });
}

HEADWAY_EXPORT void neighbourhood_backward(const float* grad_out, const float* query, const float* key,
                                           const float* value, const float* table, const int64_t* lengths,
                                           const float* out, const float* lse, const float* grad_lse,
                                           float* grad_query, float* grad_key, float* grad_value,
                                           float* grad_table, const int64_t* sizes, const int64_t* strides,
                                           float scale, int threads) {
  const Sizes n = sizes_of(sizes);
  by_width(n.D, [&](auto vectors) {
    backward<decltype(vectors)::value>(grad_out, query, key, value, table, lengths, out, lse, grad_lse,
                                       grad_query, grad_key, grad_value, grad_table, n,
                                       strides_of(strides + 16), strides_of(strides), strides_of(strides + 4),
                                       strides_of(strides + 8), strides_of(strides + 12), scale, threads);
  });
}
