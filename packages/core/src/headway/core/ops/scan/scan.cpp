// The selective scan and its gradients: W channels side by side, their states in registers.
#include <cstdlib>

#include "vectors.h"

using namespace headway;

namespace {

constexpr float LOG2E = 1.4426950408889634f;
// Tokens whose states are made again at once in the backward pass: they stay in the first caches.
constexpr int64_t CHUNK = 32;

struct Sizes {
  int64_t batch, tokens, channels, groups;
};

template <int S>
inline void load_states(Vec* h, const float* from, int64_t count) {
  for (int s = 0; s < S; s++)
    for (int64_t i = 0; i < W; i++) h[s][i] = i < count ? from[i * S + s] : 0.0f;
}

template <int S>
inline void store_states(float* to, const Vec* h, int64_t count) {
  for (int s = 0; s < S; s++)
    for (int64_t i = 0; i < W && i < count; i++) to[i * S + s] = h[s][i];
}

template <int S>
inline void step(Vec* h, const Vec* A, Vec delta, Vec input, const float* B) {
  for (int s = 0; s < S; s++)
    h[s] = headway::exp2(delta * A[s]) * h[s] + input * splat(B[s]);
}

// Adds the sum of each vector to a number.
template <int S>
inline void add_sums(float* to, Vec* terms) {
  if constexpr (S % W == 0) {
    for (int s = 0; s < S; s += W) store(to + s, load(to + s) + sums(terms + s));
  } else {
    for (int s = 0; s < S; s++) to[s] += sum(terms[s]);
  }
}

template <int S>
void forward(const Sizes& n, const float* u, const float* delta, const float* A, const float* B,
             const float* C, const float* state, float* y, float* last) {
  const int64_t blocks = (n.channels + W - 1) / W;
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < n.batch * blocks; task++) {
    const int64_t b = task / blocks, d = task % blocks * W;
    const int64_t count = n.channels - d;
    Vec h[S], rates[S];
    load_states<S>(h, state + (b * n.channels + d) * S, count);
    load_states<S>(rates, A + d * S, count);
    for (int s = 0; s < S; s++) rates[s] *= splat(LOG2E);
    for (int64_t t = 0; t < n.tokens; t++) {
      const int64_t row = b * n.tokens + t;
      const Vec dt = load_some(delta + row * n.channels + d, count);
      const Vec input = dt * load_some(u + row * n.channels + d, count);
      step<S>(h, rates, dt, input, B + row * S);
      Vec found = Vec{};
      for (int s = 0; s < S; s++) found += h[s] * splat(C[row * S + s]);
      store_some(y + row * n.channels + d, found, count);
    }
    store_states<S>(last + (b * n.channels + d) * S, h, count);
  }
}

// `grad_B` and `grad_C` have a part for each group of channels, so that no two threads add to one
// number; `starts` has room for the states at the start of the chunks of each group.
template <int S>
void backward(const Sizes& n, const float* u, const float* delta, const float* A, const float* B,
              const float* C, const float* state, const float* grad, const float* grad_last,
              float* grad_u, float* grad_delta, float* grad_A, float* grad_B, float* grad_C,
              float* grad_state, float* starts) {
  const int64_t blocks = (n.channels + W - 1) / W, chunks = (n.tokens + CHUNK - 1) / CHUNK;
#pragma omp parallel for schedule(static)
  for (int64_t task = 0; task < n.batch * n.groups; task++) {
    const int64_t b = task / n.groups, group = task % n.groups;
    float* parts_B = grad_B + task * n.tokens * S;
    float* parts_C = grad_C + task * n.tokens * S;
    float* own = starts + task * chunks * S * W;
    alignas(64) Vec states[CHUNK][S];
    for (int64_t block = group; block < blocks; block += n.groups) {
      const int64_t d = block * W, count = n.channels - d, offset = (b * n.channels + d) * S;
      Vec h[S], rates[S], dh[S], dA[S];
      load_states<S>(h, state + offset, count);
      load_states<S>(rates, A + d * S, count);
      load_states<S>(dh, grad_last + offset, count);
      for (int s = 0; s < S; s++) rates[s] *= splat(LOG2E), dA[s] = Vec{};
      for (int64_t t = 0; t < n.tokens; t++) {
        if (t % CHUNK == 0)
          for (int s = 0; s < S; s++) store(own + (t / CHUNK * S + s) * W, h[s]);
        const int64_t row = b * n.tokens + t;
        const Vec dt = load_some(delta + row * n.channels + d, count);
        step<S>(h, rates, dt, dt * load_some(u + row * n.channels + d, count), B + row * S);
      }
      for (int64_t chunk = chunks - 1; chunk >= 0; chunk--) {
        const int64_t first = chunk * CHUNK;
        const int64_t size = n.tokens - first < CHUNK ? n.tokens - first : CHUNK;
        for (int s = 0; s < S; s++) h[s] = load(own + (chunk * S + s) * W);
        for (int64_t i = 0; i < size; i++) {
          for (int s = 0; s < S; s++) states[i][s] = h[s];
          const int64_t row = b * n.tokens + first + i;
          const Vec dt = load_some(delta + row * n.channels + d, count);
          step<S>(h, rates, dt, dt * load_some(u + row * n.channels + d, count), B + row * S);
        }
        for (int64_t i = size - 1; i >= 0; i--) {
          const int64_t t = first + i, row = b * n.tokens + t, at = row * n.channels + d;
          const Vec dt = load_some(delta + at, count), x = load_some(u + at, count);
          const Vec dy = load_some(grad + at, count), input = dt * x;
          Vec along = Vec{}, moved = Vec{}, to_B[S], to_C[S];
          for (int s = 0; s < S; s++) {
            const Vec decay = headway::exp2(dt * rates[s]), before = states[i][s];
            const Vec now = decay * before + input * splat(B[row * S + s]);
            dh[s] += dy * splat(C[row * S + s]);
            to_C[s] = dy * now;
            to_B[s] = dh[s] * input;
            along += dh[s] * splat(B[row * S + s]);
            const Vec change = dh[s] * before * decay;
            moved += change * rates[s];
            dA[s] += change * dt;
            dh[s] *= decay;
          }
          add_sums<S>(parts_B + t * S, to_B);
          add_sums<S>(parts_C + t * S, to_C);
          store_some(grad_u + at, along * dt, count);
          store_some(grad_delta + at, moved * splat(1.0f / LOG2E) + along * x, count);
        }
      }
      store_states<S>(grad_A + offset, dA, count);
      store_states<S>(grad_state + offset, dh, count);
    }
  }
}

}  // namespace

HEADWAY_EXPORT int64_t headway_scan_chunks(int64_t tokens) { return (tokens + CHUNK - 1) / CHUNK * W; }

// False: no kernel for this size of state.
HEADWAY_EXPORT bool headway_scan_forward(const int64_t* sizes, const float* u, const float* delta,
                                         const float* A, const float* B, const float* C,
                                         const float* state, float* y, float* last) {
  const Sizes n{sizes[0], sizes[1], sizes[2], 0};
  switch (sizes[3]) {
#define CASE(S) case S: forward<S>(n, u, delta, A, B, C, state, y, last); return true;
    CASE(1) CASE(2) CASE(4) CASE(8) CASE(16) CASE(32)
#undef CASE
  }
  return false;
}

HEADWAY_EXPORT bool headway_scan_backward(const int64_t* sizes, const float* u, const float* delta,
                                          const float* A, const float* B, const float* C,
                                          const float* state, const float* grad,
                                          const float* grad_last, float* grad_u, float* grad_delta,
                                          float* grad_A, float* grad_B, float* grad_C,
                                          float* grad_state, float* starts) {
  const Sizes n{sizes[0], sizes[1], sizes[2], sizes[4]};
  switch (sizes[3]) {
#define CASE(S)                                                                                  \
  case S:                                                                                        \
    backward<S>(n, u, delta, A, B, C, state, grad, grad_last, grad_u, grad_delta, grad_A, grad_B, \
                grad_C, grad_state, starts);                                                     \
    return true;
    CASE(1) CASE(2) CASE(4) CASE(8) CASE(16) CASE(32)
#undef CASE
  }
  return false;
}
