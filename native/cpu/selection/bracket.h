// Two bounds between which the k-th largest of all scores very likely lies, from a sample of whole cache
// lines, evenly spread: the sample's ranks some standard deviations to either side of the k-th's. What
// stands in one line is often alike (rows of a matrix have their own scale): the deviation is that of
// the lines' counts where that is larger than the one of independent draws.
#pragma once

#include <cmath>
#include <limits>

#include "cpu/selection/scores.h"

namespace palimpsest::cpu {

template <typename V>
struct Bracket {
  V low, guess, high;  // the k-th is probably in (low, high)
  bool tied;           // many scores equal a bound
  double part;         // of all scores, about, lies between low and high
};

template <typename V>
class Sample {
  using Key = typename Scores<V>::Key;
  static constexpr int64_t kLine = 16;  // entries read in a row
  static constexpr int64_t kMostTasks = 16;
  static constexpr int kShift = static_cast<int>(sizeof(Key)) * 8 - kDigit;

 public:
  // It lives in the workspace's scope of whoever makes it.
  Sample(Context& context, const Scores<V>& scores) : context_(context), scores_(scores) {}

  // Draws for rank k (from 1) of all scores; false where one is NaN. There are more scores than the sample
  // is large.
  bool draw(int64_t k) {
    const int64_t total = scores_.total;
    const int64_t wanted = std::clamp<int64_t>(total / 128, std::clamp<int64_t>(total / 64, 2048, 1 << 14), 1 << 18);
    lines_ = wanted / kLine;
    tasks_ = std::clamp<int64_t>(lines_ / 128, 1, kMostTasks);
    keys_ = context_.workspace.take<Key>(lines_ * kLine);
    bins_ = context_.workspace.take<uint32_t>(tasks_ * kBins);
    bool fine[kMostTasks];
    context_.parallel(tasks_, [&](int64_t task) { fine[task] = draw_lines(task, bins_ + task * kBins); });
    size_ = 0;
    for (int64_t task = 0; task < tasks_; ++task) {
      if (!fine[task]) return false;
      size_ += drawn_[task];
      for (int64_t b = 0; task > 0 && b < kBins; ++b) bins_[b] += bins_[task * kBins + b];
    }
    const double p = static_cast<double>(k) / static_cast<double>(total);
    const auto size = static_cast<double>(size_);
    rank_ = p * size;
    int64_t within = std::clamp<int64_t>(static_cast<int64_t>(std::ceil(rank_)), 1, size_);
    const auto bin = static_cast<Key>(bin_of(bins_, within));
    deviation_ = std::max(std::sqrt(size * p * (1 - p)), deviation(bin));
    return true;
  }

  // The bounds so many standard deviations to either side.
  Bracket<V> bracket(double deviations) const {
    const Workspace::Scope scope(context_.workspace);
    const double margin = deviations * deviation_ + 4;
    // From the largest score down.
    const double places[] = {rank_ - margin, std::ceil(rank_), rank_ + margin};
    const auto last = static_cast<double>(size_);
    int64_t ranks[3];
    Key bin[3];
    for (int i = 0; i < 3; ++i) {
      ranks[i] = static_cast<int64_t>(std::clamp(places[i], 1.0, last));
      int64_t within = ranks[i];
      bin[i] = static_cast<Key>(bin_of(bins_, within));
    }
    // Of the keys in the bins from the first's to the last's.
    auto* members = context_.workspace.take<Key>(size_ + 1);
    auto* own = context_.workspace.take<Key>(size_);
    int64_t count = 0;
    each([&](const Key* keys, int64_t n) {
      for (int64_t i = 0; i < n; ++i) {
        members[count] = keys[i];
        count += static_cast<Key>((keys[i] >> kShift) - bin[2]) <= static_cast<Key>(bin[0] - bin[2]);
      }
    });
    int64_t above = 0;
    for (int64_t b = static_cast<int64_t>(bin[0]) + 1; b < kBins; ++b) above += bins_[b];
    V scores[3];
    for (int i = 0; i < 3; ++i) {
      std::copy_n(members, count, own);
      scores[i] = score_of(kth_largest(own, count, ranks[i] - above));
    }
    constexpr V kInf = std::numeric_limits<V>::infinity();
    return {.low = places[2] > last ? -kInf : scores[2],
            .guess = scores[1],
            .high = places[0] < 1 ? kInf : scores[0],
            .tied = scores[0] == scores[1] || scores[1] == scores[2],
            .part = 2 * margin / last};
  }

 private:
  int64_t first_line(int64_t task) const { return task * lines_ / tasks_; }

  bool draw_lines(int64_t task, uint32_t* bins) {
    struct Line {
      const Chunk* chunk;
      int64_t begin;
    };
    const auto& chunks = scores_.chunks;
    const int64_t total = scores_.total;
    const auto entry_of = [&](int64_t i) {
      // Steps of irregular length, so that no period of the data is met every time.
      const double turn = static_cast<double>(i) * 0.6180339887498949;
      const double place = (static_cast<double>(i) + (turn - std::floor(turn))) / static_cast<double>(lines_) *
                           static_cast<double>(total);
      return std::min(static_cast<int64_t>(place), total - 1);
    };
    const int64_t first = first_line(task), end = first_line(task + 1);
    auto chunk = std::upper_bound(chunks.begin(), chunks.end(), entry_of(first),
                                  [](int64_t entry, const Chunk& c) { return entry < c.before; }) - 1;
    std::fill_n(bins, kBins, 0);
    constexpr int64_t kAhead = 16;
    Line ahead[kAhead];
    Key* const keys = keys_ + first * kLine;
    int64_t count = 0;
    bool fine = true;
    for (int64_t i = first; i < end + kAhead; ++i) {
      Line& line = ahead[i % kAhead];
      if (i >= first + kAhead) {
        const int64_t stop = std::min(line.begin + kLine, line.chunk->n);
        fine = scores_.keys_of(*line.chunk, line.begin, stop, keys + count) && fine;
        for (const int64_t own = count + stop - line.begin; count < own; ++count) ++bins[keys[count] >> kShift];
      }
      if (i >= end) continue;
      const int64_t entry = entry_of(i);
      while (entry >= chunk->before + chunk->n) ++chunk;
      line = {&*chunk, (entry - chunk->before) / kLine * kLine};
      __builtin_prefetch(scores_.at(*line.chunk, line.begin));
    }
    drawn_[task] = count;
    return fine;
  }

  template <typename Body>
  void each(const Body& body) const {
    for (int64_t task = 0; task < tasks_; ++task) body(keys_ + first_line(task) * kLine, drawn_[task]);
  }

  // Standard deviation of the number of keys at and above a bin, from how it varies between lines.
  double deviation(Key bin) const {
    int64_t lines = 0, sum = 0, squares = 0;
    each([&](const Key* keys, int64_t n) {
      for (int64_t at = 0; at + kLine <= n; at += kLine, ++lines) {
        int64_t count = 0;
        for (int64_t i = at; i < at + kLine; ++i) count += keys[i] >> kShift >= bin;
        sum += count;
        squares += count * count;
      }
    });
    if (lines == 0) return 0;
    const auto n = static_cast<double>(lines);
    const double mean = static_cast<double>(sum) / n;
    return std::sqrt(std::max(0.0, static_cast<double>(squares) - n * mean * mean));
  }

  Context& context_;
  const Scores<V>& scores_;
  int64_t lines_ = 0, tasks_ = 0, size_ = 0;
  int64_t drawn_[kMostTasks] = {};
  Key* keys_ = nullptr;
  uint32_t* bins_ = nullptr;  // how many keys begin with each value of kDigit bits
  double rank_ = 0, deviation_ = 0;
};

}  // namespace palimpsest::cpu
