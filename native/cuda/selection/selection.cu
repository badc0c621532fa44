// Exact selection in one read, mostly, as on the CPU (native/cpu/selection/driver.cpp). A sample gives two
// bounds between which the k-th largest lies unless six standard deviations are exceeded; one sweep
// over all scores writes the bits of those above and keeps the few between; the k-th of these is found
// digit by digit, and their bits are set. Where the bounds failed, or more entries of a piece lie between
// them than there is room for, the k-th is searched digit by digit over everything. Equal scores at the
// border are given to the first in order: pieces count theirs, a sum over pieces says who may give how
// many. The order in which atomics come never shows: only counts and sets depend on them.
// Floor: the scores read once, the masks written once.

#include <cmath>
#include <limits>

#include "cuda/masks/compact.cuh"
#include "cuda/selection/selection.cuh"

namespace palimpsest::cuda {
namespace {

constexpr int64_t kSmall = 1 << 15;  // fewer entries are searched directly
constexpr int kRoom = 512;           // entries between the bounds that a piece can keep
constexpr int kDigit = 11;           // bits of a histogram
constexpr int kBins = 1 << kDigit;
constexpr int kLine = 8;             // neighbours that the sample takes: a sector of memory
constexpr int kRankThreads = 1024;
constexpr int kRound = 4 * kListThreads;  // entries that a block takes at once

struct Search {
  unsigned long long prefix;  // of the key that is searched; at the end the key
  long long rank;             // its rank, from 1, among keys with the prefix; at the end among its equals
  unsigned long long low, high;
  unsigned long long upper;   // keys above `high`
  unsigned long long kept;    // keys between the bounds
  unsigned sampled;
  unsigned overfull, nan;
};

// What a kernel knows of this block's piece.
template <typename T>
struct Place {
  const T* x;
  uint32_t* words;
  int64_t n, begin, end;  // of the tensor; of the piece
  int64_t number;         // of the piece in the whole call
  bool even;

  __device__ Place(const List<SelectPiece>& list, int64_t first_piece, int64_t piece) {
    const int t = tensor_of(list, piece);
    const SelectPiece& tensor = list.tensors[t];
    x = static_cast<const T*>(tensor.x);
    words = reinterpret_cast<uint32_t*>(tensor.mask);
    n = tensor.n;
    begin = (piece - list.first[t]) * kPiece;
    end = begin + kPiece < n ? begin + kPiece : n;
    number = first_piece + piece;
    even = even_quads(x);
  }
};

// round(first entry of this thread, keys, which of them exist) for all entries of a piece, block by block:
// every thread takes part in every round.
template <typename T, typename Round>
__device__ inline void each_round(const Place<T>& place, const ScoreForm& form, Search* search, const Round& round) {
  bool nan = false;
  for (int64_t base = place.begin; base < place.end; base += kRound) {
    const int64_t i = base + 4 * static_cast<int64_t>(threadIdx.x);
    const Quad<T> quad = quad_at(place.x, i, place.end, place.even);
    Key<T> keys[4];
    uint32_t there = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      bool strange = false;
      keys[j] = key_of(quad.v[j], form, strange);
      if (i + j < place.end) {
        there |= 1u << j;
        nan = nan || strange;
      }
    }
    round(i, keys, there);
  }
  if (nan) atomicOr(&search->nan, 1u);
}

// Writes, or adds, the bits of a round.
template <bool kAdd, typename T>
__device__ inline void put_bits(const Place<T>& place, int64_t i, uint32_t nibble) {
  const uint32_t bits = words_of_nibbles(nibble);
  if (threadIdx.x % 8 != 0 || i / 32 >= 2 * mask_words(place.n)) return;
  if (kAdd) {
    if (bits != 0) place.words[i / 32] |= bits;
  } else {
    place.words[i / 32] = bits;
  }
}

// ---- the sample ------------------------------------------------------------------------------------

// A warp a piece; `lines` of a whole piece, fewer of a short one, rounded up or down so that all pieces
// together have their share.
template <typename T>
__global__ void __launch_bounds__(kListThreads, 2)
    sample_kernel(const List<SelectPiece> list, int64_t first_piece, int64_t pieces, const ScoreForm form,
                  double lines, Key<T>* sample, Search* search) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  bool nan = false;
  for (int64_t piece = global_thread() / 32; piece < pieces; piece += all_threads() / 32) {
    const Place<T> place(list, first_piece, piece);
    const int64_t length = place.end - place.begin;
    const double turn = static_cast<double>(place.number) * 0.6180339887498949;
    const int mine = static_cast<int>(lines * static_cast<double>(length) / static_cast<double>(kPiece) +
                                      (turn - floor(turn)));
    const int64_t width = length < kLine ? length : kLine;
    const int total = mine * static_cast<int>(width);
    if (total == 0) continue;
    unsigned at = 0;
    if (lane == 0) at = atomicAdd(&search->sampled, static_cast<unsigned>(total));
    at = __shfl_sync(kAllLanes, at, 0);
    for (int s = lane; s < total; s += 32) {
      const int64_t line = s / width;
      // Irregular steps, so that no period of the data is met every time.
      const double jump = static_cast<double>(place.number + line) * 0.7548776662466927;
      auto from = static_cast<int64_t>((static_cast<double>(line) + (jump - floor(jump))) /
                                       static_cast<double>(mine) * static_cast<double>(length));
      from = from / kLine * kLine;
      if (from + width > length) from = length - width;
      sample[at + s] = key_of(place.x[place.begin + from + s % width], form, nan);
    }
  }
  if (nan) atomicOr(&search->nan, 1u);
}

// The rank-th largest of n keys, by one block, eight bits at a time.
template <typename K>
__device__ inline K rank_in_block(const K* keys, int64_t n, int64_t rank) {
  __shared__ int bins[256];
  __shared__ int chosen;
  __shared__ int left;
  K prefix = 0;
  for (int shift = 8 * static_cast<int>(sizeof(K)) - 8; shift >= 0; shift -= 8) {
    if (threadIdx.x < 256) bins[threadIdx.x] = 0;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < n; i += kRankThreads) {
      const K key = keys[i];
      const K beyond = static_cast<K>(key ^ prefix) >> shift;
      if (beyond < 256) atomicAdd(&bins[static_cast<int>(key >> shift & 0xff)], 1);
    }
    __syncthreads();
    // From the top: thread t has bin 255 − t.
    const int count = threadIdx.x < 256 ? bins[255 - threadIdx.x] : 0;
    int total = 0;
    const int before = block_exclusive_sum<kRankThreads>(count, total);
    if (before < rank && rank <= before + count) {
      chosen = 255 - static_cast<int>(threadIdx.x);
      left = static_cast<int>(rank) - before;
    }
    __syncthreads();
    prefix |= static_cast<K>(chosen) << shift;
    rank = left;
    __syncthreads();
  }
  return prefix;
}

template <typename K>
__global__ void __launch_bounds__(kRankThreads) bounds_kernel(const K* sample, double share, Search* search) {
  const auto n = static_cast<int64_t>(search->sampled);
  const double rank = share * static_cast<double>(n);
  const double margin = 6 * sqrt(static_cast<double>(n) * share * (1 - share)) + 4;
  const auto first = static_cast<int64_t>(rank - margin);
  const auto last = static_cast<int64_t>(rank + margin) + 1;
  const K high = first < 1 ? ~K(0) : rank_in_block(sample, n, first);
  const K low = last > n ? K(0) : rank_in_block(sample, n, last);
  if (threadIdx.x == 0) {
    search->high = high;
    search->low = low;
  }
}

// ---- the sweep -------------------------------------------------------------------------------------

// Entries of a piece that lie between the bounds.
template <typename K>
struct Between {
  K* keys;           // kRoom a piece
  uint16_t* places;  // within the piece
  int* counts;
};

template <typename T>
__global__ void __launch_bounds__(kListThreads)
    sweep_kernel(const List<SelectPiece> list, int64_t first_piece, const ScoreForm form, Search* search,
                 const Between<Key<T>> between) {
  __shared__ int kept;
  const Place<T> place(list, first_piece, blockIdx.x);
  const auto low = static_cast<Key<T>>(search->low);
  const auto high = static_cast<Key<T>>(search->high);
  if (threadIdx.x == 0) kept = 0;
  __syncthreads();
  int upper = 0;
  each_round(place, form, search, [&](int64_t i, const Key<T>(&keys)[4], uint32_t there) {
    uint32_t above = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if ((there >> j & 1u) == 0) continue;
      if (keys[j] > high) {
        above |= 1u << j;
      } else if (keys[j] >= low) {
        const int slot = atomicAdd(&kept, 1);
        if (slot < kRoom) {
          between.keys[place.number * kRoom + slot] = keys[j];
          between.places[place.number * kRoom + slot] = static_cast<uint16_t>(i + j - place.begin);
        }
      }
    }
    upper += __popc(above);
    put_bits<false>(place, i, above);
  });
  upper = block_sum<kListThreads>(upper);  // ends with a barrier: `kept` is whole
  if (threadIdx.x == 0) {
    atomicAdd(&search->upper, static_cast<unsigned long long>(upper));
    atomicAdd(&search->kept, static_cast<unsigned long long>(kept));
    if (kept > kRoom) atomicOr(&search->overfull, 1u);
    between.counts[place.number] = kept < kRoom ? kept : kRoom;
  }
}

// ---- the search ------------------------------------------------------------------------------------

__global__ void begin_search(Search* search, long long rank) {
  search->prefix = 0;
  search->rank = rank;
}

template <typename K>
__device__ inline void count_key(int* bins, K key, K prefix, int shift, int width) {
  constexpr int kBits = 8 * static_cast<int>(sizeof(K));
  const int known = shift + width;
  if (known < kBits && static_cast<K>(key ^ prefix) >> known != 0) return;
  atomicAdd(&bins[static_cast<int>(key >> shift) & ((1 << width) - 1)], 1);
}

__device__ inline void empty_bins(int* bins) {
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kListThreads) bins[i] = 0;
  __syncthreads();
}
__device__ inline void add_bins(const int* bins, unsigned long long* totals) {
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += kListThreads) {
    if (bins[i] != 0) atomicAdd(&totals[i], static_cast<unsigned long long>(bins[i]));
  }
}

template <typename T>
__global__ void __launch_bounds__(kListThreads)
    histogram_all(const List<SelectPiece> list, int64_t pieces, const ScoreForm form, Search* search, int shift,
                  int width, unsigned long long* totals) {
  __shared__ int bins[kBins];
  empty_bins(bins);
  const auto prefix = static_cast<Key<T>>(search->prefix);
  for (int64_t piece = blockIdx.x; piece < pieces; piece += gridDim.x) {
    const Place<T> place(list, 0, piece);
    each_round(place, form, search, [&](int64_t, const Key<T>(&keys)[4], uint32_t there) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if ((there >> j & 1u) != 0) count_key(bins, keys[j], prefix, shift, width);
      }
    });
  }
  add_bins(bins, totals);
}

template <typename K>
__global__ void __launch_bounds__(kListThreads)
    histogram_between(const Between<K> between, int64_t pieces, const Search* search, int shift, int width,
                      unsigned long long* totals) {
  __shared__ int bins[kBins];
  empty_bins(bins);
  const auto prefix = static_cast<K>(search->prefix);
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int64_t piece = global_thread() / 32; piece < pieces; piece += all_threads() / 32) {
    for (int s = lane; s < between.counts[piece]; s += 32) {
      count_key(bins, between.keys[piece * kRoom + s], prefix, shift, width);
    }
  }
  add_bins(bins, totals);
}

// The bin, from the top, that holds the rank; the histogram is emptied for the next digit.
__global__ void __launch_bounds__(kListThreads) pick_kernel(Search* search, int shift, unsigned long long* totals) {
  constexpr int kEach = kBins / kListThreads;
  const int top = kBins - 1 - kEach * static_cast<int>(threadIdx.x);
  const long long rank = search->rank;
  long long counts[kEach];
  long long mine = 0;
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    counts[j] = static_cast<long long>(totals[top - j]);
    totals[top - j] = 0;
    mine += counts[j];
  }
  long long total = 0;
  long long before = block_exclusive_sum<kListThreads>(mine, total);  // all have read `rank`
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    if (before < rank && rank <= before + counts[j]) {
      search->prefix |= static_cast<unsigned long long>(top - j) << shift;
      search->rank = rank - before;
    }
    before += counts[j];
  }
}

// ---- the last bits ---------------------------------------------------------------------------------

// Bits of the keys above the one that was found, and the number of its equals in each piece.
template <typename T>
__global__ void __launch_bounds__(kListThreads)
    mark_kernel(const List<SelectPiece> list, int64_t first_piece, const ScoreForm form, Search* search,
                int64_t* ties) {
  const Place<T> place(list, first_piece, blockIdx.x);
  const auto bound = static_cast<Key<T>>(search->prefix);
  int equal = 0;
  each_round(place, form, search, [&](int64_t i, const Key<T>(&keys)[4], uint32_t there) {
    uint32_t above = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if ((there >> j & 1u) == 0) continue;
      above |= static_cast<uint32_t>(keys[j] > bound) << j;
      equal += keys[j] == bound;
    }
    put_bits<false>(place, i, above);
  });
  equal = block_sum<kListThreads>(equal);
  if (threadIdx.x == 0) ties[place.number] = equal;
}

// The same from what the sweep kept; a warp a piece.
template <typename T>
__global__ void __launch_bounds__(kListThreads)
    mark_between(const List<SelectPiece> list, int64_t first_piece, int64_t pieces, const Search* search,
                 const Between<Key<T>> between, int64_t* ties) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto bound = static_cast<Key<T>>(search->prefix);
  for (int64_t piece = global_thread() / 32; piece < pieces; piece += all_threads() / 32) {
    const Place<T> place(list, first_piece, piece);
    int equal = 0;
    for (int s = lane; s < between.counts[place.number]; s += 32) {
      const Key<T> key = between.keys[place.number * kRoom + s];
      const int64_t i = place.begin + between.places[place.number * kRoom + s];
      if (key > bound) atomicOr(&place.words[i / 32], 1u << (i % 32));
      equal += key == bound;
    }
    equal = warp_sum(equal);
    if (lane == 0) ties[place.number] = equal;
  }
}

__global__ void __launch_bounds__(kRankThreads) sum_ties(int64_t* ties, int64_t pieces) {
  const int64_t total = exclusive_sum<kRankThreads>(ties, pieces);
  if (threadIdx.x == 0) ties[pieces] = total;
}

// The first `rank` of the equal keys, in order of pieces and within them.
template <typename T>
__global__ void __launch_bounds__(kListThreads)
    give_ties(const List<SelectPiece> list, int64_t first_piece, const ScoreForm form, Search* search,
              const int64_t* starts) {
  const Place<T> place(list, first_piece, blockIdx.x);
  const int64_t quota = search->rank - starts[place.number];
  if (quota <= 0 || starts[place.number + 1] == starts[place.number]) return;
  const auto bound = static_cast<Key<T>>(search->prefix);
  int64_t given = 0;
  each_round(place, form, search, [&](int64_t i, const Key<T>(&keys)[4], uint32_t there) {
    uint32_t equal = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) equal |= (there >> j & static_cast<uint32_t>(keys[j] == bound)) << j;
    int total = 0;
    int64_t at = given + block_exclusive_sum<kListThreads>(__popc(equal), total);
    uint32_t chosen = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if ((equal >> j & 1u) == 0) continue;
      if (at < quota) chosen |= 1u << j;
      ++at;
    }
    given += total;
    put_bits<true>(place, i, chosen);
  });
}

// ----------------------------------------------------------------------------------------------------

template <typename T>
class Selection {
  using K = Key<T>;
  using Lists = List<SelectPiece>;

 public:
  Selection(Context& context, const SelectArgs& args)
      : context_(context), args_(args), form_{args.magnitude, !args.largest} {
    for (int64_t i = 0; i < args.count; ++i) {
      total_ += args.pieces[i].n;
      pieces_ += ceil_div(args.pieces[i].n, kPiece);
    }
  }

  Status run() {
    if (args_.threshold != nullptr) *args_.threshold = std::numeric_limits<double>::quiet_NaN();
    if (total_ == 0) return {};
    const Workspace::Scope scope(context_.workspace);
    const bool sampled = total_ > kSmall && args_.k > 0;
    search_ = scratch<Search>(context_, 1);
    totals_ = scratch<unsigned long long>(context_, kBins);
    ties_ = scratch<int64_t>(context_, pieces_ + 1);
    if (search_ == nullptr || totals_ == nullptr || ties_ == nullptr) return no_memory();
    PALIMPSEST_TRY(clear(context_, search_, sizeof(Search)));
    PALIMPSEST_TRY(clear(context_, totals_, kBins * sizeof(unsigned long long)));
    bool found = false;
    if (sampled) PALIMPSEST_TRY(by_sample(found));
    if (!found) PALIMPSEST_TRY(by_digits());
    Search result{};
    PALIMPSEST_TRY(context_.read(result, static_cast<const Search*>(search_)));
    if (result.nan != 0) return nan();
    if (args_.threshold != nullptr && args_.k > 0) {
      *args_.threshold = score_of<T>(static_cast<K>(result.prefix), form_) + 0.0;
    }
    return {};
  }

 private:
  static Status nan() { return {Code::numerical, "'scores' hold NaN, which has no place in an order"}; }

  // start(list, number of the list's first piece, its pieces).
  template <typename Start>
  Status each(const Start& start) {
    int64_t first = 0;
    return each_list(args_.pieces, args_.count, [&](const Lists& list, int64_t pieces) -> Status {
      PALIMPSEST_TRY(start(list, first, pieces));
      first += pieces;
      return {};
    });
  }

  unsigned warps_for(int64_t pieces) const { return blocks_for(context_, pieces, kListThreads / 32); }

  Status by_sample(bool& found) {
    const double lines =
        std::fmin(std::fmax(static_cast<double>(total_) / 64, 4096), 131072) / kLine / static_cast<double>(total_) * kPiece;
    const auto most = static_cast<int64_t>(lines + 1) * kLine * pieces_;
    K* const sample = scratch<K>(context_, most);
    const Between<K> between{scratch<K>(context_, pieces_ * kRoom), scratch<uint16_t>(context_, pieces_ * kRoom),
                             scratch<int>(context_, pieces_)};
    // Without the room the slower way is left.
    if (sample == nullptr || between.keys == nullptr || between.places == nullptr || between.counts == nullptr) return {};
    PALIMPSEST_TRY(each([&](const Lists& list, int64_t first, int64_t pieces) {
      return launch(context_, sample_kernel<T>, warps_for(pieces), kListThreads, 0, list, first, pieces, form_, lines,
                    sample, search_);
    }));
    const double share = static_cast<double>(args_.k) / static_cast<double>(total_);
    PALIMPSEST_TRY(launch(context_, bounds_kernel<K>, 1, kRankThreads, 0, static_cast<const K*>(sample), share, search_));
    PALIMPSEST_TRY(each([&](const Lists& list, int64_t first, int64_t pieces) {
      return launch(context_, sweep_kernel<T>, static_cast<unsigned>(pieces), kListThreads, 0, list, first, form_,
                    search_, between);
    }));
    Search seen{};
    PALIMPSEST_TRY(context_.read(seen, static_cast<const Search*>(search_)));
    if (seen.nan != 0) return nan();
    const auto upper = static_cast<int64_t>(seen.upper);
    if (seen.overfull != 0 || args_.k <= upper || args_.k > upper + static_cast<int64_t>(seen.kept)) return {};
    PALIMPSEST_TRY(search(args_.k - upper, [&](int shift, int width) {
      return launch(context_, histogram_between<K>, warps_for(pieces_), kListThreads, 0, between, pieces_,
                    static_cast<const Search*>(search_), shift, width, totals_);
    }));
    PALIMPSEST_TRY(each([&](const Lists& list, int64_t first, int64_t pieces) {
      return launch(context_, mark_between<T>, warps_for(pieces), kListThreads, 0, list, first, pieces,
                    static_cast<const Search*>(search_), between, ties_);
    }));
    found = true;
    return ties();
  }

  Status by_digits() {
    if (args_.k > 0) {
      PALIMPSEST_TRY(search(args_.k, [&](int shift, int width) {
        return each([&](const Lists& list, int64_t, int64_t pieces) {
          return launch(context_, histogram_all<T>, blocks_for(context_, pieces, 1), kListThreads, 0, list, pieces,
                        form_, search_, shift, width, totals_);
        });
      }));
    } else {
      // Nothing is above the last key, and none of its equals is taken.
      PALIMPSEST_TRY(to_status(cudaMemsetAsync(&search_->prefix, 0xff, sizeof(search_->prefix), state(context_).stream),
                               "memory could not be set"));
    }
    PALIMPSEST_TRY(each([&](const Lists& list, int64_t first, int64_t pieces) {
      return launch(context_, mark_kernel<T>, static_cast<unsigned>(pieces), kListThreads, 0, list, first, form_,
                    search_, ties_);
    }));
    return ties();
  }

  template <typename Histogram>
  Status search(int64_t rank, const Histogram& histogram) {
    PALIMPSEST_TRY(launch(context_, begin_search, 1, 1, 0, search_, static_cast<long long>(rank)));
    constexpr int kBits = 8 * static_cast<int>(sizeof(K));
    for (int done = 0; done < kBits;) {
      const int width = kBits - done < kDigit ? kBits - done : kDigit;
      const int shift = kBits - done - width;
      PALIMPSEST_TRY(histogram(shift, width));
      PALIMPSEST_TRY(launch(context_, pick_kernel, 1, kListThreads, 0, search_, shift, totals_));
      done += width;
    }
    return {};
  }

  Status ties() {
    PALIMPSEST_TRY(launch(context_, sum_ties, 1, kRankThreads, 0, ties_, pieces_));
    return each([&](const Lists& list, int64_t first, int64_t pieces) {
      return launch(context_, give_ties<T>, static_cast<unsigned>(pieces), kListThreads, 0, list, first, form_, search_,
                    static_cast<const int64_t*>(ties_));
    });
  }

  Context& context_;
  const SelectArgs& args_;
  const ScoreForm form_;
  int64_t total_ = 0;
  int64_t pieces_ = 0;
  Search* search_ = nullptr;
  unsigned long long* totals_ = nullptr;  // the histogram
  int64_t* ties_ = nullptr;               // of each piece, then before each piece
};

Status select(Context& context, const SelectArgs& args) {
  switch (args.dtype) {
    case DType::f32: return Selection<float>(context, args).run();
    case DType::f64: return Selection<double>(context, args).run();
    case DType::bf16: return Selection<BFloat16>(context, args).run();
    case DType::i32: return Selection<int32_t>(context, args).run();
    default: return {Code::dtype, "'scores' must be float32, float64, bfloat16 or int32"};
  }
}

}  // namespace

void fill_selection(KernelTable& table) {
  table.selection = {.select = select, .sort_rows = sort_rows, .magnitude_counts = magnitude_counts};
}

}  // namespace palimpsest::cuda
