// Small steps between matrix products, each in one pass over its tokens; nothing is kept for a gradient.
#include <cmath>

#include "vectors.h"

using namespace headway;

namespace {

constexpr float LOG2E = 1.4426950408889634f;
// Numbers that a thread takes at least: below, starting it costs more than it saves.
constexpr int64_t ENOUGH = 1 << 15;

}  // namespace

// Each row of `width` numbers over its root mean square, times `weight`.
HEADWAY_EXPORT void headway_rms_norm(const float* x, const float* weight, float* out, int64_t rows,
                                     int64_t width, float eps) {
#pragma omp parallel for schedule(static) if (rows * width > ENOUGH)
  for (int64_t r = 0; r < rows; r++) {
    const float* from = x + r * width;
    float* to = out + r * width;
    Vec squares = Vec{};
    for (int64_t i = 0; i < width; i += W) {
      const Vec part = load_some(from + i, width - i);
      squares += part * part;
    }
    const Vec factor = splat(1.0f / std::sqrt(sum(squares) / width + eps));
    for (int64_t i = 0; i < width; i += W)
      store_some(to + i, load_some(from + i, width - i) * factor * load_some(weight + i, width - i),
                 width - i);
  }
}

// The first half of each row through x / (1 + exp(-x)), times the second half.
HEADWAY_EXPORT void headway_silu_gate(const float* x, float* out, int64_t rows, int64_t width) {
#pragma omp parallel for schedule(static) if (rows * width > ENOUGH)
  for (int64_t r = 0; r < rows; r++) {
    const float *gate = x + r * 2 * width, *value = gate + width;
    for (int64_t i = 0; i < width; i += W) {
      const Vec g = load_some(gate + i, width - i);
      Vec power = g * splat(-LOG2E);
      // Beyond this the quotient is as good as 0, and exp2 of ours ends.
      power = power > splat(126.0f) ? splat(126.0f) : power;
      const Vec opened = g / (splat(1.0f) + headway::exp2(power));
      store_some(out + r * width + i, opened * load_some(value + i, width - i), width - i);
    }
  }
}

// Turns channels i and i + width / 2 of each head by the angle of its token and pair.
// `n`: batch, heads, tokens, width, strides of x (b, h, t), of out (b, h, t), of the angles (b, t).
HEADWAY_EXPORT void headway_turn(const float* x, const float* cosines, const float* sines, float* out,
                                 const int64_t* n) {
  const int64_t batch = n[0], heads = n[1], tokens = n[2], half = n[3] / 2;
#pragma omp parallel for schedule(static) if (batch * heads * tokens * n[3] > ENOUGH)
  for (int64_t row = 0; row < batch * tokens; row++) {
    const int64_t b = row / tokens, t = row % tokens;
    const float *c = cosines + b * n[10] + t * n[11], *s = sines + b * n[10] + t * n[11];
    for (int64_t h = 0; h < heads; h++) {
      const float* from = x + b * n[4] + h * n[5] + t * n[6];
      float* to = out + b * n[7] + h * n[8] + t * n[9];
      for (int64_t i = 0; i < half; i += W) {
        const int64_t some = half - i;
        const Vec first = load_some(from + i, some), second = load_some(from + half + i, some);
        const Vec cosine = load_some(c + i, some), sine = load_some(s + i, some);
        store_some(to + i, first * cosine - second * sine, some);
        store_some(to + half + i, second * cosine + first * sine, some);
      }
    }
  }
}

// Puts token t of each row of x to place places[b] + t of the row of a buffer.
// `n`: batch, heads, tokens, width, strides of x (b, h, t), of the buffer (b, h, t), tokens of the buffer.
// False, and nothing is written, if a place lies outside.
HEADWAY_EXPORT bool headway_place(const float* x, const int64_t* places, float* buffer, const int64_t* n) {
  const int64_t batch = n[0], heads = n[1], tokens = n[2], width = n[3];
  for (int64_t b = 0; b < batch; b++)
    if (places[b] < 0 || places[b] + tokens > n[10]) return false;
#pragma omp parallel for schedule(static) if (batch * heads * tokens * width > ENOUGH)
  for (int64_t b = 0; b < batch; b++)
    for (int64_t h = 0; h < heads; h++)
      for (int64_t t = 0; t < tokens; t++)
        std::memcpy(buffer + b * n[7] + h * n[8] + (places[b] + t) * n[9],
                    x + b * n[4] + h * n[5] + t * n[6], width * sizeof(float));
  return true;
}
