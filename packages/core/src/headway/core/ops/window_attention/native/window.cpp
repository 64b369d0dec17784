// Attention within windows of a map of tokens: queries, keys and values are read where the projection
// left them and results are written where the tokens are; nothing is cut out, shifted or put back.

#include "cut.h"
#include "softmax_attention.h"

using namespace headway;

namespace {

struct Windows {
  const void* projected;  // (pictures, tokens, 3 heads width): queries, keys, values
  const void* padding;    // (3 heads width): what stands where there is no token
  void* out;              // (pictures, tokens, heads width)
  float* lse;             // (pictures, windows, heads, size)
  long pictures, tokens, heads, width, windows, size;
  float scale;
  const int64_t* positions;   // (windows, size): number of a token, or -1
  const int32_t* regions;  // (windows, size): what was together before the shift; or null
  const uint8_t* mixed;    // (windows): whether a window holds several regions
  const float* bias;       // (heads, size, size), or null
  long threads;
};

struct WindowGradients {
  const void* grad;   // as out
  void* projected;    // as projected
  float* padding;     // (parts, 3 heads width), zero at first; or null
  float* bias;        // (parts, heads, size, padded), zero at first; or null
  long padded, parts;
};

template <class T>
struct Map {
  const Windows& w;
  // Zeros in the place of tokens that are not there.
  const T* nothing;

  long row() const { return 3 * w.heads * w.width; }

  template <class U>
  Rows<U> rows(void* base, long columns, long first, long picture, long window, U* spare) const {
    U* at = static_cast<U*>(base) + picture * w.tokens * columns + first;
    return {at, columns, w.positions + window * w.size, spare};
  }

  // Which of queries (0), keys (1) and values (2).
  Rows<const T> input(long which, long picture, long window, long head) const {
    const long first = (which * w.heads + head) * w.width;
    const T* spare = w.padding ? static_cast<const T*>(w.padding) + first : nothing;
    return rows<const T>(const_cast<void*>(w.projected), row(), first, picture, window, spare);
  }

  Item<T> item(long picture, long window, long head) const {
    return {
        input(0, picture, window, head), input(1, picture, window, head), input(2, picture, window, head),
        rows<T>(w.out, w.heads * w.width, head * w.width, picture, window, nullptr),
        w.lse + ((picture * w.windows + window) * w.heads + head) * w.size,
        w.size, w.size, w.width, w.width, w.scale};
  }

  Scores scores(long window, long head) const {
    Scores s;
    if (w.bias) s.bias = w.bias + head * w.size * w.size;
    s.bias_t = w.size;
    s.bias_s = 1;
    if (w.regions && w.mixed[window]) s.regions = w.regions + window * w.size;
    s.keys = w.size;
    return s;
  }

  ItemGrad<T> grads(const WindowGradients& g, long picture, long window, long head) const {
    const auto to = [&](long which) {
      return rows<T>(g.projected, row(), (which * w.heads + head) * w.width, picture, window, nullptr);
    };
    const auto from = [&](const void* base) {
      return rows<const T>(const_cast<void*>(base), w.heads * w.width, head * w.width, picture, window, nothing);
    };
    return {from(g.grad), from(w.out), nullptr, to(0), to(1), to(2)};
  }
};

// Adds what reached positions without a token to the gradient of the padding.
void collect_padding(const Windows& w, const BackwardTiles& tiles, long window, long head, float* to) {
  const int64_t* positions = w.positions + window * w.size;
  const float* sources[] = {tiles.query_grad, tiles.key_grad, tiles.value_grad};
  const float factors[] = {w.scale, kLn2, 1.0f};
  for (long i = 0; i < w.size; i++) {
    if (positions[i] >= 0) continue;
    for (int which = 0; which < 3; which++)
      for (long c = 0; c < w.width; c++)
        to[(which * w.heads + head) * w.width + c] +=
            sources[which][((c / N) * w.size + i) * N + c % N] * factors[which];
  }
}

template <class T>
void forward_all(const Windows& w) {
  const Cut cut(w.pictures * w.windows, w.heads, w.threads, 0, true, w.bias);
#pragma omp parallel num_threads(w.threads)
  {
    Packed packed;
    ForwardTiles tiles;
    float* nothing;
    scratch().fill([&](Scratch& memory) {
      packed.plan(memory, w.size, w.width, w.width);
      tiles.plan(memory, w.width, w.width);
      nothing = memory.take(w.width);
    });
    std::memset(nothing, 0, w.width * sizeof(float));
    const Map<T> map{w, reinterpret_cast<const T*>(nothing)};
#pragma omp for schedule(dynamic, 1)
    for (long task = 0; task < cut.tasks(); task++) {
      cut.visit(task, [&](long number, long head) {
        const long picture = number / w.windows, window = number % w.windows;
        const Item<T> item = map.item(picture, window, head);
        pack_transposed(item.key, w.size, w.width, packed.key);
        pack(item.value, w.size, w.width, 1.0f, packed.value, w.size);
        forward(item, map.scores(window, head), packed, tiles, 0, w.size);
      });
    }
  }
}

template <class T>
void backward_all(const Windows& w, const WindowGradients& g) {
  const bool sums = g.bias || g.padding;
  const Cut cut(w.pictures * w.windows, w.heads, w.threads, sums ? g.parts : 0, true, w.bias);
#pragma omp parallel num_threads(w.threads)
  {
    BackwardTiles tiles;
    float* nothing;
    scratch().fill([&](Scratch& memory) {
      tiles.plan(memory, w.size, w.size, w.width, w.width);
      nothing = memory.take(w.width);
    });
    std::memset(nothing, 0, w.width * sizeof(float));
    const Map<T> map{w, reinterpret_cast<const T*>(nothing)};
#pragma omp for schedule(dynamic, 1)
    for (long task = 0; task < cut.tasks(); task++) {
      const long part = sums ? cut.range(task) : 0;
      cut.visit(task, [&](long number, long head) {
        const long picture = number / w.windows, window = number % w.windows;
        BiasGrad bias;
        if (g.bias) bias.to = g.bias + (part * w.heads + head) * w.size * g.padded;
        bias.row = g.padded;
        backward(map.item(picture, window, head), map.grads(g, picture, window, head), map.scores(window, head), bias, tiles, true, true);
        if (g.padding) collect_padding(w, tiles, window, head, g.padding + part * map.row());
      });
    }
  }
}

}  // namespace

HEADWAY_EXPORT void window_forward(const Windows* w, int narrow) {
  narrow ? forward_all<bfloat16>(*w) : forward_all<float>(*w);
}

HEADWAY_EXPORT void window_backward(const Windows* w, const WindowGradients* g, int narrow) {
  narrow ? backward_all<bfloat16>(*w, *g) : backward_all<float>(*w, *g);
}
