// Working memory of a thread, kept between calls: fresh pages cost more than small problems do.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace headway {

class Scratch {
 public:
  // Room for `count` floats, not initialised; valid until the next `reset`.
  float* take(long count) {
    const long begin = used_;
    used_ += (count + 15) / 16 * 16;
    return start_ ? start_ + begin : nullptr;
  }

  // Asks `plan` twice: once to measure what it takes, once to give it.
  template <class Plan>
  void fill(Plan plan) {
    start_ = nullptr;
    used_ = 0;
    plan(*this);
    if (used_ > size_) {
      std::free(block_);
      size_ = used_;
      block_ = static_cast<float*>(std::aligned_alloc(64, size_ * sizeof(float)));
    }
    start_ = block_;
    used_ = 0;
    plan(*this);
  }

  // Gives back what only a large problem needed.
  void trim() {
    if (size_ > kKept) {
      std::free(block_);
      block_ = nullptr;
      size_ = 0;
    }
  }

  ~Scratch() { std::free(block_); }

 private:
  static constexpr long kKept = 1 << 20;
  float* block_ = nullptr;
  float* start_ = nullptr;
  long size_ = 0;
  long used_ = 0;
};

inline Scratch& scratch() {
  static thread_local Scratch own;
  return own;
}

}  // namespace headway
