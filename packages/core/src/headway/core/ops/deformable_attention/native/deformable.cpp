// Multi-scale deformable attention: weighted values at positions between tokens, forward and backward.

#include <cmath>

#include "memory.h"
#include "vectors.h"

using namespace headway;

namespace {

struct Sampling {
  const float* value;      // (items, tokens, heads, width), strides below; width is contiguous
  long value_strides[3];   // item, token, head
  const float* locations;  // (items, queries, heads, points, 2): x, y from 0 to 1
  const float* weights;    // (items, queries, heads, points)
  float* out;              // (items, queries, heads, width)
  long items, queries, heads, points, width;
  // Of the level of each point, padded to whole vectors: columns and rows, and the first token.
  const float *columns, *rows;
  const int32_t* first;
  long padded, threads;
};

struct SamplingGradients {
  const float* grad;  // as out
  float* value;       // (items, tokens, heads, width), contiguous, zero at first
  long tokens;
  float *locations, *weights;
};

// Tokens around each point of one query and head: upper left and right, lower left and right.
struct Corners {
  float *weight, *right, *down;  // of the point; how far it is to the right of and below the first
  float* share[4];
  int32_t* token[4];  // -1 outside of the level

  void plan(Scratch& memory, long padded) {
    for (float** x : {&weight, &right, &down}) *x = memory.take(padded);
    for (int c = 0; c < 4; c++) {
      share[c] = memory.take(padded);
      token[c] = reinterpret_cast<int32_t*>(memory.take(padded));
    }
  }
};

inline Ints load_ints(const int32_t* p) {
  Ints v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store_ints(int32_t* p, Ints v) { std::memcpy(p, &v, sizeof v); }

// Cell that a position lies in, and how far into it; outside of the level, just outside.
inline Ints floor_of(Vec position, Vec size, Vec* rest) {
  position = position < splat(-2.0f) ? splat(-2.0f) : position;
  position = position > size + splat(1.0f) ? size + splat(1.0f) : position;
  Ints cell = __builtin_convertvector(position, Ints);
  // Truncated; the comparison is -1 where that was upwards.
  cell += __builtin_convertvector(cell, Vec) > position;
  *rest = position - __builtin_convertvector(cell, Vec);
  return cell;
}

void find(const Sampling& s, const float* locations, const float* weights, Corners& at) {
  for (long k = 0; k < s.padded; k += W) {
    float x[W], y[W], w[W];
    for (long i = 0; i < W; i++) {
      const bool there = k + i < s.points;
      x[i] = there ? locations[2 * (k + i)] : -1.0f;
      y[i] = there ? locations[2 * (k + i) + 1] : -1.0f;
      w[i] = there ? weights[k + i] : 0.0f;
    }
    const Vec columns = load(s.columns + k), rows = load(s.rows + k), one = splat(1.0f), half = splat(0.5f);
    const Ints width = __builtin_convertvector(columns, Ints), height = __builtin_convertvector(rows, Ints);
    Vec right, down;
    const Ints left = floor_of(load(x) * columns - half, columns, &right);
    const Ints upper = floor_of(load(y) * rows - half, rows, &down);
    store(at.weight + k, load(w));
    store(at.right + k, right);
    store(at.down + k, down);
    const Ints start = load_ints(s.first + k);
    for (int c = 0; c < 4; c++) {
      const Ints column = left + (c & 1), row = upper + (c >> 1);
      const Ints inside = (column >= 0) & (column < width) & (row >= 0) & (row < height);
      store_ints(at.token[c] + k, (start + row * width + column) | ~inside);
      store(at.share[c] + k, (c & 1 ? right : one - right) * (c >> 1 ? down : one - down));
    }
  }
}

// out (V W) = the sum of the rows of all corners by their shares.
template <int V>
inline void gather(const float* const* rows, const float* factors, long count, long column, float* out) {
  Vec sum[V];
#pragma GCC unroll 8
  for (int v = 0; v < V; v++) sum[v] = Vec{};
  for (long k = 0; k < count; k++) {
    const float* row = rows[k] + column;
    const Vec factor = splat(factors[k]);
#pragma GCC unroll 8
    for (int v = 0; v < V; v++) sum[v] += factor * load(row + v * W);
  }
#pragma GCC unroll 8
  for (int v = 0; v < V; v++) store(out + column + v * W, sum[v]);
}

void forward_all(const Sampling& s) {
  constexpr long kQueriesOfTask = 128;
  const long parts = (s.queries + kQueriesOfTask - 1) / kQueriesOfTask;
#pragma omp parallel num_threads(s.threads)
  {
    Corners at;
    float *nothing, *factors;
    const float** rows;
    scratch().fill([&](Scratch& memory) {
      at.plan(memory, s.padded);
      nothing = memory.take(s.width);
      factors = memory.take(4 * s.padded);
      rows = reinterpret_cast<const float**>(memory.take(8 * s.padded));
    });
    std::memset(nothing, 0, s.width * sizeof(float));
#pragma omp for schedule(dynamic, 1)
    for (long task = 0; task < s.items * s.heads * parts; task++) {
      // Head by head: what one head reads fits into a cache.
      const long part = task % parts, head = task / parts % s.heads, item = task / parts / s.heads;
      const float* value = s.value + item * s.value_strides[0] + head * s.value_strides[2];
      const long end = (part + 1) * kQueriesOfTask < s.queries ? (part + 1) * kQueriesOfTask : s.queries;
      for (long query = part * kQueriesOfTask; query < end; query++) {
        const long row = (item * s.queries + query) * s.heads + head;
        find(s, s.locations + row * s.points * 2, s.weights + row * s.points, at);
        long count = 0;
        for (long k = 0; k < s.points; k++) {
          for (int c = 0; c < 4; c++) {
            const int32_t token = at.token[c][k];
            rows[count] = token < 0 ? nothing : value + token * s.value_strides[1];
            factors[count++] = at.share[c][k] * at.weight[k];
          }
        }
        float* out = s.out + row * s.width;
        long c = 0;
        for (; c + 4 * W <= s.width; c += 4 * W) gather<4>(rows, factors, count, c, out);
        for (; c + W <= s.width; c += W) gather<1>(rows, factors, count, c, out);
        for (; c < s.width; c++) {
          out[c] = 0.0f;
          for (long k = 0; k < count; k++) out[c] += factors[k] * rows[k][c];
        }
      }
    }
  }
}

void backward_all(const Sampling& s, const SamplingGradients& g) {
  const long whole = s.width / W * W, token_stride = s.heads * s.width;
#pragma omp parallel num_threads(s.threads)
  {
    Corners at;
    float *nothing, *dots[4], *found;
    scratch().fill([&](Scratch& memory) {
      at.plan(memory, s.padded);
      nothing = memory.take(s.width);
      for (auto& dot : dots) dot = memory.take(s.padded);
      found = memory.take(3 * s.padded);
    });
    std::memset(nothing, 0, s.width * sizeof(float));
    // A head of an item owns its values, so that their gradients are summed without atomics and in
    // the order of the queries.
#pragma omp for schedule(dynamic, 1)
    for (long task = 0; task < s.items * s.heads; task++) {
      const long head = task % s.heads, item = task / s.heads;
      const float* value = s.value + item * s.value_strides[0] + head * s.value_strides[2];
      float* value_grad = g.value + item * g.tokens * token_stride + head * s.width;
      for (long query = 0; query < s.queries; query++) {
        const long row = (item * s.queries + query) * s.heads + head;
        find(s, s.locations + row * s.points * 2, s.weights + row * s.points, at);
        const float* grad = g.grad + row * s.width;
        for (int c = 0; c < 4; c++) {
          for (long k = 0; k < s.padded; k += W) {
            Vec rows[W];
            for (int i = 0; i < W; i++) {
              rows[i] = Vec{};
              const int32_t token = at.token[c][k + i];
              if (token < 0) continue;
              const float* row = value + token * s.value_strides[1];
              for (long d = 0; d < whole; d += W) rows[i] += load(row + d) * load(grad + d);
              for (long d = whole; d < s.width; d++) rows[i][0] += row[d] * grad[d];
            }
            store(dots[c] + k, sums(rows));
          }
        }
        for (long k = 0; k < s.padded; k += W) {
          const Vec one = splat(1.0f), right = load(at.right + k), down = load(at.down + k), weight = load(at.weight + k);
          const Vec a = load(dots[0] + k), b = load(dots[1] + k), c = load(dots[2] + k), d = load(dots[3] + k);
          const Vec upper = a + right * (b - a), lower = c + right * (d - c);
          store(found + k, upper + down * (lower - upper));
          store(found + s.padded + k, weight * load(s.columns + k) * ((one - down) * (b - a) + down * (d - c)));
          store(found + 2 * s.padded + k, weight * load(s.rows + k) * (lower - upper));
        }
        for (long k = 0; k < s.points; k++) {
          g.weights[row * s.points + k] = found[k];
          g.locations[(row * s.points + k) * 2] = found[s.padded + k];
          g.locations[(row * s.points + k) * 2 + 1] = found[2 * s.padded + k];
          for (int c = 0; c < 4; c++) {
            const int32_t token = at.token[c][k];
            if (token < 0) continue;
            float* to = value_grad + token * token_stride;
            const float factor = at.share[c][k] * at.weight[k];
            for (long d = 0; d < whole; d += W) store(to + d, load(to + d) + splat(factor) * load(grad + d));
            for (long d = whole; d < s.width; d++) to[d] += factor * grad[d];
          }
        }
      }
    }
  }
}

}  // namespace

HEADWAY_EXPORT void deformable_forward(const Sampling* s) { forward_all(*s); }

HEADWAY_EXPORT void deformable_backward(const Sampling* s, const SamplingGradients* g) { backward_all(*s, *g); }

HEADWAY_EXPORT long deformable_vector() { return W; }
