// Softmax attention on the CPU for any batch: what runs where, and the gradient of the bias.

#include "cut.h"
#include "softmax_attention.h"

using namespace headway;

namespace {

struct Problem {
  const void *query, *key, *value;
  long query_strides[3], key_strides[3], value_strides[3];  // item, head, token; width is 1
  void* out;
  long out_strides[3];
  float* lse;  // (items, heads, queries)
  long batch, heads, key_heads, queries, keys, width, value_width;
  float scale;
  const float* bias;
  long bias_strides[4];
  const uint8_t* mask;
  long mask_strides[4];
  const float* slopes;
  const int64_t *lengths, *offsets, *key_offsets;
  long items;  // packed ones; 0 if the batch is not packed
  long bottom_right, left, right;
  long threads;
  Dropout dropout;
  const float* table;  // (heads, entries)
  long entries;
  const int64_t* index;
  long index_strides[3];  // item, query, key
};

struct Gradients {
  const void* grad;
  long grad_strides[3];
  const float* grad_lse;
  void *query, *key, *value;
  long query_strides[3], key_strides[3], value_strides[3];
  float* bias;  // (parts, bias items, bias heads, rows, padded columns), zero at first; or null
  long bias_items, bias_heads, bias_rows, bias_columns, bias_padded, parts;
  float* slopes;  // (sequences, heads), zero at first; or null
  float* table;   // (parts, heads, entries), zero at first; or null
};

// One sequence of the batch.
struct Place {
  long batch, query, queries, key, keys;
};

long sequences(const Problem& p) { return p.items ? p.items : p.batch; }

Place place(const Problem& p, long number) {
  if (p.items) {
    const int64_t *q = p.offsets + number, *k = p.key_offsets + number;
    return {0, q[0], q[1] - q[0], k[0], k[1] - k[0]};
  }
  long keys = p.keys;
  if (p.lengths) keys = p.lengths[number] < 0 ? 0 : p.lengths[number] < keys ? p.lengths[number] : keys;
  return {number, 0, p.queries, 0, keys};
}

template <class T>
Rows<T> rows(const void* base, const long* strides, long batch, long head, long token) {
  T* at = static_cast<T*>(const_cast<void*>(base));
  return {at + batch * strides[0] + head * strides[1] + token * strides[2], strides[2]};
}

template <class T>
Item<T> item(const Problem& p, const Place& at, long head) {
  const long key_head = head / (p.heads / p.key_heads);
  return {
      rows<const T>(p.query, p.query_strides, at.batch, head, at.query),
      rows<const T>(p.key, p.key_strides, at.batch, key_head, at.key),
      rows<const T>(p.value, p.value_strides, at.batch, key_head, at.key),
      rows<T>(p.out, p.out_strides, at.batch, head, at.query),
      p.lse + (at.batch * p.heads + head) * p.queries + at.query,
      at.queries, at.keys, p.width, p.value_width, p.scale, p.dropout,
      (uint64_t)((at.batch * p.heads + head) * p.queries + at.query) * p.keys + at.key, (uint64_t)p.keys};
}

Scores scores(const Problem& p, const Place& at, long head) {
  Scores s;
  if (p.bias) {
    const long* b = p.bias_strides;
    s.bias = p.bias + at.batch * b[0] + head * b[1] + at.query * b[2] + at.key * b[3];
    s.bias_t = b[2];
    s.bias_s = b[3];
  }
  if (p.mask) {
    const long* m = p.mask_strides;
    s.mask = p.mask + at.batch * m[0] + head * m[1] + at.query * m[2] + at.key * m[3];
    s.mask_t = m[2];
    s.mask_s = m[3];
  }
  if (p.table) {
    const long* n = p.index_strides;
    s.table = p.table + head * p.entries;
    s.index = p.index + at.batch * n[0] + at.query * n[1] + at.key * n[2];
    s.index_t = n[1];
    s.index_s = n[2];
  }
  if (p.slopes) s.slope = p.slopes[head];
  // Lengths do not move the diagonal.
  if (p.bottom_right) s.shift = p.items ? at.keys - at.queries : p.keys - p.queries;
  s.left = p.left < 0 ? kFar : p.left;
  s.right = p.right < 0 ? kFar : p.right;
  s.keys = at.keys;
  return s;
}

bool is_added(const Problem& p) { return p.bias || p.table || p.slopes || p.left >= 0 || p.right >= 0; }

template <class T>
void forward_all(const Problem& p) {
  const long groups = p.heads / p.key_heads;
  const Cut cut(sequences(p), p.key_heads, p.threads, 0, true, is_added(p));
  // Few long sequences are cut once more, so that every thread has some queries.
  const long blocks = (p.queries + kQueries - 1) / kQueries;
  long parts = cut.tasks() ? (2 * p.threads + cut.tasks() - 1) / cut.tasks() : 1;
  parts = p.threads == 1 ? 1 : parts < blocks ? parts : blocks;
#pragma omp parallel num_threads(p.threads)
  {
    Packed packed;
    ForwardTiles tiles;
    scratch().fill([&](Scratch& memory) {
      packed.plan(memory, p.keys, p.width, p.value_width);
      tiles.plan(memory, p.width, p.value_width);
    });
#pragma omp for schedule(dynamic, 1)
    for (long task = 0; task < cut.tasks() * parts; task++) {
      cut.visit(task / parts, [&](long number, long key_head) {
        const Place at = place(p, number);
        const long step = block(at.queries, kQueries), part = task % parts;
        const long steps = step ? (at.queries + step - 1) / step : 0;
        const long begin = steps * part / parts * step;
        const long until = steps * (part + 1) / parts * step;
        const long end = until < at.queries ? until : at.queries;
        if (begin >= end) return;
        const Item<T> first = item<T>(p, at, key_head * groups);
        pack_transposed(first.key, at.keys, p.width, packed.key);
        pack(first.value, at.keys, p.value_width, 1.0f, packed.value, at.keys);
        for (long head = key_head * groups; head < (key_head + 1) * groups; head++)
          forward(item<T>(p, at, head), scores(p, at, head), packed, tiles, begin, end);
      });
    }
    scratch().trim();
  }
}

template <class T>
struct Backward {
  const Problem& p;
  const Gradients& g;

  BiasGrad bias_grad(const Place& at, long number, long head, long part) const {
    BiasGrad to;
    if (g.slopes) to.slope = g.slopes + number * p.heads + head;
    if (g.table) to.table = g.table + (part * p.heads + head) * p.entries;
    if (!g.bias) return to;
    const long item = g.bias_items > 1 ? at.batch : 0, bias_head = g.bias_heads > 1 ? head : 0;
    to.row = g.bias_rows > 1 ? g.bias_padded : 0;
    to.column = g.bias_columns > 1;
    to.to = g.bias + ((part * g.bias_items + item) * g.bias_heads + bias_head) * g.bias_rows * g.bias_padded;
    to.to += at.query * to.row + (to.column ? at.key : 0);
    return to;
  }

  ItemGrad<T> grads(const Place& at, long head) const {
    const long key_head = head / (p.heads / p.key_heads);
    return {
        rows<const T>(g.grad, g.grad_strides, at.batch, head, at.query),
        rows<const T>(p.out, p.out_strides, at.batch, head, at.query),
        g.grad_lse ? g.grad_lse + (at.batch * p.heads + head) * p.queries + at.query : nullptr,
        rows<T>(g.query, g.query_strides, at.batch, head, at.query),
        rows<T>(g.key, g.key_strides, at.batch, key_head, at.key),
        rows<T>(g.value, g.value_strides, at.batch, key_head, at.key)};
  }

  // All heads that share a key head, of one sequence.
  void run(long number, long key_head, long part, BackwardTiles& tiles) const {
    const Place at = place(p, number);
    const long groups = p.heads / p.key_heads;
    for (long h = 0; h < groups; h++) {
      const long head = key_head * groups + h;
      backward(item<T>(p, at, head), grads(at, head), scores(p, at, head), bias_grad(at, number, head, part), tiles, h == 0, h == groups - 1);
    }
  }
};

template <class T>
void backward_all(const Problem& p, const Gradients& g) {
  const Backward<T> work{p, g};
  // A task owns its slice of the gradient of the bias, or its part of one: sums need no atomics, and
  // their order does not depend on the number of threads.
  const bool shared = g.table || (g.bias && g.bias_items == 1);
  const Cut cut(sequences(p), p.key_heads, p.threads, shared ? g.parts : 0, !g.bias || g.bias_heads > 1, is_added(p));
#pragma omp parallel num_threads(p.threads)
  {
    BackwardTiles tiles;
    scratch().fill([&](Scratch& memory) { tiles.plan(memory, p.queries, p.keys, p.width, p.value_width); });
#pragma omp for schedule(dynamic, 1)
    for (long task = 0; task < cut.tasks(); task++) {
      cut.visit(task, [&](long number, long key_head) {
        work.run(number, key_head, shared ? cut.range(task) : 0, tiles);
      });
    }
    scratch().trim();
  }
}

}  // namespace

HEADWAY_EXPORT void attention_forward(const Problem* p, int narrow) {
  narrow ? forward_all<bfloat16>(*p) : forward_all<float>(*p);
}

HEADWAY_EXPORT void attention_backward(const Problem* p, const Gradients* g, int narrow) {
  narrow ? backward_all<bfloat16>(*p, *g) : backward_all<float>(*p, *g);
}

// The parts of the gradient of the bias, in their order, without the padding of the columns.
HEADWAY_EXPORT void attention_bias_gradient(const float* from, float* to, long parts, long rows, long columns, long padded, long threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long r = 0; r < rows; r++) {
    for (long c = 0; c < columns; c++) {
      float total = 0.0f;
      for (long part = 0; part < parts; part++) total += from[(part * rows + r) * padded + c];
      to[r * columns + c] = total;
    }
  }
}
